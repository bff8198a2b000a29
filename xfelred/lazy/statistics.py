"""Running statistics as a reduction, and numpy's functions that stream through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.kernels.reductions import moments
from xfelred.lazy.array import STREAMED, PlannedArray
from xfelred.lazy.leaves import State
from xfelred.lazy.reduce import reduce_frames

EXACT = 4  # bytes; sums and extremes of wider integers may not fit float64


@dataclass(frozen=True)
class Statistics:
    """Running moments; companions are masks, `bad` or `good`.

    Attributes
    ----------
    senses : tuple of {"bad", "good"}
        One for each mask.
    ddof : int
        Divisor of variances is ``count - ddof``.
    integer : bool
        Sums are whole numbers.
    """

    senses: tuple[Literal["bad", "good"], ...]
    ddof: int
    integer: bool

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[Any]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        """Add a block, without its bad pixels, to a state."""
        x, *masks = blocks
        for sense, mask in zip(self.senses, masks, strict=True):
            bad = mask != 0 if sense == "bad" else ~mask
            if bad.any():
                kind = np.result_type(x.dtype, np.float32)
                x = np.where(bad, kind.type(np.nan), x)
        return moments.accumulate(state, x, axes, needs)

    def combine(self, states: Sequence[State]) -> State:
        """Put states together in their order."""
        return moments.merge(states)

    def finish(self, state: State, result: str) -> NDArray[Any]:
        """Return one statistic."""
        value = moments.result(state, result, self.ddof)
        if result == "sum" and self.integer:
            return moments.whole_sums(value)
        if result in ("min", "max") and self.integer:
            return value.astype(np.float64, copy=False)
        return value


def streamed(name: str, array: PlannedArray, kwargs: dict[str, Any]) -> da.Array | None:
    """Return the result of a numpy function, None if dask should compute it.

    Only what gives the same numbers as dask, or better ones: sums of float32 are
    float64 here and rounded at the end.

    Parameters
    ----------
    name : str
        Of the numpy function, such as ``nanmean``.
    array : PlannedArray
        With a recipe.
    kwargs : dict
        What numpy was given beside the array.
    """
    if array.node is None:
        return None
    axis = kwargs.get("axis")
    if kwargs.keys() - {"axis", "dtype", "ddof"} or kwargs.get("dtype") is not None:
        return None
    axes = range(array.ndim) if axis is None else np.atleast_1d(axis).tolist()
    which = name.removeprefix("nan")
    floating = array.dtype.kind == "f"
    if not axes or (floating and which == name) or array.dtype.kind not in "iuf":
        return None
    if which in ("sum", "min", "max") and not floating:
        empty = which != "sum" and 0 in (array.shape[i] for i in axes)
        if empty or array.itemsize > EXACT:
            return None
    dims = [array.node.dims[i] for i in axes]
    dtype = getattr(np, name)(np.ones(1, array.dtype)).dtype
    statistic = Statistics((), int(kwargs.get("ddof", 0)), not floating)
    found = reduce_frames(
        statistic,
        xr.DataArray(array, dims=array.node.dims),
        dims=dims,
        results={which: np.int64 if which == "sum" and not floating else np.float64},
    )
    return found[which].data.astype(dtype)


for function in ("mean", "var", "std", "sum", "min", "max"):
    STREAMED[function] = STREAMED[f"nan{function}"] = streamed
