"""Running mean, spread, sum and extremes of every pixel; see `kernels.statistics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import SumOverflowError
from xfelred.kernels.arrays import read_only, usual
from xfelred.kernels.image.masking import not_a_number
from xfelred.kernels.memory import (
    PAGE_BACKED,
    fills,
    is_uniform,
    memory_for,
    page_backed,
)
from xfelred.kernels.reductions.statistics import (
    TILE,
    add_complete,
    add_counts,
    add_extrema,
    add_moments,
    find_pivots,
)
from xfelred.reductions.reduction import Axes, Blocks, Needs, State

# Columns into which a reduction along the last axis is folded: kernels are vectorised
# along that axis, and one number per row would leave nothing to vectorise.
LANES = 64
# Elements that are worked off at once: temporaries of a few MiB, not as large as the
# result.
TOGETHER = 1 << 18

SUMS = frozenset({"mean", "sum", "var", "std", "sem"})
SQUARES = frozenset({"var", "std", "sem"})
EXTREMA = frozenset({"min", "max"})


@dataclass(frozen=True)
class Statistics:
    """Statistics of all frames; companions are masks, non-zero where bad.

    The divisor of variances is ``count - ddof``; `integer`: sums are whole numbers.
    What has fewer than `complete` values, as some were NaN, is NaN. The last `fixed`
    masks are the same for all frames: what is bad there is left out of the result.
    """

    ddof: int
    integer: bool
    complete: int = 0
    fixed: int = 0

    def partial(
        self, state: State | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> State:
        x, *bad = blocks
        bad, fixed = bad[: len(bad) - self.fixed], bad[len(bad) - self.fixed :]
        # A mask without bad pixels costs no copy of the block.
        if any(b.any() for b in bad):
            x = not_a_number(x, *bad)
        state = accumulate(state, x, axes, needs)
        if any(b.any() for b in fixed):
            masks = [b.squeeze(axes).astype(bool, copy=False) for b in fixed]
            each = np.logical_or.reduce(np.broadcast_arrays(*masks))
            state["bad"] = np.broadcast_to(each, state["count"].shape)
        return state

    def combine(self, states: Sequence[State]) -> State:
        return merge(states)

    def cleared(self, state: State) -> State:
        state.pop("bad", None)
        for name, values in state.items():
            # Pivots are set before the first frame is added.
            if name not in ("count", "pivot"):
                values.fill(0)
        return state | {"count": uniform(0, state["count"].shape)}

    def finish(self, state: State, result: str) -> NDArray[Any]:
        value = statistic(state, result, self.ddof)
        count, bad = state["count"], state.get("bad")
        if bad is not None:
            none = 0 if result in ("sum", "count") else np.nan
            value, count = np.where(bad, none, value), np.where(bad, 0, count)
        if self.complete and not (count == self.complete).all():
            value = np.where(count == self.complete, value, np.nan)
        return whole_sums(value) if result == "sum" and self.integer else value


def canonical(x: NDArray[Any], axes: Axes) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return `x` as (a, r, b) with `axes` in r, and the shape of the kept axes."""
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = tuple(x.shape[i] for i in kept)
    first, n = (min(axes), len(axes)) if axes else (0, 0)
    if axes == tuple(range(first, first + n)):
        a = prod(x.shape[:first])
        r = prod(x.shape[first : first + n])
        return x.reshape(a, r, prod(x.shape[first + n :])), shape
    r = prod(x.shape[i] for i in axes)
    return x.transpose((*axes, *kept)).reshape(1, r, prod(shape)), shape


def accumulate(state: State | None, x: NDArray[Any], axes: Axes, needs: Needs) -> State:
    """Return `state` with a block added in place, without its NaN; a new one for None.

    The arrays of a state have the axes that are not reduced, in their order: ``count``
    int32, or int64 once states were merged, in the memory of one number while all
    pixels have the same; with sums ``pivot``, ``s1`` and, for variances, ``s2``
    float64; with extrema ``low``, ``high`` and ``seen``.
    """
    block, shape = canonical(x, axes)
    block, extremes = usual(block), extreme_dtype(x.dtype)
    a, r, b = block.shape
    if b == 1 and r >= LANES:
        return along_rows(state, block.reshape(a, r), shape, needs, extremes)
    if state is None:
        state = empty_state(shape, extremes, needs)
    add(block, state)
    return state


