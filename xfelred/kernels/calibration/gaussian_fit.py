"""Gaussians through histograms of photon energies."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Floats, Ints

MAX_STEPS = 200  # also those that only raise the damping
TOLERANCE = 1e-10  # relative step below which nothing changes any more
AMPLITUDE, POSITION, WIDTH = range(3)


@njit(nogil=True, cache=True)
def histogram(values: Floats, low: float, width: float, counts: Floats) -> None:
    """Count values in bins of a width from `low` on; the last includes its end."""
    n = counts.size
    for i in range(n):
        counts[i] = 0.0
    for v in values:
        i = int(np.floor((v - low) / width))
        # As numpy; the width is rounded, so that the end may lie a digit above.
        if i == n and v <= low + n * width * (1 + 1e-12):
            i = n - 1
        if 0 <= i < n:
            counts[i] += 1.0


@njit(nogil=True, cache=True)
def add_normal(
    counts: Floats, low: float, width: float, p: Floats, matrix: Floats, side: Floats
) -> float:
    """Fill the normal equations of the fit at `p`; return the sum of squares."""
    for a in range(3):
        side[a] = 0.0
        for b in range(3):
            matrix[a, b] = 0.0
    total = 0.0
    slope = np.empty(3)
    for i in range(counts.size):
        z = (low + (i + 0.5) * width - p[POSITION]) / p[WIDTH]
        g = np.exp(-0.5 * z * z)
        miss = counts[i] - p[AMPLITUDE] * g
        total += miss * miss
        slope[AMPLITUDE] = g
        slope[POSITION] = p[AMPLITUDE] * g * z / p[WIDTH]
        slope[WIDTH] = p[AMPLITUDE] * g * z * z / p[WIDTH]
        for a in range(3):
            side[a] += slope[a] * miss
            for b in range(3):
                matrix[a, b] += slope[a] * slope[b]
    return total


@njit(nogil=True, cache=True)
def solve(matrix: Floats, side: Floats, damping: float) -> Floats:
    """Return the damped step of three normal equations, by Cramer's rule."""
    m = np.empty((3, 3))
    for a in range(3):
        for b in range(3):
            m[a, b] = matrix[a, b] * (1.0 + damping) if a == b else matrix[a, b]
    c0 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c1 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c2 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    det = m[0, 0] * c0 + m[0, 1] * c1 + m[0, 2] * c2
    step = np.zeros(3)
    if det == 0.0 or det != det:
        return step
    # Number by number, as everywhere here: to assign rows takes seconds to compile.
    s0, s1, s2 = side[0], side[1], side[2]
    i01 = m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]
    i02 = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
    i11 = m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]
    i12 = m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]
    i21 = m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]
    i22 = m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]
    step[0] = (c0 * s0 + i01 * s1 + i02 * s2) / det
    step[1] = (c1 * s0 + i11 * s1 + i12 * s2) / det
    step[2] = (c2 * s0 + i21 * s1 + i22 * s2) / det
    return step


@njit(nogil=True, cache=True)
def fit_counts(counts: Floats, low: float, width: float, p: Floats) -> bool:
    """Improve the parameters `p` by Levenberg and Marquardt's method, in place.

    Returns whether they converged, inside the histogram.
    """
    matrix, side = np.zeros((3, 3)), np.zeros(3)
    other_matrix, other_side = np.zeros((3, 3)), np.zeros(3)
    now = add_normal(counts, low, width, p, matrix, side)
    damping = 1e-3
    new = np.empty(3)
    for _ in range(MAX_STEPS):
        step = solve(matrix, side, damping)
        for a in range(3):
            new[a] = p[a] + step[a]
        if not new[WIDTH] > 0.0:
            damping *= 10.0
            continue
        then = add_normal(counts, low, width, new, other_matrix, other_side)
        if not then <= now:
            damping *= 10.0
            if damping > 1e12:
                break
            continue
        small = True
        for a in range(3):
            small &= abs(step[a]) <= TOLERANCE * (abs(new[a]) + TOLERANCE)
            p[a] = new[a]
            side[a] = other_side[a]
            for b in range(3):
                matrix[a, b] = other_matrix[a, b]
        damping = max(damping * 0.1, 1e-12)
        now = then
        if small:
            break
    inside = low <= p[POSITION] <= low + counts.size * width
    return inside and p[AMPLITUDE] > 0.0 and p[WIDTH] < counts.size * width


