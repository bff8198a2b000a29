"""Pixels moved to their places in an image, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def assemble(
    block: NDArray[Any],
    target: NDArray[np.integer[Any]],
    *,
    n_core: int,
    shape: tuple[int, ...],
    fill: float,
) -> NDArray[Any]:
    """Copy every pixel of a frame to its place.

    Parameters
    ----------
    block : number (..., core axes)
        Frames; not modified.
    target : int (1, ..., core axes)
        Flat index in the result; negative: the pixel is left out. No place twice.
    n_core : int
        Number of core axes.
    shape : tuple of int
        Core axes of the result.
    fill : float
        Where no pixel goes.

    Returns
    -------
    number (..., *shape)
        Of the dtype of `block`.
    """
    lead = block.shape[: block.ndim - n_core]
    flat = target.reshape(-1)
    frames = np.ascontiguousarray(block).reshape(-1, flat.size)
    out = np.full((len(frames), int(np.prod(shape))), fill, dtype=block.dtype)
    if out.dtype.isnative and out.dtype.kind in "iufb" and out.dtype != np.float16:
        move(frames, flat, out)
    else:
        used = flat >= 0
        out[:, flat[used]] = frames[:, used]
    return out.reshape(*lead, *shape)


@njit(nogil=True, cache=True)
def move(frames: Any, target: Any, out: Any) -> None:
    """Copy pixels frame by frame."""
    for i in range(len(frames)):
        for p in range(target.size):
            if target[p] >= 0:
                out[i, target[p]] = frames[i, p]
