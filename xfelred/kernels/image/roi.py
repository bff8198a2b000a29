"""Sum, mean, maximum and centre of a region of every frame."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.per_frame import listed

SUM, MEAN, MAX, COM_SLOW, COM_FAST, N_SATURATED = range(6)
N_QUANTITIES = 6


def limited(frames: Array, *, low: float | None, high: float | None) -> Array:
    """Return pixels with 0 where they are below `low` or above `high`.

    frames: real (...); not modified. NaN stays.
    """
    out = frames.copy()
    if low is not None:
        out[frames < low] = 0
    if high is not None:
        out[frames > high] = 0
    return out


@njit(nogil=True, cache=True)
def add_rows(
    row: Array, flags: Bools, cut: tuple[float, float], r: int, sums: Floats
) -> None:
    """Add a row of pixels to the sums of columns, and to those times its number."""
    low, high = cut
    total, at_slow = sums[0], sums[1]
    for c in range(row.size):
        v = np.float64(row[c])
        good = (v == v) & (not flags[c])
        out = (v < low) | (v > high)
        v = v if good & (not out) else np.float64(0.0)
        total[c] += v
        at_slow[c] += v * r


@njit(nogil=True, cache=True)
def keep_top(row: Array, flags: Bools, cut: tuple[float, float], top: Floats) -> None:
    """Keep the highest good pixel of every column; what is cut off counts as 0."""
    low, high = cut
    for c in range(row.size):
        v = np.float64(row[c])
        good = (v == v) & (not flags[c])
        v = np.float64(0.0) if (v < low) | (v > high) else v
        top[c] = v if good & (v > top[c]) else top[c]


@njit(nogil=True, cache=True)
def count_high(row: Array, flags: Bools, saturation: float) -> int:
    n = 0
    for c in range(row.size):
        n += (row[c] >= saturation) & (not flags[c])
    return n


@njit(nogil=True, cache=True)
def add_region(
    frame: Array,
    bad: Bools,
    cut: tuple[float, float],
    saturation: float,
    sums: Floats,
    out: Floats,
) -> None:
    """Reduce one frame (module, slow_scan, fast_scan) to its quantities.

    sums: (3, fast_scan), room for sums of columns, those times the row, and maxima.
    """
    sums[:2], sums[2] = 0.0, -np.inf
    n_top = np.int64(0)
    for m in range(frame.shape[0]):
        for r in range(frame.shape[1]):
            row, flags = frame[m, r], bad[m, r]
            add_rows(row, flags, cut, r, sums)
            keep_top(row, flags, cut, sums[2])
            if saturation < np.inf:
                n_top += count_high(row, flags, saturation)
    total, at_slow, at_fast, top = 0.0, 0.0, 0.0, -np.inf
    for c in range(frame.shape[2]):
        total += sums[0, c]
        at_slow += sums[1, c]
        at_fast += sums[0, c] * c
        top = max(top, sums[2, c])
    out[SUM] = total
    out[MEAN] = total / frame.size
    out[MAX] = top if top > -np.inf else np.nan
    out[COM_SLOW] = at_slow / total if total != 0 else np.nan
    out[COM_FAST] = at_fast / total if total != 0 else np.nan
    out[N_SATURATED] = n_top


@njit(nogil=True, cache=True)
def add_regions(
    frames: Array,
    bad: Bools,
    bad_step: int,
    low: float,
    high: float,
    saturation: float,
    out: Floats,
) -> None:
    """Reduce every frame; `bad_step` is 0 if all have the same bad pixels."""
    sums, cut = np.empty((3, frames.shape[3])), (low, high)
    for i in range(len(frames)):
        add_region(frames[i], bad[i * bad_step], cut, saturation, sums, out[i])


def roi(
    frames: Array,
    *masks: Array,
    n_core: int,
    low: float,
    high: float,
    saturation: float,
) -> Floats:
    """Return the quantities of every frame.

    frames: real (..., [module,] slow_scan, fast_scan); cut to the region; not modified.
        NaN counts as a bad pixel.
    *masks: bool or integer (..., [module,] slow_scan, fast_scan); non-zero is bad; axes
        may have length 1.
    n_core: number of pixel axes, 2 or 3.
    low, high: values below or above become 0.
    saturation: pixels not below this, before that, are counted.
    Returns float64 (..., quantity); sum; mean over all pixels, bad ones as 0; maximum;
        centre along slow_scan and fast_scan as positions in the region; number of
        saturated pixels.
    """
    lead = frames.shape[: frames.ndim - n_core]
    flat, bad = listed(frames, masks, n_core)
    out = np.empty((len(flat), N_QUANTITIES))
    add_regions(flat, bad, int(len(bad) > 1), low, high, saturation, out)
    return out.reshape(*lead, N_QUANTITIES)
