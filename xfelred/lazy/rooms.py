"""The memory of a whole result, into which its blocks are put as they are finished.

dask joins blocks by copying them, one after the other, so that a result stands in
memory twice, and half of the time of a mean of each pulse goes into touching new pages.
Where the threads of this process compute, what is to be gathered has a `Room` in its
graph: a task of its own, so that every computation has another one. Results of
reductions bring it along; for all others `put_in_rooms` adds it, just before dask
optimizes the graph: blocks of recipes and of kernels are computed where they will lie,
any others are copied there as soon as they are finished. A block that does not lie
there, as it came from another process, is copied as always.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xfelred.kernels.memory import PAGE_BACKED, is_same, page_backed
from xfelred.lazy.dask_seam import (
    GraphNode,
    HighLevelGraph,
    Key,
    MaterializedLayer,
    Task,
    TaskList,
    TaskRef,
    flatten,
    slices_from_chunks,
)

Place = tuple[slice, ...]
Chunks = tuple[tuple[int, ...], ...]
SMALL = 1 << 16  # bytes; dask joins many smaller blocks faster
ROOM = "room"  # where keys of blocks have the name of a result, or a number


class Room:
    """Memory for an array of some chunks; made at the first look, handed out once."""

    def __init__(self, chunks: Chunks, dtype: DTypeLike, here: bool = True) -> None:
        self.chunks, self.dtype, self.here = chunks, np.dtype(dtype), here
        self.lock = threading.Lock()
        self.array: NDArray[Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrive in another process as a room that nothing can be put into."""
        return Room, (self.chunks, self.dtype, False)

    def at(self, place: Place) -> NDArray[Any] | None:
        """Return the memory of one block; None if this is not where it was built."""
        with self.lock:
            if self.array is None and self.here:
                self.array = page_backed(tuple(map(sum, self.chunks)), self.dtype)
            return None if self.array is None else self.array[place]

    def whole(self, blocks: Any) -> NDArray[Any] | None:
        """Return the array if all of its blocks lie in it."""
        with self.lock:
            array, self.array, self.here = self.array, None, False
        if array is None:
            return None
        places = slices_from_chunks(self.chunks)
        found = zip(flatten(blocks), places, strict=True)
        return array if all(is_same(b, array[place]) for b, place in found) else None


def has_room(chunks: Chunks, dtype: np.dtype[Any]) -> bool:
    """Tell whether a result is large enough for a room."""
    size = prod(map(sum, chunks)) * dtype.itemsize
    # Of lengths that only computing tells nothing is known.
    return bool(np.isfinite(size)) and size >= PAGE_BACKED and not dtype.hasobject


@dataclass(frozen=True)
class Wanted:
    """Says what an array would need a room for, to who sees the whole graph."""

    name: str
    chunks: Chunks
    dtype: np.dtype[Any]


class Placed(Protocol):
    """What can make the blocks of a layer where they will lie; None: it cannot."""

    def placed(self, name: str, room: Key) -> dict[Key, GraphNode] | None: ...


def gathered(blocks: Any, room: object, join: Callable[..., Any], *args: Any) -> Any:
    """Return blocks as one array; `join` does so where they lie apart."""
    # xarray hides the reference to a room from dask where it finalizes a Dataset.
    whole = room.whole(blocks) if isinstance(room, Room) else None
    return join(blocks, *args) if whole is None else whole


def put_in_rooms(graph: HighLevelGraph) -> HighLevelGraph:
    """Return a graph in which the blocks that `gathered` wants in a room are put there.

    The keys of what others use stay as they are.
    """
    layers, below = dict(graph.layers), dict(graph.dependencies)
    for last, layer in graph.layers.items():
        task = layer.get(last) if isinstance(layer, MaterializedLayer) else None
        if not isinstance(task, Task) or task.func is not gathered:
            continue
        blocks, wanted, *rest = task.args
        if not isinstance(wanted, Wanted) or wanted.name not in layers:
            continue
        # Layers take keys that begin with their name for blocks.
        own = f"{wanted.name}-{ROOM}"
        room: Key = (own, ROOM)
        layers[own] = MaterializedLayer(
            {room: Task(room, Room, wanted.chunks, wanted.dtype)}
        )
        below[own] = set()
        recipe: Placed | None = getattr(layers[wanted.name], "recipe", None)
        tasks = recipe.placed(wanted.name, room) if recipe else None
        if tasks is not None:
            layers[wanted.name] = MaterializedLayer(tasks)
            below[wanted.name] = {*below[wanted.name], own}
        elif are_large(wanted):
            layers[own], blocks = copied(wanted, room, layers[own])
            below[own] = {wanted.name}
        layers[last] = MaterializedLayer(
            {last: Task(last, gathered, blocks, TaskRef(room), *rest)}
        )
        below[last] = {*below[last], own}
    return HighLevelGraph(layers, below)


def are_large(wanted: Wanted) -> bool:
    """Tell whether blocks are worth a task each that copies them."""
    shape, numbers = map(sum, wanted.chunks), map(len, wanted.chunks)
    return prod(shape) * wanted.dtype.itemsize >= SMALL * prod(numbers)


def copied(
    wanted: Wanted, room: Key, tasks: MaterializedLayer
) -> tuple[MaterializedLayer, TaskList]:
    """Return tasks that copy blocks into a room, and what refers to them."""
    places = slices_from_chunks(wanted.chunks)
    found: dict[Key, GraphNode] = dict(tasks)
    for block, place in zip(blocks_of(wanted.chunks), places, strict=True):
        key = (f"{wanted.name}-{ROOM}", *block)
        whole = TaskRef((wanted.name, *block))
        found[key] = Task(key, put, whole, TaskRef(room), place)
    refs = [TaskRef(key) for key in found if key != room]
    return MaterializedLayer(found), TaskList(*refs)


def blocks_of(chunks: Chunks) -> product[tuple[int, ...]]:
    """Return the numbers of all blocks, in the order of `slices_from_chunks`."""
    return product(*(range(len(c)) for c in chunks))


def put(block: Any, room: Room, place: Place) -> Any:
    """Copy a block to its place as soon as it is there, beside other blocks."""
    here = room.at(place)
    # Masked arrays and the like have more than their numbers.
    if type(block) is not np.ndarray or here is None:
        return block
    if (block.shape, block.dtype) != (here.shape, here.dtype):
        return block  # not what was said before: to be joined as dask does
    settle(block, here)
    return here


def settle(found: NDArray[Any], out: NDArray[Any]) -> None:
    """Copy what was found to where it shall be, unless it is there."""
    if not is_same(found, out):
        out[...] = found
