"""Frames of a block as rows of one memory, without copying where it can be avoided."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray


@dataclass(frozen=True)
class FrameRows:
    """Frames that begin somewhere in a common memory.

    Attributes
    ----------
    flat : real (n)
        The memory, without gaps, so that kernels are vectorised.
    start : int64 (r)
        Where each frame begins.
    length : int
        Values of a frame.
    """

    flat: NDArray[Any]
    start: NDArray[np.int64]
    length: int


def frame_rows(x: NDArray[Any], n_shot_dims: int) -> FrameRows:
    """Return the frames of an array (shots..., pixels...) as rows.

    It is copied only if the pixels of a frame are not side by side.
    """
    shots, pixels = x.shape[:n_shot_dims], x.shape[n_shot_dims:]
    length, size = prod(pixels), x.itemsize
    steps = x.strides[:n_shot_dims]
    beside = x[(0,) * n_shot_dims].flags.c_contiguous
    if not beside or any(s < 0 or s % size for s in steps):
        x = np.ascontiguousarray(x)
        steps = x.strides[:n_shot_dims]
    start = np.zeros(shots, np.int64)
    for axis, (n, step) in enumerate(zip(shots, steps, strict=True)):
        along = np.arange(n, dtype=np.int64) * (step // size)
        start += along.reshape(-1, *(1,) * (n_shot_dims - axis - 1))
    end = int(start.max()) + length
    flat = as_strided(x, (end,), (size,), writeable=False)
    return FrameRows(flat, start.ravel(), length)
