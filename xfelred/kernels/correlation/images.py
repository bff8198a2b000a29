"""Correlation of images with themselves and with others."""

from __future__ import annotations

from math import prod

import numpy as np
from scipy.fft import fftshift, irfft2, rfft2

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.image.roi import limited

LEAST = 0.1  # pairs of pixels; fewer are rounding


def correlate_images(
    frames: Array, *rest: Array, n_others: int, low: float | None, high: float | None
) -> Floats:
    """Return the correlation of every image, normalized by that of its mask.

    frames: real (..., slow_scan, fast_scan); not modified. NaN counts as a bad pixel.
    *rest: `n_others` (0 or 1) frames to correlate with, instead of with themselves;
        then masks, bool or integer, non-zero is bad. Axes as those of `frames`, or of
        length 1.
    low, high: values below or above become 0.
    Returns float64 (..., slow_scan, fast_scan): sum of a[n + shift] b[n] over pairs of
        good pixels, times their number, over the product of the sums of a and of b in
        these pairs; no shift in the middle; 0 where there is none. Shifts wrap round.
    """
    lead, shape = frames.shape[:-2], frames.shape[-2:]
    others = [np.broadcast_to(o, frames.shape) for o in rest[:n_others]]
    masks = [np.broadcast_to(m, frames.shape) for m in rest[n_others:]]
    out = np.empty(frames.shape)
    known: dict[bytes, tuple[Array, Floats]] = {}  # of masks, of which most are alike
    for i in np.ndindex(lead):
        a = limited(frames[i], low=low, high=high).astype(np.float64)
        b = (
            limited(others[0][i], low=low, high=high).astype(np.float64)
            if others
            else a
        )
        good: Bools = ~(np.isnan(a) | np.isnan(b))
        for mask in masks:
            good &= mask[i] == 0
        key = good.tobytes()
        if key not in known:
            known.clear()
            m = rfft2(good.astype(np.float64))
            known[key] = m, pairs(m, shape)
        out[i] = one(a, b, good, *known[key])
    return out.reshape(*lead, *shape) if prod(lead) else out


def pairs(mask: Array, shape: tuple[int, ...]) -> Floats:
    """Return how many pairs of good pixels there are at each shift, 0 if hardly any."""
    found: Floats = irfft2(mask * mask.conj(), shape)
    return np.where(found <= LEAST, 0.0, found)


def one(a: Floats, b: Floats, good: Bools, mask: Array, n_pairs: Floats) -> Floats:
    shape = a.shape
    fa = rfft2(np.where(good, a, 0.0))
    fb = fa if b is a else rfft2(np.where(good, b, 0.0))
    top = irfft2(fa * fb.conj(), shape) * n_pairs
    below = irfft2(fa * mask.conj(), shape)
    if b is a:
        # Sums over the other partner are those at the opposite shift.
        below = below * np.roll(below[::-1, ::-1], 1, axis=(0, 1))
    else:
        below = below * irfft2(mask * fb.conj(), shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((below != 0) & (n_pairs != 0), top / below, 0.0)
    out: Floats = fftshift(ratio)
    return out
