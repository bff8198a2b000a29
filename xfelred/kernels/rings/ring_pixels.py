"""The pixels around a ring, sorted by sector and radius, without hot and dead ones."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, read_only, usual

TURN = 2 * np.pi
HOT = 6.0  # standard deviations from the median of the neighbours
RARE = 0.01  # part of the pixels at a radius that may be hot or dead; more is signal
SPIKE = 20.0  # so many times the usual distance from its neighbours is no signal
MOST = 3  # of them that count in a sector at a radius
USUAL = 0.8  # part of the pixels at a radius that are no farther than the usual


@dataclass(frozen=True)
class RingPixels:
    """Pixels of a ring-shaped window, ordered by sector, then by radius."""

    value: Floats  # float64 (pixel,)
    offset: Floats  # float64 (pixel,), pixels; distance from the middle of the window
    # float64 (pixel,), rad; atan2(row, column) as seen from the centre of the window
    angle: Floats
    # int64 (sector + 1,); where the pixels of each sector begin
    start: Ints
    centre: tuple[float, float, float]  # (x, y, r); of the window

    @property
    def n_sectors(self) -> int:
        return len(self.start) - 1


def ring_pixels(
    image: Array,
    good: Bools,
    ring: tuple[float, float, float],
    half: float,
    n_sectors: int,
) -> RingPixels:
    """Return the good pixels within `half` of a circle.

    image: number (row, column).
    good: bool (row, column).
    ring: (x, y, r), pixels.
    half: half width of the window.
    n_sectors: equal parts of the full circle.

    A pixel is compared with the median of its group: those of its sector at its radius,
    to within a pixel. It is left out where it is further from it than 6 standard
    deviations of all pixels at this radius (found by repeated clipping). More than
    1 % of them (or 3) are never taken for hot or dead, nor what differs where all
    others are equal: sparse photons are signal. Pixels 20 times farther than is usual
    are left out first, however many there are, unless there are more of them at this
    radius than at others: spots of a ring are signal too.
    """
    # As floats: an integer would be compiled for, too.
    x, y, r, half = map(float, (*ring, half))
    limits = window(image.shape, ring, half)
    good = read_only(good)
    count = count_pixels(good, limits, x, y, r, half)
    value, offset, angle = np.empty(count), np.empty(count), np.empty(count)
    image = usual(image)
    collect_pixels(image, good, limits, (x, y, r), half, value, offset, angle)
    sector = np.minimum((angle + np.pi) / TURN * n_sectors, n_sectors - 1)
    radial, n_bins = radial_bins(offset, half)
    group = sector.astype(np.int64) * n_bins + radial
    order = np.argsort(group, kind="stable")
    kept = order[ordinary(value[order], group[order], n_bins)]
    start = np.searchsorted(group[kept], np.arange(n_sectors + 1) * n_bins)
    return RingPixels(
        value[kept], offset[kept], angle[kept], start.astype(np.int64), ring
    )


def radial_bins(offset: Floats, half: float) -> tuple[Ints, int]:
    """Return the bins, a pixel wide, of distances from -half to half; their number."""
    n_bins = max(1, int(np.ceil(2 * half)))
    at = ((offset + half) / (2 * half) * n_bins).astype(np.int64)
    return np.clip(at, 0, n_bins - 1), n_bins


def window(
    shape: tuple[int, ...], ring: tuple[float, float, float], half: float
) -> tuple[int, int, int, int]:
    """Return (first row, end, first column, end) of what a window can reach."""
    x, y, r = ring
    reach = r + half + 1
    top, end = np.clip([y - reach, y + reach + 1], 0, shape[0]).astype(int)
    left, right = np.clip([x - reach, x + reach + 1], 0, shape[1]).astype(int)
    return int(top), int(end), int(left), int(right)


@njit(nogil=True, cache=True)
def count_pixels(
    good: Array, limits: Array, x: float, y: float, r: float, half: float
) -> int:
    inner, outer = max(r - half, 0.0) ** 2, (r + half) ** 2
    n = 0
    for row in range(limits[0], limits[1]):
        for column in range(limits[2], limits[3]):
            d2 = (column - x) ** 2 + (row - y) ** 2
            if inner <= d2 < outer and good[row, column]:
                n += 1
    return n


@njit(nogil=True, cache=True)
def collect_pixels(
    image: Array,
    good: Array,
    limits: Array,
    ring: tuple[float, float, float],
    half: float,
    value: Array,
    offset: Array,
    angle: Array,
) -> None:
    """Fill in value, distance from the circle and angle of the good pixels."""
    x, y, r = ring
    inner, outer = max(r - half, 0.0) ** 2, (r + half) ** 2
    n = 0
    for row in range(limits[0], limits[1]):
        for column in range(limits[2], limits[3]):
            d2 = (column - x) ** 2 + (row - y) ** 2
            if inner <= d2 < outer and good[row, column]:
                value[n] = image[row, column]
                offset[n] = np.sqrt(d2) - r
                angle[n] = np.arctan2(row - y, column - x)
                n += 1


def ordinary(value: Floats, group: Ints, n_bins: int) -> Bools:
    """Return which pixels are near the median of their group; groups are in order."""
    if not value.size:
        return np.zeros(0, dtype=bool)
    edges = np.flatnonzero(np.diff(group, prepend=-1, append=group[-1] + 1))
    off = value - group_medians(value, edges)
    radial = group % n_bins
    kept = ~spikes(off, group, n_bins)
    ordinary_too = np.zeros(value.size, dtype=bool)
    ordinary_too[kept] = within_limits(off[kept], radial[kept], n_bins)
    return ordinary_too


def spikes(off: Floats, group: Ints, n_bins: int) -> Bools:
    """Return which pixels are far beyond all others, at every radius alike."""
    size, radial = np.abs(off), group % n_bins
    usual = usual_distance(size, radial, n_bins)
    far = size > SPIKE * usual
    if usual == 0 or not far.any():
        return np.zeros(off.size, dtype=bool)
    # A line of hot pixels may well follow a circle, but only in one or two sectors.
    cells, number = np.unique(group[far], return_counts=True)
    many = np.bincount(cells % n_bins, np.minimum(number, MOST), n_bins)
    elsewhere = np.median(many)
    signal = many > elsewhere + 4 * np.sqrt(elsewhere) + 4
    return np.asarray(far & ~signal[radial])


def usual_distance(size: Floats, radial: Ints, n_bins: int) -> float:
    """Return what most pixels differ from their neighbours, where this is largest.

    Where most do not differ at all, as with sparse photons: what the others do.
    """
    order = np.argsort(radial, kind="stable")
    starts = np.searchsorted(radial[order], np.arange(n_bins + 1))
    parts = (size[order[a:b]] for a, b in itertools.pairwise(starts) if b > a)
    largest = max(float(np.quantile(part, USUAL)) for part in parts)
    if largest == 0 and (size > 0).any():
        return float(np.median(size[size > 0]))
    return largest


def within_limits(off: Floats, radial: Ints, n_bins: int) -> Bools:
    """Return which pixels are near the median of their group, by repeated clipping."""
    order = np.argsort(radial, kind="stable")
    starts = np.searchsorted(radial[order], np.arange(n_bins + 1))
    limit = np.zeros(n_bins)
    for b in range(n_bins):
        limit[b] = clipping_limit(off[order[starts[b] : starts[b + 1]]])
    return np.asarray(np.abs(off) <= limit[radial])


@njit(nogil=True, cache=True)
def group_medians(value: Array, edges: Array) -> Floats:
    out = np.empty(value.size)
    for g in range(edges.size - 1):
        part = value[edges[g] : edges[g + 1]]
        out[edges[g] : edges[g + 1]] = np.median(part)
    return out


@njit(nogil=True, cache=True)
def clipping_limit(off: Array) -> float:
    """Return beyond which distance from 0 values are not ordinary."""
    limit = np.inf
    spread, _ = spread_within(off, limit)
    for _ in range(20):
        tighter = HOT * spread
        inner, n = spread_within(off, tighter)
        if off.size - n > max(RARE * off.size, 3.0) or inner == 0:
            break
        limit = min(limit, tighter)
        if inner >= spread:
            break
        spread = inner
    return limit


@njit(nogil=True, cache=True)
def spread_within(off: Array, limit: float) -> tuple[float, int]:
    """Return the root mean square, and number, of values up to a limit."""
    total, n = 0.0, 0
    for v in off:
        if abs(v) <= limit:
            total += v * v
            n += 1
    return np.sqrt(total / max(n, 1)), n
