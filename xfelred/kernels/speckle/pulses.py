"""Products of all pairs of pulses of a train, ring by ring."""

from __future__ import annotations

import numpy as np

from xfelred.kernels.arrays import Array, Bools, Floats, Ints

# Sums of each pair: of products, of the first pulse, and number of pixels.
PRODUCT, FIRST, COUNT = range(3)
N_SUMS = 3
# Pixels at once: they stay in the cache, and sums of float32 are exact for up to 64
# photons in a pixel.
PIXELS = 4096


def add_pairs(pulses: Array, bad: Bools, out: Floats) -> None:
    """Add some pixels to the sums of every pair; `pulses` is modified."""
    pulses[bad] = 0
    there = ~bad.all(axis=1)
    good = ~bad[there].any(axis=0)
    if bad[there][:, ~good].all():
        # Most often the same pixels are bad in all pulses.
        out[PRODUCT] += pulses @ pulses.T
        out[FIRST] += np.outer(pulses.sum(axis=1, dtype=np.float64), there)
        out[COUNT] += good.sum() * np.outer(there, there)
        return
    valid = (~bad).astype(pulses.dtype)
    out[PRODUCT] += pulses @ pulses.T
    out[FIRST] += pulses @ valid.T
    out[COUNT] += valid @ valid.T


def pair_sums(frames: Array, rings: Array, *masks: Array, n_rings: int) -> Floats:
    """Return sums over the pixels of a ring that are good in both pulses of a pair.

    frames: real (..., pulse, slow_scan, fast_scan); not modified. NaN counts as bad.
    rings: integer, axes as those of `frames` or of length 1; below 0: in no ring.
    *masks: bool or integer, axes as those of `frames` or of length 1; non-zero is bad.
    n_rings: number of rings.
    Returns float64 (..., ring, sum, pulse, other pulse). Products are of float32
        but for float64 and long integers.
    """
    lead, (n_pulses, *pixels) = frames.shape[:-3], frames.shape[-3:]
    size = int(np.prod(pixels))
    wide = frames.dtype.itemsize > (4 if frames.dtype.kind == "f" else 2)
    dtype = np.float64 if wide else np.float32
    out = np.zeros((*lead, n_rings, N_SUMS, n_pulses, n_pulses))
    labels = np.broadcast_to(rings, (*lead, 1, *pixels))
    whole = [np.broadcast_to(m, (*lead, m.shape[-3], *pixels)) for m in masks]
    for i in np.ndindex(lead):
        flat = frames[i].reshape(n_pulses, size)
        flags = [m[i].reshape(-1, size) for m in whole]
        ring = labels[i].ravel()
        order = np.argsort(ring, kind="stable")
        ends = np.searchsorted(ring, np.arange(n_rings + 1), sorter=order)
        for r in range(n_rings):
            for start in range(ends[r], ends[r + 1], PIXELS):
                some = order[start : min(start + PIXELS, ends[r + 1])]
                block = flat[:, some].astype(dtype)
                bad = np.isnan(block)
                for flag in flags:
                    bad |= flag[:, some] != 0
                add_pairs(block, bad, out[(*i, r)])
    return out


def correlations(sums: Floats, *, symmetric: bool) -> Floats:
    """Return the correlation of every pair; NaN where a mean is 0 or unknown.

    sums: float64 (..., sum, pulse, other pulse), as of `pair_sums`.
    symmetric: divide by the mean of either pulse over the pixels of the pair, not by
        the square of the mean of all pulses.
    Returns float64 (..., pulse, other pulse).
    """
    product, first, count = (sums[..., k, :, :] for k in range(N_SUMS))
    with np.errstate(invalid="ignore", divide="ignore"):
        if symmetric:
            by = first * np.swapaxes(first, -1, -2) / count
        else:
            total = np.trace(first, axis1=-2, axis2=-1)
            mean = total / np.trace(count, axis1=-2, axis2=-1)
            by = count * (mean**2)[..., np.newaxis, np.newaxis]
        out: Floats = np.where(by > 0, product / by, np.nan)
    return out


def lag_means(sums: Floats, *, symmetric: bool, lags: tuple[int, ...]) -> Floats:
    """Return the mean correlation of the pairs of each lag, NaN left out.

    sums, symmetric: as for `correlations`.
    lags: place in the result of every pair, row by row; below 0: none.
    Returns float64 (..., 2, lag): mean, NaN without any pair; number of pairs.
    """
    where: Ints = np.array(lags, np.int64)
    pairs = correlations(sums, symmetric=symmetric)
    flat = pairs.reshape(-1, where.size)
    n = int(where.max(initial=-1)) + 1
    out = np.empty((len(flat), 2, n))
    for values, (mean, count) in zip(flat, out, strict=True):
        use = (where >= 0) & ~np.isnan(values)
        count[:] = np.bincount(where[use], minlength=n)
        total = np.bincount(where[use], values[use], minlength=n)
        with np.errstate(invalid="ignore"):
            mean[:] = total / count
    return out.reshape(*pairs.shape[:-2], 2, n)
