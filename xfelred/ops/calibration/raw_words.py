"""Raw numbers as the integers that they were stored as, whose bits mean something."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.kernels.image.masking import as_words
from xfelred.lazy import PlannedArray, map_frames, planned, stored_again
from xfelred.names import AVAILABLE, STORED_DTYPE
from xfelred.ops.validity import unrecorded, without


def has_words(da: xr.DataArray) -> bool:
    """Tell whether raw numbers are integers, or were until they got NaN for gaps."""
    return da.dtype.kind in "iu" or (da.dtype.kind == "f" and STORED_DTYPE in da.attrs)


def raw_words(da: xr.DataArray) -> tuple[xr.DataArray, list[xr.DataArray]]:
    """Return raw numbers as they were stored, and masks of what was not recorded.

    da: real (...).
    Returns words: integer (...); `da` itself, unless it is floating and was integer in
        the files. 0 in gaps; gaps: non-zero where nothing was recorded; dims among
        those of `da`.
    """
    if da.dtype.kind != "f" or STORED_DTYPE not in da.attrs:
        return da, unrecorded(da)
    dtype = np.dtype(da.attrs[STORED_DTYPE])
    attrs = {k: v for k, v in da.attrs.items() if k != STORED_DTYPE}
    # Floating so that a gap is NaN. Where nothing was done to the frames since, they
    # are read as integers in the first place; else they are turned back.
    node = da.data.node if isinstance(da.data, PlannedArray) else None
    node = None if node is None else stored_again(node, dtype)
    there = da.coords.get(AVAILABLE)
    if node is not None and there is not None and set(there.dims) <= set(da.dims):
        chunks = dict(zip(node.dims, da.data.chunks, strict=True))
        words = da.copy(data=planned(node, chunks))
        words.attrs = attrs
        return words, unrecorded(da)
    words = map_frames(as_words, da, dtype=dtype, words=dtype.name)
    words.attrs = attrs
    gaps = map_frames(np.isnan, da, dtype=bool)
    return words, [gaps.reset_coords(drop=True)]


def with_gaps(
    out: xr.DataArray, da: xr.DataArray, gaps: list[xr.DataArray]
) -> xr.DataArray:
    """Return numbers made from the words of `da`, with its NaN if it is floating."""
    if da.dtype.kind != "f" or not gaps:
        return out
    return without(out, gaps)
