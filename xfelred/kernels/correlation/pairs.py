"""Circular correlations of rings: Fourier spectra and their sums.

``C[k] = sum_n a[n + k] b[n]`` is the inverse transform of ``A conj(B)``, by the theorem
of Wiener and Khinchin: sums over shots are taken of spectra, and one inverse transform
is enough for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats, Ints
from xfelred.kernels.correlation import rows
from xfelred.kernels.correlation.rows import TILE, Items, Marks
from xfelred.kernels.memory import page_backed

Sums = dict[str, Array]


def ring_sums(
    items: Items, lead: int | None = None, *, raw: bool = False, values: bool = True
) -> Sums:
    """Return the sums over items that mean correlations are made of.

    items: shots, or differences of shots.
    lead: the ring that leads; without it every ring is correlated with itself.
    raw: keep the means of rings.
    values: without it only masks are counted.
    Returns `power` float64 (ring, frequency), `cross` complex128 if a ring leads;
        `pairs` int64 (ring, lag); `good`, `level` and `items` (ring,): number of good
        azimuths, their sum, and the number of items with any. Transforms of float32 and
        of small integers are in single precision, which without the mean is exact to
        1e-7 of the largest correlation.
    """
    sums = empty_sums(*items.shape[1:], cross=lead is not None)
    marks = rows.blank_marks(items)
    if not values:
        for which, ring in rows.batches(items.shape, whole_items=False):
            centred(items.part(which), marks.at(which, ring), ring.start)
    elif lead is None:
        add_power(sums["power"], items, marks, raw=raw)
    else:
        add_cross(sums, items, marks, lead, raw=raw)
    there = marks.n_good > 0
    if lead is not None:
        there = there & there[:, lead, None]
    sums["pairs"] = total_counts(items, marks, lead)
    sums["good"] += marks.n_good.sum(0)
    sums["level"] += marks.level.sum(0)
    sums["items"] += there.sum(0)
    return sums


def empty_sums(n_rings: int, n_phi: int, *, cross: bool) -> Sums:
    n_f = n_phi // 2 + 1
    sums = {
        "power": page_backed((n_rings, n_f)),
        "good": np.zeros(n_rings, np.int64),
        "level": np.zeros(n_rings),
        "items": np.zeros(n_rings, np.int64),
    }
    if cross:
        sums["cross"] = page_backed((n_rings, n_f), np.complex128)
    return sums


def add_power(power: Floats, items: Items, marks: Marks, *, raw: bool) -> None:
    room = rows.room_of(items)
    for which, ring in rows.batches(items.shape, whole_items=False):
        part, mark = items.part(which), marks.at(which, ring)
        values = spectra(part, mark, ring.start, raw=raw, room=room)
        rows.add_power(values, power[ring])
        del values  # or the next ones would be new memory


def add_cross(sums: Sums, items: Items, marks: Marks, lead: int, *, raw: bool) -> None:
    for which, _ in rows.batches(items.shape, whole_items=True):
        values = spectra(items.part(which), marks.at(which), raw=raw)
        leader = np.ascontiguousarray(values[:, lead])
        rows.add_cross(leader, values, sums["cross"], sums["power"])


def spectra(
    items: Items,
    marks: Marks,
    start: int = 0,
    *,
    raw: bool = False,
    room: Array | None = None,
) -> Array:
    """Return the Fourier transforms of rings, complex (item, ring, frequency).

    marks: of these items and of the rings to transform; filled.
    start: the first of these rings.
    raw: keep the mean; the result is double precision then.
    room: see `centred`.
    """
    values = scipy.fft.rfft(centred(items, marks, start, room), axis=-1)
    if raw:
        values = values.astype(np.complex128, copy=False)
        values[..., 0] = marks.level
        for item, ring, masked in masked_spectra(items, marks, start):
            values[item, ring] = masked
    return values


def centred(items: Items, marks: Marks, start: int, room: Array | None = None) -> Array:
    """Return rings without their mean (item, ring, azimuth); fill their marks.

    room: memory for them, of `rows.room_of`; by default it is new.
    """
    shape = (*marks.tag.shape, items.shape[2])
    work = np.empty(shape, items.dtype) if room is None else room[: prod(shape)]
    work = work.reshape(shape)
    out = (work, marks.n_good, marks.level, marks.tag)
    rows.centre_rows(items.frames, items.first, items.second, start, *out)
    return work


def masked_spectra(
    items: Items, marks: Marks, start: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Array]]:
    """Yield (items, rings, transforms) of rings with a mask, mean and all."""
    item, ring = np.nonzero(marks.tag)
    step = max(1, TILE // items.shape[2])
    for at in range(0, len(item), step):
        i, r = item[at : at + step], ring[at : at + step]
        yield i, r, scipy.fft.rfft(items.rows(i, start + r), axis=-1)


def mean_correlation(sums: Sums, lead: int | None, normalization: str) -> Floats:
    """Return the correlation of all items together, float64 (ring, lag).

    Sums of products are divided by sums of counts; standard deviations and means of
    rings are those over all items as well. NaN where there is no pair.
    """
    n = sums["pairs"].shape[-1]
    own = "power" if lead is None else "cross"
    spectrum = sums.get("between", sums[own])
    products = scipy.fft.irfft(spectrum, n=n)
    if normalization == "none":
        items = np.broadcast_to(sums["items"][:, None], products.shape)
        return ratio(products, np.where(sums["pairs"] > 0, items, 0))
    mean = ratio(products, sums["pairs"])
    return mean / scale(sums, lead, normalization)[:, None]


def scale(sums: Sums, lead: int | None, normalization: str) -> Floats:
    """Return what the mean product of each ring is divided by; NaN instead of 0."""
    n, good = sums["pairs"].shape[-1], sums["good"]
    own = levels(sums["power"], sums["level"], good, n, normalization)
    return product_of(own, own if lead is None else own[lead])


def levels(
    power: Array, level: Floats, good: Ints, n: int, normalization: str
) -> Floats:
    """Return the standard deviation, the mean or 1 for rings (...)."""
    if normalization == "variance":
        return np.sqrt(ratio(squares(power, n), good))
    if normalization == "mean":
        return ratio(level, good)
    return np.ones(good.shape)


def product_of(a: Floats, b: Floats) -> Floats:
    """Return a product, NaN where it is 0."""
    return np.where(a * b == 0, np.nan, a * b)


def item_correlations(
    items: Items, lead: int | None, normalization: str
) -> Iterator[tuple[slice, Array, Ints]]:
    """Yield (items, correlations, pair counts) of batches, (item, ring, lag)."""
    n = items.shape[2]
    for which, _ in rows.batches(items.shape, whole_items=True):
        part = items.part(which)
        marks = rows.blank_marks(part)
        values = spectra(part, marks, raw=normalization == "none")
        power = values.real**2 + values.imag**2
        if lead is None:
            products = scipy.fft.irfft(power, n=n, axis=-1)
        else:
            products = scipy.fft.irfft(values[:, lead, None] * values.conj(), n=n)
        counts = item_counts(part, marks, lead)
        if normalization == "none":
            yield which, np.where(counts > 0, products, np.nan), counts
            continue
        own = levels(power, marks.level, marks.n_good, n, normalization)
        divisor = product_of(own, own if lead is None else own[:, lead, None])
        yield which, ratio(products, counts * divisor[..., None]), counts


def squares(power: Array, n: int) -> Floats:
    """Return the sum of squares of rows from their power spectra (Parseval)."""
    weight = np.full(power.shape[-1], 2.0)
    weight[0] = 1.0
    if n % 2 == 0:
        weight[-1] = 1.0
    return power.astype(float) @ weight / n


def ratio(above: Array, below: Array) -> Floats:
    """Return a quotient in float64, NaN where there is nothing to divide by."""
    out = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    return np.divide(above, below, out=out, where=below != 0)


def add_images(sums: Sums, items: Items, *, raw: bool = False) -> Sums:
    """Return sums with those of all items themselves, without the means of rings.

    `image` float64 (ring, azimuth) is the sum, `seen` int64 how many azimuths are good,
    `shown` int64 (ring,) how many items have any.
    """
    image, seen = np.zeros(items.shape[1:]), np.zeros(items.shape[1:], np.int64)
    shown = np.zeros(items.shape[1], np.int64)
    for which, ring in rows.batches(items.shape, whole_items=False):
        part = items.part(which)
        values = part.frames[part.first, ring]
        good = np.isfinite(values)
        if raw:
            work = np.where(good, values, 0)
        else:
            work = centred(
                part, rows.blank_marks(part).at(slice(None), ring), ring.start
            )
        image[ring] += work.sum(0, dtype=np.float64)
        seen[ring] += good.sum(0)
        shown[ring] += good.any(-1).sum(0)
    return sums | {"image": image, "seen": seen, "shown": shown}


def inter_sums(sums: Sums, lead: int | None) -> Sums:
    """Return the sums over all ordered pairs of different items."""
    # The sum over all pairs is the correlation of the sums, from which the correlations
    # of the items with themselves are taken away.
    n = sums["image"].shape[-1]
    out = dict(sums)
    image = scipy.fft.rfft(sums["image"])
    seen = scipy.fft.rfft(sums["seen"].astype(float))
    at = slice(None) if lead is None else slice(lead, lead + 1)
    name = "power" if lead is None else "cross"
    every = image[at] * image.conj()
    out["between"] = every - sums[name]
    both = np.rint(scipy.fft.irfft(seen[at] * seen.conj(), n=n)).astype(np.int64)
    out["pairs"] = both - sums["pairs"]
    out["items"] = sums["shown"] * sums["shown"][at] - sums["items"]
    return out


def correlations(frames: Array, *, lead: int | None, normalization: str) -> Array:
    """Return the correlation and the pair counts of every shot.

    frames: any real dtype (..., ring, azimuth).
    lead: the ring that leads.
    normalization: {"none", "pairs", "variance", "mean"}.
    Returns float32 for float32 and small integers, else float64 (..., 2, ring, lag);
        correlation, NaN where no pair is good; number of good pairs.
    """
    items = rows.all_items(frames)
    return filled(items, lead, normalization).reshape(
        *frames.shape[:-2], 2, *frames.shape[-2:]
    )


def filled(items: Items, lead: int | None, normalization: str) -> Array:
    """Return the correlations and the pair counts of items (item, 2, ring, lag)."""
    n, n_rings, n_phi = items.shape
    out = page_backed((n, 2, n_rings, n_phi), items.dtype)
    for which, values, counts in item_correlations(items, lead, normalization):
        out[which, 0], out[which, 1] = values, counts
    return out


def difference_correlations(
    frames: Array,
    pairs: NDArray[np.integer[Any]],
    *,
    lead: int | None,
    normalization: str,
) -> Array:
    """Return the correlations and pair counts of differences (pair, 2, ring, lag)."""
    return filled(rows.differences(frames, pairs), lead, normalization)


def alike(
    tag: NDArray[np.uint64], lead: int | None
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return (one of each kind of mask, kind of every ring, how many of each kind).

    Rings of several items are of a kind if they have the same number and the same
    masks, their own and that of the leading ring. Most shots have the same mask, so
    each kind is transformed once.
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
