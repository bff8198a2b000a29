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
    MaterializedLayer,
    Task,
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
from xfelred.reductions.reduction import Reduction, S

Pairs = NDArray[np.int64]  # (pair, 2 or more): positions of two frames, then anything
PairKernel = Callable[..., NDArray[Any]]
Read = Callable[..., NDArray[Any]]  # of the arguments that `Frames.tasks` returns


def parts_of(frames: Frames, pairs: Pairs, frame_bytes: int) -> list[slice]:
    """Return which pairs each task takes; depends on shapes and pairs only."""
    per_part = max(1, HELD // max(frame_bytes, 1))
    if isinstance(frames, RecipeFrames):
        per_part = min(per_part, frames_of_size(frames.node, frames.frame_dims, TASK))
    per_part = max(per_part, ceil(len(pairs) / MAX_TASKS), 1)
    edges = {0, len(pairs)}
    if isinstance(frames, BlockFrames):
        first, within = blocks_of(frames, pairs)
        block = np.where(within, first, -1)
        new = np.diff(block) != 0
        edges |= set((np.flatnonzero(new) + 1).tolist())
    ends = sorted(edges)
    return [
        slice(i, min(i + per_part, stop))
        for start, stop in pairwise(ends)
        for i in range(start, stop, per_part)
    ]


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
class PairMaker:
    reduction: Reduction[Any]
    frames: Frames
    pairs: Pairs
    parts: tuple[slice, ...]
    name: str

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        wanted, pairs = renumbered(self.pairs[self.parts[part]])
        tasks, read, args = self.frames.tasks(self.name, part, wanted)
        tasks[key] = Task(key, reduce_part, self.reduction, pairs, needs, read, *args)
        return tasks


def renumbered(pairs: Pairs) -> tuple[NDArray[np.int64], Pairs]:
    """Return the frames that pairs need, sorted, and the pairs by position in them."""
    wanted, position = np.unique(pairs[:, :2], return_inverse=True)
    out = pairs.copy()
    out[:, :2] = position.reshape(-1, 2)
    return wanted, out


def reduce_part(
    reduction: Reduction[S],
    pairs: Pairs,
    needs: frozenset[str],
    read: Read,
    *args: object,
) -> S:
    return reduction.partial(None, [read(*args), pairs], (0,), needs)


def map_part(
    kernel: PairKernel,
    params: dict[str, object],
    pairs: Pairs,
    read: Read,
    *args: object,
) -> NDArray[Any]:
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
    parts = tuple(parts_of(frames, pairs, bytes_of_frame(array, frame_dims)))
    token = tokenize(reduction, frames.token, pairs, parts, kept)
    make = PairMaker(reduction, frames, pairs, parts, f"pairs-{token}")
    chunks = tuple((array.sizes[d],) for d in kept)
    leaves = Leaves(chunks, len(parts), token, make, frames.dependencies)
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
    frames = frames_in(array, frame_dims)
    parts = parts_of(frames, pairs, bytes_of_frame(array, frame_dims))
    label = f"{kernel.__module__}.{kernel.__qualname__}"
    token = tokenize(label, frames.token, pairs, parts, out_dims, params)
    name = f"{kernel.__name__}-{token}"
    tasks: dict[Key, GraphNode] = {}
    for number, part in enumerate(parts):
        wanted, own = renumbered(pairs[part])
        more, read, args = frames.tasks(name, number, wanted)
        key = (name, number, *((0,) * len(out_dims)))
        tasks |= more
        tasks[key] = Task(key, map_part, kernel, params, own, read, *args)
    graph = HighLevelGraph.from_collections(
        name, MaterializedLayer(tasks), list(frames.dependencies)
    )
    lengths = tuple(p.stop - p.start for p in parts)
    chunks = (lengths, *((n,) for n in out_dims.values()))
    data = GuardedArray(graph, name, chunks, dtype=np.dtype(dtype))
    return xr.DataArray(data, dims=("pair", *out_dims))


def bytes_of_frame(array: xr.DataArray, frame_dims: tuple[str, ...]) -> int:
    n = prod(k for d, k in array.sizes.items() if d not in frame_dims)
    return int(n * array.dtype.itemsize)
