"""Pixels of every module above a threshold."""

from __future__ import annotations

import numpy as np

from xfelred.kernels.arrays import Array, Ints

LIT, GOOD = range(2)
N_COUNTS = 2


def lit_pixels(frames: Array, *masks: Array, threshold: float) -> Ints:
    """Return how many good pixels are not below a threshold, and how many are good.

    frames: real (..., slow_scan, fast_scan); not modified. NaN counts as a bad pixel.
    *masks: bool or integer, axes as those of `frames` or of length 1; non-zero is bad.
    threshold: in units of the frames.
    Returns int64 (..., quantity): `LIT`, `GOOD`.
    """
    good = frames == frames
    for mask in masks:
        good &= mask == 0
    lit = (frames >= threshold) & good
    both = [np.count_nonzero(b, axis=(-2, -1)) for b in (lit, good)]
    return np.stack(both, axis=-1).astype(np.int64)
