"""Robust outlier scores."""

from __future__ import annotations

import numpy as np

from xfelred.kernels.arrays import Array, Floats

NORMAL = 0.6745  # median absolute deviation of a normal distribution of width 1
MEAN_NORMAL = 0.797885  # mean absolute deviation of the same, sqrt(2 / pi)


def modified_z(values: Array) -> Floats:
    """Return ``0.6745 (x - median) / MAD`` along the last axis.

    values: any real dtype (..., n); NaN and infinite values are left out.
    Returns float64 (..., n); NaN where the value is not finite. Where more than half of
        the values are equal, so that the median absolute deviation (MAD) is 0, it is
        0.7979 (x - median) over the mean absolute deviation; where all are equal, 0.

    Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers, ASQC Quality Press.
    """
    x = values.astype(np.float64)
    if not x.size:
        return x
    x = np.where(np.isfinite(x), x, np.nan)
    out = np.full(x.shape, np.nan)
    flat, scores = x.reshape(-1, x.shape[-1]), out.reshape(-1, x.shape[-1])
    for row, score in zip(flat, scores, strict=True):
        good = np.isfinite(row)
        if not good.any():
            continue
        off = row[good] - np.median(row[good])
        mad, mean = np.median(np.abs(off)), np.mean(np.abs(off))
        if mad > 0:
            score[good] = NORMAL * off / mad
        elif mean > 0:
            score[good] = MEAN_NORMAL * off / mean
        else:
            score[good] = 0.0
    return out


def strongest(values: Array, *, skip: int) -> Array:
    """Return the largest magnitude of correlations (..., lag), away from lag 0.

    values: float (..., lag); NaN is left out.
    skip: lags closer to 0 than this, on either side, are left out.
    Returns float (...); NaN if nothing is left.
    """
    n = values.shape[-1]
    x = np.abs(values[..., skip : n - skip + 1])
    if not x.shape[-1]:
        return np.full(values.shape[:-1], np.nan, values.dtype)
    out = np.where(np.isnan(x), -np.inf, x).max(axis=-1)
    return np.where(np.isneginf(out), np.nan, out)


def ring_features(frames: Array) -> Floats:
    """Return mean, position of the brightest ring, and profile of polar maps.

    frames: any real dtype (..., ring, azimuth); NaN and infinite samples are bad.
    Returns float64 (..., 2 + ring); NaN where there is no good sample.
    """
    good = np.isfinite(frames)
    n = good.sum(axis=-1)
    sums = np.where(good, frames, 0).sum(axis=-1, dtype=np.float64)
    profile = np.full(sums.shape, np.nan)
    np.divide(sums, n, out=profile, where=n > 0)
    out = np.full((*frames.shape[:-2], 2 + frames.shape[-2]), np.nan)
    whole = n.sum(axis=-1)
    np.divide(sums.sum(axis=-1), whole, out=out[..., 0], where=whole > 0)
    out[..., 1] = peak_position(profile)
    out[..., 2:] = profile
    return out


def peak_position(profile: Floats) -> Floats:
    """Return where rows (..., n) are largest, between their elements; NaN if nowhere.

    A parabola through the largest element and its neighbours has its top there.
    """
    filled = np.where(np.isnan(profile), -np.inf, profile)
    at = np.argmax(filled, axis=-1)[..., None]
    last = profile.shape[-1] - 1
    left, middle, right = (
        np.take_along_axis(profile, np.clip(at + k, 0, last), axis=-1)[..., 0]
        for k in (-1, 0, 1)
    )
    at = at[..., 0]
    bend = left - 2 * middle + right
    inside = (at > 0) & (at < last) & (bend < 0)
    shift = np.zeros(bend.shape)
    np.divide(left - right, 2 * bend, out=shift, where=inside)
    return np.where(np.isnan(middle), np.nan, at + shift)


def at_positions(positions: Floats, *, table: tuple[float, ...]) -> Floats:
    """Return the values of a table at positions between its elements; NaN for NaN."""
    return np.interp(positions, np.arange(len(table)), np.asarray(table))
