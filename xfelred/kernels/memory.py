"""Memory for large arrays that live until a result is put together."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from math import prod

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


def fills(kernel: Callable[..., Array]) -> Callable[..., Array]:
    """Mark a kernel that writes its result to `out` where it is given that."""
    kernel.fills = True  # type: ignore[attr-defined]
    return kernel


def memory_for(out: Array | None, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return `out` as an array of a shape if it can be that, else new memory."""
    kind = np.dtype(dtype)
    if out is None or not out.flags.c_contiguous or out.dtype != kind:
        return np.empty(shape, kind)
    return out.reshape(shape) if out.size == prod(shape) else np.empty(shape, kind)


def is_same(one: Array, two: Array) -> bool:
    """Tell whether two arrays are the same numbers in the same memory."""
    a, b = one.__array_interface__, two.__array_interface__
    return bool(
        (a["data"][0], one.strides, one.shape, one.dtype)
        == (b["data"][0], two.strides, two.shape, two.dtype)
    )


def is_uniform(values: Array) -> bool:
    """Tell whether an array is one number in the memory of one."""
    steps = zip(values.strides, values.shape, strict=True)
    return values.size > 0 and not any(step for step, n in steps if n > 1)


def as_dtype(values: Array, dtype: DTypeLike) -> Array:
    """Return values of a dtype; one number repeated stays in the memory of one."""
    if is_uniform(values):
        return np.broadcast_to(values.flat[0].astype(dtype), values.shape)
    return values.astype(dtype, copy=False)


class Assembly:
    """An array that is put together from pieces along its leading axes, in any order.

    `shape` are the lengths of these. One number repeated stays in the memory of one,
    unless there is `out`, the memory of the array.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike | None = None,
        out: Array | None = None,
    ) -> None:
        self.shape, self.dtype, self.out = shape, dtype, out
        self.first: Array | None = None

    def put(self, place: tuple[slice, ...], piece: Array) -> None:
        """Put a piece to its place."""
        if self.out is None:
            if self.first is None:
                self.first = as_dtype(piece, self.dtype or piece.dtype)
                if is_uniform(piece) or piece.shape[: len(place)] == self.shape:
                    return
            if self.repeats(piece):
                return
            self.out = self.memory(self.first)
        self.out[place] = piece

    def repeats(self, piece: Array) -> bool:
        """Tell whether a piece has the one number that all had so far."""
        first = self.first
        if first is None or not (is_uniform(first) and is_uniform(piece)):
            return False
        return bool(piece.flat[0] == first.flat[0])

    def memory(self, first: Array) -> Array:
        """Return memory for all pieces; it holds the number that there was so far."""
        whole = (*self.shape, *first.shape[len(self.shape) :])
        # In the order of the parts: another one would copy number by number.
        order = sorted(range(first.ndim), key=lambda i: -first.strides[i])
        out = page_backed(tuple(whole[i] for i in order), first.dtype)
        out = out.transpose(np.argsort(order))
        if is_uniform(first):
            out[...] = first.flat[0]
        return out

    def whole(self) -> Array:
        """Return the array; at least one piece was put."""
        if self.out is not None:
            return self.out
        first = self.first
        assert first is not None
        whole = (*self.shape, *first.shape[len(self.shape) :])
        return first if first.shape == whole else np.broadcast_to(first.flat[0], whole)
