"""Bad pixels found in dark frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools, Floats, Ints
from xfelred.kernels.calibration.gain_bits import index_of_bits
from xfelred.kernels.calibration.rule import Rule

# Standard deviation of a normal distribution over its median absolute deviation.
MAD_TO_SIGMA = 1.482602218505602

# Bits of `masks.names`, those of the European XFEL.
OFFSET, NOISE, EVAL_ERROR, NO_DATA, ZERO_NOISE = 1, 2, 4, 8, 1 << 14


def outliers(values: Array, n_sigma: float) -> Bools:
    """Return where values lie further than `n_sigma` robust sigma from the median.

    values: float (..., slow_scan, fast_scan); every module of every frame has a median
        of its own; NaN is left out.
    n_sigma: limit in units of ``1.4826 * median(|x - median|)``. Where that is 0 (at
        least half of the values are equal) nothing is an outlier but what differs from
        the median by more than `n_sigma` times the standard deviation.
    Returns bool (..., slow_scan, fast_scan).
    """
    if not values.size:
        return np.zeros(values.shape, bool)
    flat = values.reshape(*values.shape[:-2], -1)
    known = np.isfinite(flat)
    x = np.where(known, flat, np.nan)
    empty = ~known.any(axis=-1)
    x[empty] = 0.0
    median = np.nanmedian(x, axis=-1, keepdims=True)
    distance = np.abs(x - median)
    sigma = MAD_TO_SIGMA * np.nanmedian(distance, axis=-1, keepdims=True)
    sigma = np.where(sigma > 0, sigma, np.nanstd(x, axis=-1, keepdims=True))
    with np.errstate(invalid="ignore"):
        return ((distance > n_sigma * sigma) & known).reshape(values.shape)


def split_by_range(
    raw: Array, *codes: Array, rule: Rule, ranges: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return the signal of every gain range apart, without the gain bits.

    raw: integer (..., slow_scan, fast_scan).
    *codes: integer, broadcast against `raw`; what tells the gain range, as codes of the
        rule; by default its bits.
    ranges: which ranges.
    Returns float32 (..., range, slow_scan, fast_scan); NaN where a pixel is not in the
        range.
    """
    if codes:
        shift, bits, values = 0, 0xFF, codes[0]
    else:
        shift, bits, values = rule.shift, rule.code_bits, raw
    index = index_of_bits(values, shift=shift, code_bits=bits, codes=rule.codes)
    signal = (raw & rule.adu_bits if rule.adu_bits else raw).astype(np.float32)
    out = np.empty((*raw.shape[:-2], len(ranges), *raw.shape[-2:]), np.float32)
    for i, gain_range in enumerate(ranges):
        out[..., i, :, :] = np.where(index == gain_range, signal, np.float32(np.nan))
    return out


def outside(
    values: Floats, n_sigma: float, limits: tuple[float, float] | None
) -> Bools:
    bad = outliers(values, n_sigma)
    if limits is not None:
        # NaN is neither; it has a bit of its own.
        bad |= (values < limits[0]) | (values > limits[1])
    return bad


def dark_flags(
    pedestal: Floats,
    noise: Floats,
    n_frames: Ints,
    *,
    offset_sigma: float,
    noise_sigma: float,
    min_frames: int,
    offset_limits: tuple[float, float] | None = None,
    noise_limits: tuple[float, float] | None = None,
) -> NDArray[np.uint32]:
    """Return the bad-pixel bits of dark statistics.

    pedestal, noise: float64 (..., slow_scan, fast_scan), adu.
    n_frames: int64 (..., slow_scan, fast_scan).
    offset_sigma, noise_sigma: limits for pedestal and noise, in robust sigma of their
        module.
    min_frames: pixels with fewer frames have no dark data.
    offset_limits, noise_limits: (lowest, highest), adu; pedestals and noise outside are
        bad, too.
    Returns uint32 (..., slow_scan, fast_scan); bits 0 (pedestal), 1 (noise), 2 (not
        finite), 3 (no data) and 14 (noise 0).
    """
    enough = n_frames >= min_frames
    flags = np.where(enough, 0, NO_DATA).astype(np.uint32)
    for bit, values, n_sigma, limits in (
        (OFFSET, pedestal, offset_sigma, offset_limits),
        (NOISE, noise, noise_sigma, noise_limits),
    ):
        flags[enough & outside(values, n_sigma, limits)] |= bit
    broken = enough & ~(np.isfinite(pedestal) & np.isfinite(noise))
    flags |= np.where(broken, EVAL_ERROR, 0).astype(np.uint32)
    flags |= np.where(enough & (noise == 0), ZERO_NOISE, 0).astype(np.uint32)
    return flags
