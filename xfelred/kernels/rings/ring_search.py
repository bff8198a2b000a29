"""A circle near a guess, to about a pixel: where most sectors have a peak on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Floats
from xfelred.kernels.rings.ring_pixels import RingPixels, radial_bins


def search_ring(
    pixels: RingPixels, half: float, reach: float, step: float
) -> tuple[float, float, float]:
    """Return the circle (x, y, r) on which most sectors have a peak.

    half: half width of their window.
    reach, step: trial circles differ from that of the window by up to `reach` in x, y
        and r.

    Every sector votes with its radial profile, less the mean of what lies 4 to 6 pixels
    inside and outside, which a slope does not change. A vote counts at most as much as
    that of an ordinary good sector, so that hot areas do not outvote the rest.
    """
    votes = sector_votes(pixels, half)
    n = round(reach / step)
    trial = np.arange(-n, n + 1) * step
    sector = (np.arange(pixels.n_sectors) + 0.5) / pixels.n_sectors * 2 * np.pi - np.pi
    x, y, r = pixels.centre
    dx, dy, dr = best_circle(votes, half, trial, np.cos(sector), np.sin(sector))
    return x + dx, y + dy, max(r + dr, 1.0)


def sector_votes(pixels: RingPixels, half: float) -> Floats:
    """Return the votes (sector, bin of a pixel), from 0 to 1."""
    b, n_bins = radial_bins(pixels.offset, half)
    k = np.repeat(np.arange(pixels.n_sectors), np.diff(pixels.start))
    shape = (pixels.n_sectors, n_bins)
    at = k * n_bins + b
    total = np.bincount(at, pixels.value, n_bins * pixels.n_sectors).reshape(shape)
    count = np.bincount(at, minlength=n_bins * pixels.n_sectors).reshape(shape) * 1.0
    here = window_mean(total, count, -1, 1)
    below, above = window_mean(total, count, -6, -4), window_mean(total, count, 4, 6)
    peak = np.nan_to_num(here - (below + above) / 2, nan=0.0)
    heights = peak.max(axis=1)
    seen = heights[heights > 0]
    if not seen.size:
        return np.zeros(shape)
    return np.clip(peak / np.percentile(seen, 75), 0.0, 1.0)


def window_mean(total: Array, count: Array, first: int, last: int) -> Floats:
    """Return means over the bins from `first` to `last` away; NaN without pixels."""
    sums, numbers = np.zeros(total.shape), np.zeros(total.shape)
    n_bins = total.shape[1]
    for shift in range(first, last + 1):
        to = slice(max(0, -shift), min(n_bins, n_bins - shift))
        of = slice(max(0, shift), min(n_bins, n_bins + shift))
        if to.start < to.stop:
            sums[:, to] += total[:, of]
            numbers[:, to] += count[:, of]
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


@njit(nogil=True, cache=True)
def best_circle(
    votes: Array, half: float, trial: Array, cosine: Array, sine: Array
) -> Any:
    """Return the shift (dx, dy, dr) with the most votes."""
    n_bins = votes.shape[1]
    scale = n_bins / (2 * half)
    best, found = -1.0, (0.0, 0.0, 0.0)
    for dx in trial:
        for dy in trial:
            for dr in trial:
                score = 0.0
                for k in range(cosine.size):
                    at = (dr + dx * cosine[k] + dy * sine[k] + half) * scale - 0.5
                    low = int(np.floor(at))
                    if 0 <= low < n_bins - 1:
                        f = at - low
                        score += (1 - f) * votes[k, low] + f * votes[k, low + 1]
                # Of equal ones the nearest to the guess.
                score -= 1e-6 * (dx * dx + dy * dy + dr * dr)
                if score > best:
                    best, found = score, (dx, dy, dr)
    return found
