"""Bad pixels replaced by NaN or another value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from xfelred import masks
from xfelred.kernels.masking import masked
from xfelred.lazy import map_frames
from xfelred.names import BAD_PIXELS
from xfelred.provenance import record


def apply_bad_pixels(
    da: xr.DataArray,
    bad_pixels: xr.DataArray,
    *,
    bits: int | str | Iterable[int | str] | None = None,
    value: Any = np.nan,
) -> xr.DataArray:
    """Replace bad pixels by NaN or another value.

    Parameters
    ----------
    da : DataArray, any real dtype (...)
        Frames, in memory or lazy.
    bad_pixels : DataArray, bool or integer
        Non-zero where a pixel is bad; dims among those of `da`. Where both have a
        coordinate for a dim, such as module numbers, it is looked up by it.
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
        If `value` is NaN and `da` holds integers, if `bad_pixels` is not bool or
        integer, or has dims or lengths that `da` has not.
    """
    bad_pixels = checked_bad_pixels(bad_pixels)
    if da.dtype.kind in "iub" and not np.isfinite(value):
        raise ValueError(
            f"bad pixels of integer data ({da.dtype}) cannot become {value}; pass"
            " value=0 or convert first: da.astype('float32')"
        )
    if da.dtype.kind in "iu":
        limits = np.iinfo(da.dtype)
        if value != int(value) or not limits.min <= value <= limits.max:
            raise ValueError(
                f"bad pixels of {da.dtype} data cannot become {value}: whole numbers"
                f" from {limits.min} to {limits.max} fit"
            )
    chosen = masks.bits(bits)
    if chosen is not None and bad_pixels.dtype == bool:
        raise ValueError("bits= needs integer bits, but bad_pixels is bool")
    bad = matching(bad_pixels, da)
    out = map_frames(
        masked, da, bad, name="apply_bad_pixels", bits=chosen, value=float(value)
        if da.dtype.kind == "f" else value,
    )  # fmt: skip
    return record(
        out, "apply_bad_pixels", da, bad_pixels=bad_pixels, bits=chosen, value=value
    )


def checked_bad_pixels(bad_pixels: Any) -> xr.DataArray:
    """Return bad pixels; ValueError unless they are labelled and bool or integer."""
    if not isinstance(bad_pixels, xr.DataArray):
        raise ValueError(
            f"bad_pixels must be a DataArray, not {type(bad_pixels).__name__}: name its"
            " dims with xr.DataArray(bad, dims=('module', 'slow_scan', 'fast_scan'))"
        )
    if bad_pixels.dtype.kind not in "biu":
        raise ValueError(
            f"bad_pixels must be bool or integer bits, not {bad_pixels.dtype}; for a"
            " mask in which non-zero is good use masks.from_good"
        )
    return bad_pixels


def matching(companion: xr.DataArray, da: xr.DataArray) -> xr.DataArray:
    """Return a companion at the labels of `da`, without coordinates.

    Raises
    ------
    ValueError
        If a label of `da` is missing in the companion.
    """
    indexers = {}
    for d in companion.dims:
        if d in companion.indexes and d in da.indexes:
            absent = da.indexes[d].difference(companion.indexes[d])
            if len(absent):
                raise ValueError(
                    f"{companion.name or BAD_PIXELS} has no {d} {list(absent[:5])};"
                    f" it has {list(companion.indexes[d][:20])}"
                )
            if not companion.indexes[d].equals(da.indexes[d]):
                indexers[d] = da.indexes[d]
    found = companion.sel(indexers) if indexers else companion
    return found.reset_coords(drop=True).drop_vars(list(found.indexes), errors="ignore")
