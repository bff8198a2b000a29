"""An array in a file, of which any process on any machine writes its own part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Extent:
    """Where the values of an array lie in a file: in C order, from `start` on.

    Writing the same values twice changes nothing, so that a task may run again after
    its worker has died.
    """

    path: Path
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __setitem__(self, where: tuple[slice, ...], values: NDArray[Any]) -> None:
        """Write a block, and wait until the disk has it."""
        # No new file: where it is gone, the call that wanted this is over.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for at, run in self.runs(where, np.asarray(values, self.dtype, order="C")):
                write_at(descriptor, at, run)
            # Nobody else can: other machines do not know what this one has not sent.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def runs(
        self, where: tuple[slice, ...], values: NDArray[Any]
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield positions in the file, and the bytes that lie together there."""
        if not values.size:
            return
        cut = values.ndim  # the axes behind it are whole
        while cut and values.shape[cut - 1] == self.shape[cut - 1]:
            cut -= 1
        lead = max(cut - 1, 0)  # along which bytes lie apart
        steps = [prod(self.shape[i + 1 :]) for i in range(values.ndim)]
        first = sum(s.start * step for s, step in zip(where, steps, strict=True))
        rows = values.reshape(*values.shape[:lead], -1).view(np.uint8)
        for index in np.ndindex(*values.shape[:lead]):
            place = first + sum(i * n for i, n in zip(index, steps, strict=False))
            yield self.start + place * self.dtype.itemsize, rows[index]


def write_at(descriptor: int, at: int, values: NDArray[Any]) -> None:
    """Write what lies together in memory; also where the disk takes it bit by bit."""
    left = values.reshape(-1).view(np.uint8).data
    while left:
        n = os.pwrite(descriptor, left, at)
        left, at = left[n:], at + n
