"""The circle, or ellipse, that a ring lies on; robust against what is not the ring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.polar.remap import joined_masks
from xfelred.kernels.rings.find_centre import find_centre
from xfelred.kernels.rings.ring_pixels import count_pixels, ring_pixels, window
from xfelred.kernels.rings.ring_profile import (
    N_CIRCLE,
    N_ELLIPSE,
    ProfileFit,
    fit_profile,
)
from xfelred.kernels.rings.ring_search import search_ring

ARC = 6.0  # pixels along the ring that a sector has at least
FEWEST_SECTORS = 8
N_RESULTS = 8  # of one image in a stack
NARROWEST = 5.0  # pixels: half width of the last window
WIDTHS = 5.0  # and in widths of the ring

LEAST_COVERAGE = 0.1  # of the circle


@dataclass(frozen=True)
class RingOptions:
    """How to fit."""

    ring_width: float = 20.0  # width of the window in which the ring is looked for
    n_sectors: int = 72  # parts of the circle; fewer where the ring is small
    ellipse: bool = False  # let the radius vary as A cos(2 (phi - phi0))


def fit_ring(
    image: Array, good: Bools, guess: tuple[float, float, float], options: RingOptions
) -> ProfileFit | None:
    """Fit a circle, or an ellipse, to a ring of one image; None if there is no ring.

    image: number (row, column).
    good: bool (row, column); false, or NaN in `image`: left out.
    guess: (x, y, r), pixels; off by no more than half of the ring width.

    Circles near the guess are tried on a lattice of a pixel, then of half a pixel;
    the best one is refined by least squares of the profile while the window is
    centred again and narrowed to 5 widths of the ring, not below 5 pixels.
    """
    if image.dtype.kind == "f":
        good = good & np.isfinite(image)
    half = options.ring_width / 2
    x, y, r = guess
    wide = 2 * half
    for reach, step in ((half, 1.0), (min(2.0, half), 0.5)):
        pixels = ring_pixels(image, good, (x, y, r), wide, sectors(r, options))
        if not pixels.value.size:
            return None
        x, y, r = search_ring(pixels, wide, reach, step)
    params = np.zeros(N_ELLIPSE if options.ellipse else N_CIRCLE)
    params[:4] = x, y, r, max(1.0, half / 6)
    fitted = None
    for _ in range(6):
        last = tuple(params[:3])
        ring = (float(params[0]), float(params[1]), float(params[2]))
        pixels = ring_pixels(image, good, ring, half, sectors(ring[2], options))
        fitted = fit_profile(pixels, params, half)
        if fitted is None:
            return None
        params = fitted.params
        narrow = min(max(NARROWEST, WIDTHS * params[3]), options.ring_width / 2)
        done = half <= narrow * 1.05 and np.abs(params[:3] - last).max() < 0.02
        half = narrow
        if done:
            break
    return fitted if fitted is not None and believable(fitted) else None


def believable(fit: ProfileFit) -> bool:
    errors = np.sqrt(np.diag(fit.covariance))
    enough = fit.used.sum() >= max(4, LEAST_COVERAGE * fit.used.size)
    return bool(enough and errors[2] < fit.params[3] and np.isfinite(errors).all())


def window_pixels(
    image: Array, good: Bools, guess: tuple[float, float, float], options: RingOptions
) -> int:
    half = options.ring_width / 2
    if image.dtype.kind == "f":
        good = good & np.isfinite(image)
    return int(count_pixels(good, window(image.shape, guess, half), *guess, half))


def sectors(radius: float, options: RingOptions) -> int:
    """Return the number of sectors for a ring, each a few pixels long."""
    fitting = int(2 * np.pi * radius / ARC)
    return max(FEWEST_SECTORS, min(options.n_sectors, fitting))


def largest_gap(used: Bools) -> float:
    """Return the largest angle, rad, between neighbouring sectors that are used."""
    at = np.flatnonzero(used)
    if not at.size:
        return float(2 * np.pi)
    turns = np.diff(np.append(at, at[0] + used.size)) - 1
    return float(turns.max() / used.size * 2 * np.pi)


def fit_rings(
    block: Array,
    *masks: Array,
    n_core: int,
    guess: tuple[float, float, float] | None,
    options: RingOptions,
) -> Floats:
    """Fit a ring in every image of a block.

    block: number (..., core axes); flat images; the last two axes are rows and columns.
    *masks: bool or integer (..., core axes), each axis of length 1 or as in `block`;
        non-zero: left out.
    n_core: number of core axes.
    guess: (x, y, r), pixels; None: every image is searched.
    Returns float64 (..., 8); x, y, r, rms, the errors of x, y and r (pixels), and
        coverage. NaN, and coverage 0, where there is no ring.
    """
    lead, shape = block.shape[: block.ndim - n_core], block.shape[-2:]
    images = block.reshape(-1, *shape)
    bad = joined_masks(masks, block.shape, n_core)
    out = np.full((len(images), N_RESULTS), np.nan)
    out[:, -1] = 0.0
    for i, image in enumerate(images):
        good = np.ones(shape, dtype=bool)
        if len(bad):
            good = ~bad[min(i, len(bad) - 1)].reshape(shape)
        near = find_centre(image, good)[:3] if guess is None else guess
        fit = fit_ring(image, good, near, options) if np.isfinite(near).all() else None
        if fit is not None:
            errors = np.sqrt(np.diag(fit.covariance))[:3]
            out[i] = [*fit.params[:3], fit.rms, *errors, fit.used.mean()]
    return out.reshape(*lead, N_RESULTS)
