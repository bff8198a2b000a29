"""Pixels far from the mean of their ring, left out frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats, read_only


@njit(nogil=True, cache=True)
def main_bins(start: Array, bins: Array, shares: Array, out: Array) -> None:
    """Write the bin in which the largest share of each pixel lies, or -1."""
    for p in range(out.size):
        out[p], most = -1, 0.0
        for e in range(start[p], start[p + 1]):
            if shares[e] > most:
                out[p], most = bins[e], shares[e]


@njit(nogil=True, cache=True)
def ring_moments(
    frame: Array,
    gain: Array,
    norms: Array,
    bins: Array,
    mean: Array,
    width: Array,
    weight: Array,
) -> None:
    """Write mean and standard deviation of signal / norm over each bin."""
    mean[:] = 0.0
    width[:] = 0.0
    weight[:] = 0.0
    for p in range(bins.size):
        b, v = bins[p], frame[p]
        if b >= 0 and v == v:
            mean[b] += v if gain is None else v * gain[p]
            weight[b] += norms[p]
    for b in range(mean.size):
        if weight[b] > 0:
            mean[b] /= weight[b]
    for p in range(bins.size):
        b, v = bins[p], frame[p]
        if b >= 0 and v == v and norms[p] > 0:
            x = v if gain is None else v * gain[p]
            width[b] += (x - mean[b] * norms[p]) ** 2 / norms[p]
    for b in range(mean.size):
        if weight[b] > 0:
            width[b] = np.sqrt(width[b] / weight[b])


@njit(nogil=True, cache=True)
def drop_far(
    frame: Array, gain: Array, norms: Array, bins: Array, mean: Array, far: Array
) -> int:
    """Set pixels farther than `far` from the mean of their bin to NaN; count them."""
    n = 0
    for p in range(bins.size):
        b, v = bins[p], frame[p]
        if b >= 0 and v == v and norms[p] > 0:
            x = v if gain is None else v * gain[p]
            if abs(x / norms[p] - mean[b]) > far[b]:
                frame[p] = np.nan
                n += 1
    return n


@njit(nogil=True, cache=True)
def clip_frames(
    frames: Array,
    gain: Array,
    norms: Array,
    bins: Array,
    n_bins: int,
    threshold: float,
    repeats: int,
) -> None:
    """Set the outliers of every frame to NaN, in place; see `clipped`."""
    mean, width, weight = np.empty(n_bins), np.empty(n_bins), np.empty(n_bins)
    for i in range(len(frames)):
        for _ in range(repeats):
            ring_moments(frames[i], gain, norms, bins, mean, width, weight)
            if drop_far(frames[i], gain, norms, bins, mean, threshold * width) == 0:
                break


def clipped(
    frames: Array,
    gain: Floats | None,
    norms: Floats,
    entries: tuple[Array, ...],
    n_bins: int,
    threshold: float,
    repeats: int,
) -> NDArray[np.floating[Any]]:
    """Return frames with NaN in place of the outliers of every ring.

    frames: number (frame, pixel); not modified.
    gain, norms, entries: as `azimuthal.Block`.
    threshold: in standard deviations of signal / norm in the bin.
    repeats: passes at most; it ends when nothing is left to drop.
    Returns float (frame, pixel); float32 where `frames` is float32, else float64.

    A pixel that is split over bins is judged in the one that holds most of it.
    """
    kept = np.float32 if frames.dtype == np.float32 else np.float64
    out: NDArray[np.floating[Any]] = frames.astype(kept)  # a copy
    bins = entries[0]
    if len(entries) > 1:
        bins = np.empty(frames.shape[1], np.int32)
        main_bins(*entries, bins)
    clip_frames(out, gain, norms, read_only(bins), n_bins, threshold, repeats)
    return out
