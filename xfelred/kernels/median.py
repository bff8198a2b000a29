"""Exact medians by counting: no sorting, no copy but the one into keys.

A float becomes an integer key of the same order, so that a pass over a group only
compares and counts integers, which a processor does 8 to 16 at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A bracket is pulled in to the nearest elements after so many halvings: values with
# few distinct steps, such as whole adu, end there.
HALVINGS = 6
# Shorter groups are faster to count once more than to squeeze.
SQUEEZED = 512

KEY_TYPES = {"float32": np.dtype(np.int32), "float64": np.dtype(np.int64)}


@njit(nogil=True, cache=True)
def count_up_to(keys: NDArray[Any], n: int, limit: Any) -> int:
    """Count the first `n` keys that are not above a limit."""
    # Narrow on purpose: numba makes int64 of a sum of int32, which is 3 times slower.
    count = np.int32(0)
    for i in range(n):
        count = np.int32(count + np.int32(keys[i] <= limit))
    return count


@njit(nogil=True, cache=True)
def neighbours(keys: NDArray[Any], n: int, limit: Any, lowest: Any, none: Any) -> Any:
    """Return (highest key up to a limit, lowest above it)."""
    below, above = lowest, none
    for i in range(n):
        key = keys[i]
        below = max(below, key if key <= limit else lowest)
        above = min(above, none if key <= limit else key)
    return below, above


@njit(nogil=True, cache=True)
def squeeze(keys: NDArray[Any], n: int, low: Any, high: Any) -> int:
    """Move the keys in (low, high] to the front; return how many there are."""
    j = 0
    for i in range(n):
        key = keys[i]
        keys[j] = key
        j += (key > low) & (key <= high)
    return j


@njit(nogil=True, cache=True)
def half_way(low: Any, high: Any, halvings: int, keys: Any, floats: Any) -> Any:
    """Return a key in [low, high), half way between two keys.

    `floats` is the memory of `keys`, two elements.
    """
    flip = ~none_key(keys)
    if halvings < 2 * HALVINGS:
        # By value at first: keys crowd around zero.
        keys[0] = low ^ ((low >> SHIFT32) & flip) if keys.itemsize == 4 else 0
    return low
