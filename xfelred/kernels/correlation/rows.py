"""Rings of polar images without their mean: what a Fourier transform needs.

A row is one ring of an item; an item is a shot, or a difference of two. NaN and
infinite elements are bad: they count as 0 after the mean of the good ones is removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, Floats, Ints, usual

TILE = 1 << 17  # values of one batch of rows, which stays in the cache of one core


@dataclass(frozen=True)
class Items:
    """Shots, or differences of shots."""

    frames: Array  # any real dtype (frame, ring, azimuth); polar images
    # first and second: (item,); an item is ``frames[first] - frames[second]``, in
    # float64, so that unsigned numbers do not wrap; without `second` ``frames[first]``
    first: NDArray[np.intp]
    second: NDArray[np.intp] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(items, rings, azimuths)."""
        return len(self.first), self.frames.shape[1], self.frames.shape[2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return float32 for frames that it holds exactly, float64 for all else."""
        return np.dtype(np.result_type(self.frames.dtype, np.float32))

    def part(self, items: slice) -> Items:
        second = None if self.second is None else self.second[items]
        return Items(self.frames, self.first[items], second)

    def good(self, items: NDArray[np.intp], rings: NDArray[np.intp]) -> Bools:
        """Return the masks of some rings, bool (n, azimuth)."""
        good = np.isfinite(self.frames[self.first[items], rings])
        if self.second is not None:
            good &= np.isfinite(self.frames[self.second[items], rings])
        return good

    def rows(self, items: NDArray[np.intp], rings: NDArray[np.intp]) -> Floats:
        """Return rings with their mean, bad elements as 0, float64 (n, azimuth)."""
        values = self.frames[self.first[items], rings].astype(np.float64)
        if self.second is not None:
            values -= self.frames[self.second[items], rings]
        return np.where(self.good(items, rings), values, 0.0)


def all_items(frames: Array) -> Items:
    """Return every frame (..., ring, azimuth) as an item."""
    flat = usual(frames).reshape(-1, *frames.shape[-2:])
    return Items(flat, np.arange(len(flat)))


def differences(frames: Array, pairs: NDArray[np.integer[Any]]) -> Items:
    """Return differences of frames (frame, ring, azimuth), by their positions."""
    flat = usual(frames)
    return Items(flat, pairs[:, 0].astype(np.intp), pairs[:, 1].astype(np.intp))


@dataclass(frozen=True)
class Marks:
    """What is known of rings and their masks; arrays (item, ring)."""

    n_good: Ints  # number of good azimuths
    level: Floats  # sum over the good azimuths
    # the same for the same mask, 0 where every azimuth is good
    tag: NDArray[np.uint64]

    def at(self, items: slice, rings: slice = slice(None)) -> Marks:
        at = items, rings
        return Marks(self.n_good[at], self.level[at], self.tag[at])


def blank_marks(items: Items) -> Marks:
    shape = items.shape[:2]
    return Marks(np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, np.uint64))


# What the kernels below call for every row is compiled into them: a function from the
# cache would stay a call, which costs a third of the time. Sums may be reordered into
# lanes, always in the same way for rows of one length.
inner = njit(nogil=True)
inner_sum = njit(nogil=True, fastmath={"reassoc"})


@inner_sum
def load_one(a: Array, line: Array) -> Any:
    """Copy a row to `line`; return its sum."""
    total = 0.0
    for j in range(line.size):
        v = np.float64(a[j])
        line[j] = v
        total += v
    return total


@inner_sum
def load_difference(a: Array, b: Array, line: Array) -> Any:
    """Copy a difference to `line`; return its sum."""
    total = 0.0
    for j in range(line.size):
        v = np.float64(a[j]) - np.float64(b[j])
        line[j] = v
        total += v
    return total


@inner_sum
def good_sums(line: Array) -> Any:
    """Return how many elements are finite, and their sum."""
    count, total = 0, 0.0
    for j in range(line.size):
        v = line[j]
        good = np.isfinite(v)
        v = v if good else 0.0
        count += good
        total += v
    return count, total


@inner
def clean(line: Array) -> Any:
    """Put NaN in place of bad elements; return count, sum and a hash of the mask."""
    count, total = good_sums(line)
    tag = np.uint64(14695981039346656037)  # Fowler-Noll-Vo, 64 bits
    for j in range(line.size):
        if not np.isfinite(line[j]):
            line[j] = np.nan
            tag = (tag ^ np.uint64(j)) * np.uint64(1099511628211)
    return count, total, tag


@inner
def load(
    frames: Array, first: Array, second: Array, at: tuple[int, int], line: Array
) -> Any:
    """Copy ring ``at[1]`` of item ``at[0]`` to `line`, NaN where it is bad.

    Returns number and sum of the good elements, and a hash of the mask.
    """
    i, r = at
    if second is None:
        total = load_one(frames[first[i], r], line)
    else:
        total = load_difference(frames[first[i], r], frames[second[i], r], line)
    if np.isfinite(total):
        return line.size, total, np.uint64(0)
    return clean(line)


@njit(nogil=True, cache=True)
def centre_rows(
    frames: Array,
    first: Array,
    second: Array | None,
    start: int,
    out: Array,
    n_good: Array,
    level: Array,
    tag: Array,
) -> None:
    """Write items without the means of their rings, from ring `start` on.

    frames, first, second: of `Items`; out: float (item, ring, azimuth); n_good, level,
        tag: (item, ring), of `Marks`.
    """
    line = np.empty(frames.shape[2])
    for i in range(out.shape[0]):
        for r in range(out.shape[1]):
            at = (i, start + r)
            count, total, mark = load(frames, first, second, at, line)
            n_good[i, r], level[i, r], tag[i, r] = count, total, mark
            mean, row = total / max(count, 1), out[i, r]
            for j in range(line.size):
                row[j] = line[j] - mean
            if mark:
                for j in range(line.size):
                    if np.isnan(line[j]):
                        row[j] = 0.0


@njit(nogil=True, cache=True)
def add_power(values: Array, power: Array) -> None:
    """Add ``|F|**2`` of all items to the sums of their rings."""
    for i in range(values.shape[0]):
        for r in range(values.shape[1]):
            row, out = values[i, r], power[r]
            for f in range(row.size):
                out[f] += row[f].real * row[f].real + row[f].imag * row[f].imag


@njit(nogil=True, cache=True)
def add_cross(lead: Array, values: Array, cross: Array, power: Array) -> None:
    """Add ``L conj(F)`` and ``|F|**2`` of items, with one leading row for each."""
    for i in range(values.shape[0]):
        for r in range(values.shape[1]):
            row = values[i, r]
            for f in range(row.size):
                v = np.complex128(row[f])
                cross[r, f] += np.complex128(lead[i, f]) * np.conj(v)
                power[r, f] += v.real * v.real + v.imag * v.imag


@njit(nogil=True, cache=True)
def add_rows(values: Array, ring: Array, weight: Array, out: Array) -> None:
    """Add every row, times its weight, to the sum of its ring."""
    for i in range(ring.size):
        row, total = values[i], out[ring[i]]
        for f in range(row.size):
            total[f] += weight[i] * row[f]


def room_of(items: Items) -> Floats:
    """Return memory for the rows of any batch, so that none is touched anew."""
    return np.empty(max(TILE, items.shape[2]), items.dtype)


def batches(
    shape: tuple[int, int, int], *, whole_items: bool
) -> Iterator[tuple[slice, slice]]:
    """Yield (items, rings) of batches that stay in the cache of one core."""
    n_items, n_rings, n_phi = shape
    rings = max(n_rings, 1)
    if not whole_items:
        rings = min(rings, max(1, TILE // max(n_phi, 1)))
    items = max(1, TILE // max(rings * n_phi, 1))
    for i in range(0, n_items, items):
        for r in range(0, n_rings, rings):
            yield slice(i, min(i + items, n_items)), slice(r, min(r + rings, n_rings))
