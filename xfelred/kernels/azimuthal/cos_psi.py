"""Correlations as a function of the angle between scattering vectors."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.optimize import nnls

from xfelred.kernels.arrays import Array, Floats

ROUNDING = 1e-12  # of cosines


def cos_psi(q1: Floats, q2: Floats, lag: Floats, wavelength: float) -> Floats:
    """Return the cosine of the angle between two scattering vectors.

    q1, q2: float64, 1/angstrom; lengths of the vectors; broadcast with `lag`.
    lag: float64, rad; difference of their azimuths.
    Returns float64; NaN where a q is beyond ``4 pi / wavelength``.

    Both vectors end on the Ewald sphere, so that they lean out of the plane of the
    detector by theta = asin(q wavelength / 4 pi):
    cos psi = cos(lag) cos(theta_1) cos(theta_2) + sin(theta_1) sin(theta_2).
    """
    s1, s2 = (np.asarray(q) * wavelength / (4 * np.pi) for q in (q1, q2))
    s1, s2 = (np.where(np.abs(s) <= 1, s, np.nan) for s in (s1, s2))
    return np.cos(lag) * np.sqrt(1 - s1**2) * np.sqrt(1 - s2**2) + s1 * s2


@njit(nogil=True, cache=True)
def interpolate_rows(
    values: Array, axis: Array, grid: Array, least: bool, out: Array
) -> None:
    """Interpolate rows (item, ring, lag) at `grid`; axes (ring, lag) decrease.

    With `least`, take the smaller neighbour instead.
    """
    n = axis.shape[1]
    for i in range(values.shape[0]):
        for r in range(values.shape[1]):
            k = n - 1
            for g in range(grid.size):
                # A cosine of 1 may be rounded to a little less.
                low, high = axis[r, n - 1], axis[r, 0]
                # NaN is on no side of anything.
                if not (low - ROUNDING <= grid[g] <= high + ROUNDING):
                    continue
                x = min(max(grid[g], low), high)
                while k > 1 and axis[r, k - 1] < x:
                    k -= 1
                if n == 1:
                    out[i, r, g] = values[i, r, 0]
                    continue
                left, right = values[i, r, k], values[i, r, k - 1]
                if least:
                    out[i, r, g] = min(left, right)
                    continue
                t = (x - axis[r, k]) / (axis[r, k - 1] - axis[r, k])
                # A neighbour without weight may be NaN.
                if t <= 0.0:
                    out[i, r, g] = left
                elif t >= 1.0:
                    out[i, r, g] = right
                else:
                    out[i, r, g] = left + t * (right - left)


def to_grid(
    values: Array, axis: Floats, *, grid: tuple[float, ...], half: int
) -> Array:
    """Return correlations on an even axis.

    values: float or int (..., ring, lag).
    axis: float64 (..., ring, lag); cosines; the same for all leading positions.
    grid: increasing.
    half: only so many lags, from 0 to pi, are used: there the axis decreases.
    Returns float or int (..., ring, grid); linear between neighbours, for ints the
        smaller of the two; outside of the axis NaN, or 0 for ints.
    """
    axis = axis[..., :half]
    counts = values.dtype.kind in "iu"
    flat = np.ascontiguousarray(values[..., :half]).reshape(-1, *axis.shape[-2:])
    rows = axis.reshape(-1, *axis.shape[-2:])[0]
    out = np.zeros((*flat.shape[:2], len(grid)), values.dtype)
    if not counts:
        out[:] = np.nan
    interpolate_rows(flat, np.ascontiguousarray(rows), np.array(grid), counts, out)
    return out.reshape(*values.shape[:-1], len(grid))


def asymmetry(values: Array, *, grid: tuple[float, ...], limit: float) -> Floats:
    """Return the odd part of the power of rows (..., grid); the grid is symmetric.

    Points with an absolute value above `limit`, or without a partner, do not count.
    """
    odd, even = parities(values, grid, limit)
    power = np.nansum(odd**2, axis=-1)
    whole = power + np.nansum(even**2, axis=-1)
    out = np.full(whole.shape, np.nan)
    return np.divide(power, whole, out=out, where=whole > 0)


def parities(
    values: Array, grid: tuple[float, ...], limit: float
) -> tuple[Floats, Floats]:
    """Return the odd and even parts of rows; NaN beyond `limit`."""
    x = values.astype(np.float64)
    x = np.where(np.abs(np.array(grid)) <= limit, x, np.nan)
    mirrored = x[..., ::-1]
    return (x - mirrored) / 2, (x + mirrored) / 2


def friedel_weights(
    values: Array,
    *,
    grid: tuple[float, ...],
    limit: float,
    ridge: float,
    positive: bool,
) -> Floats:
    """Return weights of shots that make their mean most symmetric.

    values: float (shot, ring, grid).
    grid, limit: see `asymmetry`.
    ridge: part of the mean diagonal that is added to it, so that weights do not run
        away.
    positive: no weight below 0.
    Returns float64 (shot,); sum 1. Shots without a finite value have weight 0.

    With the odd parts O (shot, point), w minimises w G w, G = O O^T + ridge, under
    sum w = 1: w ~ G^-1 1. With positive weights the same quadratic problem is solved by
    non-negative least squares (Lawson & Hanson 1974, doi:10.1137/1.9781611971217).
    """
    odd, _ = parities(values, grid, limit)
    odd = odd.reshape(len(odd), -1)
    there = np.isfinite(odd).any(axis=1)
    rows = np.nan_to_num(odd[there])
    weights = np.zeros(len(odd))
    n = len(rows)
    if not n:
        return weights
    gram = rows @ rows.T
    level = np.trace(gram) / n
    gram[np.diag_indices(n)] += ridge * level if level > 0 else 1.0
    found: Array = np.ones(n)
    found = positive_weights(gram) if positive else np.linalg.solve(gram, found)
    weights[there] = found / found.sum()
    return weights


def positive_weights(gram: Floats) -> Floats:
    """Return weights, none below 0, of the least ``w G w`` for their sum."""
    root = np.linalg.cholesky(gram).T
    scale = float(np.sqrt(np.trace(gram)))
    # The last row asks for the sum; its size only sets that of the result.
    stacked = np.vstack([root, np.full((1, len(gram)), scale)])
    wanted = np.zeros(len(stacked))
    wanted[-1] = scale
    return nnls(stacked, wanted)[0]
