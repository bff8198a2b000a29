"""Common mode from the peak without photons, and from consecutive pixels.

Behaviour of algorithms 1 to 3 of the LCLS common mode (psana).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats, Ints
from xfelred.kernels.common_mode.median import select, to_keys, value_of

LOWEST, N_BINS = -1000, 3000  # adu, bins of 1 adu
TO_SIGMA = 2.36  # full width at half maximum in standard deviations


@njit(nogil=True, cache=True)
def peak_of(
    image: Array, use: NDArray[np.uint8], threshold: float
) -> tuple[float, float, int]:
    """Return (position, standard deviation, pixels) of the first peak from below.

    image: float (slow_scan, fast_scan); use: uint8, as of `segments.Frame`. Position
    and standard deviation are NaN unless a bin has more counts than `threshold`.

    The highest bin before the counts fall to half of it; its width at half maximum
    gives a first standard deviation. Twice, mean and standard deviation are those of
    the bins no farther than two standard deviations from the highest.
    """
    # Four, so that neighbours in the same bin do not wait for each other.
    parts = np.zeros((4, N_BINS), np.int32)
    flags = use.size > 0
    for r in range(image.shape[0]):
        line = image[r]
        for c in range(line.size):
            v = line[c]
            # The same as rounding half away from zero into one of the bins.
            if -1000.5 < v < 1999.5 and not (flags and use[r, c] == 0):
                half = np.float64(0.5 if v >= 0 else -0.5)
                parts[c & 3, np.uint32(np.int32(v + half) - LOWEST)] += 1
    histogram, n = np.zeros(N_BINS, np.int64), 0
    for i in range(N_BINS):
        histogram[i] = parts[0, i] + parts[1, i] + parts[2, i] + parts[3, i]
        n += histogram[i]
    peak, right = first_peak(histogram, threshold)
    if right < 0:
        return np.nan, np.nan, n
    left = peak
    while left >= 0 and histogram[left] > histogram[peak] // 2:
        left -= 1
    mean, sigma = float(peak), (right - left) / TO_SIGMA
    for _ in range(2):
        reach = int(2 * sigma + 0.5)
        total, first, second = 0.0, 0.0, 0.0
        for i in range(max(peak - reach, 0), min(peak + reach, N_BINS - 1) + 1):
            total += histogram[i]
            first += (i - mean) * histogram[i]
            second += (i - mean) ** 2 * histogram[i]
        mean += first / total
        sigma = np.sqrt(max(second / total - (first / total) ** 2, 0.0))
    return mean + LOWEST, sigma, n


@njit(nogil=True, cache=True)
def first_peak(histogram: Ints, threshold: float) -> tuple[int, int]:
    """Return (bin of the peak, first bin after it with half the counts), or -1, -1."""
    peak, best = -1, 0
    for i in range(histogram.size):
        if histogram[i] > best and histogram[i] > threshold:
            peak, best = i, histogram[i]
        elif peak >= 0 and histogram[i] <= best // 2:
            return peak, i
    return -1, -1


@njit(nogil=True, cache=True)
def subtract_runs(
    pixels: Array,
    use: NDArray[np.uint8],
    length: int,
    tests: tuple[float, float, bool],
    scratch: tuple[Ints, Floats],
    found: tuple[Floats, Floats],
) -> None:
    """Subtract from consecutive pixels their mean or median, in place.

    pixels: float (pixel,); use: uint8 (pixel,), non-zero where a pixel may take part,
        or (0,): everywhere; `length` of them are a run, the last may be shorter.
    tests: (threshold, max_offset, mean): only values below the threshold take part;
        the largest absolute offset that is subtracted; the mean, or else the lower
        median of the values without their fractions.
    scratch: of `median.key_buffers`. found: as of `group_offsets.subtract_blocks`.
    """
    threshold, max_offset, mean = tests
    keys, floats = scratch
    offsets, counts = found
    for run in range(offsets.size):
        part = pixels[run * length : (run + 1) * length]
        flag = use[run * length : (run + 1) * length]
        n = 0
        for i in range(part.size):
            if part[i] < threshold and (flag.size == 0 or flag[i] != 0):
                floats[n] = part[i]
                n += 1
        offset = np.nan
        if n and mean:
            total = 0.0
            for i in range(n):
                total += floats[i]
            offset = total / n
        elif n:
            offset = lower_median(keys, floats, n)
        applied = abs(offset) <= max_offset
        counts[run] = n
        offsets[run] = offset if applied else np.nan
        if applied:
            part -= pixels.dtype.type(offset)


@njit(nogil=True, cache=True)
def lower_median(keys: Ints, floats: Floats, n: int) -> float:
    """Return the lower median of the first `n` values without their fractions."""
    for i in range(n):
        floats[i] = np.trunc(floats[i])
    n_good = to_keys(keys, floats, n)
    end = keys.size - 1
    keys[n:end] = np.iinfo(np.int64).max
    key, _ = select(keys, floats, end, n_good, (n + 1) // 2)
    return float(value_of(keys, floats, key))