def along_rows(
    state: State | None,
    x: NDArray[Any],
    shape: tuple[int, ...],
    needs: Needs,
    extremes: np.dtype[Any],
) -> State:
    """Add rows (a, r) to a state with one value per row, through `LANES` columns."""
    a, r = x.shape
    fold = empty_state((a, LANES), extremes, needs)
    full = r - r % LANES
    add(read_only(x[:, :full]).reshape(a, full // LANES, LANES), fold)
    # Half of them at a time: to merge one after the other takes longer than to add.
    width = LANES
    while width > 1:
        width //= 2
        fold = both(
            *({k: v[:, i : i + width] for k, v in fold.items()} for i in (0, width))
        )
    lanes = {k: v[:, 0] for k, v in fold.items()}
    rest = empty_state((a,), extremes, needs)
    add(read_only(x[:, full:]).reshape(a, r - full, 1), rest)
    now = {k: v.reshape(shape) for k, v in merge([lanes, rest]).items()}
    if state is None:
        return now
    state.update(merge([state, now]))
    return state


def extreme_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of extremes: float64 unless float32 holds them, as results."""
    return np.dtype("f4" if dtype.kind == "f" and dtype.itemsize <= 4 else "f8")


def empty_state(shape: tuple[int, ...], extremes: np.dtype[Any], needs: Needs) -> State:
    state: State = {"count": uniform(0, shape)}
    if needs & SUMS:
        state |= {"pivot": page_backed(shape), "s1": page_backed(shape)}
    if needs & SQUARES:
        state["s2"] = page_backed(shape)
    if needs & EXTREMA:
        state |= {k: np.zeros(shape, extremes) for k in ("low", "high")}
        state["seen"] = np.zeros(shape, bool)
    return state


def uniform(n: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return a count that is the same for all pixels, in the memory of one."""
    # As np.broadcast_to, which takes as long as adding up a small block.
    one = np.ndarray(shape, np.int32, np.array(n, np.int32), 0, (0,) * len(shape))
    one.flags.writeable = False
    return one


def add(x: NDArray[Any], state: State) -> None:
    """Add pixels (a, r, b) to a state whose arrays have a * b elements."""
    a, r, b = x.shape
    at = {k: v.reshape(a, b) for k, v in state.items() if k not in ("count", "bad")}
    first = 0
    if is_uniform(state["count"]) and r:
        n = int(state["count"].flat[0])
        first = add_all(x, at, n)
        if first == a * -(-b // TILE):
            state["count"] = uniform(n + r, state["count"].shape)
            r = 0
        else:
            # Tiles before the first NaN have been added.
            count = np.full((a * -(-b // TILE), TILE), n, np.int32)
            count[:first] += r
            cut = np.ascontiguousarray(count.reshape(a, -1)[:, :b])
            state["count"] = cut.reshape(state["count"].shape)
    if r and x.size:
        add_some(x, at, state["count"].reshape(a, b), first)
    if "low" in state:
        add_extrema(x, at["low"], at["high"], at["seen"])


def add_all(x: NDArray[Any], at: State, n: int) -> int:
    """Add tiles of pixels up to the first with NaN; return how many were added.

    `n` values were added to every pixel before.
    """
    if "s1" not in at:
        has_none = x.dtype.kind in "iub" or not np.isnan(x).any()
        return x.shape[0] * -(-x.shape[2] // TILE) if has_none else 0
    if n == 0:
        set_pivots(x, at["pivot"])
    return int(add_complete(x, at["pivot"], at["s1"], at.get("s2")))


def set_pivots(x: NDArray[Any], pivot: NDArray[np.float64]) -> None:
    """Set the pivots of pixels without a value: mostly to the first there is."""
    if x.size:
        pivot[...] = x[:, 0]
    if not x.size or not np.isfinite(x[:, 0]).all():
        pivot.fill(0)
        find_pivots(x, np.zeros(pivot.shape, np.int32), pivot)


def add_some(x: NDArray[Any], at: State, count: NDArray[np.int32], first: int) -> None:
    """Add pixels to counts of their own, without NaN and without `first` tiles."""
    if "s1" not in at:
        add_counts(x, count)
        return
    find_pivots(x, count, at["pivot"])
    add_moments(x, count, at["pivot"], at["s1"], at.get("s2"), first)


def merge(states: Sequence[State]) -> State:
    """Return the state of all frames together; the inputs stay as they are."""
    # Sums of arrays without axes are scalars, which cannot be added to in place.
    return {k: np.asarray(v) for k, v in reduce(both, states).items()}


def both(one: State, two: State) -> State:
    """Return the state of two sets of frames; without pivots sums are plain ones.

    The second is moved to the pivot of the first: with ``d = p2 - p1`` its sums become
    ``s + n d`` and ``q + 2 d s + n d**2``. An empty set takes the other's pivot.
    """
    n1, n2 = one["count"], two["count"]
    out: State = {"count": sum_of_counts(n1, n2)}
    if "pivot" in one:
        out["pivot"] = np.where(n1 > 0, one["pivot"], two["pivot"])
        d = np.where(n2 > 0, two["pivot"] - out["pivot"], 0.0)
        out["s1"] = one["s1"] + (two["s1"] + n2 * d)
        if "s2" in one:
            moved = two["s2"] + d * (2 * two["s1"] + n2 * d)
            out["s2"] = one["s2"] + moved
    elif "s1" in one:
        out["s1"] = one["s1"] + two["s1"]
    if "bad" in one:
        out["bad"] = one["bad"]
    if "low" in one:
        seen = one["seen"], two["seen"]
        for name, extreme in (("low", np.minimum), ("high", np.maximum)):
            alone = np.where(seen[1], two[name], one[name])
            out[name] = np.where(
                seen[0] & seen[1], extreme(one[name], two[name]), alone
            )
        out["seen"] = seen[0] | seen[1]
    return out


def sum_of_counts(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.int64]:
    # Of pixels too, where pixels are reduced: 2**31 of them pass in two seconds.
    if is_uniform(one) and is_uniform(two):
        total = np.int64(one.flat[0]) + np.int64(two.flat[0])
        return np.broadcast_to(total, one.shape)
    return one.astype(np.int64) + two


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a sum: int64 of integers, but float64 of uint64.

    Two numbers of 64 bits without a sign may not fit int64 any more.
    """
    whole = dtype.kind in "bi" or (dtype.kind == "u" and dtype.itemsize < 8)
    return np.dtype(np.int64 if whole else np.float64)


@fills
def whole_sums(
    sums: NDArray[np.float64], *, out: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return sums of integers as int64; SumOverflowError if one does not fit."""
    out = memory_for(out, sums.shape, np.int64)
    given, found = np.atleast_1d(sums), np.atleast_1d(out)
    # Sums of many bins are hundreds of MB, and so would be every temporary.
    step = max(1, TOGETHER // max(prod(given.shape[1:]), 1))
    for first in range(0, len(given), step):
        # Pivot times count and the sum of deviations are rounded apart.
        rounded = np.rint(given[first : first + step])
        if rounded.size and not max(rounded.max(), -rounded.min()) < 2.0**63:
            raise SumOverflowError(
                f"a sum of integers is {np.nanmax(np.abs(rounded)):.6g}, more than"
                " int64 holds; convert first: .astype('float64')"
            )
        np.copyto(found[first : first + step], rounded, casting="unsafe")
    return out


def statistic(state: State, name: str, ddof: int) -> NDArray[Any]:
    """Return one statistic of a state; NaN where there is nothing to tell."""
    n = state["count"]
    if name == "count":
        return compact(n, np.dtype(np.int64))
    if name in EXTREMA:
        value = state["low" if name == "min" else "high"]
        # NaN of the dtype of the values, which float64 would widen.
        return np.where(state["seen"], value, value.dtype.type(np.nan))
    if "pivot" not in state:
        with np.errstate(invalid="ignore", divide="ignore"):
            return state["s1"] if name == "sum" else state["s1"] / n
    # Not as an array, which numpy would cast element by element.
    if is_uniform(n):
        n = np.asarray(n.flat[0], np.float64)
    # What is small is not worth touching twice.
    shape = state["s1"].shape
    large = state["s1"].nbytes >= PAGE_BACKED
    out = page_backed(shape) if large else np.empty(shape)
    if name == "sum":
        return np.add(state["pivot"] * n, state["s1"], out=out)
    with np.errstate(invalid="ignore", divide="ignore"):
        if name == "mean":
            np.divide(state["s1"], n, out=out)
            out += state["pivot"]
            return without(out, n == 0)
        free = n - (1 if name == "sem" else ddof)
        # In place, in one array of results: a state may be half a GB.
        np.divide(state["s1"] * state["s1"], n, out=out)
        np.subtract(state["s2"], out, out=out)
        # Rounding may leave less than nothing where all values are equal.
        np.maximum(out, 0.0, out=out)
        out /= free
        without(out, free <= 0)
        if name == "sem":
            out /= n
        return out if name == "var" else np.sqrt(out, out=out)


def without(values: NDArray[Any], none: Any) -> NDArray[Any]:
    """Return values that are now NaN where there is nothing to tell, or everywhere."""
    if none.any():
        np.copyto(values, np.nan, where=none)
    return values


def compact(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values of a dtype; the memory of one value where all are equal."""
    # Mostly all pixels have the same count.
    if values.size and (values == values.flat[0]).all():
        return np.broadcast_to(np.asarray(values.flat[0], dtype), values.shape)
    return values.astype(dtype)
