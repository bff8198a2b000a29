"""The memory of a whole result, into which its blocks are put as they are finished.

dask joins blocks by copying them, so that a result stands in memory twice, and half of
the time of a mean of each pulse goes into touching new pages. Where the threads of this
process compute, what is to be gathered has a `Room` in its graph: a task of its own, so
that every computation has another one. A block that does not lie there, as it came from
another process, is copied as always.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xfelred.kernels.memory import PAGE_BACKED, page_backed
from xfelred.lazy.dask_seam import flatten, slices_from_chunks

Place = tuple[slice, ...]
ROOM = "room"  # where keys of blocks have the name of a result, or a number


class Room:
    """Memory for an array of some chunks; made at the first look, handed out once."""

    def __init__(
        self, chunks: tuple[tuple[int, ...], ...], dtype: DTypeLike, here: bool = True
    ) -> None:
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


def is_same(one: NDArray[Any], two: NDArray[Any]) -> bool:
    """Tell whether two arrays are the same numbers in the same memory."""
    a, b = one.__array_interface__, two.__array_interface__
    return bool(
        (a["data"][0], one.strides, one.shape, one.dtype)
        == (b["data"][0], two.strides, two.shape, two.dtype)
    )


def has_room(chunks: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]) -> bool:
    """Tell whether a result is large enough for a room."""
    return prod(map(sum, chunks)) * dtype.itemsize >= PAGE_BACKED


def gathered(blocks: Any, room: object, join: Callable[..., Any], *args: Any) -> Any:
    """Return blocks as one array; `join` does so where they lie apart."""
    # xarray hides the reference to a room from dask where it finalizes a Dataset.
    whole = room.whole(blocks) if isinstance(room, Room) else None
    return join(blocks, *args) if whole is None else whole


def only_block(blocks: Any, join: Callable[..., Any], *args: Any) -> Any:
    """Return the one block there is; dask would copy it, as others might have it."""
    (block,) = flatten(blocks)
    if isinstance(block, np.ndarray) and block.ndim and block.flags.writeable:
        return block
    return join(blocks, *args)
