"""Raw descriptors: what tells a file from another, and reads that lose nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError

IOV_MAX = 1024  # pieces of memory that one call of preadv takes


class Identity(NamedTuple):
    """What tells whether a path still holds the same bytes."""

    size: int
    changed: int
    inode: int
    device: int


def identity_of(stat: os.stat_result) -> Identity:
    """Return the identity of a file."""
    return Identity(stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev)


def cut_off(path: str, now: int, before: int) -> BrokenFileError:
    """Return the error for a file that is shorter than it was."""
    return BrokenFileError(
        f"{path} has {now} bytes but had {before} when it was opened: it was cut off"
        " or is being written again"
    )


class RawFile:
    """A file descriptor that is closed when nobody reads through it any more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        # Missing where opening failed.
        if hasattr(self, "number"):
            os.close(self.number)

    def fill(self, views: Sequence[memoryview], offset: int, name: str) -> None:
        """Fill pieces of memory, one after the other, with bytes from `offset` on.

        Raises
        ------
        BrokenFileError
            At the end of the file; `name` is the dataset that needs the bytes.
        """
        while views:
            n = os.preadv(self.number, views[:IOV_MAX], offset)
            if n == 0:
                raise BrokenFileError(
                    f"{self.path} ends at byte {offset}, in the middle of {name}: it"
                    " was cut off"
                )
            offset += n
            views = beyond(views, n)

    def gather(
        self, start: NDArray[Any], size: int, memory: memoryview, at: NDArray[Any],
        name: str,
    ) -> None:  # fmt: skip
        """Read pieces of `size` bytes from `start` to the places `at` of `memory`.

        Neighbours in the file are read by one call.
        """
        # Mostly a few pieces, for which loops are faster than arrays.
        starts, places = start.tolist(), at.tolist()
        i, n = 0, len(starts)
        while i < n:
            offset, begin, end = starts[i], places[i], places[i] + size
            views, behind = [], offset + size
            i += 1
            while i < n and starts[i] == behind:
                if places[i] != end:
                    views.append(memory[begin:end])
                    begin = end = places[i]
                end += size
                behind += size
                i += 1
            views.append(memory[begin:end])
            self.fill(views, offset, name)


def beyond(views: Sequence[memoryview], n: int) -> list[memoryview]:
    """Return what is left to fill after `n` bytes."""
    for i, view in enumerate(views):
        if n < len(view):
            return [view[n:], *views[i + 1 :]]
        n -= len(view)
    return []


def byte_span(array: NDArray[Any]) -> memoryview:
    """Return the memory from the first to the last byte of an array.

    Strides must not be negative. Bytes between elements belong to others.
    """
    if array.flags.c_contiguous:
        return array.reshape(-1).view(np.uint8).data
    steps = [(n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)]
    flat = array[(0,) * array.ndim + (np.newaxis,)].view(np.uint8)
    extent = sum(steps) + array.itemsize
    return np.lib.stride_tricks.as_strided(flat, (extent,), (1,)).data
