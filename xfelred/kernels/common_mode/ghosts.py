"""What the previous frame left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array


def without_ghosts(
    images: NDArray[np.floating[Any]], previous: Array, p0: Array, p1: Array
) -> NDArray[np.floating[Any]]:
    """Return ``images - (p0 + p1 * previous)`` in the precision of the images.

    images: float (..., slow_scan, fast_scan).
    previous, p0, p1: real, broadcast against `images`; NaN of `previous` counts as 0.
    """
    dtype = images.dtype
    ghosts = np.nan_to_num(previous.astype(dtype), posinf=np.inf, neginf=-np.inf)
    ghosts *= p1.astype(dtype)
    ghosts += p0.astype(dtype)
    return images - ghosts
