"""Frames that a task asks for, anywhere in the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, Protocol

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.lazy.array import PlannedArray
from xfelred.lazy.blocks import chunks_of, in_blocks, node_of
from xfelred.lazy.dask_seam import GraphNode, Key, Task, TaskList, TaskRef
from xfelred.lazy.evaluate import Memory, aligned, evaluate
from xfelred.lazy.nodes import Node, narrow, pendings, sizes, sources, whole_dims
from xfelred.lazy.partition import SUB_BLOCK, evenly
from xfelred.lazy.parts import Skeleton, attach, packed

HELD = 32 << 20  # bytes of frames that a task aims to hold


class Frames(Protocol):
    """Where the frames of a part come from."""

    @property
    def token(self) -> str:
        """Identity of the frames."""

    @property
    def dependencies(self) -> tuple[da.Array, ...]:
        """Arrays whose tasks are needed."""

    def tasks(
        self, name: str, part: int, wanted: NDArray[np.int64]
    ) -> tuple[dict[Key, GraphNode], Any, list[Any]]:
        """Return (tasks, function, its arguments): the frames at sorted positions."""


@dataclass(frozen=True)
class RecipeFrames:
    node: Node
    frame_dims: tuple[str, ...]
    token: str
    dependencies: tuple[da.Array, ...] = ()

    def tasks(
        self, name: str, part: int, wanted: NDArray[np.int64]
    ) -> tuple[dict[Key, GraphNode], Any, list[Any]]:
        """Return the tasks that hold constants, and how to read."""
        first = self.frame_dims[0]
        rest = [sizes(self.node)[d] for d in self.frame_dims[1:]]
        outer, inner = np.divmod(wanted, max(prod(rest), 1))
        taken, row = np.unique(outer, return_inverse=True)
        node, _ = narrow(self.node, {first: selector(taken)}, named=False)
        (skeleton,), refs, tasks = packed([node], name)
        at = row * max(prod(rest), 1) + inner
        return tasks, read_frames, [skeleton, self.frame_dims, at, *refs]


def selector(positions: NDArray[np.int64]) -> slice | NDArray[np.int64]:
    """Return sorted positions as a slice where they follow each other."""
    if len(positions) and positions[-1] - positions[0] + 1 == len(positions):
        return slice(int(positions[0]), int(positions[-1]) + 1, 1)
    return positions


def read_frames(
    skeleton: Skeleton,
    frame_dims: tuple[str, ...],
    wanted: NDArray[np.int64],
    *constants: NDArray[Any],
) -> NDArray[Any]:
    """Read and compute frames; return them one after the other (frame, ...)."""
    node = attach(skeleton, constants)
    n = sizes(node)
    other = tuple(d for d in node.dims if d not in frame_dims)
    out = np.empty((len(wanted), *(n[d] for d in other)), node.dtype)
    # Frames are read together along the last dim that has more than one.
    along = next((d for d in reversed(frame_dims) if n[d] > 1), frame_dims[0])
    width = n[along] if along != frame_dims[0] else 0
    step = frames_of_size(node, frame_dims, SUB_BLOCK)
    # Buffers and plans of the rows are kept from run to run.
    memory = Memory()
    for start, stop in runs(wanted, width, step):
        place = np.unravel_index(int(wanted[start]), [n[d] for d in frame_dims])
        region = {d: slice(0, n[d], 1) for d in other}
        for d, i in zip(frame_dims, place, strict=True):
            length = stop - start if d == along else 1
            region[d] = slice(int(i), int(i) + length, 1)
        block = evaluate(node, region, memory)
        block = aligned(block, node.dims, (*frame_dims, *other))
        out[start:stop] = block.reshape(stop - start, *out.shape[1:])
    return out


def runs(
    wanted: NDArray[np.int64], width: int, longest: int
) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of frames that follow each other.

    They do so within rows of `width` frames, or all along if that is 0.
    """
    breaks = np.diff(wanted) != 1
    if width:
        breaks |= wanted[1:] % width == 0
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(wanted)]
    for start, stop in pairwise(edges):
        for at in range(start, stop, longest):
            yield at, min(at + longest, stop)


