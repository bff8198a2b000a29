"""Functions of numpy, and methods of xarray, that stream through a recipe."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from xfelred.lazy.array import STREAMED, PlannedArray
from xfelred.lazy.reduce import reduce_frames
from xfelred.reductions.moments import Statistics

EXACT = 4  # bytes; sums and extremes of wider integers may not fit float64


def streamed(name: str, array: PlannedArray, kwargs: dict[str, Any]) -> da.Array | None:
    """Return the result of a numpy function such as ``nanmean``, None if dask should.

    `kwargs` is what numpy was given beside the array. Only what gives the same numbers
    as dask, or better ones: sums of float32 are float64 here and rounded at the end.
    """
    if array.node is None:
        return None
    axis = kwargs.get("axis")
    if kwargs.keys() - {"axis", "dtype", "ddof"} or kwargs.get("dtype") is not None:
        return None
    axes = range(array.ndim) if axis is None else np.atleast_1d(axis).tolist()
    which = name.removeprefix("nan")
    floating = array.dtype.kind == "f"
    # Without nan- numpy's functions spread NaN, which the reduction leaves out.
    if not axes or (floating and which == name) or array.dtype.kind not in "iuf":
        return None
    if which in ("sum", "min", "max") and not floating:
        empty = which != "sum" and 0 in (array.shape[i] for i in axes)
        if empty or array.itemsize > EXACT:
            return None
    dims = [array.node.dims[i] for i in axes]
    # The dtype that numpy itself would return.
    dtype = getattr(np, name)(np.ones(1, array.dtype)).dtype
    statistic = Statistics(int(kwargs.get("ddof", 0)), not floating)
    found = reduce_frames(
        statistic,
        xr.DataArray(array, dims=array.node.dims),
        dims=dims,
        results={which: np.int64 if which == "sum" and not floating else np.float64},
    )
    return found[which].data.astype(dtype)


for function in ("mean", "var", "std", "sum", "min", "max"):
    STREAMED[function] = STREAMED[f"nan{function}"] = streamed
