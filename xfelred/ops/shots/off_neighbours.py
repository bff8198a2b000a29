"""The shots without laser that are nearest in time to each shot with laser."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, NoDataError
from xfelred.kernels.arrays import Ints
from xfelred.names import LONG_NAME, TIME, TRAIN, UNITS
from xfelred.provenance import record

NEIGHBOUR = "neighbour"


@entry
def off_neighbours(laser_on: xr.DataArray, n: int = 3) -> xr.DataArray:
    """Return the `n` shots without laser that are nearest to each shot.

    Parameters
    ----------
    laser_on : bool DataArray (train)
        Whether the laser was on, with train IDs; leave out what is neither. If it has a
        coordinate `time`, that tells which shots are near, else the IDs.
    n : int, optional
        Neighbours of each shot; fewer if there are no more.

    Returns
    -------
    DataArray (train, neighbour)
        Train IDs, in order of time along `neighbour`: the window of consecutive shots
        without laser whose farthest one is nearest. Of windows equally near the first.
        A shot without laser is its own neighbour.

    Raises
    ------
    NoDataError
        If there is no shot without laser.
    """
    if laser_on.dims != (TRAIN,) or TRAIN not in laser_on.coords:
        raise ArgumentError(f"laser_on must be on train with IDs, not {laser_on.dims}")
    ids = laser_on[TRAIN].values
    # IDs of LCLS hold seconds and nanoseconds: they leap at every full second.
    times = (laser_on[TIME] if TIME in laser_on.coords else laser_on[TRAIN]).values
    off = np.flatnonzero(~laser_on.values.astype(bool))
    off = off[np.argsort(times[off], kind="stable")]
    if not len(off):
        raise NoDataError(f"the laser was on in all {len(ids)} shots")
    if n < 1:
        raise ArgumentError(f"n must be at least 1, got {n}")
    near = nearest_window(times.astype(np.int64), times[off].astype(np.int64), n)
    out = xr.DataArray(ids[off[near]], {TRAIN: laser_on[TRAIN]}, (TRAIN, NEIGHBOUR))
    out.attrs = {UNITS: "1", LONG_NAME: "train IDs of the nearest shots without laser"}
    return record(out, "off_neighbours", laser_on, n=n)


def nearest_window(times: Ints, off: Ints, n: int) -> NDArray[np.intp]:
    """Return for each time where the neighbouring times of `off` with nearest ends are.

    `off` rises; at most `n` neighbours, fewer if it has no more.
    """
    n = min(n, len(off))
    start = np.clip(np.searchsorted(off, times) - n, 0, len(off) - n)
    for _ in range(2 * n):  # move on while the next one is nearer than the first
        more = start + n < len(off)
        after = off[np.minimum(start + n, len(off) - 1)]
        closer = more & (abs(after - times) < abs(times - off[start]))
        start = start + closer
    window: NDArray[np.intp] = start[:, None] + np.arange(n)
    return window
