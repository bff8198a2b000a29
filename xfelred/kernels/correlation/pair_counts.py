"""How many pairs of good azimuths lie at every lag: correlations of masks.

Most shots have the same mask, so each kind of mask is transformed once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Ints
from xfelred.kernels.correlation import rows
from xfelred.kernels.correlation.rows import TILE, Items, Marks


def alike(
    tag: NDArray[np.uint64], lead: int | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return (one of each kind of mask, kind of every ring, how many of each kind).

    Rings of several items are of a kind if they have the same number and the same
    masks, their own and that of the leading ring.
    """
    # Odd constants spread over 64 bits, so that sums of products are as good as hashes.
    number = np.arange(tag.shape[1], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    key = tag + number
    if lead is not None:
        key = key + tag[:, lead, None] * np.uint64(0xC2B2AE3D27D4EB4F)
    _, one, kind, many = np.unique(
        key.ravel(), return_index=True, return_inverse=True, return_counts=True
    )
    return one, kind, many


def pair_spectra(
    items: Items, one: NDArray[np.intp], lead: int | None
) -> Iterator[tuple[slice, Array]]:
    """Yield batches of (which, spectra of the numbers of good pairs) of some rings."""
    item, ring = np.unravel_index(one, items.shape[:2])
    step = max(1, TILE // items.shape[2])
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        own = scipy.fft.rfft(items.good(item[part], ring[part]).astype(float))
        if lead is None:
            yield part, own.real**2 + own.imag**2
        else:
            leader = np.full(len(own), lead, np.intp)
            other = scipy.fft.rfft(items.good(item[part], leader).astype(float))
            yield part, other * own.conj()


def item_counts(items: Items, marks: Marks, lead: int | None) -> Ints:
    """Return the number of good pairs of every item, int64 (item, ring, lag)."""
    n = items.shape[2]
    if not marks.tag.any():
        return np.broadcast_to(np.int64(n), items.shape)
    one, kind, _ = alike(marks.tag, lead)
    table = np.empty((len(one), n), np.int64)
    for part, spectrum in pair_spectra(items, one, lead):
        table[part] = np.rint(scipy.fft.irfft(spectrum, n=n))
    return table[kind].reshape(items.shape)


def total_counts(items: Items, marks: Marks, lead: int | None) -> Ints:
    """Return the number of good pairs of all items, int64 (ring, lag)."""
    n_items, n_rings, n = items.shape
    if not marks.tag.any():
        return np.broadcast_to(np.int64(n * n_items), (n_rings, n))
    one, _, many = alike(marks.tag, lead)
    kind = np.float64 if lead is None else np.complex128
    total = np.zeros((n_rings, n // 2 + 1), kind)
    ring = np.unravel_index(one, items.shape[:2])[1]
    for part, spectrum in pair_spectra(items, one, lead):
        rows.add_rows(spectrum, ring[part], many[part].astype(float), total)
    return np.rint(scipy.fft.irfft(total, n=n)).astype(np.int64)
