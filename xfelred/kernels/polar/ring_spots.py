"""Spots on rings: samples far above, or below, the smooth part of their ring."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.correlation.outliers import MEAN_NORMAL, NORMAL

ROUNDS = 5  # fits without the spots of the fit before


def find_ring_spots(
    block: NDArray[np.floating[Any]],
    *masks: Array,
    threshold: float,
    n_harmonics: int,
    grow: int,
) -> Bools:
    """Flag the spots of every ring.

    block: number (..., radius, phi); polar maps; NaN: bad.
    *masks: bool or integer (..., radius, phi), each axis of length 1 or as in `block`;
        non-zero: bad.
    threshold: on the modified z score.
    n_harmonics: of the smooth part.
    grow: samples on either side of a spot that are flagged as well, around the circle.
    Returns bool (..., radius, phi); True: a spot, or bad before.

    Smooth part: least squares of a Fourier series up to `n_harmonics`, repeated without
    what was flagged. Modified z score: 0.6745 (v - median) / MAD (Iglewicz and
    Hoaglin); where the MAD is 0, the mean of |v - median| with the factor 0.7979.
    """
    n_phi = block.shape[-1]
    rows = np.array(block, dtype=np.float64, order="C")
    for bad in masks:
        if bad.any():
            np.copyto(rows, np.nan, where=bad != 0)
    flat = rows.reshape(-1, n_phi)
    basis = harmonics(n_phi, n_harmonics)
    out = np.zeros(flat.shape, dtype=bool)
    for i, row in enumerate(flat):
        good = np.isfinite(row)
        out[i] = ~good
        spots = spots_of(row, good, basis, threshold)
        if spots is not None:
            grown(spots, grow, out[i])
    return out.reshape(block.shape)


def harmonics(n_phi: int, n_harmonics: int) -> Floats:
    """Return cosines and sines of the azimuths, (phi, 1 + 2 n)."""
    phi = 2 * np.pi * np.arange(n_phi)[:, None] / n_phi
    order = np.arange(1, n_harmonics + 1)
    ones = np.ones((n_phi, 1))
    return np.hstack([ones, np.cos(phi * order), np.sin(phi * order)])


def spots_of(row: Floats, good: Bools, basis: Floats, threshold: float) -> Bools | None:
    """Return which samples of a ring are spots; None if it has too few."""
    if good.sum() < 2 * basis.shape[1]:
        return None
    # First without any harmonic: a strong spot would bend them towards itself.
    size = float(np.abs(row[good]).max())
    spots = good & (np.abs(modified_z(row, good, good, size)) > threshold)
    for _ in range(ROUNDS):
        kept = good & ~spots
        if kept.sum() < 2 * basis.shape[1]:
            break
        found = np.linalg.lstsq(basis[kept], row[kept], rcond=None)[0]
        score = modified_z(row - basis @ found, good, kept, size)
        new = good & (np.abs(score) > threshold)
        if (new == spots).all():
            break
        spots = new
    return spots


def modified_z(values: Floats, good: Bools, kept: Bools, size: float) -> Floats:
    """Return the modified z score with respect to the samples that are kept.

    Differences of less than a part in 1e9 of `size` are rounding.
    """
    off = np.where(good, values - np.median(values[kept]), 0.0)
    scale = np.median(np.abs(off[kept])) / NORMAL
    if not scale > 1e-9 * size:
        scale = np.abs(off[kept]).mean() / MEAN_NORMAL
    if not scale > 1e-9 * size:
        # All equal up to rounding: whatever differs by more than that is a spot.
        return np.where(np.abs(off) > 1e-9 * size, np.inf, 0.0)
    return off / scale


@njit(nogil=True, cache=True)
def grown(spots: Array, grow: int, out: Array) -> None:
    """Flag spots and their neighbours around the circle."""
    n = spots.size
    for j in range(n):
        if spots[j]:
            for shift in range(-min(grow, n), min(grow, n) + 1):
                out[(j + shift) % n] = True
