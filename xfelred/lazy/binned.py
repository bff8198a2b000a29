"""Running statistics of the shots in every bin, as a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError
from xfelred.kernels.memory import page_backed
from xfelred.kernels.reductions import moments
from xfelred.kernels.reductions.bin_moments import (
    FEW,
    add_numbers,
    add_squares,
    add_sums,
    number_of_each,
    sorted_by_bin,
)
from xfelred.kernels.reductions.statistics import TILE, add_extrema
from xfelred.lazy.frame_rows import FrameRows, frame_rows
from xfelred.lazy.leaves import State

TOGETHER = 1 << 18  # elements of a state that are worked off at once
NO_COLUMNS = np.empty((0, 0))


@dataclass(frozen=True)
class BinStatistics:
    """Statistics of the frames that carry one label; for `reduce_frames`.

    The companion holds the labels, integers on dims that are reduced; frames with a
    negative one are left out. Results get one new dim of length `n_bins`, the last. A
    state holds only the bins that occur in its frames, one row each, in the order in
    which they came: ``bins`` and ``frames`` int64 (n); ``s1`` (m >= n, ...), the sums,
    and for variances ``pivot`` and ``s2``, where sums are of deviations from it; and
    ``lost``, the number of values that were NaN, where there are any.

    Attributes
    ----------
    n_bins : int
    ddof : int
        Divisor of variances is ``count - ddof``.
    complete : bool
        NaN is not left out: what is NaN in a frame is NaN in its bin, and ``count`` is
        the number of frames.
    nothing : float
        The sum where there is no value.
    """

    n_bins: int
    ddof: int = 0
    complete: bool = False
    nothing: float = 0.0

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[Any]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        """Add a block to the states of the bins that its frames belong to."""
        x, labels = blocks
        x = moments.native(x)
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        shape = tuple(x.shape[i] for i in kept)
        # Labels that lack a dim count for all of its positions.
        shots = tuple(x.shape[i] if i in axes else 1 for i in range(x.ndim))
        label = np.ascontiguousarray(np.broadcast_to(labels, shots).ravel())
        if label.size and label.max() >= self.n_bins:
            raise ArgumentError(
                f"label {label.max()} of a frame is not below the number of bins,"
                f" {self.n_bins}"
            )
        number = number_of_each(label, self.n_bins)[:-1]
        present = np.flatnonzero(number)
        state = with_bins(state, present, shape, x.dtype, needs, self.n_bins)
        if x.size:
            moved = x.transpose((*axes, *kept))
            if prod(shape) < FEW:
                few = moved.reshape(label.size, prod(shape))
                add_few(state, few, label, number, self.complete)
            else:
                rows = frame_rows(moved, len(axes))
                add_many(state, rows, label, number, self.complete)
            if "low" in state:
                add_extremes(state, moved.reshape(label.size, prod(shape)), label)
        return state

    def combine(self, states: Sequence[State]) -> State:
        """Put the states of every bin together in their order."""
        bins = np.unique(np.concatenate([s["bins"] for s in states]))
        shape = states[0]["s1"].shape[1:]
        out: State = {"bins": bins, "frames": np.zeros(len(bins), np.int64)}
        kinds = {k: v.dtype for s in states for k, v in s.items() if k not in out}
        out |= {k: page_backed((len(bins), *shape), kind) for k, kind in kinds.items()}
        for one in states:
            at = np.searchsorted(bins, one["bins"])
            for i, k in enumerate(at.tolist()):
                self.add_row(out, k, one, i)
        return out

    def add_row(self, out: State, k: int, one: State, i: int) -> None:
        """Add row `i` of a state to row `k` of another one."""
        names = out.keys() & one.keys() - {"bins", "frames", "lost"}
        if not out["frames"][k]:
            for name in names:
                out[name][k] = one[name][i]
        else:
            rows = [row_of(out, slice(k, k + 1)), row_of(one, slice(i, i + 1))]
            plain = [r.pop("s1") for r in rows] if "pivot" not in names else []
            merged = moments.merge(rows)  # moves them to one pivot
            if plain:
                merged["s1"] = plain[0] + plain[1]
            for name in names:
                out[name][k] = merged[name][0]
        out["frames"][k] += one["frames"][i]
        if "lost" in one:
            out["lost"][k] += one["lost"][i]

    def finish(self, state: State, result: str) -> NDArray[Any]:
        """Return one statistic of all bins, NaN where there is nothing to tell."""
        bins, shape = state["bins"], state["s1"].shape[1:]
        if result == "count" and "lost" not in state:
            frames = np.zeros(self.n_bins, np.int64)
            frames[bins] = state["frames"]
            each = frames.reshape(-1, *(1,) * len(shape))
            return np.moveaxis(np.broadcast_to(each, (self.n_bins, *shape)), 0, -1)
        if result == "sum" and is_whole(state, self.n_bins):
            return np.moveaxis(state["s1"], 0, -1)
        kind = np.dtype(np.int64 if result == "count" else np.float64)
        if result in moments.EXTREMA:
            none = row_of(state, slice(0, 0))
            kind = moments.result(none, result, self.ddof).dtype
        out = page_backed((self.n_bins, *shape), kind)
        if result != "count" and len(bins) < self.n_bins:
            empty = np.ones(self.n_bins, bool)
            empty[bins] = False
            out[empty] = self.nothing if result == "sum" else np.nan
        step = max(1, TOGETHER // max(prod(shape), 1))
        for first in range(0, len(bins), step):
            some = slice(first, min(first + step, len(bins)))
            out[bins[some]] = self.of_rows(row_of(state, some), result)
        return np.moveaxis(out, 0, -1)

    def of_rows(self, rows: State, result: str) -> NDArray[Any]:
        """Return one statistic of the rows of a state."""
        n = rows["count"]
        if "pivot" in rows or result not in moments.SUMS:
            found = moments.result(rows, result, self.ddof)
        elif result == "sum":
            found = rows["s1"]
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                found = rows["s1"] / n
        if result == "sum" and self.nothing != 0 and not n.all():
            found = np.where(n > 0, found, self.nothing)
        return found


def is_whole(state: State, n_bins: int) -> bool:
    """Tell whether the sums of a state are those of all bins in their order."""
    simple = "pivot" not in state and "lost" not in state
    return (
        simple
        and len(state["s1"]) == n_bins
        and bool(np.array_equal(state["bins"], np.arange(n_bins)))
    )


def row_of(state: State, some: slice) -> State:
    """Return the state of some bins in the form of `kernels.moments`."""
    rows = {k: v[some] for k, v in state.items() if k not in ("bins", "frames")}
    each = state["frames"][some].reshape(-1, *(1,) * (rows["s1"].ndim - 1))
    count = np.broadcast_to(each, rows["s1"].shape)
    lost = rows.pop("lost", None)
    return {"count": count if lost is None else count - lost, **rows}


def with_bins(
    state: State | None,
    present: NDArray[np.int64],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    needs: frozenset[str],
    most: int,
) -> State:
    """Return a state that has rows for some bins; those that it has stay in place."""
    if state is None:
        state = {"bins": present, "frames": np.zeros(len(present), np.int64)}
        squares = needs & moments.SQUARES
        names = ("pivot", "s1", "s2") if squares else ("s1",)
        kinds: dict[str, Any] = dict.fromkeys(names, np.float64)
        if needs & moments.EXTREMA:
            kinds |= {"low": dtype, "high": dtype, "seen": np.dtype(bool)}
        rows = {k: page_backed((len(present), *shape), v) for k, v in kinds.items()}
        return {**state, **rows}
    more = np.setdiff1d(present, state["bins"])
    if not len(more):
        return state
    n = len(state["bins"]) + len(more)
    room = len(state["s1"])
    new: State = {
        "bins": np.concatenate([state["bins"], more]),
        "frames": np.concatenate([state["frames"], np.zeros(len(more), np.int64)]),
    }
    for name in state.keys() - new.keys():
        if n <= room:
            new[name] = state[name]
        else:
            # In a scan bins come one by one; memory that is not used costs nothing.
            more_room = max(n, min(2 * room, most))
            new[name] = page_backed((more_room, *shape), state[name].dtype)
            new[name][:room] = state[name]
    return new


def rows_in(state: State, bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of some bins, which the state has."""
    order = np.argsort(state["bins"], kind="stable")
    found: NDArray[np.int64] = order[np.searchsorted(state["bins"], bins, sorter=order)]
    return found


