"""A line of pixels of every frame."""

from __future__ import annotations

import operator

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import OutOfRangeError, must_be_one_of
from xfelred.kernels.image import lines as kernel
from xfelred.lazy import map_frames
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record


@entry
def lineout(
    da: xr.DataArray,
    axis: str,
    index: int | None = None,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Take the pixels at one position of an axis, that of the highest by default.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    axis : {"module", "slow_scan", "fast_scan"}
        The dim of which one position is taken.
    index : int, optional
        Which; a negative one counts from the end. By default, in every frame, that of
        its highest good pixel, of several the first.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    Dataset (..., the other pixel dims)
        Lazy: ``data``, float64; NaN where a pixel is bad, or where all are.

    Raises
    ------
    ArgumentError
        If `axis` is no pixel dim of `da`.
    OutOfRangeError
        If there is no such position.
    GeometryMismatchError
        If `da` has no pixels, or `bad_pixels` does not fit.

    Notes
    -----
    lineoutFunc of the LCLS smalldata_tools.

    Examples
    --------
    >>> frame = xr.DataArray([[1, 2], [7, 4]], dims=("slow_scan", "fast_scan"))
    >>> lineout(frame, "slow_scan")["data"].values
    array([7., 4.])
    """
    dims = frame_pixels(da, "lines")
    must_be_one_of("axis", axis, dims)
    n = da.sizes[axis]
    at = None if index is None else operator.index(index)
    if at is not None and not -n <= at < n:
        raise OutOfRangeError(f"index={at} of {axis}: there are 0 to {n - 1}")
    stays = tuple(d for d in dims if d != axis)
    data = map_frames(
        kernel.lineout,
        numbers_of(da),
        *masks_of(da, bad_pixels, dims),
        core_dims=dims,
        out_core={d: da.sizes[d] for d in stays},
        dtype=np.float64,
        n_core=len(dims),
        axis=dims.index(axis),
        index=at,
    )
    data = data.assign_coords({d: da[d].variable for d in stays if d in da.coords})
    text = "of the highest pixel" if at is None else str(at)
    out = variables(da, data=(data, unit_of(da), f"pixels at {axis} {text}"))
    return record(out, "lineout", da, axis=axis, index=at, bad_pixels=bad_pixels)
