"""Times of LCLS events: seconds in the upper 32 bits of an ID, nanoseconds below."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.names import LONG_NAME, TRAIN

LCLS2_EPOCH = 631152000  # 1990-01-01 in seconds since 1970


def event_time(ids: NDArray[np.uint64], epoch: int = 0) -> xr.Variable:
    """Return the times of events (train,), UTC, of a clock that begins at `epoch`.

    That is in seconds since 1970: 0 for LCLS-I, `LCLS2_EPOCH` for LCLS-II.
    """
    seconds = (ids >> np.uint64(32)).astype(np.int64) + epoch
    nanoseconds = (ids & np.uint64(0xFFFFFFFF)).astype(np.int64)
    times = (seconds * 1_000_000_000 + nanoseconds).astype("datetime64[ns]")
    return xr.Variable(TRAIN, times, {LONG_NAME: "time of the event, UTC"})
