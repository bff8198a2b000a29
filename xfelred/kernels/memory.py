"""Memory for large arrays that live until a result is put together."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from itertools import chain
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


def is_uniform(values: Array) -> bool:
    """Tell whether an array is one number in the memory of one."""
    steps = zip(values.strides, values.shape, strict=True)
    return values.size > 0 and not any(step for step, n in steps if n > 1)


def joined(
    arrays: Iterable[Array], places: Sequence[tuple[slice, ...]], shape: tuple[int, ...]
) -> Array:
    """Put arrays into one at their places along the leading axes.

    They are taken one after the other. One number repeated stays in the memory of one.
    """
    rest = iter(arrays)
    first = next(rest)
    whole = (*shape, *first.shape[len(shape) :])
    number = first.flat[0] if is_uniform(first) else None
    out: Array | None = None
    for place, array in zip(places, chain([first], rest), strict=True):
        if out is None:
            if is_uniform(array) and array.flat[0] == number:
                continue
            # In the order of the parts: another one would copy number by number.
            order = sorted(range(first.ndim), key=lambda i: -first.strides[i])
            out = page_backed(tuple(whole[i] for i in order), first.dtype)
            out = out.transpose(np.argsort(order))
            if number is not None:
                out[...] = number
        out[place] = array
    return np.broadcast_to(first.flat[0], whole) if out is None else out
