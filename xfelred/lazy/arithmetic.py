"""Operators and functions of numpy that become nodes of a recipe.

xarray calls the same for its own ``where``, ``fillna``, ``clip``, ``round``, ``isnull``
and for all arithmetic.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import DTypeLike

from xfelred.errors import NoBitsError
from xfelred.kernels.elementwise import choose
from xfelred.lazy.array import FUNCTIONS, PlannedArray, applied, planned
from xfelred.lazy.elementwise import KINDS, repeated
from xfelred.lazy.guarded import GuardedArray

# Of two operands, as Python names them; each is there the other way round, too.
OPERATORS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
    "floordiv": np.floor_divide, "mod": np.remainder, "and": np.bitwise_and,
    "or": np.bitwise_or, "xor": np.bitwise_xor, "lshift": np.left_shift,
    "rshift": np.right_shift,
    # Python's squares and roots by other functions than numpy's `power`.
    "pow": operator.pow,
}  # fmt: skip
COMPARISONS: dict[str, Callable[..., Any]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
UNARY: dict[str, Callable[..., Any]] = {
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert,
}  # fmt: skip
REORDER = ("transpose", "moveaxis", "swapaxes")
BITWISE = {"and", "or", "xor", "lshift", "rshift", "invert"}


def method_of(
    word: str, function: Callable[..., Any], *, swapped: bool = False
) -> Callable[..., Any]:
    """Return an operator of planned arrays; bits are refused where there are none."""
    name = f"__{'r' if swapped else ''}{word}__"
    plain = getattr(GuardedArray, name)

    def operation(self: PlannedArray, *other: object) -> Any:
        if word in BITWISE and self.dtype.kind == "f":
            raise NoBitsError(
                f"{name}: these frames are {self.dtype}, which has no bits. Raw"
                " integers with gaps are floating, so that a gap is NaN: read them with"
                " frames(fill_value=0), or use ops.strip_gain_bits, ops.gain_index and"
                " ops.calibrate, which know"
            )
        operands = (*other, self) if swapped else (self, *other)
        found = applied(function, operands)
        return plain(self, *other) if found is None else found

    return operation


for word, function in {**OPERATORS, **COMPARISONS, **UNARY}.items():
    setattr(PlannedArray, f"__{word}__", method_of(word, function))
    if word in OPERATORS:
        swapped = method_of(word, function, swapped=True)
        setattr(PlannedArray, f"__r{word}__", swapped)


def where(condition: object, *choices: object) -> da.Array | None:
    """Return what `numpy.where` chooses by a condition."""
    if len(choices) != 2:
        return None
    dtypes = {getattr(c, "dtype", np.dtype(bool)).kind for c in choices}
    by_bits = "c" not in dtypes and complex not in map(type, choices)
    function = choose if by_bits else np.where
    return applied(function, [condition, *choices], trial=np.where)


def clip(
    a: object,
    a_min: object = None,
    a_max: object = None,
    *more: object,
    **options: object,
) -> da.Array | None:
    """Return numbers between two bounds, of which either may be None."""
    bounds = {"min": options.pop("min", a_min), "max": options.pop("max", a_max)}
    if options or more:
        return None
    low, high = bounds["min"], bounds["max"]
    if low is None or high is None:
        only = [(np.maximum, low), (np.minimum, high)]
        found = [(f, bound) for f, bound in only if bound is not None]
        return applied(found[0][0], [a, found[0][1]]) if found else None
    return applied(np.clip, [a, low, high])


def round_(
    a: object, decimals: int = 0, *more: object, **options: object
) -> da.Array | None:
    if options or more:
        return None
    return applied(np.round, [a], {"decimals": decimals})


def filled(value: object) -> Callable[..., da.Array | None]:
    """Return ``zeros_like`` or ``ones_like``."""

    def by_recipe(
        a: PlannedArray,
        dtype: DTypeLike | None = None,
        *more: object,
        **options: object,
    ) -> da.Array | None:
        return None if options or more else full_like(a, value, dtype)

    return by_recipe


def full_like(
    a: PlannedArray,
    fill_value: object,
    dtype: DTypeLike | None = None,
    *more: object,
    **options: object,
) -> da.Array | None:
    if options or more or a.node is None or np.ndim(fill_value):
        return None
    number = np.full((), fill_value, a.dtype if dtype is None else dtype)
    if number.dtype.kind not in KINDS:
        return None
    chunks = dict(zip(a.node.dims, a.chunks, strict=True))
    return planned(repeated(number, a.node.dims, a.shape), chunks)


def by_number(function: Callable[..., Any]) -> Callable[..., da.Array | None]:
    """Return a function of one array with options that are numbers."""

    def by_recipe(a: object, *more: object, **options: object) -> da.Array | None:
        plain = all(type(v) in (bool, int, float) for v in options.values())
        return applied(function, [a], options) if plain and not more else None

    return by_recipe


def isclose(a: object, b: object, *more: object, **options: object) -> da.Array | None:
    plain = all(type(v) in (bool, int, float) for v in options.values())
    return applied(np.isclose, [a, b], options) if plain and not more else None


def reordered(function: Callable[..., Any]) -> Callable[..., da.Array | None]:
    """Return a function that only puts axes in another order."""

    def by_recipe(a: PlannedArray, *args: Any, **kwargs: Any) -> da.Array | None:
        # An array whose lengths are the numbers of its axes tells where they go.
        order = function(np.empty(range(a.ndim)), *args, **kwargs).shape
        return a.transpose(order) if a.ndim else None

    return by_recipe


FUNCTIONS |= {name: reordered(getattr(np, name)) for name in REORDER}
FUNCTIONS |= {
    "where": where,
    "clip": clip,
    "round": round_,
    "around": round_,
    "nan_to_num": by_number(np.nan_to_num),
    "isposinf": by_number(np.isposinf),
    "isneginf": by_number(np.isneginf),
    "isclose": isclose,
    "full_like": full_like,
    "zeros_like": filled(0),
    "ones_like": filled(1),
}


def clip_method(self: PlannedArray, min: object = None, max: object = None) -> da.Array:
    found = clip(self, min, max)
    return GuardedArray.clip(self, min, max) if found is None else found


def round_method(self: PlannedArray, decimals: int = 0) -> da.Array:
    found = round_(self, decimals)
    return GuardedArray.round(self, decimals) if found is None else found


PlannedArray.clip, PlannedArray.round = clip_method, round_method
