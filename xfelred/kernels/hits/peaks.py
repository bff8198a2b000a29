"""Bragg peaks above a background that depends on the distance from the beam.

The method of peakfinder8 (Barty et al. 2014, doi:10.1107/S1600576714007626), with its
rules for what is a peak, and sums of float64.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, read_only
from xfelred.kernels.per_frame import listed

# Rows of a result; the last has the number of peaks in its first column.
(
    INTENSITY, HIGHEST, ROW, COLUMN, MODULE, N_PIXELS, SNR, BACKGROUND, SIGMA, COUNT,
) = range(10)  # fmt: skip
N_QUANTITIES = 10
PADDING = (np.nan, np.nan, np.nan, np.nan, -1.0, 0.0, np.nan, np.nan, np.nan, 0.0)
CLIPPINGS = 5
UNKNOWN_SIGMA = 0.01  # of a peak without any pixel around
# Threshold, least ratio of signal to noise, least and most pixels, radius of the local
# background.
Limits = tuple[float, float, int, int, int]


# Columns of the table of radii: what is of one radius lies in one line of the cache.
LOW, HIGH, TOTAL, SQUARE, NUMBER = range(5)


@njit(nogil=True, cache=True)
def add_pixels(frame: Array, bad: Bools, bins: Ints, table: Floats) -> None:
    """Add the pixels between the limits of their radius to its sums."""
    for m in range(frame.shape[0]):
        for r in range(frame.shape[1]):
            row, flags, places = frame[m, r], bad[m, r], bins[m, r]
            for c in range(row.size):
                b = places[c]
                if b < 0 or flags[c]:
                    continue
                v = np.float64(row[c])
                # NaN is on neither side.
                if v > table[b, LOW] and v < table[b, HIGH]:
                    table[b, TOTAL] += v
                    table[b, SQUARE] += v * v
                    table[b, NUMBER] += 1.0


@njit(nogil=True, cache=True)
def radial_background(
    frame: Array, bad: Bools, bins: Ints, limits: Limits, stats: Floats
) -> None:
    """Find mean and threshold of every radius, without what is clipped.

    stats: (mean or threshold, radius); nothing is above the threshold of a radius
        without pixels.
    """
    least, snr = limits[0], limits[1]
    n_bins = stats.shape[1]
    table = np.zeros((n_bins, 8))
    table[:, LOW], table[:, HIGH] = -np.inf, np.inf
    for _ in range(CLIPPINGS):
        table[:, TOTAL:] = 0.0
        add_pixels(frame, bad, bins, table)
        for b in range(n_bins):
            n = table[b, NUMBER]
            if n == 0:
                stats[0, b], stats[1, b] = 0.0, np.inf
                table[b, LOW], table[b, HIGH] = 0.0, np.inf
                continue
            mean = table[b, TOTAL] / n
            sigma = np.sqrt(max(table[b, SQUARE] / n - mean * mean, 0.0))
            stats[0, b], stats[1, b] = mean, max(mean + snr * sigma, least)
            table[b, LOW], table[b, HIGH] = mean - snr * sigma, stats[1, b]


@njit(nogil=True, cache=True)
def connected(
    image: Array,
    bad: Bools,
    bins: Ints,
    stats: Floats,
    start: tuple[int, int],
    taken: Bools,
    pixels: Ints,
) -> int:
    """List the pixels above their thresholds around one of them; return how many."""
    n_rows, n_columns = image.shape
    pixels[0] = start[0] * n_columns + start[1]
    taken[start] = True
    n, k = 1, 0
    while k < n:
        row, column = pixels[k] // n_columns, pixels[k] % n_columns
        k += 1
        for r in range(max(row - 1, 0), min(row + 2, n_rows)):
            for c in range(max(column - 1, 0), min(column + 2, n_columns)):
                b = bins[r, c]
                if b < 0 or bad[r, c] or taken[r, c]:
                    continue
                if image[r, c] > stats[1, b]:
                    taken[r, c] = True
                    pixels[n] = r * n_columns + c
                    n += 1
    return n


@njit(nogil=True, cache=True)
def centre(
    image: Array, pixels: Ints, bins: Ints, stats: Floats, raw: bool
) -> tuple[float, float, float]:
    """Return (sum, row, column) of pixels, above their radius' mean unless `raw`."""
    total, at_row, at_column = 0.0, 0.0, 0.0
    n_columns = image.shape[1]
    for at in pixels:
        r, c = at // n_columns, at % n_columns
        v = np.float64(image[r, c])
        if not raw:
            v -= stats[0, bins[r, c]]
        total += v
        at_row += v * r
        at_column += v * c
    size = abs(total)
    if size < 1e-10:
        return 0.0, 0.0, 0.0
    return total, at_row / size, at_column / size


@njit(nogil=True, cache=True)
def around(
    image: Array,
    bad: Bools,
    bins: Ints,
    stats: Floats,
    at: tuple[int, int],
    taken: Bools,
    radius: int,
) -> tuple[float, float, float]:
    """Return mean, spread and maximum (at least 0) of the pixels around a peak."""
    reach = 2 * radius
    total, square, n, top = 0.0, 0.0, 0, 0.0
    # The last row and column are left out, as peakfinder8 does.
    for i in range(-reach, reach):
        for j in range(-reach, reach):
            r, c = at[0] + i, at[1] + j
            if r < 0 or r >= image.shape[0] or c < 0 or c >= image.shape[1]:
                continue
            b = bins[r, c]
            if i * i + j * j > reach * reach or b < 0 or bad[r, c] or taken[r, c]:
                continue
            v = np.float64(image[r, c])
            if v < stats[1, b]:
                n += 1
                total += v
                square += v * v
                top = max(top, v)
    if n == 0:
        r = min(max(at[0], 0), image.shape[0] - 1)
        c = min(max(at[1], 0), image.shape[1] - 1)
        return stats[0, max(bins[r, c], 0)], UNKNOWN_SIGMA, top
    mean = total / n
    variance = square / n - mean * mean
    return mean, np.sqrt(variance) if variance >= 0 else UNKNOWN_SIGMA, top


