"""Correlation of images with themselves and with others."""

from __future__ import annotations

from math import prod

import numpy as np
from numba import njit
from scipy.fft import irfft, irfft2, rfft, rfft2

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
    masks = [np.broadcast_to(m != 0, frames.shape) for m in rest[n_others:]]
    out = np.empty(frames.shape)
    known: dict[bytes, tuple[Array, Floats]] = {}  # of masks, of which most are alike
    for i in np.ndindex(lead):
        pair = [limited(x[i], low=low, high=high) for x in (frames, *others)]
        # By the image alone, whatever others it comes with: bits are the same then.
        if not any(m[i].any() for m in masks) and of_whole(out[i], *pair):
            continue
        wide = [x.astype(np.float64) for x in pair]
        a, b = wide[0], wide[-1]
        good: Bools = ~(np.isnan(a) | np.isnan(b))
        for mask in masks:
            good &= ~mask[i]
        key = good.tobytes()
        if key not in known:
            known.clear()
            m = rfft2(good.astype(np.float64))
            known[key] = m, pairs(m, shape)
        out[i] = one(a, b, good, *known[key])
    return out.reshape(*lead, *shape) if prod(lead) else out


def of_whole(out: Floats, a: Array, b: Array | None = None) -> bool:
    """Correlate images without a bad pixel, of which each shift has as many pairs.

    Returns False, without a result, where a pixel is NaN or infinite, or too large for
    that.

    What is constant has no place in transforms then: they are as exact in single
    precision as the pixels are, to 1e-7 of the correlation of what is left.
    """
    x, level, rest = centred(a)
    y, other, rest_of_other = (x, level, rest) if b is None else centred(b)
    if not np.isfinite(rest + rest_of_other):
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        fx = rfft2(x)
        if b is None:
            power = fx.real**2
            power += fx.imag**2
            even_inverse(power, out)
        else:
            fy = rfft2(y)
            np.conj(fy, out=fy)
            fx *= fy
            out[:] = np.fft.fftshift(irfft2(fx, a.shape))
    if not np.isfinite(out.max()):
        return False
    n = a.size
    total, of_other = level * n + rest, other * n + rest_of_other
    if total == 0 or of_other == 0:
        out[:] = 0
        return True
    out += level * rest_of_other + other * rest + level * other * n
    out *= n / (total * of_other)
    return True


def centred(image: Array) -> tuple[Floats, float, float]:
    """Return an image without a level, the level, and the sum of what is left."""
    wide = image.dtype.itemsize > (2 if image.dtype.kind in "iub" else 4)
    out: Floats = image.astype(np.float64 if wide else np.float32)
    level = out.dtype.type(out.mean(dtype=np.float64))
    out -= level
    return out, float(level), float(out.sum(dtype=np.float64))


def even_inverse(power: Floats, out: Floats) -> None:
    """Put what a real spectrum (of `rfft2`) transforms to into `out`, 0 in its middle.

    It is the same at opposite shifts: half of the rows are enough, and of real numbers
    the transform along columns costs half.
    """
    n_rows, n_columns = out.shape
    up, left = n_rows // 2, n_columns // 2
    half = rfft(power, axis=0)
    np.conj(half, out=half)
    rows = irfft(half, n_columns, axis=1)
    rows *= rows.dtype.type(1 / n_rows)
    below = out[up:]  # rows from the middle on; all but the last of even ones
    below[:, left:] = rows[: n_rows - up, : n_columns - left]
    below[:, :left] = rows[: n_rows - up, n_columns - left :]
    # Shifts by -up are their own opposites where there is no +up.
    above = rows[up:0:-1]
    # Along columns, 0, -1, -2, ... as 0, 1, 2, ...
    out[:up, left::-1] = above[:, : left + 1]
    out[:up, :left:-1] = above[:, left + 1 :]


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
