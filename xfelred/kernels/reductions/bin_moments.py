"""Running moments of the frames in every bin; see `kernels.statistics`.

Frames of one bin are added up together, tile by tile, so that the sums of a tile are
loaded and stored once for all of them. Single numbers are added in their order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array
from xfelred.kernels.reductions.statistics import TILE, add_to, has_nan

FEW = 8  # values of a frame that are not worth a look-up of the frames of a bin


@njit(nogil=True, cache=True)
def number_of_each(labels: NDArray[np.int64], n_bins: int) -> NDArray[np.int64]:
    """Return how many labels there are of every bin, and at last of -1 and below."""
    out = np.zeros(n_bins + 1, np.int64)
    for label in labels:
        out[label if label >= 0 else n_bins] += 1
    return out


@njit(nogil=True, cache=True)
def sorted_by_bin(
    labels: NDArray[np.int64], number: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the positions of labels from 0 on, bin by bin in their order."""
    start = np.zeros(number.size, np.int64)
    for i in range(1, number.size):
        start[i] = start[i - 1] + number[i - 1]
    out = np.empty(number.sum(), np.int64)
    for i in range(labels.size):
        if labels[i] >= 0:
            out[start[labels[i]]] = i
            start[labels[i]] += 1
    return out


class Frames(NamedTuple):
    """Frames that begin at `start` (r) somewhere in a common memory `flat` (n).

    It is without gaps, so that kernels are vectorised.
    """

    flat: Array
    start: NDArray[np.int64]


class FramesOfBins(NamedTuple):
    """Which frames go to which rows of the sums.

    `order` holds the frames, bin by bin; `number` and `row` (n) say of each bin that
    occurs how many frames it has, and its row in the sums; `before` (n_rows), how many
    frames of earlier blocks each row has.
    """

    order: NDArray[np.int64]
    number: NDArray[np.int64]
    row: NDArray[np.int64]
    before: NDArray[np.int64]


@njit(nogil=True, cache=True)
def add_numbers(
    x: Array,
    labels: NDArray[np.int64],
    row: NDArray[np.int64],
    count: NDArray[np.int64],
    pivot: Array | None,
    s1: Array,
    s2: Array | None,
    complete: bool,
) -> None:
    """Add a few numbers (r, b) of many shots one after the other.

    `row` (n_bins) is that of every bin in `count`, `pivot`, `s1` and `s2`, all
    (n_rows, b); for these see `add_frames`. `complete`: NaN is not left out.
    """
    for i in range(x.shape[0]):
        if labels[i] < 0:
            continue
        k = row[labels[i]]
        for j in range(x.shape[1]):
            v = np.float64(x[i, j])
            if v != v and not complete:
                continue
            count[k, j] += 1
            if s2 is None or pivot is None:
                s1[k, j] += v
            else:
                # Of a first value that is not finite the pivot stays 0.
                if count[k, j] == 1 and np.isfinite(v):
                    pivot[k, j] = v
                d = v - pivot[k, j]
                s1[k, j] += d
                s2[k, j] += d * d


@njit(nogil=True, cache=True)
def add_frames(
    x: Frames,
    bins: FramesOfBins,
    lost: NDArray[np.int32],
    pivot: Array | None,
    s1: Array,
    s2: Array | None,
    complete: bool,
    done: int,
) -> int:
    """Add frames to the sums of their bins; stop at NaN if nothing counts it.

    `lost`, int32 (n_rows, b) or (n_rows, 0), is how many values of each pixel were NaN;
    `pivot`, `s1`, `s2`, float64 (n_rows, b), are sums, and squares, of deviations from
    the pivot. All are updated. Without squares, `pivot` and `s2` are None and `s1` is
    the sum itself. `complete`: NaN is not left out. Of the tiles, `done` were added by
    an earlier call; returned are those that are done now.
    """
    n_b = s1.shape[1]
    counting = lost.shape[1] == n_b
    sums, squares = np.empty(TILE), np.empty(TILE)
    first, tile = 0, 0
    for k in range(bins.number.size):
        rows = bins.order[first : first + bins.number[k]]
        first += bins.number[k]
        at = bins.row[k]
        for lo in range(0, n_b, TILE):
            tile += 1
            if tile <= done:
                continue
            hi = min(lo + TILE, n_b)
            s, q = sums[: hi - lo], squares[: hi - lo]
            if s2 is None or pivot is None:
                if counting:
                    add_some(x, rows, lo, 0, lost[at, lo:hi], None, s1[at, lo:hi], None)
                    continue
                sum_all(x, rows, lo, s)
            else:
                p, before = pivot[at, lo:hi], bins.before[at]
                if counting:
                    good = s1[at, lo:hi], s2[at, lo:hi]
                    add_some(x, rows, lo, before, lost[at, lo:hi], p, *good)
                    continue
                # Later blocks keep the pivot that the sums of the bin are from.
                if before == 0:
                    find_pivots(x, rows, lo, p)
                square_all(x, rows, lo, p, s, q)
            # What is done stays done: the caller adds a count of NaN and goes on.
            if not complete and has_nan(s):
                return tile - 1
            add_to(s, s1[at, lo:hi])
            if s2 is not None:
                add_to(q, s2[at, lo:hi])
    return tile


