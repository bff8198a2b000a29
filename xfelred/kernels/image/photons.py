"""Photons: those of a droplet, and those of pixels whose charge is shared."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, read_only
from xfelred.kernels.image.droplets import (
    ADU,
    N_PIXELS,
    Limits,
    labelled,
    neighbours,
    sums_of,
    unit_of,
)
from xfelred.kernels.image.droplets import COLUMN as DROPLET_COLUMN
from xfelred.kernels.image.droplets import ROW as DROPLET_ROW
from xfelred.kernels.per_frame import listed

ROW, COLUMN, MODULE, COUNTS = range(4)
N_QUANTITIES = 4
# In the row `COUNTS`: the number of photons, then shares of pixels with 0, 1, ... of
# them, then photons per pixel.
N_PHOTONS, FIRST_SHARE, N_SHARES = 0, 1, 11
LEAST_ROOM = FIRST_SHARE + N_SHARES + 1


@njit(nogil=True, cache=True)
def next_photon(
    pixels: Ints, left: Floats, shape: tuple[int, int]
) -> tuple[float, float]:
    """Take one photon from what is `left` of a droplet; return where it is.

    It is at the pixel with the most, moved by what that lacks towards the neighbour
    with the most, from which this is taken.
    """
    best = pixels[0]
    for at in pixels:
        if left[at] > left[best]:
            best = at
    width = shape[1]
    r, c = best // width, best % width
    lacks = 1 - left[best]
    left[best] = 0.0
    up = left[best - width] if r > 0 else 0.0
    down = left[best + width] if r < shape[0] - 1 else 0.0
    before = left[best - 1] if c > 0 else 0.0
    behind = left[best + 1] if c < width - 1 else 0.0
    dr, dc = 0, 1
    if up > max(down, before, behind):
        dr, dc = -1, 0
    elif down > max(before, behind):
        dr, dc = 1, 0
    elif before > behind:
        dr, dc = 0, -1
    if 0 <= r + dr < shape[0] and 0 <= c + dc < width:
        other = best + dr * width + dc
        left[other] = max(0.0, left[other] - lacks)
    return r + dr * lacks, c + dc * lacks


@njit(nogil=True, cache=True)
def spots_of(
    image: Array, pixels: Ints, sums: Floats, adu: float, n: int, left: Floats
) -> Floats:
    """Return where the `n` photons of a droplet are, (photon, 2)."""
    out, width = np.empty((n, 2)), image.shape[1]
    if n == 1 or sums[N_PIXELS] == 1:
        out[:, 0], out[:, 1] = sums[DROPLET_ROW], sums[DROPLET_COLUMN]
        return out
    k = 0
    for at in pixels:
        f = np.float64(image[at // width, at % width]) / adu
        left[at] = f - np.floor(f)
        for _ in range(min(int(f), n - k)):
            out[k, 0], out[k, 1] = at // width, at % width
            k += 1
    while k < n:
        out[k, 0], out[k, 1] = next_photon(pixels, left, image.shape)
        k += 1
    for at in pixels:
        left[at] = 0.0
    return out


@njit(nogil=True, cache=True)
def by_droplet(
    found: Ints, total: int, label: Ints, n_labels: int
) -> tuple[Ints, Ints]:
    """Return the pixels sorted by droplet, and where each begins."""
    start = np.zeros(n_labels + 1, np.int64)
    for k in range(total):
        start[label[found[k]]] += 1
    start = np.cumsum(start)
    fill, pixels = start.copy(), np.empty(total, np.int64)
    for k in range(total):
        own = label[found[k]] - 1
        pixels[fill[own]] = found[k]
        fill[own] += 1
    return pixels, start


@njit(nogil=True, cache=True)
def add_shares(
    image: Array, bad: Bools, found: Ints, total: int, hits: Ints, shares: Floats
) -> None:
    """Count good pixels by their number of photons; `hits` is 0 afterwards.

    Photons are in pixels of droplets or beside them.
    """
    beside, width = np.empty(5, np.int64), image.shape[1]
    for k in range(total):
        neighbours(found[k], image.shape, beside[:4])
        beside[4] = found[k]
        for q in beside:
            if q < 0 or hits[q] == 0:
                continue
            n, hits[q] = hits[q], 0
            if bad[q // width, q % width]:
                continue
            if n < N_SHARES:
                shares[n] += 1
            shares[0] -= 1
            shares[N_SHARES] += n


@njit(nogil=True, cache=True)
def photons_of_frames(
    frames: Array,
    bad: Bools,
    unit: Floats,
    limits: Limits,
    adu: float,
    numbers: Ints,
    out: Floats,
) -> None:
    """Find the photons of every frame (module, slow_scan, fast_scan)."""
    rows, width = frames.shape[2], frames.shape[3]
    found, label = np.empty(rows * width, np.int64), np.zeros(rows * width, np.int64)
    parent, hits = (
        np.empty(rows * width + 1, np.int64),
        np.zeros(rows * width, np.int64),
    )
    left, room = np.zeros(rows * width), out.shape[2]
    each_bad, each_unit = int(len(bad) > 1), int(len(unit) > 1)
    for i in range(len(frames)):
        n, at, good, shares = 0, 0, 0, np.zeros(N_SHARES + 1)
        for m in range(frames.shape[1]):
            image, flags = frames[i, m], bad[i * each_bad, m]
            good += count_good(image, flags)
            total, n_labels = labelled(
                image, flags, unit[i * each_unit, m], limits, found, label, parent
            )
            sums = sums_of(image, found, total, label, n_labels)
            pixels, start = by_droplet(found, total, label, n_labels)
            for d in range(n_labels):
                own = np.floor(sums[d, ADU] / adu + 0.5)
                if sums[d, ADU] < limits[3] or own < 1:
                    continue
                if own > room:  # a saturated blob: counted, but nobody looks at it
                    n += int(min(own, 2.0**52))
                    continue
                part = pixels[start[d] : start[d + 1]]
                n += int(own)
                spots = spots_of(image, part, sums[d], adu, int(own), left)
                for row, column in spots:
                    if at < room:
                        out[i, ROW, at], out[i, COLUMN, at] = row, column
                        out[i, MODULE, at] = numbers[m]
                    at += 1
                    r = min(max(int(np.floor(row + 0.5)), 0), rows - 1)
                    c = min(max(int(np.floor(column + 0.5)), 0), width - 1)
                    hits[r * width + c] += 1
            add_shares(image, flags, found, total, hits, shares)
            for k in range(total):
                label[found[k]] = 0
        shares[0] += good
        out[i, COUNTS, N_PHOTONS] = n
        for k in range(N_SHARES + 1):
            out[i, COUNTS, FIRST_SHARE + k] = shares[k] / good if good else np.nan


@njit(nogil=True, cache=True)
def count_good(image: Array, bad: Bools) -> int:
    n = 0
    for r in range(image.shape[0]):
        row, flags = image[r], bad[r]
        for c in range(row.size):
            n += (row[c] == row[c]) & (not flags[c])
    return n


def droplets_to_photons(
    frames: Array,
    *rest: Array,
    n_core: int,
    n_masks: int,
    limits: Limits,
    adu_per_photon: float,
    numbers: tuple[int, ...],
    room: int,
) -> Floats:
    """Return the photons of every frame.

    frames, rest, n_core, n_masks, limits, numbers: as for `find_droplets`.
    adu_per_photon: of the droplet's sum.
    room: length of the last axis, at least `LEAST_ROOM`.
    Returns float64 (..., quantity, photon), NaN behind the last photon; the row
        `COUNTS` holds their number and the shares of good pixels.
    """
    flat, bad, lead = listed(frames, rest[:n_masks], n_core)
    unit = unit_of(rest[n_masks:], lead, flat.shape)
    out = np.full((len(flat), N_QUANTITIES, room), np.nan)
    who = read_only(np.array(numbers, np.int64))
    photons_of_frames(flat, bad, unit, limits, adu_per_photon, who, out)
    return out.reshape(*lead, N_QUANTITIES, room)
