"""Memory for large arrays that live until a result is put together."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from xfelred.kernels.arrays import Array

PAGE_BACKED = 1 << 20  # bytes
HUGE_PAGE = 2 << 20


def page_backed(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
    """Return zeros whose memory goes back to the system as soon as it is dropped.

    States and blocks of a result live until the result is put together. On the heap
    they would stay with the process afterwards and double its peak.
    """
    kind = np.dtype(dtype)
    n = prod(shape) * kind.itemsize
    if n < PAGE_BACKED:
        return np.zeros(shape, dtype)
    # Shared memory, which is the default, would be written by a forked child as well.
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if n < 2 * HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.frombuffer(mmap.mmap(-1, n, flags=flags), kind).reshape(shape)
    # The first touch of a page takes longer than adding it up, so let there be few.
    private = mmap.mmap(-1, n + HUGE_PAGE, flags=flags)
    private.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(private, np.uint8)
    start = -whole.ctypes.data % HUGE_PAGE
    return whole[start : start + n].view(kind).reshape(shape)


def is_uniform(values: Array) -> bool:
    """Tell whether an array is one number in the memory of one."""
    steps = zip(values.strides, values.shape, strict=True)
    return values.size > 0 and not any(step for step, n in steps if n > 1)


def pages_in_order(
    shape: tuple[int, ...], order: Sequence[int], dtype: DTypeLike
) -> Array:
    """Return zeros whose axes are in another order in memory, the slowest first."""
    out = page_backed(tuple(shape[i] for i in order), dtype)
    return out.transpose(np.argsort(order))


class Joined:
    """Arrays put into one at their places along the leading axes, one by one.

    One number repeated stays in the memory of one. Other memory may be given by a
    function like `pages_in_order`.
    """

    def __init__(
        self, shape: tuple[int, ...], memory: Callable[..., Array] | None = None
    ) -> None:
        self.shape, self.memory = shape, memory or pages_in_order
        self.number: Any = None
        self.whole: tuple[int, ...] | None = None
        self.out: Array | None = None

    def add(self, place: tuple[slice, ...], array: Array) -> None:
        if self.whole is None:
            self.whole = (*self.shape, *array.shape[len(self.shape) :])
            self.number = array.flat[0] if is_uniform(array) else None
        if self.out is None:
            if is_uniform(array) and array.flat[0] == self.number:
                return
            # In the order of the parts: another one would copy number by number.
            order = sorted(range(array.ndim), key=lambda i: -array.strides[i])
            self.out = self.memory(self.whole, order, array.dtype)
            if self.number is not None:
                self.out[...] = self.number
        self.out[place] = array

    def array(self) -> Array:
        if self.out is None:
            return np.broadcast_to(self.number, self.whole or ())
        return self.out


def joined(
    arrays: Iterable[Array], places: Sequence[tuple[slice, ...]], shape: tuple[int, ...]
) -> Array:
    """Put arrays into one at their places along the leading axes; see `Joined`."""
    out = Joined(shape)
    for place, array in zip(places, arrays, strict=True):
        out.add(place, array)
    return out.array()
