"""How many pixels of a ring have no photon, one, two and so on, in every frame."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Ints, read_only
from xfelred.kernels.per_frame import listed


@njit(nogil=True, cache=True)
def count_photons(
    frames: Array, bad: Bools, bad_step: int, rings: Ints, out: Ints
) -> None:
    """Count pixels by ring and photons; the last place is for all that have more."""
    above = out.shape[2] - 1
    for i in range(len(frames)):
        for m in range(frames.shape[1]):
            for r in range(frames.shape[2]):
                row, flags = frames[i, m, r], bad[i * bad_step, m, r]
                labels = rings[m, r]
                for c in range(row.size):
                    v = np.float64(row[c])
                    if labels[c] < 0 or flags[c] or v != v:
                        continue
                    # A number that no integer holds must not be made one.
                    n = above if v >= above else int(np.floor(v + 0.5)) if v > 0 else 0
                    out[i, labels[c], min(n, above)] += 1


def photon_statistics(
    frames: Array, rings: Array, *masks: Array, n_core: int, n_rings: int, most: int
) -> Ints:
    """Return how many good pixels of every ring have each number of photons.

    frames: real (..., [module,] slow_scan, fast_scan), photons, rounded to the nearest,
        half a photon up; not modified. NaN counts as a bad pixel.
    rings: integer (1..., [module,] slow_scan, fast_scan); below 0: in no ring.
    *masks: bool or integer, axes as those of `frames` or of length 1; non-zero is bad.
    n_core: number of pixel axes, 2 or 3.
    n_rings: number of rings.
    most: photons of the last bin.
    Returns int64 (..., ring, most + 2); in the last place pixels with more photons.
    """
    flat, bad, lead = listed(frames, masks, n_core)
    out = np.zeros((len(flat), n_rings, most + 2), np.int64)
    labels = read_only(rings.reshape(flat.shape[1:]).astype(np.int64))
    count_photons(flat, bad, int(len(bad) > 1), labels, out)
    return out.reshape(*lead, n_rings, most + 2)