def flat_rows(state: State, n: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of a state with `n` pixels in a row; without what is absent."""
    room = len(state["s1"])
    names = ("pivot", "s1", "s2", "lost")
    found = {k: state[k].reshape(room, n) for k in names if k in state}
    return {"lost": np.empty((room, 0), np.int32), **found}


def add_few(
    state: State,
    x: NDArray[Any],
    label: NDArray[Any],
    number: NDArray[np.int64],
    complete: bool,
) -> None:
    if not complete:
        state.setdefault("lost", np.zeros(state["s1"].shape, np.int32))
    there = np.flatnonzero(number)
    row = np.zeros(len(number), np.int64)
    row[there] = rows_in(state, there)
    flat = flat_rows(state, x.shape[1])
    room = len(state["s1"])
    before = np.zeros((room, 1), np.int64)
    before[: len(state["frames"]), 0] = state["frames"]
    count = np.broadcast_to(before, (room, x.shape[1])).copy()
    if not complete:
        count -= flat["lost"]
    add_numbers(
        x, label, row, count, flat.get("pivot", flat["s1"]), flat["s1"],
        flat.get("s2", flat["s1"]), "s2" in flat, complete,
    )  # fmt: skip
    state["frames"][row[there]] += number[there]
    if not complete:
        n = len(state["frames"])
        flat["lost"][:n] = state["frames"][:, None] - count[:n]


def add_many(
    state: State,
    x: FrameRows,
    label: NDArray[Any],
    number: NDArray[np.int64],
    complete: bool,
) -> None:
    """Add frames, bin by bin."""
    there = np.flatnonzero(number)
    row, order = rows_in(state, there), sorted_by_bin(label, number)
    each = number[there]
    n_tiles, done = len(there) * -(-x.length // TILE), 0
    while True:
        flat = flat_rows(state, x.length)
        args = (x.flat, x.start, order, each, row)
        if "s2" in flat:
            done = add_squares(
                *args, state["frames"], flat["lost"], flat["pivot"], flat["s1"],
                flat["s2"], complete, done,
            )  # fmt: skip
        else:
            done = add_sums(*args, flat["lost"], flat["s1"], complete, done)
        if done == n_tiles:
            break
        state["lost"] = page_backed(state["s1"].shape, np.int32)
    state["frames"][row] += each


def add_extremes(state: State, x: NDArray[Any], label: NDArray[Any]) -> None:
    """Update the smallest and the largest values, bin by bin."""
    for one in np.unique(label[label >= 0]).tolist():
        k = int(np.flatnonzero(state["bins"] == one)[0])
        low, high, seen = (
            state[name][k : k + 1].reshape(1, -1) for name in ("low", "high", "seen")
        )
        add_extrema(x[label == one][None], low, high, seen)
