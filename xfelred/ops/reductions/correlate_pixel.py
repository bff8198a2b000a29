"""Correlation of every pixel with one of them, over frames."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import GeometryMismatchError
from xfelred.names import LONG_NAME, MODULE, PIXEL_DIMS, UNITS
from xfelred.ops.reductions.grouping import against, good_pixels
from xfelred.provenance import record


@entry
def correlate_pixel(
    da: xr.DataArray,
    pixel: tuple[int, ...],
    *,
    by: str | xr.DataArray | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Return how far every pixel goes along with one of them from frame to frame.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN is left out.
    pixel : (module, row, column)
        The module by its number where `da` has a coordinate ``module``, else by its
        position; row and column by position. Without the dim ``module``: (row, column).
    by : str or DataArray, optional
        Correlate the frames of each value of this coordinate apart, such as "step".
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must be left out.

    Returns
    -------
    DataArray ([by,] [module,] slow_scan, fast_scan)
        Lazy, float64 in [-1, 1]; 1 for the pixel itself. NaN where a pixel does not
        vary, or there are fewer than two frames.

    Raises
    ------
    GeometryMismatchError
        If there is no such pixel.
    ValueError
        If `by` is not a coordinate of the frames, or there is only one frame.

    Notes
    -----
    ``(E[xy] - E[x] E[y]) / (s_x s_y)`` with standard deviations of ddof 0: the event
    scan of the LCLS calibration suite. Sums are of deviations from the first frame.
    """
    dims = tuple(d for d in PIXEL_DIMS if d in da.dims)
    at = position(da, dims, pixel)
    array = good_pixels(da, bad_pixels)
    # The same recipe: the pixel is corrected as all of them are.
    one = array.isel(at).reset_coords(drop=True)
    found = against(array, one, {"correlation": np.float64}, by=by)
    out = found["correlation"].rename("correlation")
    what = ", ".join(str(int(i)) for i in pixel)
    out.attrs = {**da.attrs, UNITS: "1", LONG_NAME: f"correlation with pixel ({what})"}
    group = by if by is None or isinstance(by, str) else by.name
    return record(
        out, "correlate_pixel", da, pixel=list(pixel), by=group, bad_pixels=bad_pixels
    )


def position(
    da: xr.DataArray, dims: tuple[str, ...], pixel: tuple[int, ...]
) -> dict[str, int]:
    if len(pixel) != len(dims):
        raise GeometryMismatchError(
            f"pixel={tuple(pixel)} has {len(pixel)} numbers, the frames have {dims}"
        )
    at = {}
    for d, i in zip(dims, pixel, strict=True):
        index, n = int(i), da.sizes[d]
        if d == MODULE and d in da.indexes:
            numbers = [int(m) for m in da.indexes[d]]
            if index not in numbers:
                raise GeometryMismatchError(f"no module {index}; there are {numbers}")
            index = numbers.index(index)
        if not 0 <= index < n:
            raise GeometryMismatchError(
                f"pixel={tuple(pixel)} is outside: {d} has the positions 0 to {n - 1}"
            )
        at[d] = index
    return at
