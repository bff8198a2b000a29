"""Blocks of ordinary dask arrays that are added to one large state, one after another.

Bins have many results for each pixel. States of several blocks that wait to be combined
would be many times the result, and a scheduler that makes blocks faster than they are
added would hold the run. So a block is made only when the one some turns before it has
been added, and it is added in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
from numpy.typing import NDArray

from xfelred.errors import SchedulerError
from xfelred.lazy.dask_seam import (
    GraphNode,
    Key,
    Task,
    TaskList,
    TaskRef,
    execute_graph,
    tasks_below,
)
from xfelred.lazy.evaluate import aligned
from xfelred.lazy.leaves import BlockMaker, Pieces, chunk_slice
from xfelred.lazy.partition import evenly

TILES = 4  # of a state, to which threads can add side by side; changes no bits
TURNS = 8  # blocks that may be made before they can be added


class Running:
    """A state to which blocks are added in its own memory, and how many were."""

    def __init__(self, state: Any, added: int) -> None:
        self.state, self.added = state, added


Block = tuple[int, ...]  # of the result


@dataclass(frozen=True)
class InTurn:
    """Tasks that add one block of `arrays` after the other to one state.

    A block of the result has `shape`; it is cut into tiles along an axis that stays.
    """

    name: str
    blocks: BlockMaker
    arrays: tuple[da.Array, ...]
    n_parts: int
    kept_chunks: tuple[tuple[int, ...], ...]

    def shape(self, block: Block) -> tuple[int, ...]:
        return tuple(c[i] for c, i in zip(self.kept_chunks, block, strict=True))

    def tiles(self, block: Block) -> tuple[int, list[slice]]:
        """Return the axis that a block of the result is cut along, and the tiles."""
        shape = self.shape(block)
        axis = next((i for i, n in enumerate(shape) if n > 1), 0)
        cut = evenly(shape[axis], -(-shape[axis] // TILES))
        return axis, [chunk_slice(cut, i) for i in range(len(cut))]

    def key(self, what: str, needs: frozenset[str], *place: int) -> Key:
        # A cluster may still hold a state that was made for other results.
        return (f"{self.name}-{what}", "+".join(sorted(needs)), *place)

    def state(self, block: Block, needs: frozenset[str]) -> Key:
        """Return the key of the state of one block of the result."""
        return self.key("tiled", needs, *block)

    def tasks(self, wanted: Mapping[Block, frozenset[str]]) -> dict[Key, GraphNode]:
        """Return all tasks for the states of blocks of the result."""
        steps = [(b, part) for b in wanted for part in range(self.n_parts)]
        keys = [[r.key for r in self.blocks.refs(*step)] for step in steps]
        own, tasks = taken_apart(tasks_below(self.arrays, keys), keys)
        turns: list[Key] = []
        for (block, part), inner, out in zip(steps, own, keys, strict=True):
            needs = wanted[block]
            used = {d for task in inner.values() for d in task.dependencies}
            outer = sorted((used | set(out)) - inner.keys(), key=str)
            turn = TaskRef(turns[-TURNS]) if len(turns) >= TURNS else None
            made = self.key("made", needs, *block, part)
            given = TaskList(*map(TaskRef, outer))
            tasks[made] = Task(made, blocks_of, inner, out, outer, given, turn)
            turns.append(self.key("turn", needs, *block, part))
            tasks |= self.links(block, part, needs, turns[-1])
        for block, needs in wanted.items():
            key, (axis, tiles) = self.state(block, needs), self.tiles(block)
            last = (
                TaskRef(self.key("added", needs, *block, self.n_parts - 1, i))
                for i in range(len(tiles))
            )
            tasks[key] = Task(key, tiled, tiles, axis, self.shape(block), *last)
        return tasks

    def links(
        self, block: Block, part: int, needs: frozenset[str], turn: Key
    ) -> dict[Key, GraphNode]:
        """Return the tasks that add one block to all tiles, and `turn`, their end."""
        tasks: dict[Key, GraphNode] = {}
        made = TaskRef(self.key("made", needs, *block, part))
        what = self.blocks, needs
        axis, tiles = self.tiles(block)
        dim, signs = self.blocks.kept[axis], []
        for i, tile in enumerate(tiles):
            key = self.key("added", needs, *block, part, i)
            before = self.key("added", needs, *block, part - 1, i)
            state = TaskRef(before) if part else None
            tasks[key] = Task(key, add_block, state, part, *what, dim, tile, made)
            # Apart, so that no state travels to where its end is told.
            signs.append(self.key("sign", needs, *block, part, i))
            tasks[signs[-1]] = Task(signs[-1], sign, TaskRef(key))
        tasks[turn] = Task(turn, sign, *map(TaskRef, signs))
        return tasks


def taken_apart(
    graph: Mapping[Key, GraphNode], wanted: Sequence[Sequence[Key]]
) -> tuple[list[dict[Key, GraphNode]], dict[Key, GraphNode]]:
    """Return (the tasks that only one step needs, for every step; all others)."""
    owner: dict[Key, int] = {}
    shared = -1
    for step, keys in enumerate(wanted):
        todo = [(key, step) for key in keys]
        while todo:
            key, by = todo.pop()
            before = owner.get(key)
            if key not in graph or before in (by, shared):
                continue
            # What another step has, and all below it, is of both.
            owner[key] = by if before is None else shared
            todo += [(d, owner[key]) for d in graph[key].dependencies]
    own: list[dict[Key, GraphNode]] = [{} for _ in wanted]
    common: dict[Key, GraphNode] = {}
    for key, by in owner.items():
        (common if by == shared else own[by])[key] = graph[key]
    return own, common


def blocks_of(
    inner: dict[Key, GraphNode],
    keys: Sequence[Key],
    outer: Sequence[Key],
    given: Sequence[Any],
    _turn: None,
) -> list[NDArray[Any]]:
    """Work out the blocks of one step in this thread."""
    known = execute_graph(inner, dict(zip(outer, given, strict=True)), set(keys))
    return [known[key] for key in keys]


def add_block(
    running: Running | None,
    number: int,
    make: BlockMaker,
    needs: frozenset[str],
    dim: str,
    tile: slice,
    blocks: Sequence[NDArray[Any]],
) -> Running:
    """Return the state with the tile of one more block, in the memory of the state."""
    dims = make.arg_dims[0]
    axes = tuple(i for i, d in enumerate(dims) if d in make.reduced)
    args = []
    for b, d in zip(blocks, make.arg_dims, strict=True):
        part = tuple(tile if x == dim and x in d else slice(None) for x in dims)
        args.append(aligned(b, d, dims)[part])
    state = None
    if running is not None:
        # A task may be run again after its worker was lost, with what it has changed.
        if running.added != number:
            raise SchedulerError(
                f"block {number} was to be added to a sum of {running.added} blocks:"
                " a part of this computation was repeated. Compute it again"
            )
        state, running.added = running.state, -1
    return Running(make.reduction.partial(state, args, axes, needs), number + 1)


def sign(*_: object) -> None:
    """Tell that something was done; nothing of it needs to travel."""


def tiled(
    tiles: Sequence[slice], axis: int, shape: tuple[int, ...], *parts: Running
) -> Pieces:
    """Return the state of a block of the result in its tiles."""
    places = tuple(
        tuple(t if i == axis else slice(None) for i in range(len(shape))) for t in tiles
    )
    return Pieces(tuple(p.state for p in parts), places, shape)
