"""Running statistics of the shots in every bin, as a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels import moments
from xfelred.kernels.bin_moments import (
    FEW,
    add_binned,
    add_numbers,
    occurring,
    sorted_by_bin,
)
from xfelred.kernels.memory import page_backed
from xfelred.kernels.statistics import TILE, add_extrema
from xfelred.lazy.leaves import State

TOGETHER = 1 << 18  # elements of a state that are worked off at once


@dataclass(frozen=True)
class BinStatistics:
    """Statistics of the frames that carry one label; for `reduce_frames`.

    The companion holds the labels, integers on dims that are reduced; frames with a
    negative one are left out. Results get one new dim of length `n_bins`, the last. A
    state holds only the bins that occur in its frames, one row each: ``bins`` and
    ``frames`` int64 (n), ``pivot``, ``s1`` and ``s2`` as in `kernels.moments`, and
    ``lost`` (n, ...), the number of values that were NaN, where there are any.

    Attributes
    ----------
    n_bins : int
    ddof : int
        Divisor of variances is ``count - ddof``.
    """

    n_bins: int
    ddof: int = 0

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[Any]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        """Add a block to the states of the bins that its frames belong to."""
        x, labels = blocks
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        shape = tuple(x.shape[i] for i in kept)
        # Labels that lack a dim count for all of its positions.
        shots = tuple(x.shape[i] if i in axes else 1 for i in range(x.ndim))
        label = np.ascontiguousarray(np.broadcast_to(labels, shots).ravel())
        n = prod(shape)
        frames = moments.native(x.transpose((*axes, *kept)).reshape(label.size, n))
        if label.size and label.max() >= self.n_bins:
            raise ValueError(
                f"label {label.max()} of a frame is not below the number of bins,"
                f" {self.n_bins}"
            )
        number = occurring(label, self.n_bins)[:-1]
        state = with_bins(state, np.flatnonzero(number), shape, frames.dtype, needs)
        if n < FEW:
            add_few(state, frames, label, number)
        elif frames.size:
            add_many(state, frames, label, number)
        if "low" in state:
            add_extremes(state, frames, label, number)
        return state

    def combine(self, states: Sequence[State]) -> State:
        """Put the states of every bin together in their order."""
        bins = np.unique(np.concatenate([s["bins"] for s in states]))
        shape = states[0]["pivot"].shape[1:]
        out: State = {"bins": bins, "frames": np.zeros(len(bins), np.int64)}
        kinds = {k: v.dtype for s in states for k, v in s.items() if k not in out}
        out |= {k: page_backed((len(bins), *shape), kind) for k, kind in kinds.items()}
        for one in states:
            # Rows that are new are copied; the others are moved to one pivot.
            at = np.searchsorted(bins, one["bins"])
            for i, k in enumerate(at.tolist()):
                rows = [row_of(one, slice(i, i + 1))]
                if out["frames"][k]:
                    rows.insert(0, row_of(out, slice(k, k + 1)))
                merged = moments.merge(rows)
                out["frames"][k] += one["frames"][i]
                for name in kinds.keys() - {"lost"}:
                    out[name][k] = merged[name][0]
                if "lost" in one:
                    out["lost"][k] += one["lost"][i]
        return out

    def finish(self, state: State, result: str) -> NDArray[Any]:
        """Return one statistic of all bins; NaN, or 0 for counts and sums, if empty."""
        shape = state["pivot"].shape[1:]
        none = row_of(state, slice(0, 0))
        kind = np.dtype(np.int64 if result == "count" else np.float64)
        if result in moments.EXTREMA:
            kind = moments.result(none, result, self.ddof).dtype
        out = page_backed((self.n_bins, *shape), kind)
        bins = state["bins"]
        if result not in ("count", "sum") and len(bins) < self.n_bins:
            out[:] = np.nan
        step = max(1, TOGETHER // max(prod(shape), 1))
        for first in range(0, len(bins), step):
            some = slice(first, first + step)
            rows = row_of(state, some)
            out[bins[some]] = moments.result(rows, result, self.ddof)
        return np.moveaxis(out, 0, -1)


def row_of(state: State, some: slice) -> State:
    """Return the state of some bins in the form of `kernels.moments`."""
    pivot = state["pivot"][some]
    each = state["frames"][some].reshape(-1, *(1,) * (pivot.ndim - 1))
    count = np.broadcast_to(each, pivot.shape)
    if "lost" in state:
        count = count - state["lost"][some]
    rest = state.keys() - {"bins", "frames", "lost"}
    return {"count": count, **{k: state[k][some] for k in rest}}


def with_bins(
    state: State | None,
    present: NDArray[np.int64],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    needs: frozenset[str],
) -> State:
    """Return a state that has rows for some bins."""
    if state is not None and np.isin(present, state["bins"]).all():
        return state
    bins = present if state is None else np.union1d(state["bins"], present)
    new: State = {"bins": bins, "frames": np.zeros(len(bins), np.int64)}
    names = ("pivot", "s1", "s2") if needs & moments.SQUARES else ("pivot", "s1")
    new |= {k: page_backed((len(bins), *shape)) for k in names}
    if needs & moments.EXTREMA:
        kinds = {"low": dtype, "high": dtype, "seen": np.dtype(bool)}
        new |= {k: page_backed((len(bins), *shape), v) for k, v in kinds.items()}
    if state is not None:
        at = np.searchsorted(bins, state["bins"])
        if "lost" in state:
            new["lost"] = page_backed((len(bins), *shape), np.int32)
        for name in state.keys() - {"bins"}:
            new[name][at] = state[name]
    return new


def add_few(
    state: State, x: NDArray[Any], label: NDArray[Any], number: NDArray[np.int64]
) -> None:
    """Add a few numbers of every shot."""
    n, row = len(state["bins"]), np.searchsorted(state["bins"], np.arange(len(number)))
    flat = {
        k: state[k].reshape(n, x.shape[1]) for k in ("pivot", "s1", "s2") if k in state
    }
    lost = state.setdefault("lost", np.zeros(state["pivot"].shape, np.int32))
    count = state["frames"][:, None] - lost.reshape(n, x.shape[1])
    squares = "s2" in state
    add_numbers(
        x, label, row, count, flat["pivot"], flat["s1"], flat.get("s2", flat["s1"]),
        squares,
    )  # fmt: skip
    there = number > 0
    state["frames"][row[there]] += number[there]
    lost.reshape(n, x.shape[1])[:] = state["frames"][:, None] - count


def add_many(
    state: State, x: NDArray[Any], label: NDArray[Any], number: NDArray[np.int64]
) -> None:
    """Add frames, bin by bin."""
    there = np.flatnonzero(number)
    n = len(state["bins"])
    row = np.searchsorted(state["bins"], there)
    flat = {
        k: state[k].reshape(n, x.shape[1]) for k in ("pivot", "s1", "s2") if k in state
    }
    order, squares = sorted_by_bin(label, number), "s2" in state
    # Rows with gaps between pixels would not be vectorised.
    x = np.ascontiguousarray(x)
    n_tiles, done = len(there) * -(-x.shape[1] // TILE), 0
    while True:
        lost = np.empty((n, 0), np.int32)
        if "lost" in state:
            lost = state["lost"].reshape(n, x.shape[1])
        done = add_binned(
            x, order, number[there], row, state["frames"], lost, flat["pivot"],
            flat["s1"], flat.get("s2", flat["s1"]), squares, done,
        )  # fmt: skip
        if done == n_tiles:
            break
        state["lost"] = page_backed(state["pivot"].shape, np.int32)
    state["frames"][row] += number[there]


def add_extremes(
    state: State, x: NDArray[Any], label: NDArray[Any], number: NDArray[np.int64]
) -> None:
    """Update the smallest and the largest values, bin by bin."""
    for one in np.flatnonzero(number).tolist():
        taken = x[as_range(np.flatnonzero(label == one))][None]
        k = int(np.searchsorted(state["bins"], one))
        low, high, seen = (
            state[name][k : k + 1].reshape(1, -1) for name in ("low", "high", "seen")
        )
        add_extrema(taken, low, high, seen)


def grouped(state: State) -> dict[int, State]:
    """Return the state of every bin by its number, which their names begin with."""
    bins: dict[int, State] = {}
    for name, value in state.items():
        number, _, key = name.partition("/")
        bins.setdefault(int(number), {})[key] = value
    return dict(sorted(bins.items()))


def as_range(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return neighbouring rows as a slice, which does not copy."""
    if len(rows) == rows[-1] - rows[0] + 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
