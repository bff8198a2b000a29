"""Speckle contrast from photon counts: the negative binomial distribution fitted.

The log-likelihood of a contrast b (one over the number of modes) for N_k pixels with k
photons, in frames of n_f pixels with a mean of m_f photons, but for what b is not in:

    sum_j A_j log(1 + b j) - sum_f n_f (m_f + 1 / b) log(1 + b m_f)
        + 1/2 sum_f log(1 + b m_f),   A_j = sum of N_k over k > j

The last sum makes up for each frame's mean being found from the same few pixels (the
adjusted profile likelihood of Cox & Reid 1987, J. R. Stat. Soc. B 49, 1): without it
many frames of few pixels give too little contrast. Mean and contrast are orthogonal.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

from xfelred.kernels.arrays import Array, Floats, Ints

QUANTITIES = ("contrast", "contrast_error", "k_mean", "n_pixels", "n_frames")
SMALL = 1e-3  # of b m: below, series are more exact than differences of logarithms
LARGEST = 1e6  # no contrast is sought above


def frame_terms(x: Floats) -> tuple[Floats, Floats]:
    """Return (log(1 + x) / x - 1) / x and its derivative, float64 (frame,).

    Of x = b m, times m^2 and m^3, they are the first two derivatives by b of what a
    pixel adds to the log-likelihood.
    """
    near = np.abs(x) < SMALL
    y = np.where(near, 1.0, x)
    g = (np.log1p(y) / y - 1) / y
    slope = (-2 * np.log1p(y) / y + 1 / (1 + y) + 1) / y**2
    return (
        np.where(near, -1 / 2 + x / 3 - x**2 / 4 + x**3 / 5, g),
        np.where(near, 1 / 3 - x / 2 + 3 * x**2 / 5 - 2 * x**3 / 3, slope),
    )


def score(b: float, tails: Ints, n: Floats, mean: Floats) -> tuple[float, float]:
    """Return the first and the second derivative of the log-likelihood by b."""
    j = np.arange(len(tails))
    share = j / (1 + b * j)
    first, second = frame_terms(b * mean)
    adjust = mean / (1 + b * mean)
    return (
        float(tails @ share + n @ (first * mean**2) + 0.5 * adjust.sum()),
        float(-tails @ share**2 + n @ (second * mean**3) - 0.5 * (adjust**2).sum()),
    )


def fit(counts: Ints, pixels: Ints, photons: Ints) -> tuple[float, float]:
    """Return contrast and its error; NaN where no pixel has two photons.

    counts: int64 (k,), pixels with k photons, of all frames.
    pixels, photons: int64 (frame,), in each of them.
    """
    tails = counts[::-1].cumsum()[::-1][1:]
    highest = int(np.flatnonzero(tails)[-1]) if tails.any() else 0
    if not highest:
        return np.nan, np.nan
    # Sorted: the sum has the same bits in whatever order the frames came.
    order = np.lexsort((pixels, photons))
    n = pixels[order].astype(np.float64)
    mean = photons[order] / n
    low = -(1 - 1e-9) / max(highest, float(mean.max()))
    high = 1.0
    while high < LARGEST and score(high, tails, n, mean)[0] > 0:
        high *= 4
    ends = [score(b, tails, n, mean)[0] for b in (low, high)]
    if not ends[0] > 0 > ends[1]:
        return np.nan, np.nan
    found = brentq(lambda b: score(b, tails, n, mean)[0], low, high, xtol=1e-12)
    information = -score(found, tails, n, mean)[1]
    return found, information**-0.5 if information > 0 else np.nan


def fits(counts: Ints, rows: Ints, where: Array) -> Floats:
    """Return the fit of every group of frames and ring.

    counts: int64 (group, ring, k); pixels with k photons.
    rows: int64 (frame, ring, 2); pixels and photons.
    where: int64 (frame, ring); the group of each, below 0 for none.
    Returns float64 (ring, group, quantity), see `QUANTITIES`.
    """
    n_groups, n_rings = counts.shape[:2]
    out = np.full((n_rings, n_groups, len(QUANTITIES)), np.nan)
    for ring, group in np.ndindex(n_rings, n_groups):
        pixels, photons = rows[where[:, ring] == group, ring].T
        total = pixels.sum()
        out[ring, group, :2] = fit(counts[group, ring], pixels, photons)
        out[ring, group, 2] = photons.sum() / total if total else np.nan
        out[ring, group, 3:] = total, len(pixels)
    return out
