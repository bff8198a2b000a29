"""Pixels that are split over bins: how far they reach, and how they are shared.

What is split are lists of (bin, share) for every pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, Floats, Ints

Entries = tuple[Ints, Ints, Floats]


def packed_entries(
    start: Ints, bins: NDArray[np.integer[Any]], shares: Floats
) -> list[Array]:
    """Cut lists of (bin, share) into arrays with one number per pixel.

    start: int (pixel + 1); where the entries of each pixel begin; the last is their
        total number.
    bins: int (entry).
    shares: float64 (entry).
    Returns list of array (pixel); ``start``, then as many pieces of the bins as hold
        all, then as many of the shares: in this form the lists travel like any other
        map of the detector.
    """
    pixels = len(start) - 1
    pieces = max(1, -(-len(bins) // pixels))
    room = pieces * pixels - len(bins)
    all_bins = np.pad(bins.astype(np.int32), (0, room), constant_values=-1)
    all_shares = np.pad(shares, (0, room))
    return [
        start[:-1].astype(np.int64),
        *all_bins.reshape(pieces, pixels),
        *all_shares.reshape(pieces, pixels),
    ]


def unpacked_entries(maps: list[Array]) -> tuple[Array, ...]:
    """Return ``(bins,)``, or ``(start, bins, shares)`` put together again."""
    if len(maps) == 1:
        return (maps[0],)
    start, *pieces = maps
    half = len(pieces) // 2
    bins = np.concatenate(pieces[:half])
    end = np.count_nonzero(bins >= 0)
    return np.append(start, end), bins, np.concatenate(pieces[half:])


def split_entries(
    low: Floats, high: Floats, edges: Floats, good: Bools
) -> tuple[Ints, Ints, Floats]:
    """Share intervals out over bins in proportion to the overlap.

    low, high: float64 (pixel); ends of the interval that each pixel covers.
    edges: float64 (bin + 1); increasing.
    good: bool (pixel); False: no entries.
    Returns start: int (pixel + 1); bins: int (entry); shares: float64 (entry); the
        entries of one pixel add up to 1 if it lies within the edges.
    """
    inside = good & (high >= edges[0]) & (low <= edges[-1])
    last = len(edges) - 2
    first_bin = np.clip(np.searchsorted(edges, low, side="right") - 1, 0, last)
    last_bin = np.clip(np.searchsorted(edges, high, side="left") - 1, first_bin, last)
    number = np.where(inside, last_bin - first_bin + 1, 0)
    start = np.concatenate([[0], np.cumsum(number)])
    pixel = np.repeat(np.arange(len(low)), number)
    bins = first_bin[pixel] + np.arange(len(pixel)) - start[pixel]
    overlap = np.minimum(high[pixel], edges[bins + 1]) - np.maximum(
        low[pixel], edges[bins]
    )
    width = (high - low)[pixel]
    shares = np.where(width > 0, overlap / np.where(width > 0, width, 1.0), 1.0)
    return start, bins, np.clip(shares, 0.0, 1.0)


def wrapped_entries(
    centre: Floats, half: Floats, edges: Floats, good: Bools
) -> Entries:
    """Share angles out over bins that go round a circle.

    centre, half: float64 (pixel), rad; the angle and half width of each pixel.
    edges: float64 (bin + 1), rad; increasing, over at most one turn.
    good: bool (pixel); False: no entries.
    Returns as `split_entries`. A pixel that covers more than a turn counts as one turn.
    """
    turn = 2 * np.pi
    half = np.minimum(half, np.pi)
    from_first = np.mod(centre - edges[0], turn) + edges[0]
    low, high = from_first - half, from_first + half
    turns = (-turn, 0.0, turn)
    parts = [split_entries(low + t, high + t, edges, good) for t in turns]
    every = np.arange(len(centre))
    pixel = np.concatenate([np.repeat(every, np.diff(p[0])) for p in parts])
    order = np.argsort(pixel, kind="stable")
    number = np.bincount(pixel, minlength=len(centre))
    start = np.concatenate([[0], np.cumsum(number)])
    bins = np.concatenate([bins for _, bins, _ in parts])
    shares = np.concatenate([shares for _, _, shares in parts])
    return start, bins[order], shares[order]


def product_entries(slow: Entries, fast: Entries, n_fast: int) -> Entries:
    """Return entries in the flat bins of two axes; shares are products of two."""
    number = np.diff(slow[0]) * np.diff(fast[0])
    start = np.concatenate([[0], np.cumsum(number)])
    pixel = np.repeat(np.arange(len(number)), number)
    nth = np.arange(len(pixel)) - start[pixel]
    per_row = np.diff(fast[0])[pixel]
    at_slow = slow[0][pixel] + nth // per_row
    at_fast = fast[0][pixel] + nth % per_row
    bins = slow[1][at_slow] * n_fast + fast[1][at_fast]
    return start, bins, slow[2][at_slow] * fast[2][at_fast]


@njit(nogil=True, cache=True)
def corner_spread(
    two_theta: Array,
    phi: Array,
    corners: tuple[Array, Array, Array],
    scale: float,
    wide: tuple[Array, Array, Array],
) -> None:
    """Write the largest differences between the centre and the corners of each pixel.

    two_theta, phi: float64 (slow, fast), rad; of the centres.
    corners: (two_theta, phi, where); angles float64 (grid, slow + any, fast + any),
        rad; neighbours may share them. int (corner, 3): grid of each, and its distance
        there from the pixel.
    scale: 4 pi / wavelength, 1/angstrom; 0: that of q is left alone.
    wide: float32 (slow, fast), three of them; the results: of two_theta, phi and q.
    """
    corner_two_theta, corner_phi, where = corners
    wide_two_theta, wide_phi, wide_q = wide
    turn = 2 * np.pi
    for i in range(two_theta.shape[0]):
        for j in range(two_theta.shape[1]):
            centre, azimuth = two_theta[i, j], phi[i, j]
            low = high = centre
            widest = 0.0
            for c in range(len(where)):
                g, y, x = where[c, 0], i + where[c, 1], j + where[c, 2]
                low = min(low, corner_two_theta[g, y, x])
                high = max(high, corner_two_theta[g, y, x])
                step = corner_phi[g, y, x] - azimuth
                widest = max(widest, abs(step - turn * np.rint(step / turn)))
            wide_two_theta[i, j] = max(high - centre, centre - low)
            wide_phi[i, j] = widest
            if scale > 0:
                # q grows with two_theta, so the same corners are the farthest.
                q = np.sin(centre / 2)
                up, down = np.sin(high / 2) - q, q - np.sin(low / 2)
                wide_q[i, j] = scale * max(up, down)