@njit(nogil=True, cache=True)
def spread(values: Floats, low: float, high: float) -> tuple[int, float, float]:
    """Return number, mean and standard deviation of the values within limits."""
    n, total, squares = 0, 0.0, 0.0
    for v in values:
        if low <= v <= high:
            n += 1
            total += v
    if n == 0:
        return 0, np.nan, np.nan
    mean = total / n
    for v in values:
        if low <= v <= high:
            squares += (v - mean) * (v - mean)
    return n, mean, (squares / n) ** 0.5


@njit(nogil=True, cache=True)
def fit_lists(
    values: Floats, start: Ints, n_bins: int, low: float, high: float, out: Floats
) -> None:
    """Fit each list ``values[start[i]:start[i + 1]]``; NaN where there is no peak.

    A range with ``low >= high`` stands for that of each list.
    """
    counts = np.empty(n_bins)
    p = np.empty(3)
    for i in range(start.size - 1):
        some = values[start[i] : start[i + 1]]
        for a in range(3):
            out[i, a] = np.nan
        lo, hi = low, high
        if low >= high:
            lo, hi = some.min(), some.max()
        if not hi > lo:
            continue
        width = (hi - lo) / n_bins
        histogram(some, lo, width, counts)
        n, mean, deviation = spread(some, lo, hi)
        if n < 3 or not deviation > 0.0:
            continue
        p[AMPLITUDE], p[POSITION], p[WIDTH] = counts.max(), mean, deviation
        if fit_counts(counts, lo, width, p):
            for a in range(3):
                out[i, a] = p[a]


def fit_gaussian(
    energy: Floats,
    *pixel: Floats,
    shape: tuple[int, ...],
    n_bins: int,
    limits: tuple[float, float] | None,
    min_values: int,
) -> dict[str, Array]:
    """Fit the energies of every pixel.

    energy: float64 (value,).
    *pixel: float64 (value,); position of each along the axes of `shape`; negative:
        none.
    shape: of the results; () for one fit of all values.
    limits: (low, high); range of the histograms; by default from the lowest value to
        the highest.
    min_values: pixels with fewer values are not fitted.
    Returns ``amplitude``, ``position``, ``width`` float64, and ``count`` int64.
    """
    at = np.zeros(len(energy), np.int64)
    good = np.ones(len(energy), bool)
    for n, axis in zip(shape, pixel, strict=True):
        good &= (axis >= 0) & (axis < n)
        at = at * n + axis.astype(np.int64)
    size = int(np.prod(shape, dtype=np.int64))
    at, energy = at[good], energy[good]
    # Sorted energies too: sums do not depend on the order of the clusters.
    order = np.lexsort((energy, at))
    count = np.bincount(at, minlength=size)
    wanted = count >= max(1, min_values)
    chosen = np.flatnonzero(wanted)
    listed = energy[order][wanted[at[order]]]
    start = np.concatenate([[0], np.cumsum(count[chosen])]).astype(np.int64)
    fits = np.full((size, 3), np.nan)
    found = np.empty((len(chosen), 3))
    low, high = (0.0, 0.0) if limits is None else limits
    fit_lists(listed, start, n_bins, low, high, found)
    fits[chosen] = found
    names = ("amplitude", "position", "width")
    out = {name: fits[:, i].reshape(shape) for i, name in enumerate(names)}
    return out | {"count": count.reshape(shape)}
