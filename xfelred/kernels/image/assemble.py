"""Pixels moved to their places in an image, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, read_only


def assemble(
    block: Array,
    target: NDArray[np.integer[Any]],
    *,
    n_core: int,
    shape: tuple[int, ...],
    fill: float,
) -> Array:
    """Copy every pixel of a frame to its place.

    block: number (..., core axes); frames; not modified.
    target: int (1, ..., core axes); flat index in the result; negative: the pixel is
        left out. No place twice.
    n_core: number of core axes.
    shape: core axes of the result.
    fill: where no pixel goes.
    Returns number (..., *shape); of the dtype of `block`.
    """
    lead = block.shape[: block.ndim - n_core]
    flat = target.reshape(-1)
    frames = np.ascontiguousarray(block).reshape(-1, flat.size)
    out = np.full((len(frames), int(np.prod(shape))), fill, dtype=block.dtype)
    if out.itemsize in (1, 2, 4, 8):
        # Compiled once for each size: pixels are moved, whatever they mean.
        word = np.dtype(f"u{out.itemsize}")
        move(read_only(frames).view(word), read_only(flat), out.view(word))
    else:
        used = flat >= 0
        out[:, flat[used]] = frames[:, used]
    return out.reshape(*lead, *shape)


@njit(nogil=True, cache=True)
def move(frames: Array, target: Array, out: Array) -> None:
    for i in range(len(frames)):
        for p in range(target.size):
            if target[p] >= 0:
                out[i, target[p]] = frames[i, p]
