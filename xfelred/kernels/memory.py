"""Memory for large arrays that live until a result is put together."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PAGE_BACKED = 1 << 20  # bytes


def page_backed(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return zeros whose memory goes back to the system as soon as it is dropped.

    States and blocks of a result live until the result is put together. On the heap
    they would stay with the process afterwards and double its peak.
    """
    n = prod(shape) * np.dtype(dtype).itemsize
    if n < PAGE_BACKED:
        return np.zeros(shape, dtype)
    return np.frombuffer(mmap.mmap(-1, n), dtype).reshape(shape)


def is_uniform(values: NDArray[Any]) -> bool:
    """Tell whether an array is one number in the memory of one."""
    steps = zip(values.strides, values.shape, strict=True)
    return values.size > 0 and not any(step for step, n in steps if n > 1)


def joined(
    arrays: Sequence[NDArray[Any]],
    places: Sequence[tuple[slice, ...]],
    shape: tuple[int, ...],
) -> NDArray[Any]:
    """Put arrays into one at their places along the leading axes.

    One number repeated stays in the memory of one.
    """
    whole = (*shape, *arrays[0].shape[len(shape) :])
    same = all(is_uniform(a) for a in arrays)
    if same and len({a.flat[0] for a in arrays}) == 1:
        return np.broadcast_to(arrays[0].flat[0], whole)
    out = page_backed(whole, arrays[0].dtype)
    for place, array in zip(places, arrays, strict=True):
        out[place] = array
    return out
