"""Frames with fewer digits, which files pack well."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image import compress as kernel
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, MAX_ERROR, UNITS
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of, without_gaps
from xfelred.ops.variables import unit_of
from xfelred.provenance import record


@entry
def compress(da: xr.DataArray, max_error: float) -> xr.Dataset:
    """Round every pixel to the digits that an error allows, and tell what that saves.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy.
    max_error : float
        By how much a pixel may change, in units of `da`; some tenths of the noise leave
        all results alone.

    Returns
    -------
    Dataset (...)
        Lazy: ``data`` (..., [module,] slow_scan, fast_scan), the multiples of a power
        of two, at most 2 `max_error`, that are nearest: float32, or float64 of 64-bit
        floats and of integers with more than 16 bits; NaN stays. Small-data files and
        others with gzip pack it. ``ratio``, float64: how many times smaller a frame is
        in such a file than as it came; NaN for a frame that was not recorded.

    Raises
    ------
    ArgumentError
        If `max_error` is not above 0.
    GeometryMismatchError
        If `da` has no pixels.

    Notes
    -----
    In place of the compression functions of the LCLS smalldata_tools, which compress
    and decompress a frame for the functions behind them: error-bounded rounding, and
    the gzip that every reader of HDF5 has.

    Examples
    --------
    >>> pixels = [[0.3, 7.13], [2.9, 3.61]]
    >>> frame = xr.DataArray(pixels, dims=("slow_scan", "fast_scan"))
    >>> compress(frame, 0.3)["data"].values
    array([[0.5, 7. ],
           [3. , 3.5]])
    """
    if not (np.isfinite(max_error) and max_error > 0):
        raise ArgumentError(f"max_error={max_error} must be a number above 0")
    dims = frame_pixels(da, "compressed frames")
    step = float(2.0 ** np.floor(np.log2(2 * max_error)))
    frames = numbers_of(da)
    wide = frames.dtype.itemsize > (2 if frames.dtype.kind in "iu" else 4)
    data = map_frames(
        kernel.rounded,
        frames,
        dtype=np.float64 if wide else np.float32,
        name="compress",
        step=step,
    )
    data.attrs = {
        **da.attrs,
        UNITS: unit_of(da),
        LONG_NAME: "rounded pixels",
        MAX_ERROR: step / 2,
    }
    ratio = map_frames(
        kernel.packed_share,
        frames,
        core_dims=dims,
        out_core={},
        dtype=np.float64,
        step=step,
        n_core=len(dims),
    )
    ratio = without_gaps(ratio, masks_of(da, None, dims), dims)
    ratio.attrs = {UNITS: "1", LONG_NAME: "size of a frame before and after gzip"}
    found = {"data": data.rename("data"), "ratio": ratio.rename("ratio")}
    out = xr.Dataset(found, attrs=dict(da.attrs))
    return record(out, "compress", da, max_error=max_error)
