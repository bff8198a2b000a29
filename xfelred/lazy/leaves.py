"""The tasks at the bottom of a reduction: through a recipe, or block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Protocol, TypeAlias

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.kernels.memory import joined
from xfelred.lazy.blocks import chunks_of, in_blocks
from xfelred.lazy.dask_seam import GraphNode, Key, Task, TaskRef
from xfelred.lazy.evaluate import Memory, aligned, evaluate
from xfelred.lazy.indexing import Selector
from xfelred.lazy.nodes import Node, Selection, narrow, sizes
from xfelred.lazy.partition import WIDE, evenly, partition, regions
from xfelred.lazy.parts import Skeleton, attach, packed
from xfelred.reductions.reduction import Reduction, S

MEMORY_STATE = 4 << 20  # elements of a wide result of an array in memory, in one task


@dataclass(frozen=True)
class Pieces:
    """The states of one block of the result in pieces, which stay apart to the end.

    The result of each goes to its place in a block of `shape`, along axes that stay.
    """

    states: tuple[Any, ...]
    places: tuple[tuple[slice, ...], ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Leaves:
    """The tasks at the bottom of a reduction.

    `kept_chunks` are the blocks of the result, `n_parts` is the number of states that
    each of them is combined from; `make` returns the tasks for one state: the key of
    its task first, then whatever else that task needs.
    """

    kept_chunks: tuple[tuple[int, ...], ...]
    n_parts: int
    token: str
    make: LeafMaker
    dependencies: tuple[da.Array, ...] = ()
    # Of the blocks along the last axis, where they are not the one of all.
    reductions: tuple[Reduction[Any], ...] = ()


class LeafMaker(Protocol):
    """Make the task of part `part` of block `block` of the result."""

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        """Return the task under `key` and what else it needs."""


@dataclass(frozen=True)
class StreamMaker:
    """Make tasks that read, correct and reduce one region of a recipe."""

    reduction: Reduction[Any]
    nodes: tuple[Node, ...]
    chunks: dict[str, tuple[int, ...]]
    inside: dict[str, int]
    kept: tuple[str, ...]
    reduced: tuple[str, ...]
    name: str

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        """Return the task, and the constants that it shares with its neighbours."""
        region = self.region(block, part)
        nodes = [cut_to(node, region) for node in self.nodes]
        skeletons, refs, tasks = packed(nodes, self.name)
        cut: Cut = (self.inside, self.kept, self.reduced)
        task = self.task(key, block, (self.reduction, skeletons, cut, needs, *refs))
        return {**tasks, **task}

    def task(
        self, key: Key, block: tuple[int, ...], rest: tuple[Any, ...]
    ) -> dict[Key, GraphNode]:
        return {key: Task(key, stream_partial, *rest)}

    def region(self, block: tuple[int, ...], part: int) -> dict[str, Selector]:
        """Return what the task of a part of a block covers."""
        counts = [len(self.chunks[d]) for d in self.reduced]
        at: dict[str, Any] = dict(
            zip(self.reduced, np.unravel_index(part, counts), strict=True)
        )
        at |= dict(zip(self.kept, block, strict=True))
        return {d: chunk_slice(self.chunks[d], int(i)) for d, i in at.items()}

    def selection(self, block: tuple[int, ...]) -> dict[str, Selector]:
        """Return what all tasks of a block cover; an axis that it lacks is whole."""
        places = zip(self.kept, block, strict=True)
        return {d: chunk_slice(self.chunks[d], i) for d, i in places}


def cut_to(node: Node, region: Selection) -> Node:
    """Return the part of a node in a region, which may be that of a larger array."""
    own = {d: s for d, s in region.items() if d in node.dims}
    return narrow(node, own, named=False)[0]


def chunk_slice(chunks: tuple[int, ...], i: int) -> slice:
    start = sum(chunks[:i])
    return slice(start, start + chunks[i], 1)


@dataclass(frozen=True)
class Finished:
    """The results of a block that has no other part."""

    results: dict[str, NDArray[Any]]


# The lengths of the pieces of a task, the axes that stay, and those that do not; plain,
# as every task carries it.
Cut: TypeAlias = tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]


def stream_partial(
    reduction: Reduction[Any],
    skeletons: tuple[Skeleton, ...],
    cut: Cut,
    needs: frozenset[str],
    *constants: NDArray[Any],
) -> Any:
    nodes = tuple(attach(s, constants) for s in skeletons)
    pieces = list(states_of(reduction, nodes, cut, needs))
    if len(pieces) == 1:
        return pieces[0][1]
    places, states = zip(*pieces, strict=True)
    shape = sizes(nodes[0])
    return Pieces(states, places, tuple(shape[d] for d in cut[1]))


def states_of(
    reduction: Reduction[Any], nodes: tuple[Node, ...], cut: Cut, needs: frozenset[str]
) -> Iterator[tuple[tuple[slice, ...], Any]]:
    """Yield the place and the state of every piece along the axes that stay."""
    shape, dims = sizes(nodes[0]), nodes[0].dims
    inside, kept, reduced = cut
    axes = tuple(i for i, d in enumerate(dims) if d in reduced)
    spare: list[NDArray[Any]] = []
    for outer in regions(shape, inside, kept):
        mine = [cut_to(node, outer) for node in nodes]
        # `mine` begins where the region does, so that positions count from there.
        ranges = {d: slice(0, s.stop - s.start, 1) for d, s in outer.items()}
        # Anew for each part that stays: they know the nodes of this cut by identity.
        memory = Memory(spare)
        state: Any = None
        for inner in regions(shape, inside, reduced):
            region = ranges | inner
            blocks = [
                aligned(
                    evaluate(n, {d: region[d] for d in n.dims}, memory), n.dims, dims
                )
                for n in mine
            ]
            state = reduction.partial(state, blocks, axes, needs)
        spare = memory.buffers()
        if state is not None:
            yield tuple(outer[d] for d in kept), state


def combine(reduction: Reduction[Any], states: Sequence[Any]) -> Any:
    """Return one state for several of the same block of the result."""
    whole = [s for s in states if not isinstance(s, Pieces)]
    if whole:
        return reduction.combine(whole)
    pieces = [s for s in states if isinstance(s, Pieces)]
    parts = zip(*(p.states for p in pieces), strict=True)
    return replace(pieces[0], states=tuple(reduction.combine(p) for p in parts))


def finish(
    reduction: Reduction[S], state: S | Pieces | Finished, result: str
) -> NDArray[Any]:
    if isinstance(state, Finished):
        return state.results[result]
    if not isinstance(state, Pieces):
        return reduction.finish(state, result)
    found = (reduction.finish(s, result) for s in state.states)
    return joined(found, state.places, state.shape)


def stream_leaves(
    reduction: Reduction[Any],
    nodes: list[Node],
    kept: tuple[str, ...],
    reduced: tuple[str, ...],
    wide: int = 1,
) -> Leaves:
    """Return leaves that stream through a recipe; `wide` results for every pixel."""
    cut = partition(nodes[0], kept, wide)
    # In the order of the array, so that parts follow each other as shots do.
    reduced = tuple(d for d in nodes[0].dims if d in reduced)
    token = tokenize(reduction, [(n.token, n.dims) for n in nodes], cut.chunks, kept)
    make = StreamMaker(
        reduction,
        tuple(nodes),
        cut.chunks,
        cut.inside,
        kept,
        reduced,
        f"reduce-{token}",
    )
    n_parts = prod(len(cut.chunks[d]) for d in reduced)
    return Leaves(tuple(cut.chunks[d] for d in kept), n_parts, token, make)


@dataclass(frozen=True)
class BlockMaker:
    reduction: Reduction[Any]
    names: tuple[str, ...]
    arg_dims: tuple[tuple[str, ...], ...]
    numblocks: dict[str, int]
    kept: tuple[str, ...]
    reduced: tuple[str, ...]

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        counts = [self.numblocks[d] for d in self.reduced]
        at: dict[str, Any] = dict(
            zip(self.reduced, np.unravel_index(part, counts), strict=True)
        )
        at |= dict(zip(self.kept, block, strict=True))
        refs = (
            TaskRef((name, *(int(at[d]) for d in dims)))
            for name, dims in zip(self.names, self.arg_dims, strict=True)
        )
        task = Task(
            key,
            block_partial,
            self.reduction,
            self.arg_dims,
            self.reduced,
            needs,
            *refs,
        )
        return {key: task}


def block_partial(
    reduction: Reduction[Any],
    arg_dims: tuple[tuple[str, ...], ...],
    reduced: tuple[str, ...],
    needs: frozenset[str],
    *blocks: NDArray[Any],
) -> Any:
    dims = arg_dims[0]
    axes = tuple(i for i, d in enumerate(dims) if d in reduced)
    args = [aligned(b, d, dims) for b, d in zip(blocks, arg_dims, strict=True)]
    return reduction.partial(None, args, axes, needs)


def block_leaves(
    reduction: Reduction[Any],
    arrays: list[xr.DataArray],
    kept: tuple[str, ...],
    reduced: tuple[str, ...],
    wide: int = 1,
) -> Leaves:
    """Return leaves that reduce the blocks of ordinary dask arrays, or of memory."""
    chunks = chunks_of(arrays[0])
    if arrays[0].chunks is None and wide >= WIDE and len(kept) > 1:
        # Memory is read in any order: a few rows of all shots.
        state = wide * prod(arrays[0].sizes[d] for d in kept)
        rows = kept[-2]
        n = max(1, chunks[rows][0] // max(1, -(-state // MEMORY_STATE)))
        chunks[rows] = evenly(sum(chunks[rows]), n)
    reduced = tuple(str(d) for d in arrays[0].dims if d in reduced)
    lazy = [in_blocks(a.data, tuple(chunks[str(d)] for d in a.dims)) for a in arrays]
    arg_dims = tuple(tuple(str(d) for d in a.dims) for a in arrays)
    numblocks = {d: len(c) for d, c in chunks.items()}
    make = BlockMaker(
        reduction, tuple(a.name for a in lazy), arg_dims, numblocks, kept, reduced
    )
    token = tokenize(reduction, make.names, arg_dims, kept, reduced)
    n_parts = prod(numblocks[d] for d in reduced)
    kept_chunks = tuple(chunks[d] for d in kept)
    return Leaves(kept_chunks, n_parts, token, make, tuple(lazy))
