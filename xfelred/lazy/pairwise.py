"""Graphs over pairs of frames, wherever in the run the two may be.

Pairs are cut into parts; the task of a part gets the frames that its pairs need and no
others. Through a recipe it reads and computes them itself, so that pairs across a whole
run need the memory of one part. The blocks of any other dask array come from their own
tasks, and only the frames that are needed stay until their partners are there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import DTypeLike, NDArray

from xfelred.lazy.dask_seam import (
    GraphNode,
    HighLevelGraph,
    Key,
    Task,
    TaskList,
)
from xfelred.lazy.frames import (
    HELD,
    BlockFrames,
    Frames,
    RecipeFrames,
    frames_in,
    frames_of_size,
)
from xfelred.lazy.guarded import GuardedArray
from xfelred.lazy.leaves import Leaves
from xfelred.lazy.partition import MAX_TASKS, TASK
from xfelred.lazy.reduce import graph_of
from xfelred.lazy.task_layer import TaskLayer
from xfelred.reductions.reduction import Reduction, S

Pairs = NDArray[np.int64]  # (pair, 2 or more): positions of two frames, then anything
PairKernel = Callable[..., NDArray[Any]]


def parts_of(frames: Frames, pairs: Pairs, frame_bytes: int) -> tuple[slice, ...]:
    """Return which pairs are read together; depends on shapes and pairs only."""
    per_part = max(1, HELD // max(frame_bytes, 1))
    if isinstance(frames, RecipeFrames):
        per_part = min(per_part, frames_of_size(frames.node, frames.frame_dims, TASK))
    edges = {0, len(pairs)}
    if isinstance(frames, BlockFrames):
        first, within = blocks_of(frames, pairs)
        block = np.where(within, first, -1)
        new = np.diff(block) != 0
        edges |= set((np.flatnonzero(new) + 1).tolist())
    ends = sorted(edges)
    return tuple(
        slice(i, min(i + per_part, stop))
        for start, stop in pairwise(ends)
        for i in range(start, stop, per_part)
    )


def blocks_of(
    frames: BlockFrames, pairs: Pairs
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the block of the first members, and 1 for pairs within a block."""
    first, _ = frames.place(pairs[:, 0])
    second, _ = frames.place(pairs[:, 1])
    return first, (first == second).astype(np.int64)


def by_block(frames: Frames, pairs: Pairs) -> Pairs:
    """Return pairs within a block before all others: their block is not copied."""
    if not isinstance(frames, BlockFrames):
        return pairs
    first, within = blocks_of(frames, pairs)
    return pairs[np.lexsort((first, -within))]


@dataclass(frozen=True)
class PairParts:
    """Pairs in the parts whose frames are held together, `per_task` of them in a task.

    What a task holds does not grow with the run.
    """

    frames: Frames
    pairs: Pairs
    slices: tuple[slice, ...]
    frame_bytes: int
    per_task: int = 1

    @property
    def n_tasks(self) -> int:
        return ceil(len(self.slices) / self.per_task)

    def task(
        self, name: str, number: int, key: Key, function: Callable[..., Any], *what: Any
    ) -> dict[Key, GraphNode]:
        """Return a task ``function(*what, *parts)``, and those that it needs.

        A part is a list of pairs, a function that returns their frames, its arguments.
        """
        begin = number * self.per_task
        tasks: dict[Key, GraphNode] = {}
        parts = []
        for some in self.slices[begin : begin + self.per_task]:
            wanted, pairs = renumbered(self.pairs[some])
            more, read, args = self.frames.tasks(name, number, wanted)
            tasks |= more
            parts.append(TaskList(pairs, read, *args))
        tasks[key] = Task(key, function, *what, *parts)
        return tasks

    def held_bytes(self) -> int:
        """Return the memory of the frames of a part."""
        most = max((2 * (s.stop - s.start) for s in self.slices), default=0)
        return most * self.frame_bytes

    def uses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (number of a part, frame) for all that parts need, once each."""
        lengths = [s.stop - s.start for s in self.slices]
        part = np.repeat(np.arange(len(lengths)), lengths)
        n = int(self.pairs[:, :2].max(initial=0)) + 1
        both = np.unique(part[:, None] * n + self.pairs[:, :2])
        return both // n, both % n


@dataclass(frozen=True)
class PairMaker:
    reduction: Reduction[Any]
    parts: PairParts
    name: str

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        what = key, reduce_parts, self.reduction, needs
        return self.parts.task(self.name, part, *what)


class PairLayer(TaskLayer):
    """The blocks of a kernel's results for pairs, each made by one task."""

    def __init__(
        self, name: str, parts: PairParts, n_out: int, kernel: PairKernel, params: Any
    ) -> None:
        super().__init__(name)
        self.parts, self.n_out, self.what = parts, n_out, (kernel, params)

    def get_output_keys(self) -> set[Any]:
        return self.block_keys()

    def block_keys(self) -> set[Any]:
        rest = (0,) * self.n_out
        return {(self.name, i, *rest) for i in range(self.parts.n_tasks)}

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        tasks: dict[Key, GraphNode] = {}
        for key in sorted(keys):
            tasks |= self.parts.task(self.name, key[1], key, map_part, *self.what)
        return tasks


