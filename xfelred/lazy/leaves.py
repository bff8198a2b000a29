"""The tasks at the bottom of a reduction: through a recipe, or block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple, Protocol

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.kernels.memory import Assembly, as_dtype
from xfelred.lazy.blocks import chunks_of, in_blocks
from xfelred.lazy.dask_seam import GraphNode, Key, Task, TaskList, TaskRef
from xfelred.lazy.evaluate import Memory, aligned, evaluate
from xfelred.lazy.indexing import Selector
from xfelred.lazy.nodes import Node, Selection, narrow, pendings, sizes
from xfelred.lazy.partition import WIDE, evenly, partition, regions
from xfelred.lazy.parts import Skeleton, attach, packed
from xfelred.lazy.rooms import Place, Room
from xfelred.reductions.reduction import Reduction, Reusable, S

MEMORY_STATE = 4 << 20  # elements of a wide result of an array in memory, in one task


class End(NamedTuple):
    """One result of a reduction: its name and its dtype."""

    name: str
    dtype: np.dtype[Any]

    @property
    def label(self) -> str:
        """What keys of tasks say: results of one name may differ in their dtype."""
        return f"{self.name}:{self.dtype.str}"

    @staticmethod
    def of(label: str) -> End:
        name, _, kind = label.partition(":")
        return End(name, np.dtype(kind))


Ends = tuple[End, ...]


@dataclass(frozen=True)
class Pieces:
    """The states of one block of the result in pieces, which stay apart to the end.

    The result of each goes to its place in a block of `shape`, along axes that stay.
    """

    states: tuple[Any, ...]
    places: tuple[tuple[slice, ...], ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Finished:
    """The results of one block, of which no more state is needed."""

    results: dict[End, NDArray[Any]]


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
    # Of the blocks along the first axis, where they are not the one of all.
    reductions: tuple[Reduction[Any], ...] = ()
    in_turn: bool = False  # blocks are added to one state


class LeafMaker(Protocol):
    """Make the task of part `part` of block `block` of the result."""

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        """Return the task under `key` and what else it needs."""


@dataclass(frozen=True)
class Stream:
    """How the tasks of a reduction go through their recipes.

    `first` are the lengths of axes that results have before those that stay.
    """

    reduction: Reduction[Any]
    inside: dict[str, int]
    kept: tuple[str, ...]
    reduced: tuple[str, ...]
    first: tuple[int, ...] = ()

    def shape(self, node: Node) -> tuple[int, ...]:
        """Return the lengths of the leading axes of the results of a recipe."""
        return *self.first, *(sizes(node)[d] for d in self.kept)

    def states(
        self, nodes: tuple[Node, ...], needs: frozenset[str], *, once: bool
    ) -> Iterator[tuple[Place, Any]]:
        """Yield (place, state) of one piece of the block of the result after another.

        `once`: who takes a state is done with it before taking the next one, so that
        the same memory is used again.
        """
        shape, dims = sizes(nodes[0]), nodes[0].dims
        axes = tuple(i for i, d in enumerate(dims) if d in self.reduced)
        again = self.reduction if isinstance(self.reduction, Reusable) else None
        whole = tuple(slice(0, n, 1) for n in self.first)
        memory = Memory()
        state: Any = None
        last: tuple[int, ...] | None = None
        for outer in regions(shape, self.inside, self.kept):
            length = tuple(s.stop - s.start for s in outer.values())
            same, last = length == last, length
            state = again.cleared(state) if once and again and same else None
            for inner in regions(shape, self.inside, self.reduced):
                region = outer | inner
                blocks = [
                    aligned(
                        evaluate(n, {d: region[d] for d in n.dims}, memory),
                        n.dims,
                        dims,
                    )
                    for n in nodes
                ]
                state = self.reduction.partial(state, blocks, axes, needs)
            if state is not None:
                yield (*whole, *(outer[d] for d in self.kept)), state


@dataclass(frozen=True)
class StreamMaker:
    """Make tasks that read, correct and reduce one region of a recipe."""

    stream: Stream
    nodes: tuple[Node, ...]
    chunks: dict[str, tuple[int, ...]]
    name: str

    @cached_property
    def edges(self) -> dict[str, list[int]]:
        return {d: edges_of(c) for d, c in self.chunks.items()}

    def __call__(
        self, key: Key, block: tuple[int, ...], part: int, needs: frozenset[str]
    ) -> dict[Key, GraphNode]:
        """Return the task, and the constants that it shares with its neighbours."""
        task, tasks = self.task(key, stream_partial, block, part, (needs,))
        return {**tasks, key: task}

    def finished(
        self, key: Key, block: tuple[int, ...], ends: Ends, rooms: Mapping[str, Key]
    ) -> dict[Key, GraphNode]:
        """Return the task that makes the results of a block of one part.

        They are finished piece by piece, while their sums are in the cache.
        """
        refs = TaskList(
            *(TaskRef(rooms[e.label]) if e.label in rooms else None for e in ends)
        )
        rest = (ends, refs, self.place(block)) if rooms else (ends, (), ())
        task, tasks = self.task(key, stream_results, block, 0, rest)
        return {**tasks, key: task}

    def task(
        self,
        key: Key,
        function: Callable[..., Any],
        block: tuple[int, ...],
        part: int,
        rest: tuple[Any, ...],
    ) -> tuple[Task, dict[Key, GraphNode]]:
        """Return a task for one region, and the tasks of the constants it needs."""
        region = self.region(block, part)
        cut = [cut_to(node, region) for node in self.nodes]
        skeletons, refs, tasks = packed(cut, self.name)
        stream = self.stream_of(block)
        return Task(key, function, stream, skeletons, *rest, *refs), tasks

    def stream_of(self, block: tuple[int, ...]) -> Stream:
        return self.stream

    def place(self, block: tuple[int, ...]) -> Place:
        """Return where a block lies in the result."""
        places = zip(self.stream.kept, block, strict=True)
        return tuple(between(self.edges[d], i) for d, i in places)

    def region(self, block: tuple[int, ...], part: int) -> dict[str, Selector]:
        """Return what the task of a part of a block covers."""
        counts = [len(self.chunks[d]) for d in self.stream.reduced]
        at: dict[str, Any] = dict(
            zip(self.stream.reduced, np.unravel_index(part, counts), strict=True)
        )
        at |= dict(zip(self.stream.kept, block, strict=True))
        return {d: between(self.edges[d], int(i)) for d, i in at.items()}

    def selection(self, block: tuple[int, ...]) -> dict[str, Selector]:
        """Return what all tasks of a block cover; an axis that it lacks is whole."""
        return dict(zip(self.stream.kept, self.place(block), strict=True))


def cut_to(node: Node, region: Selection) -> Node:
    """Return the part of a node in a region, which may be that of a larger array."""
    own = {d: s for d, s in region.items() if d in node.dims}
    return narrow(node, own, named=False)[0]


def chunk_slice(chunks: tuple[int, ...], i: int) -> slice:
    start = sum(chunks[:i])
    return slice(start, start + chunks[i], 1)


def edges_of(chunks: tuple[int, ...]) -> list[int]:
    """Return where chunks start, and the end: of many, each would add up the others."""
    return [0, *accumulate(chunks)]


def between(edges: Sequence[int], i: int) -> slice:
    return slice(edges[i], edges[i + 1], 1)


def stream_partial(
    stream: Stream,
    skeletons: tuple[Skeleton, ...],
    needs: frozenset[str],
    *constants: NDArray[Any],
) -> Any:
    nodes = tuple(attach(s, constants) for s in skeletons)
    pairs = list(stream.states(nodes, needs, once=False))
    if len(pairs) == 1:
        return pairs[0][1]
    places, states = zip(*pairs, strict=True)
    return Pieces(states, places, stream.shape(nodes[0]))


def stream_results(
    stream: Stream,
    skeletons: tuple[Skeleton, ...],
    ends: Ends,
    rooms: Sequence[Room | None],
    place: Place,
    *constants: NDArray[Any],
) -> Finished:
    """Do as `stream_partial` and `finish` do, piece by piece into the result."""
    nodes = tuple(attach(s, constants) for s in skeletons)
    shape = stream.shape(nodes[0])
    found = {end: Assembly(shape, end.dtype) for end in ends}
    for end, room in zip(ends, rooms, strict=False):
        found[end].out = room.at(place) if room else None
    needs = frozenset(end.name for end in ends)
    for at, state in stream.states(nodes, needs, once=True):
        for end, whole in found.items():
            whole.put(at, stream.reduction.finish(state, end.name))
    return Finished({end: whole.whole() for end, whole in found.items()})


def combine(reduction: Reduction[Any], states: Sequence[Any]) -> Any:
    """Return one state for several of the same block of the result."""
    whole = [s for s in states if not isinstance(s, Pieces)]
    if whole:
        return reduction.combine(whole)
    pieces = [s for s in states if isinstance(s, Pieces)]
    parts = zip(*(p.states for p in pieces), strict=True)
    return replace(pieces[0], states=tuple(reduction.combine(p) for p in parts))


def finish(
    reduction: Reduction[S],
    state: S | Pieces | Finished,
    end: End,
    room: Room | None = None,
    place: Place = (),
) -> NDArray[Any]:
    name, dtype = end
    if isinstance(state, Finished):
        return state.results[end]
    out = None if room is None else room.at(place)
    if isinstance(state, Pieces):
        whole = Assembly(state.shape, dtype, out)
        for at, piece in zip(state.places, state.states, strict=True):
            whole.put(at, reduction.finish(piece, name))
        return whole.whole()
    found = reduction.finish(state, name)
    if out is None:
        return as_dtype(found, dtype)
    out[...] = found
    return out


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
    stream = Stream(reduction, cut.inside, kept, reduced)
    make = StreamMaker(stream, tuple(nodes), cut.chunks, f"reduce-{token}")
    n_parts = prod(len(cut.chunks[d]) for d in reduced)
    first = tuple(p.array for node in nodes for p in pendings(node))
    return Leaves(tuple(cut.chunks[d] for d in kept), n_parts, token, make, first)


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
        what = self.reduction, self.arg_dims, self.reduced, needs
        return {key: Task(key, block_partial, *what, *self.refs(block, part))}

    def refs(self, block: tuple[int, ...], part: int) -> list[TaskRef]:
        """Return the blocks of the arrays that are reduced together."""
        counts = [self.numblocks[d] for d in self.reduced]
        at: dict[str, Any] = dict(
            zip(self.reduced, np.unravel_index(part, counts), strict=True)
        )
        at |= dict(zip(self.kept, block, strict=True))
        return [
            TaskRef((name, *(int(at[d]) for d in dims)))
            for name, dims in zip(self.names, self.arg_dims, strict=True)
        ]


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
