"""Azimuthal integration: sums of pixels in rings, and averages from the sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats, read_only, usual
from xfelred.kernels.azimuthal.binning import (
    add_frames,
    add_split_frames,
    add_spread,
    add_totals,
)
from xfelred.kernels.azimuthal.clipping import clipped
from xfelred.kernels.outlines.splitting import unpacked_entries

# A bin whose count is below is empty: what is left are rounding errors of split pixels.
EMPTY = 1e-9
# Part of the variance that is left of the spread of a bin with more than one pixel.
LEAST_SPREAD = 1e-6

Entries = tuple[Array, ...]  # (bins,) or (start, bins, shares)
Sums = dict[str, Floats]


@dataclass(frozen=True)
class Integration:
    """What is the same for all blocks of an integration."""

    shape: tuple[int, ...]  # of the bins: ([phi,] q)
    mean: bool = False  # average signal / factor (True), or divide sum by sum (False)
    # {"", "poisson", "azimuthal", "given"}; error model; adds sigma to the result.
    # "given": the last map is the variance.
    errors: str = ""
    n_masks: int = 0  # number of masks behind the maps
    # dummy and delta_dummy: value of pixels without data, and how far from it they may
    # be; NaN: none
    dummy: float = np.nan
    delta_dummy: float = 0.0
    # leave out pixels farther than so many standard deviations from the mean of their
    # bin; 0: none
    clip: float = 0.0
    clip_repeats: int = 5  # passes of that at most

    @property
    def n_bins(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Block:
    """Frames (frame, pixel) and what every pixel adds, ready for the compiled loops."""

    frames: Array
    gain: Floats | None
    norms: Floats
    entries: Entries
    variance: Floats | None = None


def prepared(
    block: Array,
    factor: NDArray[np.floating[Any]],
    maps: tuple[Array, ...],
    n_core: int,
    rings: Integration,
) -> Block:
    """Return a block of frames without its masked pixels."""
    variance = None
    if rings.errors == "given":
        maps, variance = maps[:-1], maps[-1]
    n_maps = len(maps) - rings.n_masks
    frames = block
    for bad in maps[n_maps:]:
        if bad.any():
            frames = np.where(bad == 0, frames, np.nan)
    if not np.isnan(rings.dummy):
        dummy = np.float64(rings.dummy)
        if frames.dtype.kind == "f":
            dummy = np.float64(frames.dtype.type(dummy))  # as the file can hold it
        # Differences of unsigned counts would wrap.
        distance = np.abs(np.subtract(frames, dummy, dtype=np.float64))
        frames = np.where(distance <= rings.delta_dummy, np.nan, frames)
    pixels = int(np.prod(block.shape[-n_core:], dtype=np.int64))
    if variance is not None:
        # NaN would leave the pixel out of the error, but not of the mean.
        known = np.where(np.isnan(variance), np.inf, variance.astype(np.float64))
        variance = np.where(np.isnan(frames), np.nan, known).reshape(-1, pixels)
    frames = frames.reshape(-1, pixels)
    weights = factor.reshape(-1).astype(np.float64, copy=False)
    gain, norms = None, weights
    if rings.mean:
        with np.errstate(divide="ignore"):  # pixels in no bin may have no factor
            gain, norms = 1 / weights, np.ones_like(weights)
    entries = unpacked_entries([m.reshape(-1) for m in maps[:n_maps]])
    entries = tuple(map(read_only, entries))
    return Block(frames, gain, norms, entries, variance)


def ring_sums(
    block: Array,
    factor: NDArray[np.floating[Any]],
    *maps: Array,
    n_core: int,
    rings: Integration,
) -> Sums:
    """Return the sums over some pixels of every frame, which add up to those over all.

    block, factor, *maps, n_core, rings: as for `integrate_azimuthally`; error model
        "poisson", "given" or none.
    Returns dict of float64 (..., bin); ``signal``, ``count``, ``norm`` and, with an
        error model, ``variance``; for "poisson" also ``unit``: the variance if every
        pixel held one count.
    """
    ready = prepared(block, factor, maps, n_core, rings)
    return lead_shape(block_sums(ready, rings), block, n_core)


def lead_shape(sums: Sums, block: Array, n_core: int) -> Sums:
    """Return sums (frame, bin) with the frame axes of a block."""
    lead = block.shape[:-n_core]
    return {name: v.reshape(*lead, v.shape[-1]) for name, v in sums.items()}


def block_sums(block: Block, rings: Integration) -> Sums:
    signal, count, norm = bin_sums(block, rings.n_bins)
    sums = {"signal": signal, "count": count, "norm": norm}
    if rings.errors == "given":
        sums["variance"] = squared_sums(block, block.variance, rings.n_bins)[0]
    elif rings.errors == "poisson" and block.gain is None and len(block.entries) == 1:
        sums |= {"variance": signal.copy(), "unit": count.copy()}
    elif rings.errors == "poisson":
        variance, unit = squared_sums(block, block.frames, rings.n_bins)
        sums |= {"variance": variance, "unit": unit}
    return sums


def averages(sums: Sums, rings: Integration) -> Sums:
    """Return intensity, count, norm and, with an error model, sigma (..., *shape)."""
    count, norm = sums["count"].copy(), sums["norm"].copy()
    empty = count < EMPTY
    norm[empty] = count[empty] = 0.0
    out = {"count": count, "norm": norm}
    with np.errstate(divide="ignore", invalid="ignore"):
        out["intensity"] = sums["signal"] / norm
        if rings.errors:
            variance = sums["variance"]
            if rings.errors == "poisson":
                variance = np.maximum(variance, sums["unit"] / count)
            # Infinite: that of a pixel is not known.
            variance = np.where(np.isinf(variance), np.nan, variance)
            out["sigma"] = np.sqrt(variance) / norm
    for name in out.keys() - {"count", "norm"}:
        out[name][empty] = np.nan
    return {k: v.reshape(*v.shape[:-1], *rings.shape) for k, v in out.items()}


def integrate_azimuthally(
    block: Array,
    factor: NDArray[np.floating[Any]],
    *maps: Array,
    n_core: int,
    rings: Integration,
) -> Floats:
    """Integrate every frame of a block.

    block: number (..., pixel axes); frames. NaN pixels are left out, frame by frame, of
        signal, count and norm.
    factor: float (1, ..., pixel axes); solid angle times polarization: what a pixel
        adds to the norm.
    *maps: (1, ..., pixel axes); one array: int32, the flat bin of each pixel, negative
        outside all bins. Or the arrays of `splitting.packed_entries`, for pixels split
        over bins. Then masks: arrays that are non-zero where a pixel is left out; they
        may vary with the frame and have length 1 along any axis. Last, for the error
        model "given", float: the variance of the pixels, of the same form.
    n_core: number of pixel axes.
    Returns float64 (..., quantity, [phi,] q); intensity, count, norm and, with an error
        model, sigma: the standard error of the intensity. Empty bins: intensity and
        sigma NaN, count and norm 0.

    With shares c of a pixel in a bin (0 or 1 without splitting), signal S and factor N:
    I = sum c S / sum c N, or with `mean` I = sum c (S / N) / sum c. sigma =
    sqrt(sum c^2 var) / norm, with var of S, or with `mean` of S / N. given: as given.
    poisson: var = S, and a bin has at least the variance of one count, spread evenly
    over its pixels. azimuthal: see `unbiased_spread`. Sums are float64 whatever the
    pixels are; a frame gives the same bits in any block.
    """
    ready = prepared(block, factor, maps, n_core, rings)
    if rings.clip:
        how = (rings.n_bins, rings.clip, rings.clip_repeats)
        kept = clipped(ready.frames, ready.gain, ready.norms, ready.entries, *how)
        ready = replace(ready, frames=kept)
    sums = block_sums(ready, rings)
    if rings.errors == "azimuthal":
        flat = Integration((rings.n_bins,), rings.mean)
        intensity = averages(sums, flat)["intensity"]
        sums["variance"] = unbiased_spread(ready, intensity, sums["norm"])
    found = averages(lead_shape(sums, block, n_core), rings)
    names = ("intensity", "count", "norm", *(("sigma",) if rings.errors else ()))
    return np.stack([found[name] for name in names], axis=block.ndim - n_core)


def split(entries: Entries) -> tuple[Array | None, Array, Array | None]:
    return entries if len(entries) == 3 else (None, entries[0], None)


def bin_sums(block: Block, n_bins: int) -> tuple[Floats, Floats, Floats]:
    """Return signal, count and norm, float64 (frame, bin)."""
    # Count and norm are summed once for all pixels; what NaN pixels would have added to
    # them is subtracted, frame by frame.
    frames, norms = usual(block.frames), read_only(block.norms)
    gain = None if block.gain is None else read_only(block.gain)
    n_frames = len(frames)
    signal = np.zeros((n_frames, n_bins))
    lost = np.zeros((2, n_frames, n_bins))
    total = np.zeros((2, n_bins))
    start, bins, shares = split(block.entries)
    add_totals(start, bins, shares, norms, total)
    if start is None:
        add_frames(frames, gain, norms, bins, signal, lost)
    else:
        add_split_frames(frames, gain, norms, start, bins, shares, signal, lost)
    return signal, total[0] - lost[0], total[1] - lost[1]


def squared_sums(
    block: Block, variance: Array | None, n_bins: int
) -> tuple[Floats, Floats]:
    """Return sum c^2 var, and the same for var = 1, float64 (frame, bin).

    `variance` (1 or frame, pixel) is that of the signal; NaN: the pixel does not count.
    """
    entries, gain = block.entries, block.gain
    squared = entries
    if len(entries) > 1:
        squared = (*entries[:2], read_only(entries[2] ** 2))
    gain2 = None if gain is None else gain**2
    ones = np.ones_like(block.norms) if gain2 is None else gain2
    assumed = block.frames if variance is None else variance
    found, _, unit = bin_sums(Block(assumed, gain2, ones, squared), n_bins)
    return found, unit


def unbiased_spread(block: Block, intensity: Floats, norm: Floats) -> Floats:
    """Return sum c^2 var from the spread of signals in their bin, float64 (frame, bin).

    NaN where the bin has one pixel, which has no spread.

    With residuals e = S - I n, norms n and norm = sum c n, and var proportional to u,
    the expectation of sum c^2 e^2 is sum c^2 var times
    1 - 2 sum(c^3 n u) / (norm sum(c^2 u)) + sum((c n)^2) / norm^2, by which it is
    divided: the mean is that of the same pixels, and follows them. For n equal pixels
    this is (n - 1) / n. u is that of counts, in proportion to n.
    """
    sums = np.zeros((4, *intensity.shape))
    arrays = usual(block.frames), block.gain, block.norms
    add_spread(*arrays, *split(block.entries), intensity, sums)
    spread, first, second, third = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        left = 1 - 2 * second / (norm * first) + third / norm**2
        return np.where(left > LEAST_SPREAD, spread / left, np.nan)
