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
    counts[:] = 0.0
    n = counts.size
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
    matrix[:] = 0.0
    side[:] = 0.0
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
    m = matrix.copy()
    for a in range(3):
        m[a, a] *= 1.0 + damping
    c0 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
    c1 = m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]
    c2 = m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]
    det = m[0, 0] * c0 + m[0, 1] * c1 + m[0, 2] * c2
    step = np.zeros(3)
    if det == 0.0 or det != det:
        return step
    inv = np.empty((3, 3))
    inv[0] = (
        c0,
        m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2],
        m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1],
    )
    inv[1] = (
        c1,
        m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0],
        m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2],
    )
    inv[2] = (
        c2,
        m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1],
        m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0],
    )
    for a in range(3):
        step[a] = (
            inv[a, 0] * side[0] + inv[a, 1] * side[1] + inv[a, 2] * side[2]
        ) / det
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
    for _ in range(MAX_STEPS):
        step = solve(matrix, side, damping)
        new = p + step
        if not new[WIDTH] > 0.0:
            damping *= 10.0
            continue
        then = add_normal(counts, low, width, new, other_matrix, other_side)
        if not then <= now:
            damping *= 10.0
            if damping > 1e12:
                break
            continue
        small = np.abs(step) <= TOLERANCE * (np.abs(new) + TOLERANCE)
        p[:] = new
        matrix[:] = other_matrix
        side[:] = other_side
        damping = max(damping * 0.1, 1e-12)
        now = then
        if small.all():
            break
    inside = low <= p[POSITION] <= low + counts.size * width
    return inside and p[AMPLITUDE] > 0.0 and p[WIDTH] < counts.size * width


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
        out[i] = np.nan
        lo, hi = low, high
        if low >= high:
            lo, hi = some.min(), some.max()
        if not hi > lo:
            continue
        width = (hi - lo) / n_bins
        histogram(some, lo, width, counts)
        inside = some[(some >= lo) & (some <= hi)]
        if inside.size < 3 or not inside.std() > 0.0:
            continue
        p[AMPLITUDE], p[POSITION], p[WIDTH] = counts.max(), inside.mean(), inside.std()
        if fit_counts(counts, lo, width, p):
            out[i] = p


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
