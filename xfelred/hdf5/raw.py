"""Raw descriptors: what tells a file from another, and reads that lose nothing."""

from __future__ import annotations

import os
import stat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, BrokenFileError
from xfelred.hdf5.guard import irregular
from xfelred.kernels.gather import read_ranges


class Identity(NamedTuple):
    """What tells whether a path still holds the same bytes."""

    size: int
    changed: int
    inode: int
    device: int


def identity_of(stat: os.stat_result) -> Identity:
    return Identity(stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev)


def cut_off(path: str, now: int, before: int) -> BrokenFileError:
    return BrokenFileError(
        f"{path} has {now} bytes but had {before} when it was opened: it was cut off"
        " or is being written again"
    )


class RawFile:
    """A file descriptor that is closed when nobody reads through it any more."""

    def __init__(self, path: str) -> None:
        self.path = path
        # Not blocking: a pipe waits until somebody writes to it.
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(mode := os.fstat(self.number).st_mode):
            raise irregular(path, mode)

    def __del__(self) -> None:
        # Missing where opening failed.
        if hasattr(self, "number"):
            os.close(self.number)

    def fill(self, memory: memoryview, offset: int, name: str) -> None:
        """Fill memory with bytes from `offset` on, which the dataset `name` needs."""
        while len(memory):
            n = os.preadv(self.number, [memory], offset)
            if n == 0:
                raise BrokenFileError(
                    f"{self.path} ends at byte {offset}, in the middle of {name}: it"
                    " was cut off"
                )
            offset += n
            memory = memory[n:]

    def gather(
        self,
        start: NDArray[Any],
        size: int,
        memory: memoryview,
        at: NDArray[Any],
        name: str,
    ) -> None:
        """Read pieces of `size` bytes from `start` to the places `at` of `memory`."""
        n = len(start)
        if not n:
            return
        if at.min() < 0 or at.max() + size > len(memory):
            raise ArgumentError(f"pieces of {name} lie outside their memory")
        if follow(start, size) and follow(at, size):
            begin = int(at[0])
            self.fill(memory[begin : begin + n * size], int(start[0]), name)
            return
        address = np.frombuffer(memory, np.uint8).ctypes.data
        for i in range(read_ranges(self.number, start, size, address, at), n):
            # What the loop could not read: this says why, or finishes the job.
            place = int(at[i])
            self.fill(memory[place : place + size], int(start[i]), name)


def follow(start: NDArray[Any], size: int) -> bool:
    """Tell whether pieces of a size lie one behind the other."""
    return len(start) == 1 or bool((np.diff(start) == size).all())


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