def renumbered(pairs: Pairs) -> tuple[NDArray[np.int64], Pairs]:
    """Return the frames that pairs need, sorted, and the pairs by position in them."""
    wanted, position = np.unique(pairs[:, :2], return_inverse=True)
    out = pairs.copy()
    out[:, :2] = position.reshape(-1, 2)
    return wanted, out


def reduce_parts(reduction: Reduction[S], needs: frozenset[str], *parts: Any) -> S:
    state: S | None = None
    for pairs, read, *args in parts:
        new = reduction.partial(None, [read(*args), pairs], (0,), needs)
        state = new if state is None else reduction.combine([state, new])
    assert state is not None
    return state


def map_part(kernel: PairKernel, params: dict[str, object], part: Any) -> NDArray[Any]:
    pairs, read, *args = part
    return kernel(read(*args), pairs, **params)


def reduce_pairs(
    reduction: Reduction[Any],
    array: xr.DataArray,
    pairs: Pairs,
    *,
    frame_dims: tuple[str, ...],
    kept: tuple[str, ...],
    results: Mapping[str, DTypeLike],
    new_dims: Mapping[str, int],
) -> dict[str, xr.DataArray]:
    """Reduce pairs of frames, lazily.

    Parameters
    ----------
    reduction : Reduction
        Its `partial` gets the blocks ``[frames, pairs]``: the frames that some pairs
        need (frame, ...), and the pairs by position in them, as `pairs` here.
    array : DataArray
        In memory or lazy; `frame_dims` first.
    pairs : int64 (pair, 2 or more)
        Positions of two frames in all of them, row-major along `frame_dims`, then
        columns of any meaning. Pairs that need the same frames should be neighbours.
    frame_dims : tuple of str
    kept : tuple of str
        Dims of `array` that every result has first.
    results, new_dims
        See `reduce_frames`.
    """
    frames = frames_in(array, frame_dims)
    pairs = by_block(frames, pairs)
    size = bytes_of_frame(array, frame_dims)
    slices = parts_of(frames, pairs, size)
    # The frames of ordinary blocks would wait in memory for all parts of a task.
    recipe = isinstance(frames, RecipeFrames)
    per_task = ceil(len(slices) / MAX_TASKS) if recipe else 1
    parts = PairParts(frames, pairs, slices, size, max(per_task, 1))
    token = tokenize(reduction, frames.token, pairs, size, parts.per_task, kept)
    make = PairMaker(reduction, parts, f"pairs-{token}")
    chunks = tuple((array.sizes[d],) for d in kept)
    leaves = Leaves(chunks, parts.n_tasks, token, make, frames.dependencies)
    return graph_of(reduction, leaves, array, kept, results, dict(new_dims))


def map_pairs(
    kernel: PairKernel,
    array: xr.DataArray,
    pairs: Pairs,
    *,
    frame_dims: tuple[str, ...],
    out_dims: Mapping[str, int],
    dtype: DTypeLike,
    **params: object,
) -> xr.DataArray:
    """Apply a kernel to every pair of frames, lazily.

    Parameters
    ----------
    kernel : callable
        Importable function ``kernel(frames, pairs, **params)``, see `reduce_pairs`; it
        returns an array (pair, *out_dims).
    array, pairs, frame_dims
        See `reduce_pairs`.
    out_dims : mapping of str to int
        Dims of the result and their lengths, after ``pair``.
    dtype : dtype
        Of the result.
    **params
        Small parameters of the kernel.
    """
    frames, size = frames_in(array, frame_dims), bytes_of_frame(array, frame_dims)
    parts = PairParts(frames, pairs, parts_of(frames, pairs, size), size)
    label = f"{kernel.__module__}.{kernel.__qualname__}"
    token = tokenize(label, frames.token, pairs, size, out_dims, params)
    name = f"{kernel.__name__}-{token}"
    layer = PairLayer(name, parts, len(out_dims), kernel, params)
    graph = HighLevelGraph.from_collections(name, layer, list(frames.dependencies))
    lengths = tuple(s.stop - s.start for s in parts.slices)
    chunks = (lengths, *((n,) for n in out_dims.values()))
    data = GuardedArray(graph, name, chunks, dtype=np.dtype(dtype))
    return xr.DataArray(data, dims=("pair", *out_dims))


def bytes_of_frame(array: xr.DataArray, frame_dims: tuple[str, ...]) -> int:
    n = prod(k for d, k in array.sizes.items() if d not in frame_dims)
    return int(n * array.dtype.itemsize)
