"""Azimuthal integration: sums of pixels in bins, for many frames at once.

Pixels are the outer loop and eight frames the inner one: the bin of a pixel is looked
up once for eight frames, whose sums lie side by side in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.splitting import unpacked_entries

LANES = 8
FEW = 3  # so many frames are faster one by one than as eight
# A bin whose count is below is empty: what is left are rounding errors of split pixels.
EMPTY = 1e-9

Floats = NDArray[np.float64]
Entries = tuple[NDArray[Any], ...]  # (bins,) or (start, bins, shares)


def integrate_azimuthally(
    block: NDArray[Any],
    factor: NDArray[np.floating[Any]],
    *maps: NDArray[Any],
    n_core: int,
    shape: tuple[int, ...],
    mean: bool = False,
    errors: str = "",
    n_masks: int = 0,
) -> Floats:
    """Integrate every frame of a block.

    Parameters
    ----------
    block : number (..., pixel axes)
        Frames. NaN pixels are left out, frame by frame, of signal, count and norm.
    factor : float (1, ..., pixel axes)
        Solid angle times polarization: what a pixel adds to the norm.
    *maps : (1, ..., pixel axes)
        One array: int32, the flat bin of each pixel, negative outside all bins. Or the
        arrays of `splitting.packed_entries`, for pixels split over bins. Then `n_masks`
        arrays that are non-zero where a pixel is left out; they may vary with the frame
        and have length 1 along any axis.
    n_core : int
        Number of pixel axes.
    shape : tuple of int
        Of the bins: ([phi,] q).
    mean : bool
        Average signal / factor (True), or divide sum by sum (False).
    errors : {"", "poisson", "azimuthal"}
        Error model; adds sigma to the result.

    Returns
    -------
    float64 (..., quantity, [phi,] q)
        intensity, count, norm and, with an error model, sigma: the standard error of
        the intensity. Empty bins: intensity and sigma NaN, count and norm 0.

    Notes
    -----
    With shares c of a pixel in a bin (0 or 1 without splitting), signal S and factor N:
    I = sum c S / sum c N, or with `mean` I = sum c (S / N) / sum c. poisson: var = S.
    azimuthal: var = (S - I N)^2, the spread in the bin. sigma = sqrt(sum c^2 var) /
    norm. Sums are float64 whatever the pixels are; a frame gives the same bits in any
    block.
    """
    lead = block.shape[:-n_core]
    frames = block
    for bad in maps[len(maps) - n_masks :]:
        if bad.any():
            frames = np.where(bad == 0, frames, np.nan)
    pixels = int(np.prod(block.shape[-n_core:], dtype=np.int64))
    frames = plain_numbers(frames.reshape(-1, pixels))
    weights = factor.reshape(-1).astype(np.float64, copy=False)
    with np.errstate(divide="ignore"):  # pixels in no bin may have no factor
        gain, norms = (1 / weights, np.ones_like(weights)) if mean else (None, weights)
    entries = unpacked_entries([m.reshape(-1) for m in maps[: len(maps) - n_masks]])
    n_bins = int(np.prod(shape))

    signal, count, norm = bin_sums(frames, gain, norms, entries, n_bins)
    empty = count < EMPTY
    norm[empty] = count[empty] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        intensity = signal / norm
        out = [intensity, count, norm]
        if errors:
            if errors == "poisson":
                variance = poisson_variance(frames, gain, norms, entries, signal)
            else:
                variance = spread(frames, gain, norms, entries, intensity)
                # One pixel has no spread, which is not an error of zero.
                variance[count <= 1] = np.nan
            out.append(np.sqrt(variance) / norm)
    for values in (out[0], *out[3:]):
        values[empty] = np.nan
    return np.stack(out, axis=1).reshape(*lead, len(out), *shape)


def plain_numbers(frames: NDArray[Any]) -> NDArray[Any]:
    """Return frames contiguous and of a type that the compiled loops know."""
    kind, size = frames.dtype.kind, frames.dtype.itemsize
    known = kind in "iu" or (kind == "f" and size in (4, 8))
    if not known or not frames.dtype.isnative:
        frames = frames.astype(np.float64)
    return np.ascontiguousarray(frames)


def bin_sums(
    frames: NDArray[Any],
    gain: Floats | None,
    norms: Floats,
    entries: Entries,
    n_bins: int,
) -> tuple[Floats, Floats, Floats]:
    """Return signal, count and norm, float64 (frame, bin).

    Count and norm are summed once for all pixels; what NaN pixels would have added to
    them is subtracted, frame by frame.
    """
    n_frames = len(frames)
    signal = np.zeros((n_frames, n_bins))
    lost = np.zeros((2, n_frames, n_bins))
    total = np.zeros((2, n_bins))
    if len(entries) == 1:
        add_totals(entries[0], norms, total)
        add_frames(frames, gain, norms, entries[0], signal, lost)
    else:
        start, bins, shares = entries
        add_split_totals(start, bins, shares, norms, total)
        add_split_frames(frames, gain, norms, start, bins, shares, signal, lost)
    return signal, total[0] - lost[0], total[1] - lost[1]


def poisson_variance(
    frames: NDArray[Any],
    gain: Floats | None,
    norms: Floats,
    entries: Entries,
    signal: Floats,
) -> Floats:
    """Return sum c^2 var for var = S, float64 (frame, bin)."""
    if gain is None and len(entries) == 1:
        return signal.copy()
    squared = entries if len(entries) == 1 else (*entries[:2], entries[2] ** 2)
    gain2 = None if gain is None else gain**2
    return bin_sums(frames, gain2, norms, squared, signal.shape[1])[0]


def spread(
    frames: NDArray[Any],
    gain: Floats | None,
    norms: Floats,
    entries: Entries,
    intensity: Floats,
) -> Floats:
    """Return sum c^2 (S - I N)^2, float64 (frame, bin)."""
    out = np.zeros_like(intensity)
    if len(entries) == 1:
        add_spread(frames, gain, norms, entries[0], intensity, out)
    else:
        start, bins, shares = entries
        add_split_spread(frames, gain, norms, start, bins, shares, intensity, out)
    return out


@njit(nogil=True, cache=True)
def add_totals(bins: Any, norms: Any, total: Any) -> None:
    """Add up the count and the norm of all pixels."""
    for p in range(bins.size):
        if bins[p] >= 0:
            total[0, bins[p]] += 1.0
            total[1, bins[p]] += norms[p]


@njit(nogil=True, cache=True)
def add_split_totals(
    start: Any, bins: Any, shares: Any, norms: Any, total: Any
) -> None:
    """Add up the count and the norm of all pixels, split over bins."""
    for p in range(start.size - 1):
        for e in range(start[p], start[p + 1]):
            total[0, bins[e]] += shares[e]
            total[1, bins[e]] += shares[e] * norms[p]


@njit(nogil=True, cache=True)
def add_frames(
    frames: Any, gain: Any, norms: Any, bins: Any, signal: Any, lost: Any
) -> None:
    """Add up the signal of every frame, and the count and norm that NaN pixels lack."""
    n_frames, n_bins = signal.shape
    sums = np.empty((n_bins, LANES))
    gone = np.empty((2, n_bins, LANES))
    first = 0
    while first < n_frames:
        n = min(LANES, n_frames - first)
        if n <= FEW:
            n = 1
            add_one_frame(
                frames[first], gain, norms, bins, signal[first], lost[:, first]
            )
        else:
            sums[:] = 0.0
            gone[:] = 0.0
            add_eight_frames(frames, first, n, gain, norms, bins, sums, gone)
            for i in range(n):
                signal[first + i] = sums[:, i]
                lost[:, first + i] = gone[:, :, i]
        first += n


@njit(nogil=True, cache=True)
def add_one_frame(
    frame: Any, gain: Any, norms: Any, bins: Any, signal: Any, lost: Any
) -> None:
    """Add up one frame."""
    for p in range(bins.size):
        b = bins[p]
        if b < 0:
            continue
        v = frame[p]
        if v == v:
            signal[b] += v if gain is None else v * gain[p]
        else:
            lost[0, b] += 1.0
            lost[1, b] += norms[p]


@njit(nogil=True, cache=True)
def add_eight_frames(
    frames: Any,
    first: int,
    n: int,
    gain: Any,
    norms: Any,
    bins: Any,
    sums: Any,
    gone: Any,
) -> None:
    """Add up `n` frames in eight lanes.

    Lanes without a frame repeat the last one; their sums are not used.
    """
    r0, r1 = frames[first], frames[first + min(1, n - 1)]
    r2, r3 = frames[first + min(2, n - 1)], frames[first + min(3, n - 1)]
    r4, r5 = frames[first + min(4, n - 1)], frames[first + min(5, n - 1)]
    r6, r7 = frames[first + min(6, n - 1)], frames[first + min(7, n - 1)]
    for p in range(bins.size):
        b = bins[p]
        if b < 0:
            continue
        at = sums[b]
        g = 1.0 if gain is None else gain[p]
        # One test for eight frames: any NaN makes the sum NaN.
        total = (r0[p] + r1[p]) + (r2[p] + r3[p]) + (r4[p] + r5[p]) + (r6[p] + r7[p])
        if total == total:
            at[0] += r0[p] * g
            at[1] += r1[p] * g
            at[2] += r2[p] * g
            at[3] += r3[p] * g
            at[4] += r4[p] * g
            at[5] += r5[p] * g
            at[6] += r6[p] * g
            at[7] += r7[p] * g
            continue
        for i in range(n):
            v = frames[first + i, p]
            if v == v:
                at[i] += v * g
            else:
                gone[0, b, i] += 1.0
                gone[1, b, i] += norms[p]


@njit(nogil=True, cache=True)
def add_split_frames(
    frames: Any,
    gain: Any,
    norms: Any,
    start: Any,
    bins: Any,
    shares: Any,
    signal: Any,
    lost: Any,
) -> None:
    """Add up the signal of every frame, with pixels split over bins."""
    n_frames, n_bins = signal.shape
    sums = np.empty((n_bins, LANES))
    gone = np.empty((2, n_bins, LANES))
    values = np.zeros(LANES)
    for first in range(0, n_frames, LANES):
        n = min(LANES, n_frames - first)
        sums[:] = 0.0
        gone[:] = 0.0
        for p in range(start.size - 1):
            if start[p] == start[p + 1]:
                continue
            g = 1.0 if gain is None else gain[p]
            for i in range(n):
                v = frames[first + i, p]
                values[i] = v * g if v == v else 0.0
                if v != v:
                    for e in range(start[p], start[p + 1]):
                        gone[0, bins[e], i] += shares[e]
                        gone[1, bins[e], i] += shares[e] * norms[p]
            for e in range(start[p], start[p + 1]):
                at = sums[bins[e]]
                c = shares[e]
                for i in range(LANES):
                    at[i] += values[i] * c
        for i in range(n):
            signal[first + i] = sums[:, i]
            lost[:, first + i] = gone[:, :, i]


@njit(nogil=True, cache=True)
def add_spread(
    frames: Any, gain: Any, norms: Any, bins: Any, intensity: Any, out: Any
) -> None:
    """Add up the squared distances from the mean of the bin."""
    for i in range(len(frames)):
        for p in range(bins.size):
            b, v = bins[p], frames[i, p]
            if b >= 0 and v == v:
                g = 1.0 if gain is None else gain[p]
                out[i, b] += (v * g - intensity[i, b] * norms[p]) ** 2


@njit(nogil=True, cache=True)
def add_split_spread(
    frames: Any,
    gain: Any,
    norms: Any,
    start: Any,
    bins: Any,
    shares: Any,
    intensity: Any,
    out: Any,
) -> None:
    """Add up the squared distances from the mean, with pixels split over bins."""
    for i in range(len(frames)):
        for p in range(start.size - 1):
            v = frames[i, p]
            if v != v:
                continue
            g = 1.0 if gain is None else gain[p]
            for e in range(start[p], start[p + 1]):
                b = bins[e]
                off = v * g - intensity[i, b] * norms[p]
                out[i, b] += (shares[e] * off) ** 2
