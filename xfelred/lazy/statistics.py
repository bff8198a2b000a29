"""Functions of numpy, and methods of xarray, that stream through a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from xfelred.kernels.elementwise import Step, Value, choose
from xfelred.lazy.array import FUNCTIONS, PlannedArray, applied, planned
from xfelred.lazy.elementwise import is_elementwise, register_of
from xfelred.lazy.guarded import GuardedArray
from xfelred.lazy.nodes import Const, Node, Pending
from xfelred.lazy.reduce import reduce_frames
from xfelred.reductions.moments import Statistics

EXACT = 4  # bytes; sums and extremes of wider integers may not fit float64
MOMENTS = ("mean", "var", "std", "sum", "min", "max")


def streamed(
    name: str, array: PlannedArray, axis: object, **options: object
) -> da.Array | None:
    """Return the result of a numpy function such as ``nanmean``, None if dask should.

    Only what gives the same numbers as dask, or better ones: sums of float32 are
    float64 here and rounded at the end.
    """
    given = {k: v for k, v in options.items() if v is not None and v is not False}
    axes = axes_of(axis, array.ndim)
    known = array.node is not None and not isinstance(array.node, Const)
    if not known or not axes or given.keys() - {"ddof", "keepdims"}:
        return None
    if name in ("any", "all"):
        found = any_or_all(name, array, axes)
    else:
        ddof = int(given.get("ddof", 0))  # type: ignore[call-overload]
        found = moment(name, array, axes, ddof)
    if found is None or not given.get("keepdims"):
        return found
    return found[tuple(None if i in axes else slice(None) for i in range(array.ndim))]


def axes_of(axis: object, ndim: int) -> list[int]:
    """Return the axes that numpy means; none if dask should tell what is wrong."""
    if axis is None:
        return list(range(ndim))
    axes = np.atleast_1d(np.asarray(axis)).tolist()
    if not all(isinstance(i, int) and -ndim <= i < ndim for i in axes):
        return []
    unique = sorted({i % ndim for i in axes})
    return unique if len(unique) == len(axes) else []


def moment(
    name: str, array: PlannedArray, axes: list[int], ddof: int
) -> da.Array | None:
    which = name.removeprefix("nan")
    floating = array.dtype.kind == "f"
    if array.dtype.kind not in "biuf":
        return None
    n = prod(array.shape[i] for i in axes)
    inexact = array.itemsize > EXACT or (n == 0 and which != "sum")
    if which in ("sum", "min", "max") and not floating and inexact:
        return None
    # The dtype that numpy itself would return.
    dtype = getattr(np, name)(np.ones(1, array.dtype)).dtype
    # Without nan- numpy's functions spread NaN, which the reduction leaves out.
    spreads = floating and which == name
    if name == "sum":
        array, which, spreads = without_missing(array, which, spreads)
    array, masks = without_masks(array, axes)
    statistic = Statistics(ddof, not floating, n if spreads else 0, len(masks))
    return reduced(statistic, array, axes, which, dtype, masks)


def reduced(
    statistic: Statistics,
    array: PlannedArray,
    axes: list[int],
    which: str,
    dtype: np.dtype[Any],
    masks: Sequence[xr.DataArray] = (),
) -> da.Array:
    assert array.node is not None
    # All that numpy could be asked for, so that several of them are one pass.
    one = np.ones(1, array.dtype)
    kinds = {r: getattr(np, r)(one).dtype for r in MOMENTS}
    found = reduce_frames(
        statistic,
        xr.DataArray(array, dims=array.node.dims),
        *masks,
        dims=[array.node.dims[i] for i in axes],
        results={**kinds, "count": np.dtype(np.int64), which: dtype},
        only=[which],
    )
    return found[which].data


def any_or_all(name: str, array: PlannedArray, axes: list[int]) -> da.Array | None:
    true = array if array.dtype == bool else applied(np.not_equal, [array, 0])
    if true is None:
        return None
    number = reduced(Statistics(0, True), true, axes, "sum", np.dtype(np.int64))
    n = prod(array.shape[i] for i in axes)
    return number > 0 if name == "any" else number == n


def without_missing(
    array: PlannedArray, which: str, spreads: bool
) -> tuple[PlannedArray, str, bool]:
    """Return (array, statistic, spreads NaN) of equal result as a sum, with less work.

    xarray adds up without NaN by putting 0 in its place, and counts by adding up what
    is not NaN. One pass over the numbers themselves does the same.
    """
    node = array.node
    if node is None or not is_elementwise(node):
        return array, which, spreads
    steps, n_args = node.params["steps"], len(node.args)
    last: Step = steps[-1]

    def tested(operand: int | Value) -> int | None:
        """Return the register of which an operand tells where it is NaN."""
        if isinstance(operand, Value) or operand < n_args:
            return None
        step = steps[operand - n_args]
        found = step.operands[0] if step.function is np.isnan else None
        return found if isinstance(found, int) else None

    first = tested(last.operands[0])
    if first is None:
        return array, which, spreads
    below: Node | None = None
    if last.function is choose:
        _, zero, other = last.operands
        if isinstance(zero, Value) and zero.number == 0 and other == first:
            below, which, spreads = register_of(node, first), "sum", False
    elif last.function in (np.logical_not, np.invert):
        below, which, spreads = register_of(node, first), "count", False
    if below is None or below.shape != node.shape or below.dims != node.dims:
        return array, "sum", array.dtype.kind == "f"
    chunks = dict(zip(node.dims, array.chunks, strict=True))
    return planned(below, chunks), which, spreads


def without_masks(
    array: PlannedArray, axes: list[int]
) -> tuple[PlannedArray, list[xr.DataArray]]:
    """Return an array without its last ``where``, and where that makes everything NaN.

    A map of pixels that is the same for all frames need not be applied to each.
    """
    masks: list[xr.DataArray] = []
    while (node := array.node) is not None and is_elementwise(node):
        last: Step = node.params["steps"][-1]
        if last.function is not choose:
            break
        good, register, other = last.operands
        nothing = isinstance(other, Value) and bool(np.isnan(other.number))
        if isinstance(good, Value) or isinstance(register, Value) or not nothing:
            break
        mask = node.args[good] if good < len(node.args) else None
        reduced = {node.dims[i] for i in axes}
        if not isinstance(mask, Const) or isinstance(mask, Pending):
            break
        if mask.dtype != bool or reduced & {*mask.dims}:
            break
        below = register_of(node, register)
        same = (below.shape, below.dims, below.dtype)
        if same != (node.shape, node.dims, node.dtype):
            break
        masks.append(xr.DataArray(~mask.array, dims=mask.dims))
        array = planned(below, dict(zip(node.dims, array.chunks, strict=True)))
    return array, masks


def by_recipe(name: str) -> Callable[..., da.Array | None]:
    def function(
        a: object, axis: object = None, *more: object, **options: object
    ) -> Any:
        # What numpy takes by position behind the axis is left to dask.
        if more or not isinstance(a, PlannedArray):
            return None
        return streamed(name, a, axis, **options)

    return function


def method_of(name: str) -> Callable[..., da.Array]:
    plain = getattr(GuardedArray, name)

    def method(
        self: PlannedArray, axis: object = None, *more: object, **options: object
    ) -> da.Array:
        found = None if more else streamed(name, self, axis, **options)
        return plain(self, axis, *more, **options) if found is None else found

    return method


for word in (*MOMENTS, "any", "all"):
    FUNCTIONS[word] = by_recipe(word)
    setattr(PlannedArray, word, method_of(word))
    if word in MOMENTS:
        FUNCTIONS[f"nan{word}"] = by_recipe(f"nan{word}")
