"""The shots without laser that are nearest in time to each shot with laser."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import NoDataError
from xfelred.names import LONG_NAME, TRAIN, UNITS
from xfelred.provenance import record

NEIGHBOUR = "neighbour"


def off_neighbours(laser_on: xr.DataArray, n: int = 3) -> xr.DataArray:
    """Return the `n` shots without laser that are nearest to each shot.

    Parameters
    ----------
    laser_on : bool DataArray (train)
        Whether the laser was on, with train IDs; leave out what is neither.
    n : int, optional
        Neighbours of each shot; fewer if there are no more.

    Returns
    -------
    DataArray (train, neighbour)
        Train IDs, rising along `neighbour`: the window of consecutive shots without
        laser whose farthest one is nearest in ID. Of windows equally near the first.
        A shot without laser is its own neighbour.

    Raises
    ------
    NoDataError
        If there is no shot without laser.
    """
    if laser_on.dims != (TRAIN,) or TRAIN not in laser_on.coords:
        raise ValueError(f"laser_on must be on train with IDs, not {laser_on.dims}")
    ids = laser_on[TRAIN].values
    off = np.sort(ids[~laser_on.values.astype(bool)])
    if not len(off):
        raise NoDataError(f"the laser was on in all {len(ids)} shots")
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    found = nearest_window(ids, off, min(n, len(off)))
    out = xr.DataArray(found, {TRAIN: laser_on[TRAIN]}, (TRAIN, NEIGHBOUR))
    out.attrs = {UNITS: "1", LONG_NAME: "train IDs of the nearest shots without laser"}
    return record(out, "off_neighbours", laser_on, n=n)


def nearest_window(
    ids: NDArray[np.integer], off: NDArray[np.integer], n: int
) -> NDArray[np.integer]:
    """Return for each ID the `n` neighbouring IDs of `off` with the nearest ends."""
    signed = off.astype(np.int64)
    near = ids.astype(np.int64)
    start = np.clip(np.searchsorted(signed, near) - n, 0, len(off) - n)
    for _ in range(2 * n):  # move on while the next one is nearer than the first
        more = start + n < len(off)
        after = signed[np.minimum(start + n, len(off) - 1)]
        closer = more & (abs(after - near) < abs(near - signed[start]))
        start = start + closer
    window: NDArray[np.integer] = off[start[:, None] + np.arange(n)]
    return window
