"""Sums of pixels in bins, for many frames at once.

Pixels are the outer loop and eight frames the inner one: the bin of a pixel is looked
up once for eight frames, whose sums lie side by side in memory.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array

LANES = 8  # float64 in a line of the cache
FEW = 3  # so many frames are faster one by one than as eight


@njit(nogil=True, cache=True)
def add_totals(
    start: Array, bins: Array, shares: Array, norms: Array, total: Array
) -> None:
    """Add up the count and the norm of all pixels; `start` None: none is split."""
    for p in range(norms.size):
        first, end = (p, p + 1) if start is None else (start[p], start[p + 1])
        for e in range(first, end):
            if bins[e] >= 0:
                c = 1.0 if shares is None else shares[e]
                total[0, bins[e]] += c
                total[1, bins[e]] += c * norms[p]


@njit(nogil=True, cache=True)
def clear(sums: Array, gone: Array) -> None:
    for b in range(len(sums)):
        for i in range(LANES):
            sums[b, i] = gone[0, b, i] = gone[1, b, i] = 0.0


@njit(nogil=True, cache=True)
def hand_over(
    sums: Array, gone: Array, first: int, n: int, signal: Array, lost: Array
) -> None:
    """Copy the first `n` lanes to where they belong."""
    for i in range(n):
        for b in range(len(sums)):
            signal[first + i, b] = sums[b, i]
            for k in range(2):
                lost[k, first + i, b] = gone[k, b, i]


@njit(nogil=True, cache=True)
def add_frames(
    frames: Array,
    gain: Array,
    norms: Array,
    bins: Array,
    signal: Array,
    lost: Array,
) -> None:
    """Add up the signal of every frame, and the count and norm that NaN pixels lack."""
    n_frames, n_bins = signal.shape
    sums = np.empty((n_bins, LANES))
    gone = np.empty((2, n_bins, LANES))
    first = np.int64(0)  # a literal 0 would be compiled for, too
    while first < n_frames:
        n = min(LANES, n_frames - first)
        if n <= FEW:
            n = 1
            add_one_frame(
                frames[first], gain, norms, bins, signal[first], lost[:, first]
            )
        else:
            clear(sums, gone)
            add_eight_frames(frames, first, n, gain, norms, bins, sums, gone)
            hand_over(sums, gone, first, n, signal, lost)
        first += n


@njit(nogil=True, cache=True)
def add_one_frame(
    frame: Array,
    gain: Array,
    norms: Array,
    bins: Array,
    signal: Array,
    lost: Array,
) -> None:
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
    frames: Array,
    first: int,
    n: int,
    gain: Array,
    norms: Array,
    bins: Array,
    sums: Array,
    gone: Array,
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
    frames: Array,
    gain: Array,
    norms: Array,
    start: Array,
    bins: Array,
    shares: Array,
    signal: Array,
    lost: Array,
) -> None:
    """Add up the signal of every frame, with pixels split over bins."""
    n_frames, n_bins = signal.shape
    sums = np.empty((n_bins, LANES))
    gone = np.empty((2, n_bins, LANES))
    values = np.zeros(LANES)
    for first in range(0, n_frames, LANES):
        n = min(LANES, n_frames - first)
        clear(sums, gone)
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
        hand_over(sums, gone, first, n, signal, lost)


@njit(nogil=True, cache=True)
def add_spread(
    frames: Array,
    gain: Array,
    norms: Array,
    start: Array,
    bins: Array,
    shares: Array,
    intensity: Array,
    sums: Array,
) -> None:
    """Add up the squared distances from the mean of the bin, and what is lost of them.

    `sums` (4, frame, bin) gets the former, and c^2 u, c^3 n u and (c n)^2 over the
    pixels that count, with their shares c (`start` None: 1), the norm n and the
    relative variance u of what a pixel adds: that of counts, which grows with the norm.
    """
    for i in range(len(frames)):
        for p in range(norms.size):
            v = frames[i, p]
            if v != v:
                continue
            n = norms[p]
            g = 1.0 if gain is None else gain[p]
            u = n if gain is None else g
            first, end = (p, p + 1) if start is None else (start[p], start[p + 1])
            for e in range(first, end):
                b = bins[e]
                if b < 0:
                    continue
                c = 1.0 if shares is None else shares[e]
                sums[0, i, b] += (c * (v * g - intensity[i, b] * n)) ** 2
                sums[1, i, b] += c * c * u
                sums[2, i, b] += c * c * c * n * u
                sums[3, i, b] += c * c * n * n
