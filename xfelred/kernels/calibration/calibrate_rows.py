"""Calibration of rows of pixels, compiled.

Frames that share constants are done row by row, so that the constants of a row are
read from memory once for all of them.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Ints

# What tells the gain range of a pixel: nothing, bits of its number, a code in another
# array, that of the whole tile, or the thresholds that a voltage exceeds.
SINGLE, BITS, GIVEN, FIXED, THRESHOLDS = range(5)
# All at once; up to the common mode; from there on.
FULL, SUBTRACT, MULTIPLY = range(3)


@njit(nogil=True, cache=True)
def calibrate_rows(
    data: tuple[Array, Array, NDArray[np.float32]],
    sizes: tuple[int, int, int, int, int],
    tiles: Ints,
    rules: tuple[tuple[int, int, int, int], NDArray[np.int32], tuple[float, float]],
    phase: int,
    out: NDArray[np.float32],
    use: NDArray[np.uint8],
) -> None:
    """Calibrate tiles, one module of one frame each, in flat memory.

    data: (raw, gain, table); uint16 or float (n,), adu; what tells the gain range, as
        the rule says, else anything; float32 (n,), see `calibration.table`.
    sizes: (lines, pixels of a line, gain ranges, planes, elements from line to line).
    tiles: int64 (tile, 5); first element in `out`, `raw`, `gain` and `table`.
        Neighbours with the same constants are done together.
    rules: (rule, codes, values); mode, bits of the signal or 0, shift and bits of the
        code; int32 (256,), the gain range of every code, or -1; value of bad pixels and
        factor of pixels without a gain range.
    phase: FULL, SUBTRACT or MULTIPLY.
    out: float32 (n,).
    use: uint8 (tile * rows * columns,); SUBTRACT: filled with 1 where a pixel takes
        part in the common mode.
    """
    raw, gain, table = data
    rule, codes, values = rules
    rows, columns, n_ranges, n_planes, row_step = sizes
    adu_bits = rule[1]
    bad_value, unknown = np.float32(values[0]), np.float32(values[1])
    which, scratch = np.zeros(columns, np.int32), np.empty((3, columns), np.float32)
    n_tiles, begin = tiles.shape[0], 0
    while begin < n_tiles:
        end = begin + 1
        while end < n_tiles and tiles[end, 3] == tiles[begin, 3]:
            end += 1
        for row in range(rows):
            at = tiles[begin, 3] + row * row_step
            planes = table[at : at + n_planes * columns]
            level, scale = planes, planes[n_ranges * columns :]
            flags = planes[2 * n_ranges * columns :]
            cuts = planes[(n_planes - n_ranges + 1) * columns :]
            for tile in range(begin, end):
                here = row * columns
                first = tiles[tile, 1] + here
                numbers = raw[first : first + columns]
                # One range for all of the tile has one code.
                first = tiles[tile, 2] + (0 if rule[0] == FIXED else here)
                told = gain[first : first + columns]
                same = ranges_of_row(rule, codes, numbers, told, cuts, which)
                p, f = level[:columns], scale[:columns]
                if not same:
                    p, f = scratch[0], scratch[1]
                    choose(level, n_ranges, which, np.float32(0), p)
                    choose(scale, n_ranges, which, unknown, f)
                first = tiles[tile, 0] + here
                signal = out[first : first + columns]
                if phase == FULL:
                    calibrate_row(numbers, adu_bits, p, f, bad_value, signal)
                elif phase == MULTIPLY:
                    multiply(signal, f, bad_value)
                else:
                    subtract(numbers, adu_bits, p, signal)
                    first = tile * rows * columns + here
                    some = use[first : first + columns]
                    note_use(flags, n_ranges, which, same, scratch[2], some)
        begin = end


@njit(nogil=True, cache=True)
def calibrate_row(
    numbers: Array,
    adu_bits: int,
    level: NDArray[np.float32],
    scale: NDArray[np.float32],
    bad_value: np.float32,
    signal: NDArray[np.float32],
) -> None:
    """Do `subtract` and `multiply` at once: half of the way through memory."""
    if adu_bits:
        bits = np.int32(adu_bits)
        for i in range(signal.size):
            f = scale[i]
            v = np.float32(np.int32(np.int32(numbers[i]) & bits))
            signal[i] = (v - level[i]) * f if f == f else bad_value
    else:
        for i in range(signal.size):
            f = scale[i]
            v = np.float32(numbers[i] - level[i])
            signal[i] = v * f if f == f else bad_value


@njit(nogil=True, cache=True)
def subtract(
    numbers: Array,
    adu_bits: int,
    level: NDArray[np.float32],
    signal: NDArray[np.float32],
) -> None:
    if adu_bits:
        bits = np.int32(adu_bits)
        for i in range(signal.size):
            v = np.int32(np.int32(numbers[i]) & bits)
            signal[i] = np.float32(v) - level[i]
    else:
        for i in range(signal.size):
            signal[i] = np.float32(numbers[i] - level[i])


@njit(nogil=True, cache=True)
def multiply(
    signal: NDArray[np.float32], scale: NDArray[np.float32], bad_value: np.float32
) -> None:
    """Multiply one row with its factors; bad pixels, with NaN, get their value."""
    for i in range(signal.size):
        f = scale[i]
        signal[i] = signal[i] * f if f == f else bad_value


@njit(nogil=True, cache=True)
def note_use(
    flags: NDArray[np.float32],
    n_ranges: int,
    which: NDArray[np.int32],
    same: bool,
    scratch: NDArray[np.float32],
    use: NDArray[np.uint8],
) -> None:
    """Note which pixels of one row take part in a common mode."""
    taken = flags[: use.size]
    if not same:
        taken = scratch
        choose(flags, n_ranges, which, np.float32(0), taken)
    for i in range(use.size):
        use[i] = np.uint8(taken[i] > 0)


@njit(nogil=True, cache=True)
def ranges_of_row(
    rule: tuple[int, int, int, int],
    codes: NDArray[np.int32],
    numbers: Array,
    voltage: Array,
    cuts: NDArray[np.float32],
    which: NDArray[np.int32],
) -> bool:
    """Find the gain ranges of one row as a rule says; tell whether all are range 0."""
    mode, _, shift, code_bits = rule
    if mode == BITS:
        return ranges_of_bits(numbers, shift, code_bits, codes, which)
    if mode == FIXED:
        return one_range(voltage[0], codes, which)
    if mode == GIVEN:
        return ranges_of_codes(voltage, codes, which)
    if mode == THRESHOLDS:
        return ranges_of_cuts(voltage, cuts, which)
    return True


@njit(nogil=True, cache=True)
def ranges_of_bits(
    numbers: Array,
    shift: int,
    code_bits: int,
    codes: NDArray[np.int32],
    which: NDArray[np.int32],
) -> bool:
    """Find the gain ranges of one row from bits; tell whether all are range 0."""
    down, bits = np.int32(shift), np.int32(code_bits)
    # As numbers: looking up four of them is slower than comparing.
    r0, r1, r2, r3 = codes[0], codes[1], codes[2], codes[3]
    every = np.int32(0)
    for i in range(which.size):
        every = np.int32(every | np.int32(numbers[i]))
    # Most rows are in range 0, which has the code 0.
    if (every >> down) & bits == 0 and r0 == 0:
        return True
    found = np.int32(0)
    for i in range(which.size):
        code = np.int32(np.int32(np.int32(numbers[i]) >> down) & bits)
        low = r1 if code == 1 else r0
        high = r3 if code == 3 else r2
        r = high if code > 1 else low
        which[i] = r
        found = np.int32(found | r)
    return bool(found == 0)


@njit(nogil=True, cache=True)
def one_range(code: int, codes: NDArray[np.int32], which: NDArray[np.int32]) -> bool:
    """Note the gain range of a whole row; tell whether it is range 0."""
    found = codes[np.uint8(code)]
    which[:] = found
    return bool(found == 0)


@njit(nogil=True, cache=True)
def ranges_of_codes(
    given: Array, codes: NDArray[np.int32], which: NDArray[np.int32]
) -> bool:
    """Look up the gain ranges of one row; tell whether all are range 0."""
    found = np.int32(0)
    for i in range(which.size):
        r = codes[np.uint8(given[i])]
        which[i] = r
        found = np.int32(found | r)
    return bool(found == 0)


@njit(nogil=True, cache=True)
def ranges_of_cuts(
    voltage: Array, cuts: NDArray[np.float32], which: NDArray[np.int32]
) -> bool:
    """Count the thresholds that one row exceeds; tell whether none does any."""
    found = np.int32(0)
    n = which.size
    if cuts.size == 2 * n:  # three ranges, as all detectors have
        low, high = cuts[:n], cuts[n:]
        for i in range(n):
            v = np.float32(voltage[i])
            r = np.int32(np.int32(v > low[i]) + np.int32(v > high[i]))
            which[i] = r
            found = np.int32(found | r)
        return bool(found == 0)
    which[:] = np.int32(0)
    for k in range(cuts.size // n):
        cut = cuts[k * n : (k + 1) * n]
        for i in range(n):
            above = np.int32(np.float32(voltage[i]) > cut[i])
            which[i] = np.int32(which[i] + above)
            found = np.int32(found | above)
    return bool(found == 0)


@njit(nogil=True, cache=True)
def choose(
    planes: NDArray[np.float32],
    n_ranges: int,
    which: NDArray[np.int32],
    unknown: np.float32,
    chosen: NDArray[np.float32],
) -> None:
    """Choose for every pixel of a row the constant of its gain range.

    Without a range it is `unknown`, or NaN where the pixel is bad in range 0.
    """
    n = chosen.size
    lowest, second = planes[:n], planes[n : 2 * n]
    if 1 < n_ranges <= 3:
        highest = planes[(n_ranges - 1) * n : n_ranges * n]
        for i in range(n):
            r = which[i]
            v = lowest[i]
            none = unknown + np.float32(0) * v
            v = second[i] if r == 1 else v
            v = highest[i] if r == 2 else v
            chosen[i] = none if r < 0 else v
        return
    for i in range(n):
        r = which[i]
        v = planes[max(r, 0) * n + i]
        chosen[i] = unknown + np.float32(0) * v if r < 0 else v
