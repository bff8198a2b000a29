"""Photons in 3 x 3 clusters of pixels."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints
from xfelred.kernels.per_frame import listed

# Rows of a result; the last holds the number of clusters in its first column.
ENERGY, ROW, COLUMN, MODULE, SEED_ROW, SEED_COLUMN, N_PIXELS, SQUARE, COUNT = range(9)
N_QUANTITIES = 9
# What stands behind the last cluster, row by row.
PADDING = (np.nan, np.nan, np.nan, -1.0, -1.0, -1.0, 0.0, 0.0, 0.0)
TOO_MANY = 6  # a cluster of so many pixels is no single photon


@njit(nogil=True, cache=True)
def add_cluster(
    image: Array, bad: Bools, r: int, c: int, neighbour: float, found: Floats
) -> bool:
    """Describe the cluster around a seed; False if it is none.

    `found` gets energy, row, column, pixels, and whether it fits into 2 x 2 pixels.
    """
    top = image[r, c]
    energy, at_row, at_column = 0.0, 0.0, 0.0
    n = 0
    up, down, left, right = 0, 0, 0, 0
    for i in range(-1, 2):
        for j in range(-1, 2):
            v = image[r + i, c + j]
            if bad[r + i, c + j] or v != v:
                continue
            if v > top:
                return False
            if (i != 0 or j != 0) and not v > neighbour:
                continue
            n += 1
            energy += v
            at_row += np.float64(v) * i
            at_column += np.float64(v) * j
            up, down = min(up, i), max(down, i)
            left, right = min(left, j), max(right, j)
    if n >= TOO_MANY:
        return False
    found[0] = energy
    found[1] = r + at_row / energy if energy != 0 else np.nan
    found[2] = c + at_column / energy if energy != 0 else np.nan
    found[3] = n
    found[4] = 1.0 if down - up <= 1 and right - left <= 1 else 0.0
    return True


@njit(nogil=True, cache=True)
def search(
    frame: Array, bad: Bools, seed: float, neighbour: float, numbers: Ints, out: Floats
) -> int:
    """Find the clusters of a frame (module, slow_scan, fast_scan); return how many.

    Those that `out` (quantity, cluster) has room for are written there.
    """
    n = 0
    found = np.empty(5)
    room = out.shape[1]
    for m in range(frame.shape[0]):
        image, flags = frame[m], bad[m]
        for r in range(1, image.shape[0] - 1):
            row = image[r]
            for c in range(1, row.size - 1):
                if not row[c] >= seed or flags[r, c]:
                    continue
                if not add_cluster(image, flags, r, c, neighbour, found):
                    continue
                if n < room:
                    out[ENERGY, n] = found[0]
                    out[ROW, n] = found[1]
                    out[COLUMN, n] = found[2]
                    out[MODULE, n] = numbers[m]
                    out[SEED_ROW, n] = r
                    out[SEED_COLUMN, n] = c
                    out[N_PIXELS, n] = found[3]
                    out[SQUARE, n] = found[4]
                n += 1
    return n


@njit(nogil=True, cache=True)
def search_frames(
    frames: Array,
    bad: Bools,
    bad_step: int,
    seed: float,
    neighbour: float,
    numbers: Ints,
    out: Floats,
) -> None:
    """Find the clusters of every frame; `bad_step` is 0 if all share `bad`."""
    for i in range(len(frames)):
        n = search(frames[i], bad[i * bad_step], seed, neighbour, numbers, out[i])
        out[i, COUNT, 0] = n


def find_clusters(
    frames: Array,
    *masks: Array,
    n_core: int,
    seed: float,
    neighbour: float,
    numbers: tuple[int, ...],
    max_clusters: int,
) -> Floats:
    """Return the clusters of every frame.

    frames: real (..., [module,] slow_scan, fast_scan), adu; not modified. NaN counts as
        a bad pixel.
    *masks: bool or integer (..., [module,] slow_scan, fast_scan); non-zero is bad; axes
        may have length 1.
    n_core: number of pixel axes, 2 or 3.
    seed, neighbour: float, adu; least value of a seed; a neighbour above this belongs
        to its cluster.
    numbers: of the modules.
    max_clusters: length of the last axis.
    Returns float64 (..., quantity, cluster); `PADDING` behind the last cluster. The row
        `COUNT` has in its first column the number of clusters that were found, which
        may be more than there is room for.
    """
    flat, bad, lead = listed(frames, masks, n_core)
    out = np.empty((len(flat), N_QUANTITIES, max_clusters))
    out[:] = np.array(PADDING)[:, np.newaxis]
    search_frames(
        flat, bad, int(len(bad) > 1), seed, neighbour, np.array(numbers, np.int64), out
    )
    return out.reshape(*lead, N_QUANTITIES, max_clusters)
