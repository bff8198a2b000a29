"""Running moments of the frames in every bin; see `kernels.statistics`.

Frames of one bin are added up together, tile by tile, so that the sums of a tile are
loaded and stored once for all of them. Single numbers are added in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.statistics import TILE, add_to, has_nan

FEW = 8  # values of a frame that are not worth a look-up of the frames of a bin


@njit(nogil=True, cache=True)
def occurring(labels: NDArray[np.integer[Any]], n_bins: int) -> NDArray[np.int64]:
    """Return how many labels there are of every bin, and at last of -1 and below."""
    out = np.zeros(n_bins + 1, np.int64)
    for label in labels:
        out[label if label >= 0 else n_bins] += 1
    return out


@njit(nogil=True, cache=True)
def sorted_by_bin(
    labels: NDArray[np.integer[Any]], number: NDArray[np.int64]
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


@njit(nogil=True, cache=True)
def add_numbers(
    x: Any, labels: Any, row: Any, count: Any, pivot: Any, s1: Any, s2: Any,
    squares: bool,
) -> None:  # fmt: skip
    """Add a few numbers of many shots one after the other; NaN is left out.

    Parameters
    ----------
    x : any real dtype (r, b)
    labels : integer (r)
    row : int64 (n_bins)
        Row of every bin in the sums.
    count : int64 (n_rows, b)
    pivot, s1, s2 : float64 (n_rows, b)
    squares : bool
    """
    for i in range(x.shape[0]):
        if labels[i] < 0:
            continue
        k = row[labels[i]]
        for j in range(x.shape[1]):
            v = np.float64(x[i, j])
            if v != v:
                continue
            count[k, j] += 1
            # Of a first value that is infinite the pivot stays 0.
            if count[k, j] == 1 and np.isfinite(v):
                pivot[k, j] = v
            d = v - pivot[k, j]
            s1[k, j] += d
            if squares:
                s2[k, j] += d * d


@njit(nogil=True, cache=True)
def add_binned(
    x: Any, order: Any, number: Any, row: Any, before: Any, lost: Any, pivot: Any,
    s1: Any, s2: Any, squares: bool, done: int,
) -> int:  # fmt: skip
    """Add frames to the sums of their bins; stop at NaN if there is no `lost`.

    Parameters
    ----------
    x : any real dtype (r, b)
    order : int64
        Frames, bin by bin.
    number, row : int64 (n)
        For each bin that occurs: how many frames, and its row in the sums.
    before : int64 (n_rows)
        Frames of earlier blocks.
    lost : int32 (n_rows, b) or (n_rows, 0)
        How many of the values of every pixel were NaN; updated.
    pivot, s1, s2 : float64 (n_rows, b)
        The sums are updated, and the pivots of pixels without a value.
    squares : bool
    done : int
        Tiles that an earlier call has added.

    Returns
    -------
    int
        Tiles that are done now.
    """
    n_b = x.shape[1]
    counting = lost.shape[1] == n_b
    sums, more = np.empty(TILE), np.empty(TILE)
    first, tile = 0, 0
    for k in range(number.size):
        rows = order[first : first + number[k]]
        first += number[k]
        at = row[k]
        for lo in range(0, n_b, TILE):
            tile += 1
            if tile <= done:
                continue
            hi = min(lo + TILE, n_b)
            p, s, q = pivot[at, lo:hi], sums[: hi - lo], more[: hi - lo]
            if counting:
                add_some(x, rows, lo, before[at], lost[at, lo:hi], p,
                         s1[at, lo:hi], s2[at, lo:hi], squares)  # fmt: skip
                continue
            if before[at] == 0:
                find_pivots(x, rows, lo, p)
            add_all(x, rows, lo, p, s, q, squares)
            if has_nan(s):
                return tile - 1
            add_to(s, s1[at, lo:hi])
            if squares:
                add_to(q, s2[at, lo:hi])
    return tile


@njit(nogil=True, cache=True)
def find_pivots(x: Any, rows: Any, lo: int, p: Any) -> None:
    """Set the pivots of a tile."""
    for i in range(p.size):
        p[i] = first_finite(x, rows, lo + i)


@njit(nogil=True, cache=True)
def first_finite(x: Any, rows: Any, i: int) -> float:
    """Return the first finite value of a pixel; 0 if there is none."""
    for r in rows:
        v = np.float64(x[r, i])
        if np.isfinite(v):
            return v
    return 0.0


@njit(nogil=True, cache=True)
def add_all(x: Any, rows: Any, lo: int, p: Any, s: Any, q: Any, squares: bool) -> None:
    """Set the sums of a tile to those of some frames, four at a time."""
    n, hi = p.size, lo + p.size
    s[:] = 0.0
    q[:] = 0.0
    full = rows.size - rows.size % 4
    for r in range(0, full, 4):
        x0, x1 = x[rows[r], lo:hi], x[rows[r + 1], lo:hi]
        x2, x3 = x[rows[r + 2], lo:hi], x[rows[r + 3], lo:hi]
        if squares:
            for i in range(n):
                d0, d1 = np.float64(x0[i]) - p[i], np.float64(x1[i]) - p[i]
                d2, d3 = np.float64(x2[i]) - p[i], np.float64(x3[i]) - p[i]
                s[i] += (d0 + d1) + (d2 + d3)
                q[i] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
        else:
            for i in range(n):
                d0, d1 = np.float64(x0[i]) - p[i], np.float64(x1[i]) - p[i]
                d2, d3 = np.float64(x2[i]) - p[i], np.float64(x3[i]) - p[i]
                s[i] += (d0 + d1) + (d2 + d3)
    for r in range(full, rows.size):
        one = x[rows[r], lo:hi]
        for i in range(n):
            d = np.float64(one[i]) - p[i]
            s[i] += d
            if squares:
                q[i] += d * d


@njit(nogil=True, cache=True)
def add_some(
    x: Any, rows: Any, lo: int, before: int, lost: Any, p: Any, s: Any, q: Any,
    squares: bool,
) -> None:  # fmt: skip
    """Add some frames to the sums of a tile; NaN is left out and counted."""
    n, hi = p.size, lo + p.size
    one, zero = np.int32(1), np.int32(0)
    for i in range(n):
        if before == lost[i]:
            p[i] = first_finite(x, rows, lo + i)
    for r in rows:
        values = x[r, lo:hi]
        for i in range(n):
            v = np.float64(values[i])
            good = v == v
            d = v - p[i] if good else 0.0
            lost[i] += zero if good else one
            s[i] += d
            if squares:
                q[i] += d * d
