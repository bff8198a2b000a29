"""Running moments and extrema of pixels over frames, in one pass.

Sums run over deviations from a pivot (the first good value of each pixel), so that
the variance does not lose its digits on a large pedestal; a mean does the same whether
or not the variance is asked for, so that it has the same bits:
``mean = pivot + s1 / n`` and ``m2 = s2 - s1**2 / n`` (Chan, Golub & LeVeque 1983,
doi:10.1080/00031305.1983.10483115; states are combined by their eq. 2.1b).

All arrays are three-dimensional, ``(a, r, b)``: `r` is reduced, `a` and `b` stay.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array

TILE = 1024  # pixels whose sums stay in the first-level cache while frames stream by


@njit(nogil=True, cache=True)
def find_pivots(x: Array, count: Array, pivot: NDArray[np.float64]) -> None:
    """Set the pivots of tiles without a count to the first finite values of pixels.

    A pixel that has none takes that of another one beside it. What is bad in every
    frame would be looked through in every block otherwise.
    """
    for a in range(x.shape[0]):
        for lo in range(0, x.shape[2], TILE):
            hi = min(lo + TILE, x.shape[2])
            if count[a, lo:hi].any():
                continue
            last, first = 0.0, hi
            for b in range(lo, hi):
                for r in range(x.shape[1]):
                    v = np.float64(x[a, r, b])
                    if np.isfinite(v):
                        last = v
                        first = min(first, b)
                        break
                pivot[a, b] = last
            for b in range(lo, first):
                pivot[a, b] = pivot[a, first] if first < hi else 0.0


@njit(nogil=True, cache=True)
def add_complete(
    x: Array,
    pivot: NDArray[np.float64],
    s1: NDArray[np.float64],
    s2: NDArray[np.float64] | None,
) -> int:
    """Add pixels to their sums tile by tile, up to the first tile with a NaN in it.

    `x`, real (a, r, b), is not modified. `pivot`, `s1` and `s2` are float64 (a, b): the
    pivot, and the sums and sums of squares of ``x - pivot``, which are updated. Without
    `s2`, whose branches are not compiled then, `s1` gets the same bits. Returned are
    the tiles that were added; ``a * ceil(b / TILE)`` if all were complete.
    """
    n_b, done = x.shape[2], 0
    sums, squares = np.empty(TILE), np.empty(TILE)
    for a in range(x.shape[0]):
        for lo in range(0, n_b, TILE):
            hi = min(lo + TILE, n_b)
            s, q = sums[: hi - lo], None if s2 is None else squares[: hi - lo]
            sum_rows(x[a], lo, pivot[a, lo:hi], None, s, q)
            if has_nan(s):
                return done
            add_to(s, s1[a, lo:hi])
            if s2 is not None:
                add_to(q, s2[a, lo:hi])
            done += 1
    return done


@njit(nogil=True, cache=True)
def sum_rows(
    x: Array, lo: int, p: Array, n: Array | None, s: Array, q: Array | None
) -> None:
    """Set the sums of a tile to those of ``x - p``, and of their squares.

    With counts `n`, which are added to, NaN is left out, to the same bits; these are
    float64 here, so that they are added as fast as the sums.
    """
    n_r, width = x.shape[0], s.size
    hi = lo + width
    s[:] = 0.0
    if q is not None:
        q[:] = 0.0
    # Four rows at a time: a sum is loaded and stored once for four values.
    for r in range(0, n_r - 3, 4):
        # Slices of whole rows are known to be contiguous, which vectorises.
        x0, x1 = x[r, lo:hi], x[r + 1, lo:hi]
        x2, x3 = x[r + 2, lo:hi], x[r + 3, lo:hi]
        for i in range(width):
            d0, d1 = np.float64(x0[i]) - p[i], np.float64(x1[i]) - p[i]
            d2, d3 = np.float64(x2[i]) - p[i], np.float64(x3[i]) - p[i]
            if n is not None:
                n[i] += (one_if(d0) + one_if(d1)) + (one_if(d2) + one_if(d3))
                d0, d1 = d0 if d0 == d0 else 0.0, d1 if d1 == d1 else 0.0
                d2, d3 = d2 if d2 == d2 else 0.0, d3 if d3 == d3 else 0.0
            s[i] += (d0 + d1) + (d2 + d3)
            if q is not None:
                q[i] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)
    for r in range(n_r - n_r % 4, n_r):
        row = x[r, lo:hi]
        for i in range(width):
            d = np.float64(row[i]) - p[i]
            if n is not None:
                n[i] += one_if(d)
                d = d if d == d else 0.0
            s[i] += d
            if q is not None:
                q[i] += d * d


@njit(nogil=True, cache=True)
def has_nan(values: NDArray[np.float64]) -> bool:
    """Tell whether any value is NaN; without branches, so that it is vectorised."""
    n = np.int64(0)
    for i in range(values.size):
        n += np.int64(values[i] != values[i])
    return bool(n > 0)


@njit(nogil=True, cache=True)
def add_to(values: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    for i in range(values.size):
        total[i] += values[i]


@njit(nogil=True, cache=True)
def add_moments(
    x: Array,
    count: Array,
    pivot: NDArray[np.float64],
    s1: NDArray[np.float64],
    s2: NDArray[np.float64] | None,
    first: int,
) -> None:
    """Add the pixels of many frames to their counts and sums; NaN is left out.

    As `add_complete`, which has added the `first` tiles. `count`, int32 or int64
    (a, b), is updated.
    """
    n_b, tile = x.shape[2], -1
    sums, squares, numbers = np.empty(TILE), np.empty(TILE), np.empty(TILE)
    for a in range(x.shape[0]):
        for lo in range(0, n_b, TILE):
            tile += 1
            if tile < first:
                continue
            hi = min(lo + TILE, n_b)
            n, s = numbers[: hi - lo], sums[: hi - lo]
            q = None if s2 is None else squares[: hi - lo]
            n[:] = 0.0
            sum_rows(x[a], lo, pivot[a, lo:hi], n, s, q)
            for i in range(hi - lo):
                count[a, lo + i] += np.int32(n[i])
            add_to(s, s1[a, lo:hi])
            if s2 is not None:
                add_to(q, s2[a, lo:hi])


@njit(nogil=True, cache=True)
def one_if(d: float) -> float:
    """Return 1 for a number, 0 for NaN."""
    return 1.0 if d == d else 0.0


@njit(nogil=True, cache=True)
def add_counts(x: Array, count: Array) -> None:
    for a in range(x.shape[0]):
        for r in range(x.shape[1]):
            for b in range(x.shape[2]):
                v = x[a, r, b]
                count[a, b] += np.int32(v == v)


@njit(nogil=True, cache=True)
def add_extrema(x: Array, low: Array, high: Array, seen: NDArray[np.bool_]) -> None:
    """Update the smallest and the largest value of every pixel; NaN is left out."""
    for a in range(x.shape[0]):
        for r in range(x.shape[1]):
            for b in range(x.shape[2]):
                v = x[a, r, b]
                if v == v:
                    if not seen[a, b]:
                        low[a, b] = high[a, b] = v
                        seen[a, b] = True
                    else:
                        low[a, b] = min(low[a, b], v)
                        high[a, b] = max(high[a, b], v)
