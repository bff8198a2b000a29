"""Exact medians by counting: no sorting, and no copy but the one into keys.

A float becomes an integer key of the same order, so that a pass over a group only
compares and counts integers, which a processor does 8 to 16 at a time. The bracket
around the median is halved by value, then by key, until one element is left in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array

# After so many halvings, and then after every fourth, the bracket is pulled in to the
# nearest elements: there values with few distinct steps, such as whole adu, end.
HALVINGS = 8
# Halvings by value before those by key, of which no bracket needs more than 64.
BY_VALUE = 24
# A multiple of what one turn of a loop takes: its tail would cost more than the rest.
LANES = 32
# Longer groups are squeezed to the elements inside the bracket.
LONG = 1024

KEY_TYPES: dict[str, np.dtype[Any]] = {
    "f": np.dtype(np.int32),
    "d": np.dtype(np.int64),
}


def key_buffers(length: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return (keys, the same memory as floats): scratch for groups of some length."""
    keys = np.empty(-(-length // LANES) * LANES + 1, KEY_TYPES[np.dtype(dtype).char])
    return keys, keys.view(dtype)


def median(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Return the exact median along the last axis; NaN is left out.

    values: float32 or float64 (..., n).
    Returns float (...); same dtype, the values of `numpy.nanmedian`: the mean of the
        middle two of an even number. NaN where there is nothing but NaN.
    """
    n = values.shape[-1]
    flat = np.ascontiguousarray(values).reshape(math.prod(values.shape[:-1]), n)
    keys, floats = key_buffers(n, values.dtype)
    out = np.empty(len(flat), values.dtype)
    medians_of_rows(flat, keys, floats, out)
    return out.reshape(values.shape[:-1])


@njit(nogil=True, cache=True)
def medians_of_rows(flat: Array, keys: Array, floats: Array, out: Array) -> None:
    n = flat.shape[1]
    for i in range(flat.shape[0]):
        for j in range(n):
            floats[j] = flat[i, j]
        n_good = to_keys(keys, floats, n)
        out[i] = median_of_keys(keys, floats, n, n_good)


@njit(nogil=True, cache=True)
def to_keys(keys: Array, floats: Array, n: int) -> int:
    """Turn the first `n` floats into keys; return how many of them are not NaN.

    `floats` is the memory of `keys`. NaN becomes the highest key.
    """
    number = keys.dtype.type
    none = number(np.iinfo(keys.dtype).max)
    cell = keys.size - 1
    floats[cell] = np.inf
    highest = keys[cell]
    lowest = number(-highest - 1)  # of -inf: its bits but the sign, turned round
    n_good = number(0)
    for i in range(n):
        b = keys[i]
        key = number(b ^ none if b < 0 else b)
        good = (key >= lowest) & (key <= highest)
        keys[i] = key if good else none
        n_good = number(n_good + number(good))
    return int(n_good)


@njit(nogil=True, cache=True)
def median_of_keys(keys: Array, floats: Array, n: int, n_good: int) -> Any:
    """Return the median of the first `n` keys, of which `n_good` are not the highest.

    The keys are scrambled. `floats` is the memory of `keys`; their last element is
    used to turn one into the other.
    """
    cell = keys.size - 1
    n = filled_up(keys, n)
    if n_good == 0:
        floats[cell] = np.nan
        return floats[cell]
    low, high = select(keys, floats, n, n_good, (n_good + 1) // 2)
    found = value_of(keys, floats, low)
    if n_good % 2 == 0 and high != low:
        # As numpy: the sum of the two in their own precision.
        floats[cell] = found + value_of(keys, floats, high)
        found = floats[cell] * floats.dtype.type(0.5)
    return found


@njit(nogil=True, cache=True)
def select(
    keys: Array, floats: Array, n: int, n_good: int, rank: int
) -> tuple[Any, Any]:
    """Return the key of a rank, counted from 1, and that of the next rank.

    The lowest `n_good` of the first `n` keys count, where `n` is a multiple of LANES.
    The keys are scrambled. Without a next rank the second is the highest key there is.
    """
    number = keys.dtype.type
    beyond = number(np.iinfo(keys.dtype).max)
    low, high = inside(keys, n, number(-beyond - 1), number(beyond - 1))
    low = number(low - 1)  # the bracket is (low, high]
    low_value, high_value = value_of(keys, floats, low), value_of(keys, floats, high)
    n_low, n_high = 0, n_good
    step = 0
    while n_high != rank and n_low != rank - 1 and low + 1 < high:
        value = floats.dtype.type(0.5) * low_value + floats.dtype.type(0.5) * high_value
        middle = key_of(keys, floats, value)
        if step >= BY_VALUE or not low < middle < high or value != value:
            # Around infinity, too: it has no half. Halved before they are added: 64-bit
            # keys of both signs would overflow.
            middle = number((low >> 1) + (high >> 1) + (low & high & 1))
            value = value_of(keys, floats, middle)
        count = count_up_to(keys, n, middle)
        if count >= rank:
            high, high_value, n_high = middle, value, count
        else:
            low, low_value, n_low = middle, value, count
        step += 1
        if n > LONG and 4 * (n_high - n_low) < n:
            beyond = min(beyond, lowest_above(keys, n, high))
            n_inside = squeeze(keys, n, low, high)
            rank, n_low, n_high = rank - n_low, 0, n_inside
            n = filled_up(keys, n_inside)
        elif step >= HALVINGS and step % 4 == 0:
            first, high = inside(keys, n, low, high)
            low = number(first - 1)
            low_value = value_of(keys, floats, low)
            high_value = value_of(keys, floats, high)
    if n_high == rank:
        _, found = inside(keys, n, low, high)
    else:
        found, _ = inside(keys, n, low, high)
        high = found
        n_high = count_up_to(keys, n, found)
    if n_high > rank:
        return found, found
    return found, min(beyond, lowest_above(keys, n, high))


@njit(nogil=True, cache=True)
def filled_up(keys: Array, n: int) -> int:
    """Add keys that do not count up to a multiple of LANES; return their number."""
    end = -(-n // LANES) * LANES
    for i in range(n, end):
        keys[i] = np.iinfo(keys.dtype).max
    return end


@njit(nogil=True, cache=True)
def count_up_to(keys: Array, n: int, limit: np.integer[Any]) -> int:
    """Count the first `n` keys that are not above a limit."""
    # Narrow on purpose: numba makes int64 of a sum of int32, which is 3 times slower.
    count = np.int32(0)
    for i in range(n):
        count = np.int32(count + np.int32(keys[i] <= limit))
    return int(count)


@njit(nogil=True, cache=True)
def inside(
    keys: Array, n: int, low: np.integer[Any], high: np.integer[Any]
) -> tuple[Any, Any]:
    """Return the lowest and the highest key in (low, high]; it has at least one."""
    first, last = high, low
    for i in range(n):
        key = keys[i]
        first = min(first, key if key > low else high)
        last = max(last, key if key <= high else low)
    return first, last


@njit(nogil=True, cache=True)
def lowest_above(keys: Array, n: int, limit: np.integer[Any]) -> Any:
    """Return the lowest key above a limit, or the highest key there is."""
    none = keys.dtype.type(np.iinfo(keys.dtype).max)
    found = none
    for i in range(n):
        key = keys[i]
        found = min(found, key if key > limit else none)
    return found


@njit(nogil=True, cache=True)
def squeeze(keys: Array, n: int, low: np.integer[Any], high: np.integer[Any]) -> int:
    """Move the keys in (low, high] to the front; return how many there are."""
    j = 0
    for i in range(n):
        key = keys[i]
        keys[j] = key
        j += (key > low) & (key <= high)
    return j


@njit(nogil=True, cache=True)
def value_of(keys: Array, floats: Array, key: np.integer[Any]) -> Any:
    """Return the float of a key; `floats` is the memory of `keys`."""
    cell = keys.size - 1
    keys[cell] = key ^ np.iinfo(keys.dtype).max if key < 0 else key
    return floats[cell]


@njit(nogil=True, cache=True)
def key_of(keys: Array, floats: Array, value: np.floating[Any]) -> Any:
    """Return the key of a float; `floats` is the memory of `keys`."""
    cell = keys.size - 1
    floats[cell] = value
    key = keys[cell]
    number = keys.dtype.type
    return number(key ^ number(np.iinfo(keys.dtype).max) if key < 0 else key)
