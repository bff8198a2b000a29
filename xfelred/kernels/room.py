"""Memory for results that are made block by block and then taken whole."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from xfelred.kernels.arrays import Array
from xfelred.kernels.memory import page_backed

PAGE = mmap.PAGESIZE


class Room:
    """The memory of a whole result: who makes a block of it writes to its place.

    Nothing is copied, then, to put the blocks together, and no page is made twice: to
    clear a page takes longer than adding it up. What is given up goes back to the
    system, so that results that are stored block by block never are in memory whole.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.whole = page_backed(shape, dtype)
        self.memory = memory_of(self.whole)
        self.begin = 0
        if self.memory is not None:
            self.begin = np.frombuffer(self.memory, np.uint8).ctypes.data
        self.given: set[tuple[tuple[int, int], ...]] = set()
        self.n_given = 0
        self.taken = False  # as a whole: somebody has it, or may have parts of it
        self.lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Stay behind: in another process there is nothing to put together."""
        return no_room, ()

    def place(self, at: tuple[slice, ...]) -> Array | None:
        """Return the memory of a block; None if it was given to somebody before."""
        bounds = tuple((s.start, s.stop) for s in at)
        with self.lock:
            if self.taken or bounds in self.given or self.memory is None:
                return None
            self.given.add(bounds)
            self.n_given += self.whole[at].size
        block = self.whole[at]
        offset = block.ctypes.data - self.begin
        # Of views of views numpy remembers the innermost array only: be that one.
        part = Part(block.shape, block.dtype, self.memory, offset, block.strides)
        part.room = self
        return part.view(np.ndarray)

    def take(self) -> bool:
        """Tell whether nobody has taken the whole, or has a part to keep, before."""
        with self.lock:
            first, self.taken = not self.taken, True
            return first and self.n_given == self.whole.size

    def give_up(self, block: Array) -> None:
        """Let the system have the pages of a block that nobody has any more."""
        if self.taken or self.memory is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        for start, n in stretches(block):
            begin = start - self.begin
            first, last = -(-begin // PAGE), (begin + n) // PAGE
            size = (last - first) * PAGE
            if size > 0:
                self.memory.madvise(mmap.MADV_DONTNEED, first * PAGE, size)


def memory_of(array: Array) -> mmap.mmap | None:
    """Return the pages that an array is in; None if it is on the heap."""
    found: Any = array
    while isinstance(found, (np.ndarray, memoryview)):
        found = found.base if isinstance(found, np.ndarray) else found.obj
    return found if isinstance(found, mmap.mmap) else None


def no_room() -> None:
    return None


class Part(np.ndarray[Any, Any]):
    """A block in a room, which has its memory back when nobody has it any more."""

    room: Room | None = None

    def __del__(self) -> None:
        if self.room is not None:
            self.room.give_up(self.view(np.ndarray))


def stretches(block: Array) -> Iterator[tuple[int, int]]:
    """Yield address and bytes of the contiguous pieces of a C-ordered block."""
    n, axis = block.itemsize, block.ndim
    while axis and block.strides[axis - 1] == n:
        axis -= 1
        n *= block.shape[axis]
    for at in product(*(range(m) for m in block.shape[:axis])):
        steps = sum(i * s for i, s in zip(at, block.strides, strict=False))
        yield block.ctypes.data + steps, n


def room_of(block: object) -> Room | None:
    """Return the room that the memory of an array is in."""
    found = block
    while isinstance(found, np.ndarray):
        if isinstance(found, Part):
            return found.room
        found = found.base
    return None


def taken_whole(
    blocks: Sequence[Array], places: Sequence[tuple[int, ...]], shape: tuple[int, ...]
) -> Array | None:
    """Return the array that blocks make up where they are; None if they do not.

    `places` are where each of them begins. It is given once: who asks again gets None,
    so that nobody changes what somebody else has.
    """
    first = blocks[0]
    room = room_of(first)
    if room is None or prod(shape) != room.whole.size:
        return None
    for block, place in zip(blocks, places, strict=True):
        at = first.ctypes.data + sum(
            i * s for i, s in zip(place, first.strides, strict=True)
        )
        steps = zip(block.strides, first.strides, shape, strict=True)
        alike = all(one == two for one, two, n in steps if n > 1)
        if room_of(block) is not room or block.ctypes.data != at or not alike:
            return None
    if not room.take():
        return None
    whole = room.whole.reshape(-1)
    offset = first.ctypes.data - whole.ctypes.data
    return np.ndarray(shape, first.dtype, whole.data, offset, first.strides)
