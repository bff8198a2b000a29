"""Reductions over frames: partial, combine, finish.

A reduction over an array with a recipe streams: one task reads, corrects and reduces
many frames of one module in sub-blocks of a few MiB. Any other dask array is reduced
block by block. How the work is cut depends on shapes only, and states are combined in
a fixed order, so that the result has the same bits on any scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import DTypeLike

from xfelred.lazy.blocks import node_of
from xfelred.lazy.dask_seam import (
    Alias,
    DataNode,
    GraphNode,
    HighLevelGraph,
    Key,
    Task,
    TaskList,
    TaskRef,
)
from xfelred.lazy.guarded import GuardedArray
from xfelred.lazy.in_turn import InTurn
from xfelred.lazy.leaves import (
    BlockMaker,
    End,
    Ends,
    Leaves,
    StreamMaker,
    between,
    block_leaves,
    combine,
    edges_of,
    finish,
    stream_leaves,
)
from xfelred.lazy.nodes import Const
from xfelred.lazy.rooms import ROOM, Place, Room, has_room
from xfelred.lazy.task_layer import TaskLayer
from xfelred.reductions.reduction import Reduction

# States that one task combines: as many wait in memory, and a tree of 4096 parts is
# four levels deep.
FAN_IN = 8


def reduce_frames(
    reduction: Reduction[Any],
    array: xr.DataArray,
    *companions: xr.DataArray,
    dims: Sequence[str],
    results: Mapping[str, DTypeLike],
    new_dims: Mapping[str, int] | None = None,
    only: Sequence[str] | None = None,
) -> dict[str, xr.DataArray]:
    """Reduce an array along `dims`, lazily, in one pass over the data.

    Parameters
    ----------
    reduction : Reduction
        What to do.
    array : DataArray
        Array in memory or lazy.
    *companions : DataArray
        Arrays whose dims are among those of `array`; the reduction gets their blocks
        with the same axes, of length 1 where they lack one.
    dims : sequence of str
        Dims to reduce.
    results : mapping of str to dtype
        Names of the results and their dtypes. Computing one of them does the work
        that this one needs; computing several at once shares it.
    new_dims : mapping of str to int, optional
        Dims, and their lengths, that every result has behind those that stay.
    only : sequence of str, optional
        Results to return, by default all. Calls with equal `results` share the work if
        their arrays are computed together.

    Returns
    -------
    dict of str to DataArray
        One array over the other dims and `new_dims` for every result, without
        attributes.
    """
    kept = tuple(str(d) for d in array.dims if d not in dims)
    wide = prod((new_dims or {}).values())
    # What is in memory needs no recipe, whose name is made from all of its values.
    known = array.chunks is not None
    nodes = [node_of(a) for a in (array, *companions)] if known else [None]
    leaves: Leaves
    if any(n is None for n in nodes) or isinstance(nodes[0], Const):
        leaves = block_leaves(reduction, [array, *companions], kept, tuple(dims), wide)
    else:
        some = [n for n in nodes if n]
        leaves = stream_leaves(reduction, some, kept, tuple(dims), wide)
    new = dict(new_dims or {})
    found = graph_of(reduction, leaves, array, kept, results, new)
    return {name: found[name] for name in results if only is None or name in only}


class StateLayer(TaskLayer):
    """The states of every block of the result, one key for each result that asks.

    A result that is gathered asks for its room, too: its blocks are put there, by the
    tasks at the bottom where one of these makes a whole block.
    """

    def __init__(
        self,
        name: str,
        reduction: Reduction[Any],
        leaves: Leaves,
        ends: Ends,
        new: tuple[int, ...] = (),
        in_turn: InTurn | None = None,
    ) -> None:
        super().__init__(name)
        self.reduction, self.leaves, self.ends = reduction, leaves, ends
        self.chunks = (*leaves.kept_chunks, *((n,) for n in new))
        self.in_turn = in_turn

    def get_output_keys(self) -> set[Any]:
        # dask 2025.4 asks no layer for what is not here.
        return self.block_keys() | {self.room_key(end) for end in self.ends}

    def room_key(self, end: End) -> Key:
        return (self.name, ROOM, end.label, self.chunks)

    def block_keys(self) -> set[Any]:
        return {(self.name, e.label, *b) for e in self.ends for b in self.blocks()}

    def blocks(self) -> Iterator[tuple[int, ...]]:
        return product(*(range(len(c)) for c in self.leaves.kept_chunks))

    def wanted(self, keys: set[Any]) -> dict[tuple[int, ...], set[str]]:
        """Return the labels that keys have of each block, in the order of blocks."""
        found: dict[tuple[int, ...], set[str]] = {}
        for _, label, *block in keys:
            if label != ROOM:
                found.setdefault(tuple(block), set()).add(label)
        # Sorted: sets have another order in every process, and graphs shall be equal.
        return dict(sorted(found.items()))

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        """Return leaves, combining tree, rooms and aliases for output keys."""
        rooms = {k[2]: k for k in sorted(k for k in keys if k[1] == ROOM)}
        tasks: dict[Key, GraphNode] = {
            key: Task(key, Room, key[3], End.of(label).dtype)
            for label, key in rooms.items()
        }
        wanted = self.wanted(keys)
        if self.in_turn is not None:
            tasks |= self.in_turn.tasks({b: names(w) for b, w in wanted.items()})
        for block, labels in wanted.items():
            mine = {r: key for r, key in rooms.items() if r in labels}
            top = self.top(tasks, block, sorted(labels), mine)
            for label in sorted(labels):
                key = (self.name, label, *block)
                tasks[key] = Alias(key, top)
        return tasks

    def top(
        self,
        tasks: dict[Key, GraphNode],
        block: tuple[int, ...],
        labels: list[str],
        rooms: dict[str, Key],
    ) -> Key:
        """Add the tasks for one block of the result; return the key of the last one."""
        make = self.leaves.make
        ends = tuple(map(End.of, labels))
        if self.in_turn is not None:
            return self.in_turn.state(block, names(labels))
        if self.leaves.n_parts > 1 or not isinstance(make, StreamMaker):
            return self.tree(tasks, block, names(labels))
        key = (f"{self.name}-finished", "+".join(labels), *block)
        tasks |= make.finished(key, block, ends, rooms)
        return key

    def tree(
        self, tasks: dict[Key, GraphNode], block: tuple[int, ...], needs: frozenset[str]
    ) -> Key:
        """Add the tasks for one block of the result; return the key of its state."""
        # What is needed is part of the key: a cluster may still hold a state that was
        # made for other results.
        label = "+".join(sorted(needs))
        level: list[Key] = []
        for part in range(self.leaves.n_parts):
            key = (f"{self.name}-partial", label, *block, part)
            tasks |= self.leaves.make(key, block, part, needs)
            level.append(key)
        return self.combining(tasks, (label, *block), level)

    def combining(
        self, tasks: dict[Key, GraphNode], place: tuple[Any, ...], level: list[Key]
    ) -> Key:
        """Add the tasks that combine the states of `level`; return the last key."""
        depth = 0
        while len(level) > 1:
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = []
            for i, group in enumerate(groups):
                key = (f"{self.name}-combine", *place, depth, i)
                refs = TaskList(*(TaskRef(k) for k in group))
                tasks[key] = Task(key, combine, self.reduction, refs)
                level.append(key)
            depth += 1
        return level[0]


def names(labels: Iterable[str]) -> frozenset[str]:
    return frozenset(End.of(label).name for label in labels)


class ResultLayer(TaskLayer):
    """The blocks of one result, and its room, which what gathers them asks for."""

    def __init__(self, name: str, states: StateLayer, end: End) -> None:
        super().__init__(name)
        self.states, self.end, self.chunks = states, end, states.chunks
        self.room = (name, ROOM) if has_room(self.chunks, end.dtype) else None

    @cached_property
    def edges(self) -> list[list[int]]:
        return [edges_of(c) for c in self.chunks]

    def get_output_keys(self) -> set[Any]:
        return self.block_keys() | ({self.room} if self.room else set())

    def block_keys(self) -> set[Any]:
        blocks = product(*(range(len(c)) for c in self.chunks))
        return {(self.name, *block) for block in blocks}

    def materialized(self) -> dict[Key, GraphNode]:
        if self.tasks is None:
            # A graph that is not cut has no room, which what gathers asks for.
            none = {self.room: DataNode(self.room, None)} if self.room else {}
            self.tasks = super().materialized() | none
        return self.tasks

    def make(self, keys: set[Any]) -> dict[Key, GraphNode]:
        below, n = self.states, len(self.states.leaves.kept_chunks)
        tasks: dict[Key, GraphNode] = {}
        rooms: tuple[TaskRef, ...] = ()
        if self.room in keys:
            key = below.room_key(self.end)
            tasks[self.room] = Alias(self.room, key)
            rooms = (TaskRef(key),)
        for key in sorted(keys - {self.room}):
            state = TaskRef((below.name, self.end.label, *key[1 : 1 + n]))
            place = (place_of(self.edges, key[1:]),) if rooms else ()
            rest = state, self.end, *rooms, *place
            each = below.leaves.reductions
            own = each[key[1]] if each else below.reduction
            tasks[key] = Task(key, finish, own, *rest)
        return tasks


def place_of(edges: Sequence[list[int]], block: tuple[int, ...]) -> Place:
    return tuple(between(e, i) for e, i in zip(edges, block, strict=True))


def graph_of(
    reduction: Reduction[Any],
    leaves: Leaves,
    array: xr.DataArray,
    kept: tuple[str, ...],
    results: Mapping[str, DTypeLike],
    new_dims: dict[str, int],
) -> dict[str, xr.DataArray]:
    ends = tuple(End(name, np.dtype(kind)) for name, kind in results.items())
    # Graphs are joined by the names of layers: other results are another layer.
    token = tokenize(leaves.token, sorted(end.label for end in ends))
    states = f"{type(reduction).__name__.lower()}-{token}"
    in_turn: InTurn | None = None
    if isinstance(leaves.make, BlockMaker) and leaves.in_turn:
        rest = leaves.dependencies, leaves.n_parts, leaves.kept_chunks
        in_turn = InTurn(states, leaves.make, *rest)
    new = tuple(new_dims.values())
    layer = StateLayer(states, reduction, leaves, ends, new, in_turn)
    below = HighLevelGraph.from_collections(states, layer, list(leaves.dependencies))
    coords = {
        k: c.variable for k, c in array.coords.items() if set(c.dims) <= set(kept)
    }
    out = {}
    for end in ends:
        name = f"{end.name}-{tokenize(token, end.label)}"
        blocks = ResultLayer(name, layer, end)
        graph = HighLevelGraph(
            {**below.layers, name: blocks}, {**below.dependencies, name: {states}}
        )
        data = GuardedArray(graph, name, blocks.chunks, dtype=end.dtype)
        dims = (*kept, *new_dims)
        out[end.name] = xr.DataArray(data, dims=dims, coords=coords, name=end.name)
    return out