@njit(nogil=True, cache=True)
def measured(
    image: Array,
    bad: Bools,
    bins: Ints,
    stats: Floats,
    limits: Limits,
    taken: Bools,
    pixels: Ints,
    found: Floats,
) -> bool:
    """Measure connected pixels; False if they are no peak."""
    total, row, column = centre(image, pixels, bins, stats, False)
    if total == 0:
        return False
    at = int(np.rint(row)), int(np.rint(column))
    mean, sigma, top = around(image, bad, bins, stats, at, taken, limits[4])
    raw, row, column = centre(image, pixels, bins, stats, True)
    if raw == 0 or not sigma > 1e-10:
        return False
    highest = 0.0
    for k in pixels:
        v = np.float64(image[k // image.shape[1], k % image.shape[1]])
        highest = max(highest, v - mean)
    n = pixels.size
    intensity = raw - n * mean
    inside = 0 <= row <= image.shape[0] - 1 and 0 <= column <= image.shape[1] - 1
    if intensity / sigma < limits[1] or highest < top - mean or not inside:
        return False
    found[INTENSITY], found[HIGHEST] = intensity, highest
    found[ROW], found[COLUMN] = row, column
    found[N_PIXELS], found[SNR] = n, intensity / sigma
    found[BACKGROUND], found[SIGMA] = mean, sigma
    return True


@njit(nogil=True, cache=True)
def search(
    frame: Array,
    bad: Bools,
    bins: Ints,
    limits: Limits,
    numbers: Ints,
    stats: Floats,
    out: Floats,
) -> int:
    """Find the peaks of a frame (module, slow_scan, fast_scan); return how many.

    Those that `out` (quantity, peak) has room for are written there.
    """
    radial_background(frame, bad, bins, limits, stats)
    n_peaks = 0
    taken = np.zeros(frame.shape[1:], np.bool_)
    pixels = np.empty(taken.size, np.int64)
    found = np.empty(N_QUANTITIES)
    for m in range(frame.shape[0]):
        image, flags, places = frame[m], bad[m], bins[m]
        taken[:] = False
        for r in range(1, image.shape[0] - 1):
            for c in range(1, image.shape[1] - 1):
                b = places[r, c]
                if b < 0 or not image[r, c] > stats[1, b]:
                    continue
                if flags[r, c] or taken[r, c]:
                    continue
                n = connected(image, flags, places, stats, (r, c), taken, pixels)
                if n < limits[2] or n > limits[3]:
                    continue
                if not measured(
                    image, flags, places, stats, limits, taken, pixels[:n], found
                ):
                    continue
                if n_peaks < out.shape[1]:
                    found[MODULE] = numbers[m]
                    for q in range(COUNT):
                        out[q, n_peaks] = found[q]
                n_peaks += 1
    return n_peaks


@njit(nogil=True, cache=True)
def search_frames(
    frames: Array,
    bad: Bools,
    bad_step: int,
    bins: Ints,
    limits: Limits,
    numbers: Ints,
    stats: Floats,
    out: Floats,
) -> None:
    """Find the peaks of every frame; `bad_step` is 0 if all share `bad`."""
    for i in range(len(frames)):
        flags = bad[i * bad_step]
        n = search(frames[i], flags, bins, limits, numbers, stats, out[i])
        out[i, COUNT, 0] = n


def find_peaks(
    frames: Array,
    bins: Array,
    *masks: Array,
    n_core: int,
    n_bins: int,
    limits: Limits,
    numbers: tuple[int, ...],
    max_n_peaks: int,
) -> Floats:
    """Return the peaks of every frame.

    frames: real (..., [module,] slow_scan, fast_scan), adu; not modified. NaN counts as
        a bad pixel.
    bins: integer (1..., [module,] slow_scan, fast_scan); distance from the beam in
        pixels; below 0: takes no part.
    *masks: bool or integer (..., [module,] slow_scan, fast_scan); non-zero is bad; axes
        may have length 1.
    n_core: number of pixel axes, 2 or 3.
    n_bins: above all of `bins`.
    limits: see `Limits`.
    numbers: of the modules.
    max_n_peaks: length of the last axis.
    Returns float64 (..., quantity, peak); `PADDING` behind the last peak. The row
        `COUNT` has in its first column the number of peaks that were found, which may
        be more than there is room for.
    """
    flat, bad, lead = listed(frames, masks, n_core)
    out = np.empty((len(flat), N_QUANTITIES, max_n_peaks))
    out[:] = np.array(PADDING)[:, np.newaxis]
    places = read_only(bins.reshape(flat.shape[1:]).astype(np.int32))
    step = int(len(bad) > 1)
    modules = np.array(numbers, np.int64)
    stats = np.empty((2, n_bins))
    search_frames(flat, bad, step, places, limits, modules, stats, out)
    return out.reshape(*lead, N_QUANTITIES, max_n_peaks)
