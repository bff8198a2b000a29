"""Pixels of every module above a threshold."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Ints
from xfelred.kernels.per_frame import listed

LIT, GOOD = range(2)
N_COUNTS = 2


@njit(nogil=True, cache=True)
def count(
    frames: Array, bad: Bools, bad_step: int, threshold: float, out: Ints
) -> None:
    for i in range(len(frames)):
        for m in range(frames.shape[1]):
            n_lit, n_good = 0, 0
            for r in range(frames.shape[2]):
                row, flags = frames[i, m, r], bad[i * bad_step, m, r]
                for c in range(row.size):
                    good = (row[c] == row[c]) & (not flags[c])
                    n_good += 1 if good else 0
                    n_lit += 1 if good & (row[c] >= threshold) else 0
            out[i, m, LIT], out[i, m, GOOD] = n_lit, n_good


def lit_pixels(frames: Array, *masks: Array, n_core: int, threshold: float) -> Ints:
    """Return how many good pixels are not below a threshold, and how many are good.

    frames: real (..., [module,] slow_scan, fast_scan); not modified. NaN counts as a
        bad pixel.
    *masks: bool or integer, axes as those of `frames` or of length 1; non-zero is bad.
    n_core: number of pixel axes, 2 or 3.
    threshold: in units of the frames.
    Returns int64 (..., [module,] quantity): `LIT`, `GOOD`.
    """
    core = frames.shape[-n_core:]
    flat, bad, lead = listed(frames, masks, n_core)
    out = np.empty((*flat.shape[:2], N_COUNTS), np.int64)
    count(flat, bad, int(len(bad) > 1), threshold, out)
    return out.reshape(*lead, *core[:-2], N_COUNTS)
