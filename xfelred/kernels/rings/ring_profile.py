"""Least squares of a ring's profile: its centre and radius from all pixels at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints
from xfelred.kernels.rings.ring_pixels import RingPixels

N_CIRCLE, N_ELLIPSE = 4, 6  # x, y, r, width; and two of the second harmonic
N_LINEAR = 3  # height, background and its slope: of every sector
SIGNIFICANT = 3.0  # standard deviations that the height of a sector must have
FAR = 3.0  # pixels from the circle at which a sector belongs to something else
HUBER = 4.0  # standard deviations beyond which a pixel counts less


@dataclass(frozen=True)
class ProfileFit:
    """A ring whose profile has been fitted."""

    # float64 (4 or 6,), pixels; x, y, r, width and, of an ellipse, the parts of r along
    # cos(2 phi), sin(2 phi)
    params: Floats
    covariance: Floats  # float64 (4 or 6, 4 or 6)
    rms: float  # of the distances of sectors from the circle, pixels
    used: Bools  # bool (sector,); in which sectors the ring was found


def fit_profile(
    pixels: RingPixels, params: Floats, half: float, n_steps: int = 12
) -> ProfileFit | None:
    """Fit the profile of a ring, or return None if there is none.

    pixels: around the first `params`.
    params: float64 (4 or 6,); where to begin.
    half: half width of the window.

    Sector k holds a_k exp(-(rho - R)^2 / (2 w^2)) + b_k + c_k (rho - R), with rho the
    distance from (x, y), and R = r or r + A cos(2 (phi - phi0)). a_k, b_k, c_k are
    eliminated sector by sector (variable projection, Golub and Pereyra,
    doi:10.1137/0710036); Gauss-Newton steps find the rest. A sector weighs by its
    own noise plus the scatter of all sectors about the circle, and less beyond it.
    """
    x, y, r = pixels.centre
    column = x + (pixels.offset + r) * np.cos(pixels.angle)
    row = y + (pixels.offset + r) * np.sin(pixels.angle)
    n = pixels.n_sectors
    params = params.copy()
    weight = np.ones(pixels.value.size)
    trust = np.ones(n)
    fitted = None
    for _ in range(n_steps):
        sums = sector_sums(pixels, column, row, params, weight, trust)
        if sums is None:
            return fitted
        reweigh(pixels.value, sums.residual, pixels.start, sums.noise, weight)
        trust = trusted(sums)
        step, covariance = gauss_newton(sums, trust)
        if step is None or covariance is None:
            return fitted
        # Farther than a width the profile is no longer like its tangent.
        most = max(params[3], 0.5)
        step = np.clip(step, -most, most)
        params[:] += step
        params[3] = np.clip(params[3], 0.3, half)
        moved = np.hypot(params[0] - x, params[1] - y) + abs(params[2] - r)
        if not np.isfinite(params).all() or moved > 2 * half or params[2] <= 0:
            return None
        used = sums.used & (trust > 0)
        scatter = float(np.sqrt(np.average(sums.shift[used] ** 2)))
        fitted = ProfileFit(params.copy(), covariance, scatter, used)
        if np.abs(step).max() < 1e-5:
            break
    return fitted


@dataclass(frozen=True)
class SectorSums:
    """What a step needs of every sector, with its own parameters eliminated.

    `normal` (sector, n, n) and `gradient` (sector, n) are per unit of squared noise;
    `shift` and `error` are how far the sector lies outside the circle, in pixels.
    """

    normal: Floats
    gradient: Floats
    shift: Floats
    error: Floats
    noise: Floats
    residual: Floats
    used: Bools


def sector_sums(
    pixels: RingPixels,
    column: Floats,
    row: Floats,
    params: Floats,
    weight: Floats,
    trust: Floats,
) -> SectorSums | None:
    """Fit the linear parameters of every sector; None if too few have a ring."""
    n, m = pixels.n_sectors, len(params)
    normal, gradient = np.zeros((n, m, m)), np.zeros((n, m))
    linear, error = np.zeros((n, N_LINEAR)), np.full(n, np.inf)
    residual, noise = np.zeros(pixels.value.size), np.zeros(n)
    places = (pixels.value, column, row, weight)
    found = (normal, gradient, linear, error, residual, noise)
    for_sectors(places, pixels.start, params, found)
    used = (linear[:, 0] > SIGNIFICANT * error) & (noise > 0)
    if used.sum() < 3:
        return None
    information = normal[:, 2, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = gradient[:, 2] / information
        spread = 1 / np.sqrt(information)
    used &= np.isfinite(shift) & np.isfinite(spread)
    if used.sum() < 3:
        return None
    return SectorSums(normal, gradient, shift, spread, noise, residual, used)


def trusted(sums: SectorSums) -> Floats:
    """Return the weight of every sector: 0 for those that hold something else."""
    shift, variance = sums.shift[sums.used], sums.error[sums.used] ** 2
    middle = np.median(shift)
    # Standard deviation of a normal distribution, from its median absolute deviation.
    scatter = 1.4826 * np.median(np.abs(shift - middle))
    excess = max(0.0, scatter**2 - float(np.median(variance)))
    out = np.zeros(len(sums.used))
    out[sums.used] = variance / (variance + excess)
    limit = max(0.25, 2.5 * float(scatter))
    far = np.abs(np.where(sums.used, sums.shift - middle, 0.0))
    out *= np.where(far > limit, limit / np.maximum(far, limit), 1.0)
    out[far > max(FAR, 4 * limit)] = 0.0
    return out


def gauss_newton(
    sums: SectorSums, trust: Floats
) -> tuple[Floats, Floats] | tuple[None, None]:
    """Return (step, covariance); None if the sectors do not determine the circle."""
    normal = np.tensordot(trust, sums.normal, axes=1)
    gradient = trust @ sums.gradient
    size = np.sqrt(np.diag(normal))
    if not (size > 0).all():
        return None, None
    scaled = normal / np.outer(size, size)
    # A short arc: centre and radius change together, and nothing tells them apart.
    if np.linalg.cond(scaled) > 1e8:
        return None, None
    covariance = np.linalg.inv(scaled) / np.outer(size, size)
    return covariance @ gradient, covariance


def reweigh(
    value: Floats, residual: Floats, start: Ints, noise: Floats, weight: Floats
) -> None:
    """Let pixels far from the model count less (Huber), in place."""
    scale = np.repeat(noise, np.diff(start))
    off = np.abs(residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight[:] = np.where(off > HUBER * scale, HUBER * scale / off, 1.0)


@njit(nogil=True, cache=True)
def for_sectors(
    pixels: tuple[Array, Array, Array, Array],
    start: Array,
    params: Array,
    found: tuple[Array, Array, Array, Array, Array, Array],
) -> None:
    """Fill in the sums of every sector, divided by its squared noise."""
    value, column, row, weight = pixels
    normal, gradient, linear, error, residual, noise = found
    m = params.size
    # Linear terms, derivatives and data of the pixels of one sector.
    basis = np.empty((longest(start), N_LINEAR + m + 1))
    cross = np.empty((N_LINEAR + m + 1, N_LINEAR + m + 1))
    inverse = np.empty((N_LINEAR, N_LINEAR))
    for k in range(start.size - 1):
        first, last = start[k], start[k + 1]
        if last - first < 2 * N_LINEAR:
            continue
        cross[:] = 0.0
        for p in range(first, last):
            row_of = basis[p - first]
            terms(value[p], column[p], row[p], params, row_of)
            add_products(row_of, weight[p], cross)
        if not inverted(cross, inverse):
            continue
        solution = solved(inverse, cross, m + 1)
        for c in range(N_LINEAR):
            linear[k, c] = solution[c, m]
        total, number = 0.0, 0.0
        for p in range(first, last):
            off = value[p]
            for c in range(N_LINEAR):
                off -= linear[k, c] * basis[p - first, c]
            residual[p] = off
            total += weight[p] * off * off
            number += weight[p]
        squared = total / max(number - N_LINEAR, 1.0)
        if not squared > 0:
            # A sector without noise (simulated): its values say how exact it can be.
            squared = 1e-12 * (1.0 + linear[k, 0] ** 2)
        noise[k] = np.sqrt(squared)
        error[k] = np.sqrt(max(inverse[0, 0], 0.0) * squared)
        project(cross, solution, linear[k, 0], squared, normal[k], gradient[k])


# Number by number: to assign rows of arrays takes seconds to compile.


@njit(nogil=True, cache=True)
def longest(start: Array) -> int:
    most = 0
    for k in range(start.size - 1):
        most = max(most, start[k + 1] - start[k])
    return int(most)


@njit(nogil=True, cache=True)
def solved(inverse: Array, cross: Array, n: int) -> Array:
    """Return what the linear terms make of each of the `n` others."""
    out = np.zeros((N_LINEAR, n))
    for i in range(N_LINEAR):
        for c in range(N_LINEAR):
            for j in range(n):
                out[i, j] += inverse[i, c] * cross[c, N_LINEAR + j]
    return out


@njit(nogil=True, cache=True)
def add_products(basis: Array, weight: float, cross: Array) -> None:
    """Add the products of all terms, above the diagonal."""
    for i in range(basis.size):
        scaled = weight * basis[i]
        for j in range(i, basis.size):
            cross[i, j] += scaled * basis[j]


@njit(nogil=True, cache=True)
def project(
    cross: Array,
    solution: Array,
    height: float,
    squared: float,
    normal: Array,
    gradient: Array,
) -> None:
    """Fill in the normal equations of one sector without its linear terms."""
    m = gradient.size
    for i in range(m):
        for j in range(m + 1):
            a, b = N_LINEAR + i, N_LINEAR + j
            s = cross[min(a, b), max(a, b)]
            for c in range(N_LINEAR):
                s -= cross[c, a] * solution[c, j]
            if j < m:
                normal[i, j] = s * height * height / squared
            else:
                gradient[i] = s * height / squared


@njit(nogil=True, cache=True)
def terms(v: float, column: float, row: float, params: Array, basis: Array) -> None:
    """Fill in the linear terms, the derivatives per unit of height, and the value."""
    dx, dy = column - params[0], row - params[1]
    rho = np.sqrt(dx * dx + dy * dy)
    c, s = dx / max(rho, 1e-9), dy / max(rho, 1e-9)
    u = rho - params[2]
    if params.size == N_ELLIPSE:
        c2, s2 = c * c - s * s, 2 * s * c
        u -= params[4] * c2 + params[5] * s2
    width = params[3]
    g = np.exp(-0.5 * (u / width) ** 2)
    slope = g * u / width**2
    basis[0], basis[1], basis[2] = g, 1.0, u
    basis[3], basis[4], basis[5] = slope * c, slope * s, slope
    basis[6] = g * u * u / width**3
    if params.size == N_ELLIPSE:
        basis[7], basis[8] = slope * c2, slope * s2
    basis[basis.size - 1] = v


@njit(nogil=True, cache=True)
def inverted(cross: Array, inverse: Array) -> bool:
    """Invert the upper left 3 x 3 of a symmetric matrix; False if it is singular."""
    a, b, c = cross[0, 0], cross[0, 1], cross[0, 2]
    d, e, f = cross[1, 1], cross[1, 2], cross[2, 2]
    p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * p + b * q + c * r
    if not det > 1e-9 * a * d * f:
        return False
    inverse[0, 0], inverse[0, 1], inverse[0, 2] = p / det, q / det, r / det
    inverse[1, 0], inverse[2, 0] = q / det, r / det
    inverse[1, 1], inverse[2, 2] = (a * f - c * c) / det, (a * d - b * b) / det
    inverse[1, 2] = inverse[2, 1] = (b * c - a * e) / det
    return True
