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


# Four rows at once: each pixel by itself has to load and store three sums, and takes
# three times as long. Both functions add in the same order, so that all that differs is
# what is left out.


@njit(nogil=True, cache=True)
def add_all(image: Array, r: int, sums: Floats) -> None:
    """Add four rows to the sums of columns, those times the row, and the maxima."""
    row0, row1, row2, row3 = image[r], image[r + 1], image[r + 2], image[r + 3]
    total, at_slow, tops = sums[0], sums[1], sums[2]
    zero = np.float64(0.0)
    for c in range(row0.size):
        a, b = np.float64(row0[c]), np.float64(row1[c])
        d, e = np.float64(row2[c]), np.float64(row3[c])
        # NaN is not above anything.
        top = tops[c]
        top = a if a > top else top
        top = b if b > top else top
        top = d if d > top else top
        tops[c] = e if e > top else top
        a, b = a if a == a else zero, b if b == b else zero
        d, e = d if d == d else zero, e if e == e else zero
        added = (a + b) + (d + e)
        total[c] += added
        at_slow[c] += r * added + ((b + e) + 2 * (d + e))


@njit(nogil=True, cache=True)
def add_good(
    image: Array, bad: Bools, r: int, cut: tuple[float, float], sums: Floats
) -> None:
    """Do that with good pixels only; what is cut off counts as 0.

    The last rows may be fewer than four.
    """
    (low, high), n = cut, len(image)
    in1, in2, in3 = r + 1 < n, r + 2 < n, r + 3 < n
    r1, r2, r3 = min(r + 1, n - 1), min(r + 2, n - 1), min(r + 3, n - 1)
    row0, row1, row2, row3 = image[r], image[r1], image[r2], image[r3]
    bad0, bad1, bad2, bad3 = bad[r], bad[r1], bad[r2], bad[r3]
    total, at_slow, tops = sums[0], sums[1], sums[2]
    zero = np.float64(0.0)
    for c in range(row0.size):
        a, b = np.float64(row0[c]), np.float64(row1[c])
        d, e = np.float64(row2[c]), np.float64(row3[c])
        good0, good1 = (a == a) & (not bad0[c]), (b == b) & (not bad1[c]) & in1
        good2, good3 = (d == d) & (not bad2[c]) & in2, (e == e) & (not bad3[c]) & in3
        a = zero if (a < low) | (a > high) else a
        b = zero if (b < low) | (b > high) else b
        d = zero if (d < low) | (d > high) else d
        e = zero if (e < low) | (e > high) else e
        top = tops[c]
        top = a if good0 & (a > top) else top
        top = b if good1 & (b > top) else top
        top = d if good2 & (d > top) else top
        tops[c] = e if good3 & (e > top) else top
        a, b = a if good0 else zero, b if good1 else zero
        d, e = d if good2 else zero, e if good3 else zero
        added = (a + b) + (d + e)
        total[c] += added
        at_slow[c] += r * added + ((b + e) + 2 * (d + e))


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
    whole: bool,
    cut: tuple[float, float],
    saturation: float,
    sums: Floats,
    out: Floats,
) -> None:
    """Reduce one frame (module, slow_scan, fast_scan) to its quantities.

    whole: nothing is bad, and nothing is cut off.
    sums: (3, fast_scan), room for sums of columns, those times the row, and maxima.
    """
    sums[:2], sums[2] = 0.0, -np.inf
    n_top = np.int64(0)
    n_rows = frame.shape[1]
    for m in range(frame.shape[0]):
        for r in range(0, n_rows, 4):
            if whole and r + 4 <= n_rows:
                add_all(frame[m], r, sums)
            else:
                add_good(frame[m], bad[m], r, cut, sums)
        if saturation < np.inf:
            for r in range(n_rows):
                n_top += count_high(frame[m, r], bad[m, r], saturation)
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
    whole: Bools,
    low: float,
    high: float,
    saturation: float,
    out: Floats,
) -> None:
    """Reduce every frame; `bad` and `whole` are those of each, or one for all."""
    sums, cut = np.empty((3, frames.shape[3])), (low, high)
    for i in range(len(frames)):
        k = i if len(bad) > 1 else 0
        add_region(frames[i], bad[k], whole[k], cut, saturation, sums, out[i])


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
    flat, bad, lead = listed(frames, masks, n_core)
    out = np.empty((len(flat), N_QUANTITIES))
    limits = low > -np.inf or high < np.inf
    whole = ~bad.any(axis=(1, 2, 3)) & (not limits)
    add_regions(flat, bad, whole, low, high, saturation, out)
    return out.reshape(*lead, N_QUANTITIES)
