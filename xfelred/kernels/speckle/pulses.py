"""Products of all pairs of pulses of a train, ring by ring."""

from __future__ import annotations

import numpy as np
from scipy.linalg.blas import dsyrk, ssyrk

from xfelred.kernels.arrays import Array, Bools, Floats, Ints

# Sums of each pair: of products, of the first pulse, and number of pixels.
PRODUCT, FIRST, COUNT = range(3)
N_SUMS = 3
# Pixels at once: they stay in the cache, and sums of float32 are exact for up to 64
# photons in a pixel.
PIXELS = 4096


def add_pairs(pulses: Array, bad: Bools, out: Floats) -> None:
    """Add some pixels to the sums of every pair; `pulses` is modified."""
    np.copyto(pulses, 0, where=bad)
    valid = (~bad).astype(pulses.dtype)
    out[PRODUCT] += pulses @ pulses.T
    out[FIRST] += pulses @ valid.T
    out[COUNT] += valid @ valid.T


def half_products(pulses: Array) -> Array:
    """Return the sums of products of each pulse and those up to it, else 0."""
    product = dsyrk if pulses.dtype == np.float64 else ssyrk
    found: Array = product(1.0, pulses.T, trans=1).T
    return found


def add_ring(
    flat: Array, pixels: Ints, flags: list[Bools], gone: Bools, out: Floats
) -> None:
    """Add the pixels of a ring to the sums of every pair.

    flat: real (pulse, pixel). pixels: places of those of the ring. flags: bool (pulse,
    pixel), True where bad. gone: bool (pulse,), pulses without any good pixel.
    """
    wide = flat.dtype.itemsize > (4 if flat.dtype.kind == "f" else 2)
    n, n_good, there = len(flat), 0, ~gone
    half, total = np.zeros((n, n)), np.zeros(n)
    for start in range(0, len(pixels), PIXELS):
        some = pixels[start : start + PIXELS]
        block = np.take(flat, some, axis=1).astype(
            np.float64 if wide else np.float32, copy=False
        )
        block[gone] = 0
        sums = block @ np.ones(len(some), block.dtype)
        if not flags and np.isfinite(sums).all():
            # Products take most of the time: no others than these.
            np.add(half, half_products(block), out=half)
            total += sums.astype(np.float64)
            n_good += len(some)
            continue
        bad = np.isnan(block)
        bad[gone] = True
        for flag in flags:
            bad |= flag[:, some]
        add_pairs(block, bad, out)
    out[PRODUCT] += half + np.tril(half, -1).T
    out[FIRST] += np.outer(total, there)
    out[COUNT] += n_good * np.outer(there, there)


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
    out = np.zeros((*lead, n_rings, N_SUMS, n_pulses, n_pulses))
    labels = np.broadcast_to(rings, (*lead, 1, *pixels))
    whole = [np.broadcast_to(m != 0, (*lead, *m.shape[-3:])) for m in masks]
    for i in np.ndindex(lead):
        # `take` would make all of it contiguous, piece for piece.
        flat = np.ascontiguousarray(frames[i].reshape(n_pulses, size))
        ring = labels[i].reshape(size).copy()
        gone, flags = np.zeros(n_pulses, bool), []
        for mask in whole:
            mine = mask[i]
            if mine.shape[0] == 1:
                ring[np.broadcast_to(mine[0], pixels).ravel()] = -1
            elif mine.shape[1:] == (1, 1):
                gone |= mine[:, 0, 0]
            else:
                flags.append(
                    np.broadcast_to(mine, (n_pulses, *pixels)).reshape(-1, size)
                )
        order = np.argsort(ring, kind="stable")
        ends = np.searchsorted(ring, np.arange(n_rings + 1), sorter=order)
        for r in range(n_rings):
            add_ring(flat, order[ends[r] : ends[r + 1]], flags, gone, out[(*i, r)])
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


def lags_of(ids: tuple[int, ...], max_lag: int) -> tuple[Ints, Ints]:
    """Return the lags above 0 that occur, and the place of every pair among them.

    ids: of pulses. Returns int64 (lag,) and (pulse, other pulse); -1: no such lag.
    """
    apart = np.subtract.outer(np.array(ids), np.array(ids)).T
    use = (apart > 0) & (apart <= max_lag)
    steps = np.unique(apart[use])
    return steps, np.where(use, np.searchsorted(steps, apart), -1)


def lag_means(
    sums: Floats, *, symmetric: bool, ids: tuple[int, ...], max_lag: int
) -> Floats:
    """Return the mean correlation of the pairs of each lag, NaN left out.

    sums, symmetric: as for `correlations`.
    ids, max_lag: see `lags_of`.
    Returns float64 (..., 2, lag): mean, NaN without any pair; number of pairs.
    """
    steps, places = lags_of(ids, max_lag)
    n, where = len(steps), places.ravel()
    pairs = correlations(sums, symmetric=symmetric)
    flat = pairs.reshape(-1, where.size)
    out = np.empty((len(flat), 2, n))
    for values, (mean, count) in zip(flat, out, strict=True):
        use = (where >= 0) & ~np.isnan(values)
        count[:] = np.bincount(where[use], minlength=n)
        total = np.bincount(where[use], values[use], minlength=n)
        with np.errstate(invalid="ignore"):
            mean[:] = total / count
    return out.reshape(*pairs.shape[:-2], 2, n)
