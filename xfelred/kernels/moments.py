"""States of running statistics on blocks of any shape; see `kernels.statistics`."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.statistics import (
    add_counts,
    add_extrema,
    add_moments,
    combined,
    find_pivots,
)

State = dict[str, NDArray[Any]]
PAGE_BACKED = 1 << 20  # bytes
LANES = 64  # columns into which a reduction along the last axis is folded

SUMS = frozenset({"mean", "sum", "var", "std", "sem"})
SQUARES = frozenset({"var", "std", "sem"})
EXTREMA = frozenset({"min", "max"})


def canonical(
    x: NDArray[Any], axes: tuple[int, ...]
) -> tuple[NDArray[Any], tuple[int, ...]]:
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


def native(x: NDArray[Any]) -> NDArray[Any]:
    """Return `x` in a dtype that numba knows: no half precision, native byte order."""
    if x.dtype == np.float16:
        return x.astype(np.float32)
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def accumulate(
    state: State | None, x: NDArray[Any], axes: tuple[int, ...], needs: frozenset[str]
) -> State:
    """Return `state` with a block added; a new state if there is none.

    Parameters
    ----------
    state : dict or None
        Updated in place.
    x : real (...)
        Block; NaN is left out. Not modified.
    axes : tuple of int
        Axes to reduce; the arrays of the state have the other axes, in order.
    needs : frozenset of str
        Results that will be asked of the state.

    Returns
    -------
    dict of arrays
        ``count`` int32, or int64 once states were merged; with sums ``pivot``, ``s1``
        and, for variances, ``s2`` float64; with extrema ``low``, ``high`` and ``seen``.
    """
    x = native(x)
    block, shape = canonical(x, axes)
    a, r, b = block.shape
    if b == 1 and r >= LANES:
        return along_rows(state, block.reshape(a, r), shape, needs)
    if state is None:
        state = empty_state(shape, x.dtype, needs)
    add(block, {k: v.reshape(a, b) for k, v in state.items()})
    return state


def along_rows(
    state: State | None, x: NDArray[Any], shape: tuple[int, ...], needs: frozenset[str]
) -> State:
    """Add rows (a, r) to a state with one value per row, through `LANES` columns."""
    a, r = x.shape
    fold = empty_state((a, LANES), x.dtype, needs)
    full = r - r % LANES
    add(x[:, :full].reshape(a, -1, LANES), fold)
    lanes = [
        {k: np.ascontiguousarray(v[:, i]) for k, v in fold.items()}
        for i in range(LANES)
    ]
    rest = empty_state((a,), x.dtype, needs)
    add(x[:, full:].reshape(a, -1, 1), {k: v.reshape(a, 1) for k, v in rest.items()})
    now = {k: v.reshape(shape) for k, v in merge([*lanes, rest]).items()}
    if state is None:
        return now
    state.update(merge([state, now]))
    return state


def empty_state(
    shape: tuple[int, ...], dtype: np.dtype[Any], needs: frozenset[str]
) -> State:
    """Return the state of no frames."""
    state: State = {"count": np.zeros(shape, np.int32)}
    if needs & SUMS:
        state |= {"pivot": page_backed(shape), "s1": page_backed(shape)}
    if needs & SQUARES:
        state["s2"] = page_backed(shape)
    if needs & EXTREMA:
        state |= {"low": np.zeros(shape, dtype), "high": np.zeros(shape, dtype)}
        state["seen"] = np.zeros(shape, bool)
    return state


def add(x: NDArray[Any], state: State) -> None:
    """Add pixels (a, r, b) to the arrays (a, b) of a state."""
    if "s1" in state:
        find_pivots(x, state["count"], state["pivot"])
        squares = "s2" in state
        s2 = state["s2"] if squares else state["s1"]
        add_moments(x, state["count"], state["pivot"], state["s1"], s2, squares)
    else:
        add_counts(x, state["count"])
    if "low" in state:
        add_extrema(x, state["low"], state["high"], state["seen"])


def merge(states: Sequence[State]) -> State:
    """Return the state of all frames together; the inputs stay as they are."""
    out = dict(states[0])
    # 2**31 values are two seconds of AGIPD pixels.
    out["count"] = out["count"].astype(np.int64)
    for other in states[1:]:
        if "s1" in out:
            n = [s["count"] for s in (out, other)]
            q = [s.get("s2", s["s1"]) for s in (out, other)]
            sums = combined(
                n[0], out["pivot"], out["s1"], q[0],
                n[1], other["pivot"], other["s1"], q[1],
            )  # fmt: skip
            out |= dict(zip(("count", "pivot", "s1"), sums, strict=False))
            if "s2" in out:
                out["s2"] = sums[3]
        else:
            out["count"] = out["count"] + other["count"]
        if "low" in out:
            one, two = out["seen"], other["seen"]
            low, high = (
                np.minimum(out["low"], other["low"]),
                np.maximum(out["high"], other["high"]),
            )
            out["low"] = np.where(
                one & two, low, np.where(two, other["low"], out["low"])
            )
            out["high"] = np.where(
                one & two, high, np.where(two, other["high"], out["high"])
            )
            out["seen"] = one | two
    return out


def result(state: State, name: str, ddof: int) -> NDArray[Any]:
    """Return one statistic of a state; NaN where there is nothing to tell."""
    n = state["count"]
    if name == "count":
        return compact(n, np.dtype(np.int64))
    if name in EXTREMA:
        value = state["low" if name == "min" else "high"]
        kind = value.dtype if value.dtype.kind == "f" else np.dtype(np.float64)
        return np.where(state["seen"], value, np.nan).astype(kind, copy=False)
    out = page_backed(n.shape)
    if name == "sum":
        return np.add(state["pivot"] * n, state["s1"], out=out)
    with np.errstate(invalid="ignore", divide="ignore"):
        if name == "mean":
            np.divide(state["s1"], n, out=out)
            out += state["pivot"]
            out[n == 0] = np.nan
            return out
        free = n - (1 if name == "sem" else ddof)
        np.divide(state["s1"] * state["s1"], n, out=out)
        np.subtract(state["s2"], out, out=out)
        np.maximum(out, 0.0, out=out)
        out /= free
        out[free <= 0] = np.nan
        if name == "sem":
            out /= n
        return out if name == "var" else np.sqrt(out, out=out)


def compact(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return values of a dtype; the memory of one value where all are equal."""
    if values.size and (values == values.flat[0]).all():
        return np.broadcast_to(np.asarray(values.flat[0], dtype), values.shape)
    return values.astype(dtype)


def page_backed(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return zeros whose memory goes back to the system as soon as it is dropped.

    States and blocks of a result live until the result is put together. On the heap
    they would stay with the process afterwards and double its peak.
    """
    n = prod(shape) * 8
    if n < PAGE_BACKED:
        return np.zeros(shape)
    return np.frombuffer(mmap.mmap(-1, n), np.float64).reshape(shape)
