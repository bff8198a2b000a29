"""Running moments and extrema of pixels over frames, in one pass.

Sums run over deviations from a pivot (the first good value of each pixel), so that
the variance does not lose its digits on a large pedestal:
``mean = pivot + s1 / n`` and ``m2 = s2 - s1**2 / n`` (Chan, Golub & LeVeque 1983,
doi:10.1080/00031305.1983.10483115; states are combined by their eq. 2.1b).

All arrays are three-dimensional, ``(a, r, b)``: `r` is reduced, `a` and `b` stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

TILE = 1024  # pixels whose sums stay in the first-level cache while frames stream by


@njit(nogil=True, cache=True)
def find_pivots(
    x: NDArray[Any], count: NDArray[np.integer[Any]], pivot: NDArray[np.float64]
) -> None:
    """Set the pivot of every pixel without a count to its first finite value."""
    for a in range(x.shape[0]):
        for b in range(x.shape[2]):
            if count[a, b] == 0:
                for r in range(x.shape[1]):
                    v = np.float64(x[a, r, b])
                    if np.isfinite(v):
                        pivot[a, b] = v
                        break


@njit(nogil=True, cache=True)
def add_moments(
    x: NDArray[Any],
    count: NDArray[np.integer[Any]],
    pivot: NDArray[np.float64],
    s1: NDArray[np.float64],
    s2: NDArray[np.float64],
    squares: bool,
) -> None:
    """Add the pixels of many frames to their counts and sums; NaN is left out.

    Parameters
    ----------
    x : any real dtype (a, r, b)
        Pixels; not modified.
    count : int32 or int64 (a, b)
        Number of values so far; updated.
    pivot, s1, s2 : float64 (a, b)
        Pivot, sum and sum of squares of ``x - pivot``; the sums are updated.
    squares : bool
        False leaves `s2` alone.
    """
    one, zero = np.int32(1), np.int32(0)
    n_b = x.shape[2]
    for a in range(x.shape[0]):
        for lo in range(0, n_b, TILE):
            hi = min(lo + TILE, n_b)
            n, p, s, q = count[a, lo:hi], pivot[a, lo:hi], s1[a, lo:hi], s2[a, lo:hi]
            for r in range(x.shape[1]):
                row = x[a, r, lo:hi]
                if squares:
                    for i in range(hi - lo):
                        v = np.float64(row[i])
                        good = v == v
                        d = v - p[i] if good else 0.0
                        n[i] += one if good else zero
                        s[i] += d
                        q[i] += d * d
                else:
                    for i in range(hi - lo):
                        v = np.float64(row[i])
                        good = v == v
                        n[i] += one if good else zero
                        s[i] += v - p[i] if good else 0.0


@njit(nogil=True, cache=True)
def add_counts(x: NDArray[Any], count: NDArray[np.integer[Any]]) -> None:
    """Add one to the count of every pixel that is not NaN."""
    for a in range(x.shape[0]):
        for r in range(x.shape[1]):
            for b in range(x.shape[2]):
                v = x[a, r, b]
                count[a, b] += np.int32(v == v)


@njit(nogil=True, cache=True)
def add_extrema(
    x: NDArray[Any], low: NDArray[Any], high: NDArray[Any], seen: NDArray[np.bool_]
) -> None:
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


def combined(
    n1: NDArray[Any], p1: NDArray[Any], s1: NDArray[Any], q1: NDArray[Any],
    n2: NDArray[Any], p2: NDArray[Any], s2: NDArray[Any], q2: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:  # fmt: skip
    """Return count, pivot, s1 and s2 of two sets of values together.

    The second set is moved to the pivot of the first: with ``d = p2 - p1`` its sums
    become ``s + n d`` and ``q + 2 d s + n d**2``. An empty set takes the other's pivot.
    """
    pivot = np.where(n1 > 0, p1, p2)
    shift = np.where(n2 > 0, p2 - pivot, 0.0)
    return (
        n1 + n2,
        pivot,
        s1 + (s2 + n2 * shift),
        q1 + (q2 + shift * (2 * s2 + n2 * shift)),
    )
