"""Bad pixels replaced by NaN or another value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred import masks
from xfelred.entries import check, entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image.masking import masked
from xfelred.lazy import map_frames
from xfelred.ops.companions import checked_bad_pixels, matching
from xfelred.provenance import record


@entry
def apply_bad_pixels(
    da: xr.DataArray,
    bad_pixels: xr.DataArray | ArrayLike,
    *,
    bits: int | str | Iterable[int | str] | None = None,
    value: Any = np.nan,
) -> xr.DataArray:
    """Replace bad pixels by NaN or another value.

    Parameters
    ----------
    da : DataArray, any real dtype (...)
        Frames, in memory or lazy.
    bad_pixels : DataArray or array, bool or integer
        Non-zero where a pixel is bad; dims among those of `da`. Where both have a
        coordinate for a dim, such as module numbers, it is looked up by it; of all
        modules, the one that was selected from `da` is taken.
    bits : int, str or iterable of these, optional
        Only these bits of `bad_pixels` count, as numbers or by the names in
        `masks.names`; by default any bit.
    value : scalar, optional
        What bad pixels become.

    Returns
    -------
    DataArray (...)
        Lazy, dims, coordinates and dtype of `da`.

    Raises
    ------
    ValueError
        If `value` is NaN and `da` holds integers, or `bad_pixels` is not bool or
        integer.
    GeometryMismatchError
        If `bad_pixels` has dims, labels or lengths that do not fit those of `da`.
    """
    bad_pixels = checked_bad_pixels(bad_pixels, da)
    check("ops.apply_bad_pixels", "value", value, float | bool)
    if da.dtype.kind in "iub" and not np.isfinite(value):
        raise ArgumentError(
            f"bad pixels of integer data ({da.dtype}) cannot become {value}; pass"
            " value=0 or convert first: da.astype('float32')"
        )
    # A value that does not fit would wrap around.
    if da.dtype.kind in "iu":
        limits = np.iinfo(da.dtype)
        if value != int(value) or not limits.min <= value <= limits.max:
            raise ArgumentError(
                f"bad pixels of {da.dtype} data cannot become {value}: whole numbers"
                f" from {limits.min} to {limits.max} fit"
            )
    chosen = masks.bits(bits)
    if chosen is not None and bad_pixels.dtype == bool:
        raise ArgumentError("bits= needs integer bits, but bad_pixels is bool")
    bad = matching(bad_pixels, da)
    out = map_frames(
        masked,
        da,
        bad,
        name="apply_bad_pixels",
        bits=chosen,
        value=float(value) if da.dtype.kind == "f" else value,
    )
    return record(
        out, "apply_bad_pixels", da, bad_pixels=bad_pixels, bits=chosen, value=value
    )
