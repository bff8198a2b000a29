"""Pixels with signal, which must not take part in a common mode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(nogil=True, cache=True)
def without_photons(
    image: NDArray[Any],
    use: NDArray[np.uint8],
    limits: NDArray[Any],
    inclusive: bool,
    neighbours: bool,
    reach: float,
) -> NDArray[np.uint8]:
    """Return the used pixels without photons, their neighbours and far values.

    image: float (slow_scan, fast_scan).
    use: uint8 (slow_scan, fast_scan), or (0, 0); non-zero where a pixel may take part;
        (0, 0): everywhere.
    limits: float (slow_scan, fast_scan); a pixel above holds a photon; `inclusive`:
        also one that is equal.
    inclusive, neighbours: `neighbours`: those up, down, left and right of a photon are
        taken out too.
    reach: absolute values above are taken out.
    Returns uint8 (slow_scan, fast_scan).
    """
    n_rows, n_columns = image.shape
    out = np.empty(image.shape, np.uint8)
    for r in range(n_rows):
        for c in range(n_columns):
            v = image[r, c]
            # NaN is in reach of nothing.
            out[r, c] = abs(v) <= reach
            if use.size:
                out[r, c] &= use[r, c] != 0
    for r in range(n_rows):
        for c in range(n_columns):
            v = image[r, c]
            if v > limits[r, c] or (inclusive and v == limits[r, c]):
                out[r, c] = 0
                if neighbours:
                    out[max(r - 1, 0), c] = 0
                    out[min(r + 1, n_rows - 1), c] = 0
                    out[r, max(c - 1, 0)] = 0
                    out[r, min(c + 1, n_columns - 1)] = 0
    return out