@njit(nogil=True, cache=True)
def sum_all(x: Frames, rows: Array, lo: int, s: Array) -> None:
    """Set the sums of a tile to those of some frames, four at a time."""
    n = s.size
    s[:] = 0.0
    full = rows.size - rows.size % 4
    for r in range(0, full, 4):
        a, b = x.start[rows[r]] + lo, x.start[rows[r + 1]] + lo
        c, d = x.start[rows[r + 2]] + lo, x.start[rows[r + 3]] + lo
        xa, xb = x.flat[a : a + n], x.flat[b : b + n]
        xc, xd = x.flat[c : c + n], x.flat[d : d + n]
        for i in range(n):
            two = np.float64(xa[i]) + np.float64(xb[i])
            s[i] += two + (np.float64(xc[i]) + np.float64(xd[i]))
    for r in range(full, rows.size):
        a = x.start[rows[r]] + lo
        xa = x.flat[a : a + n]
        for i in range(n):
            s[i] += np.float64(xa[i])


@njit(nogil=True, cache=True)
def find_pivots(x: Frames, rows: Array, lo: int, p: Array) -> None:
    """Set the pivots of a tile to the first finite values of its pixels."""
    at = x.start[rows[0]] + lo
    values = x.flat[at : at + p.size]
    for i in range(p.size):
        p[i] = np.float64(values[i])
    for i in range(p.size):
        if not np.isfinite(p[i]):
            p[i] = first_finite(x, rows, lo + i)


@njit(nogil=True, cache=True)
def first_finite(x: Frames, rows: Array, i: int) -> float:
    """Return the first finite value of a pixel; 0 if there is none."""
    for r in rows:
        v = np.float64(x.flat[x.start[r] + i])
        if np.isfinite(v):
            return v
    return 0.0


@njit(nogil=True, cache=True)
def square_all(x: Frames, rows: Array, lo: int, p: Array, s: Array, q: Array) -> None:
    """Set the sums of a tile to those of some frames, two at a time."""
    n = p.size
    s[:] = 0.0
    q[:] = 0.0
    full = rows.size - rows.size % 2
    for r in range(0, full, 2):
        a, b = x.start[rows[r]] + lo, x.start[rows[r + 1]] + lo
        xa, xb = x.flat[a : a + n], x.flat[b : b + n]
        for i in range(n):
            da, db = np.float64(xa[i]) - p[i], np.float64(xb[i]) - p[i]
            s[i] += da + db
            q[i] += da * da + db * db
    if full < rows.size:
        a = x.start[rows[full]] + lo
        xa = x.flat[a : a + n]
        for i in range(n):
            da = np.float64(xa[i]) - p[i]
            s[i] += da
            q[i] += da * da


@njit(nogil=True, cache=True)
def add_some(
    x: Frames,
    rows: Array,
    lo: int,
    before: int,
    lost: Array,
    p: Array | None,
    s: Array,
    q: Array | None,
) -> None:
    """Add some frames to the sums of a tile; NaN is left out and counted."""
    n = s.size
    # Of the usual dtype of counts, so that they are added without widening.
    one, zero = np.int32(1), np.int32(0)
    if p is not None:
        for i in range(n):
            # No number so far: all that came before were NaN.
            if before == lost[i]:
                p[i] = first_finite(x, rows, lo + i)
    for r in rows:
        at = x.start[r] + lo
        values = x.flat[at : at + n]
        for i in range(n):
            v = np.float64(values[i])
            good = v == v
            lost[i] += zero if good else one
            d = v if p is None else v - p[i]
            d = d if good else 0.0
            s[i] += d
            if q is not None:
                q[i] += d * d
