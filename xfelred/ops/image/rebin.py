"""Frames with larger pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image import spectrum as kernel
from xfelred.lazy import map_frames
from xfelred.names import FAST, MODULE, SLOW
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record


@entry
def rebin(
    da: xr.DataArray,
    shape: Sequence[int],
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Average the pixels of every module in blocks.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    shape : (n_slow, n_fast)
        Of a module of the result; not more than it has. A pixel on the border of
        blocks counts in each by the area in it.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    Dataset (..., [module,] slow_scan, fast_scan)
        Lazy: ``data``, float64, the mean of the good pixels of each block; NaN where
        there is none.

    Raises
    ------
    ArgumentError
        If `shape` has not two lengths, or larger ones than a module.
    GeometryMismatchError
        If `da` has no pixels, or `bad_pixels` does not fit.

    Notes
    -----
    rebinFunc of the LCLS smalldata_tools where the lengths divide those of a module;
    for others that one interpolates with splines.

    Examples
    --------
    >>> frame = xr.DataArray([[1, 2], [3, 6]], dims=("slow_scan", "fast_scan"))
    >>> rebin(frame, (1, 2))["data"].values
    array([[2., 4.]])
    """
    dims = frame_pixels(da, "frames")
    wanted = blocks(da, shape)
    modules = {MODULE: da.sizes[MODULE]} if MODULE in dims else {}
    data = map_frames(
        kernel.rebin,
        numbers_of(da),
        *masks_of(da, bad_pixels, dims),
        core_dims=dims,
        out_core={**modules, SLOW: wanted[0], FAST: wanted[1]},
        dtype=np.float64,
        n_core=len(dims),
        shape=wanted,
    )
    if MODULE in da.coords and MODULE in dims:
        data = data.assign_coords({MODULE: da[MODULE].variable})
    out = variables(da, data=(data, unit_of(da), "mean of blocks of pixels"))
    return record(out, "rebin", da, shape=list(wanted), bad_pixels=bad_pixels)


def blocks(da: xr.DataArray, shape: Sequence[int]) -> tuple[int, int]:
    """Return how many blocks there are along slow_scan and fast_scan."""
    given = tuple(np.atleast_1d(np.asarray(shape)).tolist())
    most = (da.sizes[SLOW], da.sizes[FAST])
    fits = len(given) == 2 and all(
        isinstance(n, int) and 1 <= n <= top for n, top in zip(given, most, strict=True)
    )
    if not fits:
        raise ArgumentError(
            f"shape={shape!r}: wanted (n_slow, n_fast), whole numbers from 1 to {most}"
        )
    return given[0], given[1]
