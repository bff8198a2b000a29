"""Pixels as polygons on the (radius, azimuth) plane, split over bins by area."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, read_only

TURN = 2 * np.pi
VERTICES = 12  # a hexagon that is cut four times has at most ten

Entries = tuple[Ints, Ints, Floats]


@njit(nogil=True, cache=True)
def cut(
    polygon: Array, n: int, axis: int, limit: float, sign: float, out: Array
) -> int:
    """Keep the part of a polygon with ``sign * coordinate >= sign * limit``.

    Sutherland & Hodgman 1974, doi:10.1145/360767.360802. Returns the number of
    vertices of `out`.
    """
    m = 0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        here = sign * (polygon[i, axis] - limit)
        there = sign * (polygon[j, axis] - limit)
        if here >= 0:
            # Number by number: to assign a row takes seconds to compile.
            out[m, 0], out[m, 1] = polygon[i, 0], polygon[i, 1]
            m += 1
        if (here > 0 and there < 0) or (here < 0 and there > 0):
            t = here / (here - there)
            for k in range(2):
                out[m, k] = polygon[i, k] + t * (polygon[j, k] - polygon[i, k])
            out[m, axis] = limit
            m += 1
    return m


@njit(nogil=True, cache=True)
def area(polygon: Array, n: int) -> float:
    total = 0.0
    for i in range(1, n - 1):
        ax, ay = polygon[i, 0] - polygon[0, 0], polygon[i, 1] - polygon[0, 1]
        bx, by = polygon[i + 1, 0] - polygon[0, 0], polygon[i + 1, 1] - polygon[0, 1]
        total += ax * by - ay * bx
    return abs(total) / 2


@njit(nogil=True, cache=True)
def slab(
    polygon: Array, n: int, axis: int, low: float, high: float, work: Array, out: Array
) -> int:
    """Keep the part of a polygon between two limits along one axis."""
    m = cut(polygon, n, axis, low, 1.0, work)
    return int(cut(work, m, axis, high, -1.0, out))


@njit(nogil=True, cache=True)
def outline(radius: Array, phi: Array, p: int, polygon: Array) -> int:
    """Write the corners of a pixel to `polygon`, without a jump in azimuth.

    A pixel that holds the beam covers all azimuths evenly, from radius 0. Returns the
    number of corners.
    """
    corners, winding, far = len(radius), 0.0, 0.0
    for c in range(corners):
        step = phi[(c + 1) % corners, p] - phi[c, p]
        winding += step - TURN * np.rint(step / TURN)
        far = max(far, radius[c, p])
    # Round the origin the steps add up to a turn, else to nothing.
    if abs(winding) > np.pi:
        for c in range(4):
            polygon[c, 0] = far if c in (1, 2) else 0.0
            polygon[c, 1] = phi[0, p] + (TURN if c in (2, 3) else 0.0)
        return 4
    for c in range(corners):
        step = phi[c, p] - phi[0, p]
        polygon[c, 0] = radius[c, p]
        polygon[c, 1] = phi[0, p] + step - TURN * np.rint(step / TURN)
    return corners


@njit(nogil=True, cache=True)
def limits(polygon: Array, n: int, axis: int) -> tuple[float, float]:
    low = high = polygon[0, axis]
    for c in range(1, n):
        low, high = min(low, polygon[c, axis]), max(high, polygon[c, axis])
    return low, high


@njit(nogil=True, cache=True)
def bins_between(edges: Array, low: float, high: float) -> tuple[int, int]:
    """Return the first bin that an interval touches, and the one behind the last."""
    last = edges.size - 1
    if high < edges[0] or low > edges[-1]:
        return 0, 0
    first = min(max(int(np.searchsorted(edges, low, side="right")) - 1, 0), last - 1)
    end = min(max(int(np.searchsorted(edges, high, side="left")), first + 1), last)
    return first, end


@njit(nogil=True, cache=True)
def split_pixel(
    polygon: Array,
    corners: int,
    edges: Array,
    sectors: Array,
    work: Array,
    bins: Array,
    shares: Array,
    n: int,
) -> int:
    """Append the bins and shares of one pixel to lists of `n`; return their length.

    `bins` may be empty: then entries are only counted.
    """
    whole = area(polygon, corners)
    low, high = limits(polygon, corners, 0)
    for r in range(*bins_between(edges, low, high)):
        m = slab(polygon, corners, 0, edges[r], edges[r + 1], work[0], work[1])
        if sectors.size == 0:
            share = area(work[1], m) / whole if whole > 0 else 1.0
            if share > 0:
                if bins.size:
                    bins[n], shares[n] = r, share
                n += 1
            continue
        start, end = limits(polygon, corners, 1)
        # The azimuths of a pixel may lie a turn off those of the sectors.
        for turn in (-TURN, 0.0, TURN):
            for s in range(*bins_between(sectors, start + turn, end + turn)):
                first, last = sectors[s] - turn, sectors[s + 1] - turn
                k = slab(work[1], m, 1, first, last, work[0], work[2])
                share = area(work[2], k) / whole if whole > 0 else 1.0
                if share > 0:
                    if bins.size:
                        bins[n] = s * (edges.size - 1) + r
                        shares[n] = share
                    n += 1
    return n


@njit(nogil=True, cache=True)
def split_pixels(
    radius: Array,
    phi: Array,
    edges: Array,
    sectors: Array,
    good: Array,
    start: Array,
    bins: Array,
    shares: Array,
) -> None:
    """Fill `start`, and the entries if there is room for them."""
    polygon = np.empty((VERTICES, 2))
    work = np.empty((3, VERTICES, 2))
    n = 0
    for p in range(good.size):
        start[p] = n
        if good[p]:
            corners = outline(radius, phi, p, polygon)
            n = split_pixel(polygon, corners, edges, sectors, work, bins, shares, n)
    start[good.size] = n


def polygon_entries(
    radius: Floats, phi: Floats, edges: Floats, sectors: Floats | None, good: Bools
) -> Entries:
    """Share pixels out over bins in proportion to the area that lies in them.

    radius, phi: float64 (corner, pixel); radial coordinate and azimuth (rad) of the
        corners, in the order of the outline.
    edges: float64 (bin + 1); increasing.
    sectors: float64 (sector + 1) or None; edges in azimuth, over at most one turn.
    good: bool (pixel); False: no entries.
    Returns start: int (pixel + 1); bins: int (entry); flat: sector * number of bins +
        bin; shares: float64 (entry); the entries of one pixel add up to 1 if it lies
        within the edges.

    The edges of a pixel count as straight lines on the (radius, azimuth) plane, as in
    pyFAI's "full" splitting.
    """
    angles = np.empty(0) if sectors is None else sectors
    radius, phi = read_only(radius), read_only(phi)
    start = np.empty(good.size + 1, np.int64)
    # Counted first: how many bins a pixel touches is not known before.
    none = np.empty(0, np.int64), np.empty(0)
    split_pixels(radius, phi, edges, angles, good, start, *none)
    bins, shares = np.empty(start[-1], np.int64), np.empty(start[-1])
    if len(bins):
        split_pixels(radius, phi, edges, angles, good, start, bins, shares)
    return start, bins, shares
