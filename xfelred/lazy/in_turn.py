"""Blocks of ordinary dask arrays that are added to one large state, one after another.

Bins have many results for each pixel. States of several blocks that wait to be combined
would be many times the result, and a scheduler that makes blocks faster than they are
added would hold the run. So a block is made only when the one some turns before it has
been added, and it is added in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, cast

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
from xfelred.reductions.reduction import BinReduction

TILES = 4  # of a state, to which threads can add side by side; changes no bits
TURNS = 8  # batches, or two rounds, that may be made before they can be added
BATCH = 32 << 20  # bytes of blocks that one task makes, if they are smaller
AT_ONCE = 8  # times as many bytes are added in one round, if blocks are not larger


class Running:
    """A state to which blocks are added in its own memory, and how many times."""

    def __init__(self, state: Any, added: int) -> None:
        self.state, self.added = state, added


Block = tuple[int, ...]  # of the result


@dataclass(frozen=True)
class InTurn:
    """Tasks that add the blocks of `arrays` one after the other to one state.

    A block of the result has the lengths of bins and of axes that stay; it is cut into
    tiles along one of these.
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
        axis = next((i for i, n in enumerate(shape) if n > 1 and i), 1)
        cut = evenly(shape[axis], -(-shape[axis] // TILES))
        return axis, [chunk_slice(cut, i) for i in range(len(cut))]

    @cached_property
    def batches(self) -> list[range]:
        """The parts that one task makes each."""
        return in_ranges(self.n_parts, BATCH // self.bytes_of_part)

    @cached_property
    def rounds(self) -> list[range]:
        """The batches for which the sums pass through memory once."""
        n = AT_ONCE * BATCH // (len(self.batches[0]) * self.bytes_of_part)
        return in_ranges(len(self.batches), n)

    @property
    def bytes_of_part(self) -> int:
        array = self.arrays[0]
        return max(1, prod(map(max, array.chunks)) * array.dtype.itemsize)

    def n_tasks(self, block: Block) -> int:
        """Return how many tasks there are for a block of the result."""
        n_tiles = len(self.tiles(block)[1])
        # To add to each tile and to tell so, and their end; and the end of all.
        return len(self.batches) + len(self.rounds) * (2 * n_tiles + 1) + 1

    def key(self, what: str, needs: frozenset[str], *place: int) -> Key:
        # A cluster may still hold a state that was made for other results.
        return (f"{self.name}-{what}", "+".join(sorted(needs)), *place)

    def state(self, block: Block, needs: frozenset[str]) -> Key:
        """Return the key of the state of one block of the result."""
        return self.key("tiled", needs, *block)

    def tasks(self, wanted: Mapping[Block, frozenset[str]]) -> dict[Key, GraphNode]:
        """Return all tasks for the states of blocks of the result."""
        batches, rounds = self.batches, self.rounds
        steps = [(b, i) for b in wanted for i in range(len(batches))]
        keys = [
            [r.key for part in batches[i] for r in self.blocks.refs(b, part)]
            for b, i in steps
        ]
        own, tasks = taken_apart(tasks_below(self.arrays, keys), keys)
        made = dict(zip(steps, zip(own, keys, strict=True), strict=True))
        turns: list[Key] = []
        for block, needs in wanted.items():
            for number, some in enumerate(rounds):
                ahead = max(2, TURNS // len(rounds[0]))
                turn = TaskRef(turns[-ahead]) if len(turns) >= ahead else None
                for i in some:
                    inner, out = made[block, i]
                    key = self.key("made", needs, *block, i)
                    tasks[key] = making(key, inner, out, turn)
                turns.append(self.key("turn", needs, *block, number))
                tasks |= self.links(block, number, needs, turns[-1])
            key, (axis, tiles) = self.state(block, needs), self.tiles(block)
            last = (
                TaskRef(self.key("added", needs, *block, len(rounds) - 1, i))
                for i in range(len(tiles))
            )
            tasks[key] = Task(key, tiled, tiles, axis, self.shape(block), *last)
        return tasks

    def links(
        self, block: Block, number: int, needs: frozenset[str], turn: Key
    ) -> dict[Key, GraphNode]:
        """Return the tasks that add some blocks to all tiles, and `turn`, their end."""
        tasks: dict[Key, GraphNode] = {}
        made = [
            TaskRef(self.key("made", needs, *block, i)) for i in self.rounds[number]
        ]
        axis, tiles = self.tiles(block)
        dim, signs = self.blocks.kept[axis], []
        for i, tile in enumerate(tiles):
            key = self.key("added", needs, *block, number, i)
            before = self.key("added", needs, *block, number - 1, i)
            state = TaskRef(before) if number else None
            what = self.blocks, needs, dim, tile
            tasks[key] = Task(key, add_blocks, state, number, *what, *made)
            # Apart, so that no state travels to where its end is told.
            signs.append(self.key("sign", needs, *block, number, i))
            tasks[signs[-1]] = Task(signs[-1], sign, TaskRef(key))
        tasks[turn] = Task(turn, sign, *map(TaskRef, signs))
        return tasks


def in_ranges(n: int, length: int) -> list[range]:
    length = max(1, length)
    return [range(i, min(i + length, n)) for i in range(0, n, length)]


def making(
    key: Key, inner: dict[Key, GraphNode], out: Sequence[Key], turn: TaskRef | None
) -> Task:
    """Return the task that makes blocks in one thread, when it is their turn."""
    used = {d for task in inner.values() for d in task.dependencies}
    outer = sorted((used | set(out)) - inner.keys(), key=str)
    given = TaskList(*map(TaskRef, outer))
    return Task(key, blocks_of, inner, out, outer, given, turn)


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


def add_blocks(
    running: Running | None,
    number: int,
    make: BlockMaker,
    needs: frozenset[str],
    dim: str,
    tile: slice,
    *batches: Sequence[NDArray[Any]],
) -> Running:
    """Return the state with the tile of more blocks, in the memory of the state."""
    dims, n = make.arg_dims[0], len(make.arg_dims)
    axes = tuple(i for i, d in enumerate(dims) if d in make.reduced)
    several = []
    for blocks in (b[i : i + n] for b in batches for i in range(0, len(b), n)):
        args = []
        for b, d in zip(blocks, make.arg_dims, strict=True):
            part = tuple(tile if x == dim and x in d else slice(None) for x in dims)
            args.append(aligned(b, d, dims)[part])
        several.append(args)
    reduction = cast(BinReduction, make.reduction)
    if running is None:
        first = several[0][0]
        shape = tuple(s for i, s in enumerate(first.shape) if i not in axes)
        running = Running(reduction.whole(shape, first.dtype, needs), 0)
    # A task may be run again after its worker was lost, with what it has changed.
    if running.added != number:
        raise SchedulerError(
            f"step {number} was to be added to a sum of {running.added} steps:"
            " a part of this computation was repeated. Compute it again"
        )
    state, running.added = running.state, -1
    return Running(reduction.partials(state, several, axes, needs), number + 1)


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
