"""Photons of pixels that share their charge with one neighbour."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.per_frame import listed

LEAST = 0.5  # of a photon, in the pixel that has more of it
USED = -1.0  # a rest that was given to another pixel
SATURATED = np.iinfo(np.uint16).max


@njit(nogil=True, cache=True)
def mark_rows(rest: Floats, marks: Array) -> None:
    """Set `marks` to 1 at local maxima of rows, else to 0."""
    n = rest.shape[1]
    for r in range(rest.shape[0]):
        row, mark = rest[r], marks[r]
        for c in range(n):
            mark[c] = 0
        if n < 2:
            continue
        i = 1
        if row[0] > row[1]:
            mark[0] = 1
            i = 2
        while i < n - 1:
            if row[i + 1] > row[i]:
                i += 1
                continue
            if row[i - 1] <= row[i]:
                mark[i] = 1
            i += 2
        mark[n - 1] = row[n - 1] > row[n - 2]


@njit(nogil=True, cache=True)
def mark_columns(rest: Floats, marks: Array, skip: Array) -> None:
    """Add 1 to `marks` at local maxima of columns, by the same rule; 2 is both.

    All columns go on together, row by row as pixels lie in memory; `skip` tells which
    of them leave out this row.
    """
    rows, n = rest.shape
    if rows < 2:
        return
    for c in range(n):
        skip[c] = rest[0, c] > rest[1, c]
        marks[0, c] += skip[c]
    for r in range(1, rows - 1):
        before, row, behind, mark = rest[r - 1], rest[r], rest[r + 1], marks[r]
        for c in range(n):
            here = (skip[c] == 0) & (behind[c] <= row[c])
            mark[c] += here & (before[c] <= row[c])
            skip[c] = here
    for c in range(n):
        marks[rows - 1, c] += rest[rows - 1, c] > rest[rows - 2, c]


@njit(nogil=True, cache=True)
def pair_up(
    r: int, c: int, rest: Floats, marks: Array, fraction: float, count: Array
) -> None:
    """Make a photon of a maximum and the largest rest beside it, if it is enough."""
    if rest[r, c] < LEAST or marks[r, c] < 2:
        return
    best, y, x = np.float64(0.0), -1, -1
    # Of rests that are equal the later one counts; none that was given away.
    if r > 0 and rest[r - 1, c] >= best:
        best, y, x = rest[r - 1, c], r - 1, c
    if r < rest.shape[0] - 1 and rest[r + 1, c] >= best:
        best, y, x = rest[r + 1, c], r + 1, c
    if c > 0 and rest[r, c - 1] >= best:
        best, y, x = rest[r, c - 1], r, c - 1
    if c < rest.shape[1] - 1 and rest[r, c + 1] >= best:
        best, y, x = rest[r, c + 1], r, c + 1
    if y >= 0 and rest[r, c] + best >= fraction:
        count[r, c] += np.uint16(count[r, c] < SATURATED)
        rest[r, c], rest[y, x] = USED, USED


@njit(nogil=True, cache=True)
def pair_inside(rest: Floats, marks: Array, fraction: float, count: Array) -> None:
    for r in range(1, rest.shape[0] - 1):
        for c in range(1, rest.shape[1] - 1):
            if marks[r, c] == 2:
                pair_up(r, c, rest, marks, fraction, count)


@njit(nogil=True, cache=True)
def pair_border(rest: Floats, marks: Array, fraction: float, count: Array) -> None:
    """Pair the border, after the inner pixels: columns, rows, then corners."""
    rows, width = rest.shape
    for c in (0, width - 1):
        for r in range(1, rows - 1):
            pair_up(r, c, rest, marks, fraction, count)
    for r in (0, rows - 1):
        for c in range(1, width - 1):
            pair_up(r, c, rest, marks, fraction, count)
    for r in (rows - 1, 0):
        for c in (0, width - 1):
            pair_up(r, c, rest, marks, fraction, count)


@njit(nogil=True, cache=True)
def split(
    row: Array, flags: Bools, scale: float, least: float, rest: Floats, count: Array
) -> None:
    """Split pixels into whole photons and a rest."""
    for c in range(row.size):
        f = np.float64(row[c]) / scale
        # NaN is neither.
        use = (f > 0) & (row[c] >= least) & (not flags[c])
        f = f if use else np.float64(0.0)
        f = f if f < SATURATED else np.float64(SATURATED)
        whole = np.uint16(f)
        count[c] = whole
        rest[c] = f - whole


@njit(nogil=True, cache=True)
def count_frames(
    frames: Array, bad: Bools, adu: float, least: float, fraction: float, out: Array
) -> None:
    """Count the photons in every pixel of every frame."""
    shape = frames.shape[2:]
    rest, marks = np.empty(shape), np.empty(shape, np.uint8)
    skip = np.empty(shape[1], np.uint8)
    each = int(len(bad) > 1)
    for i in range(len(frames)):
        for m in range(frames.shape[1]):
            image, flags, count = frames[i, m], bad[i * each, m], out[i, m]
            for r in range(shape[0]):
                split(image[r], flags[r], adu, least, rest[r], count[r])
            mark_rows(rest, marks)
            mark_columns(rest, marks, skip)
            pair_inside(rest, marks, fraction, count)
            pair_border(rest, marks, fraction, count)


def count_photons(
    frames: Array,
    *masks: Array,
    n_core: int,
    adu_per_photon: float,
    fraction: float,
    least: float,
) -> Array:
    """Return the number of photons in every pixel.

    frames: real (..., [module,] slow_scan, fast_scan), adu; not modified. NaN counts as
        a bad pixel.
    *masks: bool or integer, axes as those of `frames` or of length 1; non-zero is bad.
    n_core: number of pixel axes, 2 or 3.
    fraction: of a photon, that two neighbours must have together.
    least: adu, pixels below have no photon and no share of one.
    Returns uint16, as `frames`; 0 in bad pixels; 65535 is that many or more.
    """
    core = frames.shape[-n_core:]
    flat, bad, _ = listed(frames, masks, n_core)
    out = np.empty(flat.shape, np.uint16)
    count_frames(flat, bad, adu_per_photon, least, fraction, out)
    return out.reshape((*frames.shape[: frames.ndim - n_core], *core))
