"""Frames added up along pixel axes, and single lines of them."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.per_frame import listed, per_pixel

# Lowest and highest value that stays; whether what is above 0 counts as 1, and whether
# good pixels are counted.
Cut = tuple[float, float, bool, bool]


# A function for each case: as one loop they take three times as long.


@njit(nogil=True, cache=True)
def add_line(row: Array, flags: Bools, low: float, high: float, total: Floats) -> None:
    """Add one row of pixels to the sums of their columns."""
    for c in range(row.size):
        v = np.float64(row[c])
        good = (v == v) & (not flags[c])
        out = (v < low) | (v > high)
        total[c] += v if good & (not out) else np.float64(0.0)


@njit(nogil=True, cache=True)
def add_above(row: Array, flags: Bools, least: Floats, cut: Cut, total: Floats) -> None:
    """Add what is not below the noise, or ones for what is above 0."""
    low, high, photons, _ = cut
    for c in range(row.size):
        v = np.float64(row[c])
        out = (v < low) | (v > high) | (v != v) | flags[c]
        if least.size > 0:
            out |= v < least[c]
        v = np.float64(v > 0) if photons else v
        total[c] += np.float64(0.0) if out else v


@njit(nogil=True, cache=True)
def count_good(row: Array, flags: Bools, count: Floats) -> None:
    for c in range(row.size):
        count[c] += (row[c] == row[c]) & (not flags[c])


@njit(nogil=True, cache=True)
def add_lines(
    frames: Array,
    bad: Bools,
    least: Floats,
    cut: Cut,
    stays: tuple[int, int, int],
    total: Floats,
    count: Floats,
) -> None:
    """Add up frames; `bad` and `least` are those of each frame, or one for all.

    stays: 1 for axes that stay, 0 for those whose length in `total` is 1.
    """
    sm, sr, sc = stays
    low, high, photons, mean = cut
    plain = not photons and least.size == 0
    n = frames.shape[3]
    each_bad, each_least = int(len(bad) > 1), int(len(least) > 1)
    line, good = np.zeros(n), np.zeros(n)
    for i in range(len(frames)):
        for m in range(frames.shape[1]):
            for r in range(frames.shape[2]):
                row, flags = frames[i, m, r], bad[i * each_bad, m, r]
                if plain:
                    add_line(row, flags, low, high, line)
                else:
                    add_above(row, flags, least[i * each_least, m, r], cut, line)
                if mean:
                    count_good(row, flags, good)
                # Sums of columns are handed on where another line of results begins.
                last = r == frames.shape[2] - 1
                if not (sr or (last and (sm or m == frames.shape[1] - 1))):
                    continue
                if sc:
                    total[i, m * sm, r * sr] += line
                    count[i, m * sm, r * sr] += good
                else:
                    total[i, m * sm, r * sr, 0] += line.sum()
                    count[i, m * sm, r * sr, 0] += good.sum()
                line[:], good[:] = 0.0, 0.0


def project(
    frames: Array,
    *rest: Array,
    n_core: int,
    n_masks: int,
    away: tuple[int, ...],
    cut: Cut,
    noise_sigma: float,
) -> Floats:
    """Return the sum, or mean, of the good pixels along some axes of every frame.

    frames: real (..., [module,] slow_scan, fast_scan); not modified. NaN counts as a
        bad pixel.
    *rest: `n_masks` masks, bool or integer, non-zero is bad; then the noise of pixels,
        or nothing. Axes as those of `frames`, or of length 1.
    n_core: number of pixel axes, 2 or 3.
    away: of these, the axes that are added up.
    cut: (low, high, photons, mean): values below or above become 0; those above 0
        become 1; mean over the good pixels, instead of the sum.
    noise_sigma: values below so many times the noise become 0.
    Returns float64 (..., axes that stay).
    """
    core = frames.shape[-n_core:]
    flat, bad, lead = listed(frames, rest[:n_masks], n_core)
    least = per_pixel(rest[n_masks:], lead, flat.shape, noise_sigma)
    stays = (0,) * (3 - n_core) + tuple(int(a not in away) for a in range(n_core))
    whole = tuple(n if s else 1 for n, s in zip(flat.shape[1:], stays, strict=True))
    total = np.zeros((len(flat), *whole))
    count = np.zeros((len(flat), *whole))
    add_lines(flat, bad, least, cut, stays, total, count)
    if cut[-1]:
        with np.errstate(invalid="ignore", divide="ignore"):
            total /= count
    left = tuple(n for a, n in enumerate(core) if a not in away)
    return total.reshape((*lead, *left))


def lineout(
    frames: Array, *masks: Array, n_core: int, axis: int, index: int | None
) -> Floats:
    """Return the pixels at one position of an axis; NaN where they are bad.

    frames, masks, n_core: as for `project`.
    axis: of the pixel axes, the one that is fixed.
    index: position; None: that of the highest good pixel, the first of several.
    Returns float64 (..., other pixel axes); NaN everywhere if no pixel is good.
    """
    core = frames.shape[-n_core:]
    flat, bad, lead = listed(frames, masks, n_core)
    left = tuple(n for a, n in enumerate(core) if a != axis)
    out = np.full((len(flat), *left), np.nan)
    for i, frame in enumerate(flat):
        values = frame.reshape(core).astype(np.float64)
        values[bad[i if len(bad) > 1 else 0].reshape(core)] = np.nan
        at = index
        if at is None:
            if np.isnan(values).all():
                continue
            at = int(np.unravel_index(np.nanargmax(values), core)[axis])
        out[i] = np.take(values, at, axis)
    return out.reshape((*lead, *left))