def frames_of_size(node: Node, frame_dims: tuple[str, ...], size: int) -> int:
    """Return how many frames are read from about so many bytes."""
    n_frames = prod(sizes(node)[d] for d in frame_dims)
    total = sum(prod(s.shape) * s.dtype.itemsize for s in sources(node))
    return max(1, int(size * n_frames / max(total, 1)))


@dataclass(frozen=True)
class BlockFrames:
    array: da.Array
    n_frame_dims: int
    token: str

    @property
    def dependencies(self) -> tuple[da.Array, ...]:
        return (self.array,)

    def tasks(
        self, name: str, part: int, wanted: NDArray[np.int64]
    ) -> tuple[dict[Key, GraphNode], Any, list[Any]]:
        """Return tasks that take the frames out of blocks, and how to join them."""
        number, local = self.place(wanted)
        tasks: dict[Key, GraphNode] = {}
        refs, places = [], []
        for block in np.unique(number):
            here = np.flatnonzero(number == block)
            at = np.unravel_index(int(block), self.array.numblocks[: self.n_frame_dims])
            rest = (0,) * (self.array.ndim - self.n_frame_dims)
            source = TaskRef((self.array.name, *(int(i) for i in at), *rest))
            key = (f"{name}-take", part, int(block))
            tasks[key] = Task(key, take, source, self.n_frame_dims, local[here])
            refs.append(TaskRef(key))
            places.append(here)
        return tasks, joined, [tuple(places), len(wanted), TaskList(*refs)]

    def place(
        self, wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the number of the block of every frame, and its position there."""
        chunks = self.array.chunks[: self.n_frame_dims]
        at = np.unravel_index(wanted, [sum(c) for c in chunks])
        number = np.zeros(len(wanted), np.int64)
        local = np.zeros(len(wanted), np.int64)
        for i, c in zip(at, chunks, strict=True):
            edges = np.concatenate([[0], np.cumsum(c)])
            block = np.searchsorted(edges, i, side="right") - 1
            number = number * len(c) + block
            local = local * np.asarray(c)[block] + i - edges[block]
        return number, local


def take(block: NDArray[Any], n_frame_dims: int, at: NDArray[np.int64]) -> NDArray[Any]:
    """Return some frames of a block (frame, ...); all of them without a copy."""
    flat = block.reshape(-1, *block.shape[n_frame_dims:])
    if len(at) == len(flat):
        return flat
    return np.ascontiguousarray(flat[at])


def joined(
    places: tuple[NDArray[np.int64], ...], n: int, pieces: Sequence[NDArray[Any]]
) -> NDArray[Any]:
    """Return the frames of several blocks in one array."""
    if len(pieces) == 1:
        return pieces[0]
    out = np.empty((n, *pieces[0].shape[1:]), pieces[0].dtype)
    for at, piece in zip(places, pieces, strict=True):
        out[at] = piece
    return out


def frames_in(array: xr.DataArray, frame_dims: tuple[str, ...]) -> Frames:
    """Return where the frames of an array come from; frame dims are its first ones."""
    dims = tuple(str(d) for d in array.dims)
    node = node_of(array) if isinstance(array.data, PlannedArray) else None
    if node is not None and sources(node) and not pendings(node):
        uncut = set(frame_dims) & whole_dims(node)
        _, rest = narrow(node, {frame_dims[0]: slice(0, 0, 1)}, named=False)
        if not uncut and not rest:
            return RecipeFrames(node, frame_dims, tokenize(node.token, dims))
    chunks = chunks_of(array)
    if array.chunks is None:
        size = max(prod(array.sizes[d] for d in dims if d not in frame_dims), 1)
        step = max(1, HELD // (size * array.dtype.itemsize))
        chunks[frame_dims[0]] = evenly(array.sizes[frame_dims[0]], step)
    whole = tuple(chunks[d] if d in frame_dims else (array.sizes[d],) for d in dims)
    lazy = in_blocks(array.data, whole)
    return BlockFrames(lazy, len(frame_dims), tokenize(lazy.name, dims))
