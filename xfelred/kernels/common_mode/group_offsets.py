"""Offsets of groups of pixels, estimated and subtracted in one pass over an image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats
from xfelred.kernels.common_mode.median import median_of_keys, to_keys

# Columns are copied so many at a time: whole lines of the cache, few pages.
TOGETHER = 64


@njit(nogil=True, cache=True)
def subtract_blocks(
    image: Array,
    use: NDArray[np.uint8],
    shape: tuple[int, int, int],
    tests: tuple[int, float, Any, Any],
    flags: tuple[bool, bool],
    scratch: tuple[Array, Array, Array],
    found: tuple[Floats, Floats],
) -> None:
    """Subtract the offsets of groups that are one or more columns wide, in place.

    image: float32 or float64 (slow_scan, fast_scan), C-contiguous.
    use: uint8 (slow_scan, fast_scan), non-zero where a pixel may take part in an
        estimate; (0, 0): all do.
    shape: (height, width, stride); a group has `height` rows and `width` columns,
        `stride` apart; groups tile the image. They are counted row by row, and first
        those that begin in column 0, then those that begin in column 1, and so on.
    tests: (least, limit, low, high): fewest pixels in an estimate and largest absolute
        offset that is applied, lowest and highest value that takes part, all inclusive.
    flags: (mean instead of median, subtract only from pixels of `use`).
    scratch: (keys, floats, strips): of `median.key_buffers`; (group * TOGETHER,).
    found: offsets and counts, float64 (group,): filled with what was subtracted, NaN
        where nothing was, and with the numbers of pixels in the estimates.
    """
    keys, floats, _ = scratch
    offsets, counts = found
    height, width, stride = shape
    least, limit, low, high = tests
    mean, only_used = flags
    n_rows, n_columns = image.shape
    group = 0
    for phase in range(stride):
        for top in range(0, n_rows, height):
            for left in range(phase, n_columns, width * stride):
                place = (top, height, left, width, stride)
                gather(image, use, place, low, high, floats)
                offset, n_used = estimate(keys, floats, height * width, mean)
                applied = n_used >= least and abs(offset) <= limit
                counts[group] = n_used
                offsets[group] = offset if applied else np.nan
                if applied:
                    lower(image, use, place, offset, only_used and use.size > 0)
                group += 1


@njit(nogil=True, cache=True)
def gather(
    image: Array,
    use: NDArray[np.uint8],
    place: tuple[int, int, int, int, int],
    low: np.floating[Any],
    high: np.floating[Any],
    out: Array,
) -> None:
    """Copy the values of a group that take part; the others become NaN."""
    top, height, left, width, stride = place
    nothing = image.dtype.type(np.nan)
    # Unsigned: a signed index may be negative, and a loop that asks is not vectorised.
    first, step, n = np.uint64(left), np.uint64(stride), np.uint64(0)
    for r in range(top, top + height):
        line = image[r]
        if use.size:
            flag = use[r]
            for j in range(width):
                i = first + np.uint64(j) * step
                v = line[i]
                ok = (flag[i] != 0) & (v >= low) & (v <= high)
                out[n + np.uint64(j)] = v if ok else nothing
        else:
            for j in range(width):
                v = line[first + np.uint64(j) * step]
                ok = (v >= low) & (v <= high)
                out[n + np.uint64(j)] = v if ok else nothing
        n += np.uint64(width)


@njit(nogil=True, cache=True)
def lower(
    image: Array,
    use: NDArray[np.uint8],
    place: tuple[int, int, int, int, int],
    offset: np.floating[Any],
    only_used: bool,
) -> None:
    top, height, left, width, stride = place
    first, step = np.uint64(left), np.uint64(stride)
    for r in range(top, top + height):
        line = image[r]
        if only_used:
            flag = use[r]
            for j in range(width):
                i = first + np.uint64(j) * step
                line[i] = line[i] - offset if flag[i] else line[i]
        else:
            for j in range(width):
                line[first + np.uint64(j) * step] -= offset


@njit(nogil=True, cache=True)
def subtract_columns(
    image: Array,
    use: NDArray[np.uint8],
    shape: tuple[int, int, int],
    tests: tuple[int, float, Any, Any],
    flags: tuple[bool, bool],
    scratch: tuple[Array, Array, Array],
    found: tuple[Floats, Floats],
) -> None:
    """Do the same for groups that are one column wide, several of them at a time."""
    keys, floats, strips = scratch
    offsets, counts = found
    height = shape[0]
    least, limit, low, high = tests
    mean, only_used = flags
    n_rows, n_columns = image.shape
    lowered = np.empty(TOGETHER, image.dtype)
    for top in range(0, n_rows, height):
        for left in range(0, n_columns, TOGETHER):
            n_strips = min(TOGETHER, n_columns - left)
            place = (top, height, left, n_strips, 1)
            gather(image, use, place, low, high, strips)
            for j in range(n_strips):
                for r in range(height):
                    floats[r] = strips[r * n_strips + j]
                offset, n_used = estimate(keys, floats, height, mean)
                group = top // height * n_columns + left + j
                applied = n_used >= least and abs(offset) <= limit
                counts[group] = n_used
                offsets[group] = offset if applied else np.nan
                lowered[j] = offset if applied else 0
            lower_each(image, use, place, lowered, only_used and use.size > 0)


@njit(nogil=True, cache=True)
def lower_each(
    image: Array,
    use: NDArray[np.uint8],
    place: tuple[int, int, int, int, int],
    offsets: Array,
    only_used: bool,
) -> None:
    """Subtract an offset from each of some columns, in place."""
    top, height, left, width, _ = place
    first = np.uint64(left)
    for r in range(top, top + height):
        line = image[r]
        if only_used:
            flag = use[r]
            for j in range(width):
                i = first + np.uint64(j)
                line[i] = line[i] - offsets[j] if flag[i] else line[i]
        else:
            for j in range(width):
                line[first + np.uint64(j)] -= offsets[j]


@njit(nogil=True, cache=True)
def estimate(keys: Array, floats: Array, n: int, mean: bool) -> tuple[Any, int]:
    """Return the median or mean of the first `n` values that are not NaN, and how many.

    `floats` holds the values and is the memory of `keys`; both are scrambled.
    """
    if mean:
        n_used, total = 0, 0.0
        for j in range(n):
            if floats[j] == floats[j]:
                n_used += 1
                total += floats[j]
        return floats.dtype.type(total / n_used if n_used else np.nan), n_used
    n_used = to_keys(keys, floats, n)
    return median_of_keys(keys, floats, n, n_used), n_used
