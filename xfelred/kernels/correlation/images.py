"""Correlation of images with themselves and with others."""

from __future__ import annotations

from math import prod

import numpy as np
from numba import njit
from scipy.fft import irfft2, rfft2

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
    shape, out = a.shape, np.empty(a.shape)
    fa = rfft2(np.where(good, a, 0.0))
    fb = fa if b is a else rfft2(np.where(good, b, 0.0))
    product, left = np.empty_like(fa), np.empty_like(fa)
    times_conjugate(fa, fb, product)
    times_conjugate(fa, mask, left)
    top, below = irfft2(product, shape), irfft2(left, shape)
    if b is a:
        # Sums over the other partner are those at the opposite shift.
        other = below[(-np.arange(shape[0])) % shape[0]]
        shifted_ratio(top, below, other, n_pairs, -1, out)
    else:
        times_conjugate(mask, fb, left)
        shifted_ratio(top, below, irfft2(left, shape), n_pairs, 1, out)
    return out


@njit(nogil=True, cache=True)
def times_conjugate(a: Array, b: Array, out: Array) -> None:
    for r in range(a.shape[0]):
        for c in range(a.shape[1]):
            out[r, c] = a[r, c] * np.conj(b[r, c])


@njit(nogil=True, cache=True)
def shifted_ratio(
    top: Floats, below: Floats, other: Floats, n_pairs: Floats, step: int, out: Floats
) -> None:
    """Put ``top n / (below other)`` into `out`, no shift in the middle.

    step: -1 if `other` runs the other way along rows. 0 where nothing is below.
    """
    rows, columns = top.shape
    for r in range(rows):
        y = (r + rows // 2) % rows
        for c in range(columns):
            x = c + columns // 2
            x = x - columns if x >= columns else x
            k = c if step > 0 or c == 0 else columns - c
            divisor = below[r, c] * other[r, k]
            some = divisor != 0 and n_pairs[r, c] != 0
            out[y, x] = top[r, c] * n_pairs[r, c] / divisor if some else 0.0
