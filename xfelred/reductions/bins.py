"""Running statistics of the frames in every bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from xfelred.errors import ArgumentError
from xfelred.kernels.arrays import read_only, usual_dtype
from xfelred.kernels.memory import page_backed
from xfelred.kernels.reductions.bin_moments import (
    FEW,
    Frames,
    FramesOfBins,
    add_frames,
    add_numbers,
    number_of_each,
    sorted_by_bin,
)
from xfelred.kernels.reductions.statistics import TILE, add_extrema
from xfelred.reductions import moments
from xfelred.reductions.reduction import Axes, Blocks, Needs, State, as_rows


@dataclass(frozen=True)
class BinStatistics:
    """Statistics of the frames that carry one label; for `reduce_frames`.

    The companion holds the labels, integers on dims that are reduced; frames with a
    negative one are left out. Results get one new dim of length `n_bins`, the last. A
    state holds only the bins that occur in its frames, one row each, in the order in
    which they came: ``bins`` and ``frames`` int64 (n); ``s1`` (m >= n, ...), the sums,
    and for variances ``pivot`` and ``s2``, where sums are of deviations from it; and
    ``lost``, the number of values that were NaN, where there are any.

    The divisor of variances is ``count - ddof``. `complete`: NaN is not left out; what
    is NaN in a frame is NaN in its bin, and ``count`` is the number of frames.
    `nothing` is the sum where there is no value.
    """

    n_bins: int
    ddof: int = 0
    complete: bool = False
    nothing: float = 0.0

    def of_bins(self, n: int) -> BinStatistics:
        return replace(self, n_bins=n)

    def partial(
        self, state: State | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> State:
        return self.partials(state, [blocks], axes, needs)

    def whole(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], needs: Needs
    ) -> State:
        """Return a state without frames that has the rows of all bins in order."""
        # What is not touched takes no memory.
        return with_bins(None, np.arange(self.n_bins), shape, dtype, needs, self.n_bins)

    def partials(
        self, state: State | None, several: Sequence[Blocks], axes: Axes, needs: Needs
    ) -> State:
        """Return `state` with several blocks added at once, as if they were one."""
        # Not as contiguous: frames stay where they are, see `in_one_memory`.
        rows = [as_rows(usual_dtype(x), axes, labels) for x, labels in several]
        moved, shape = [x for x, _, _ in rows], rows[0][1]
        label = np.concatenate([label for _, _, (label,) in rows])
        label = read_only(label.astype(np.int64, copy=False))
        if label.size and label.max() >= self.n_bins:
            raise ArgumentError(
                f"label {label.max()} of a frame is not below the number of bins,"
                f" {self.n_bins}"
            )
        number = number_of_each(label, self.n_bins)[:-1]
        kind = several[0][0].dtype
        state = with_bins(
            state, np.flatnonzero(number), shape, kind, needs, self.n_bins
        )
        if label.size and prod(shape):
            if prod(shape) < FEW:
                few = np.concatenate([x.reshape(-1, prod(shape)) for x in moved])
                few = read_only(few)
                add_few(state, few, label, number, self.complete)
            else:
                # All of them live until they are added: they may be copies.
                parts = [in_one_memory(x, len(axes)) for x in moved if x.size]
                add_many(state, joined(parts), label, number, self.complete)
            if "low" in state:
                for x, _, (mine,) in rows:
                    add_extremes(state, x.reshape(mine.size, prod(shape)), mine)
        return state

    def combine(self, states: Sequence[State]) -> State:
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
            merged = moments.both(*rows)
            for name in names:
                out[name][k] = merged[name][0]
        out["frames"][k] += one["frames"][i]
        # Not all states have met NaN.
        if "lost" in one:
            out["lost"][k] += one["lost"][i]

    def finish(self, state: State, result: str) -> NDArray[Any]:
        bins, shape = state["bins"], state["s1"].shape[1:]
        if result == "count" and "lost" not in state:
            frames = np.zeros(self.n_bins, np.int64)
            frames[bins] = state["frames"]
            # The same number for all pixels, in the memory of one.
            each = frames.reshape(-1, *(1,) * len(shape))
            return np.moveaxis(np.broadcast_to(each, (self.n_bins, *shape)), 0, -1)
        # Plain sums of all bins are the result already: no copy.
        if result == "sum" and is_whole(state, self.n_bins):
            if self.nothing != 0:
                state["s1"][state["frames"] == 0] = self.nothing
            return np.moveaxis(state["s1"], 0, -1)
        kind = np.dtype(np.int64 if result == "count" else np.float64)
        if result in moments.EXTREMA:
            none = row_of(state, slice(0, 0))
            kind = moments.statistic(none, result, self.ddof).dtype
        out = page_backed((self.n_bins, *shape), kind)
        if result != "count" and len(bins) < self.n_bins:
            empty = np.ones(self.n_bins, bool)
            empty[bins] = False
            out[empty] = self.nothing if result == "sum" else np.nan
        step = max(1, moments.TOGETHER // max(prod(shape), 1))
        for first in range(0, len(bins), step):
            some = slice(first, min(first + step, len(bins)))
            rows = row_of(state, some)
            found = moments.statistic(rows, result, self.ddof)
            if result == "sum" and self.nothing != 0 and not rows["count"].all():
                found = np.where(rows["count"] > 0, found, self.nothing)
            out[bins[some]] = found
        return np.moveaxis(out, 0, -1)


def is_whole(state: State, n_bins: int) -> bool:
    """Tell whether the sums of a state are those of all bins in their order."""
    if "pivot" in state or "lost" in state or len(state["s1"]) != n_bins:
        return False
    return bool(np.array_equal(state["bins"], np.arange(n_bins)))


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
    needs: Needs,
    most: int,
) -> State:
    """Return a state that has rows for some bins; those that it has stay in place."""
    if state is None:
        state = {"bins": present, "frames": np.zeros(len(present), np.int64)}
        squares = needs & moments.SQUARES
        names = ("pivot", "s1", "s2") if squares else ("s1",)
        kinds: dict[str, Any] = dict.fromkeys(names, np.float64)
        if needs & moments.EXTREMA:
            extremes = moments.extreme_dtype(dtype)
            kinds |= {"low": extremes, "high": extremes, "seen": np.dtype(bool)}
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
    order = np.argsort(state["bins"], kind="stable")
    found: NDArray[np.int64] = order[np.searchsorted(state["bins"], bins, sorter=order)]
    return found


def flat_rows(state: State, n: int) -> State:
    names = ("pivot", "s1", "s2", "lost")
    return {k: state[k].reshape(len(state["s1"]), n) for k in names if k in state}


def add_few(
    state: State,
    x: NDArray[Any],
    label: NDArray[Any],
    number: NDArray[np.int64],
    complete: bool,
) -> None:
    if not complete:
        state.setdefault("lost", np.zeros(state["s1"].shape, np.int32))
    there, n = np.flatnonzero(number), len(state["frames"])
    row = np.zeros(len(number), np.int64)
    row[there] = rows_in(state, there)
    flat = flat_rows(state, x.shape[1])
    count = np.zeros(flat["s1"].shape, np.int64)
    count[:n] = state["frames"][:, None]
    if not complete:
        count -= flat["lost"]
    sums = flat.get("pivot"), flat["s1"], flat.get("s2")
    add_numbers(x, label, row, count, *sums, complete)
    state["frames"][row[there]] += number[there]
    if not complete:
        flat["lost"][:n] = state["frames"][:, None] - count[:n]


def add_many(
    state: State,
    x: Frames,
    label: NDArray[Any],
    number: NDArray[np.int64],
    complete: bool,
) -> None:
    there = np.flatnonzero(number)
    row, each = rows_in(state, there), number[there]
    bins = FramesOfBins(sorted_by_bin(label, number), each, row, state["frames"])
    n_pixels = prod(state["s1"].shape[1:])
    n_tiles, done = len(there) * -(-n_pixels // TILE), 0
    while True:
        flat = flat_rows(state, n_pixels)
        # Without pixels: the kernel stops at the first NaN instead of counting.
        lost = flat.get("lost", np.empty((len(flat["s1"]), 0), np.int32))
        sums = flat.get("pivot"), flat["s1"], flat.get("s2")
        done = add_frames(x, bins, lost, *sums, complete, done)
        if done == n_tiles:
            break
        # The first NaN: from here on what is lost is counted.
        state["lost"] = page_backed(state["s1"].shape, np.int32)
    state["frames"][row] += each


def in_one_memory(x: NDArray[Any], n_shot_dims: int) -> Frames:
    """Return the frames of an array (shots..., pixels...) without copying them.

    It is copied only if the pixels of a frame are not side by side.
    """
    shots, length = x.shape[:n_shot_dims], prod(x.shape[n_shot_dims:])
    steps = x.strides[:n_shot_dims]
    beside = x[(0,) * n_shot_dims].flags.c_contiguous
    # A kernel counts in elements, and from where the memory begins.
    if not beside or any(s < 0 or s % x.itemsize for s in steps):
        x = np.ascontiguousarray(x)
        steps = x.strides[:n_shot_dims]
    start = np.zeros(shots, np.int64)
    for axis, (n, step) in enumerate(zip(shots, steps, strict=True)):
        along = np.arange(n, dtype=np.int64) * (step // x.itemsize)
        start += along.reshape(-1, *(1,) * (n_shot_dims - axis - 1))
    flat = as_strided(x, (int(start.max()) + length,), (x.itemsize,), writeable=False)
    return Frames(flat, start.ravel())


def joined(several: Sequence[Frames]) -> Frames:
    """Return the frames of several arrays as those of one memory, which spans them.

    It is that of the arrays, which the caller must hold as long as it is used.
    """
    if len(several) == 1:
        return several[0]
    one = min(several, key=lambda frames: address(frames.flat))
    size = one.flat.itemsize
    offsets = [address(frames.flat) - address(one.flat) for frames in several]
    if any(offset % size for offset in offsets):
        return copied(several)
    begins = [offset // size for offset in offsets]
    length = max(b + f.flat.size for b, f in zip(begins, several, strict=True))
    # What lies between the arrays belongs to others: only frames are looked at.
    flat = as_strided(one.flat, (length,), (size,), writeable=False)
    starts = [f.start + b for b, f in zip(begins, several, strict=True)]
    return Frames(flat, np.concatenate(starts))


def copied(several: Sequence[Frames]) -> Frames:
    """Return the frames of several arrays in a new one."""
    lengths = np.cumsum([0, *(frames.flat.size for frames in several)])
    starts = [f.start + n for n, f in zip(lengths[:-1], several, strict=True)]
    flat = np.concatenate([frames.flat for frames in several])
    return Frames(read_only(flat), np.concatenate(starts))


def address(array: NDArray[Any]) -> int:
    found: int = array.__array_interface__["data"][0]
    return found


def add_extremes(state: State, x: NDArray[Any], label: NDArray[Any]) -> None:
    """Update the smallest and the largest values, bin by bin."""
    for one in np.unique(label[label >= 0]).tolist():
        k = int(np.flatnonzero(state["bins"] == one)[0])
        low, high, seen = (
            state[name][k : k + 1].reshape(1, -1) for name in ("low", "high", "seen")
        )
        add_extrema(read_only(x[label == one][None]), low, high, seen)
