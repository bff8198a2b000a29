"""Integrals, hits and fits of traces; the last axis are the samples."""

from __future__ import annotations

from math import prod

import numpy as np
from scipy import fft

from xfelred.kernels.arrays import Array, Floats

Window = tuple[int | None, int | None]
WIDEST = 3.0  # sigmas of a Gaussian on either side of a filter


def above(traces: Array, background: Window | None) -> Floats:
    """Return traces minus the median of some samples, float64."""
    out: Floats = traces.astype(np.float64)
    if background is not None:
        out -= np.median(out[..., slice(*background)], axis=-1, keepdims=True)
    return out


def integrate(
    traces: Array, *, signal: Window, background: Window | None, sign: float
) -> Floats:
    """Return the sum of the samples of a window.

    traces: real (..., sample). background: window whose median is subtracted first.
    Returns float64 (...).
    """
    found: Floats = sign * above(traces, background)[..., slice(*signal)].sum(-1)
    return found


def without_baseline(
    traces: Array, *, background: tuple[int, int], window: tuple[int, int], period: int
) -> Floats:
    """Return samples of a window minus the median of those of another, by place.

    traces: real (..., sample). period: places modulo this have their own median.
    Returns float64 (..., samples of `window`).
    """
    out: Floats = traces[..., slice(*window)].astype(np.float64)
    for k in range(period):
        # The first of each window at a place that is k modulo the period.
        low, here = (start + (k - start) % period for start, _ in (background, window))
        part = traces[..., low : background[1] : period].astype(np.float64)
        level = np.median(part, axis=-1, keepdims=True)
        out[..., here - window[0] :: period] -= level
    return out


def hits(
    traces: Array,
    *,
    threshold: float,
    highest: float,
    background: Window | None,
    in_noise: bool,
) -> Array:
    """Return which samples are above a threshold and not above another.

    in_noise: thresholds are the mean plus so many standard deviations of the window
        `background`; else it is not used.
    Returns uint8 (..., sample).
    """
    values = traces.astype(np.float64)
    low = np.full((*values.shape[:-1], 1), threshold)
    if in_noise:
        part = values[..., slice(*(background or (None, None)))]
        low = part.mean(-1, keepdims=True) + threshold * part.std(-1, keepdims=True)
    return ((values > low) & (values <= highest)).astype(np.uint8)


def cfd(
    traces: Array,
    *,
    threshold: float,
    filter_length: int,
    offset: int,
    fraction: float,
    max_hits: int,
) -> Floats:
    """Return where a constant fraction of every peak is reached.

    traces: real (..., sample). threshold: in standard deviations of the trace.
    Returns float64 (..., 1 + max_hits): the number of hits, then their positions in
        samples; NaN behind the last one.
    """
    flat = traces.reshape(prod(traces.shape[:-1]), traces.shape[-1])
    out = np.full((len(flat), 1 + max_hits), np.nan)
    smooth = gaussian(filter_length)
    for i, trace in enumerate(flat):
        found = crossings(normalized(trace), smooth, threshold, offset, fraction)
        out[i, 0] = len(found)
        out[i, 1 : 1 + len(found)] = found[:max_hits]
    return out.reshape(*traces.shape[:-1], 1 + max_hits)


def gaussian(length: int) -> Floats:
    """Return a filter whose ends, just outside of it, are at `WIDEST` sigmas."""
    at = np.linspace(-WIDEST, WIDEST, length + 2)[1:-1]
    weights = np.exp(-(at**2) / 2)
    out: Floats = weights / weights.sum()
    return out


def normalized(trace: Array) -> Floats:
    """Return a trace minus its median, whose larger excursion is +1."""
    values: Floats = trace.astype(np.float64) - np.median(trace)
    highest = values[np.abs(values).argmax()] if len(values) else 0.0
    # Of a flat trace, and of one with NaN, nothing is above any threshold.
    return values / highest if highest else values


def smoothed_by(smooth: Floats, trace: Floats) -> Floats:
    """Return a trace convolved with a filter, as long as before.

    scipy.signal has the same in one call, and is a fifth of the time that it takes to
    import the package.
    """
    if len(smooth) == 1:
        return trace * smooth
    n = len(trace) + len(smooth) - 1
    whole = fft.next_fast_len(n, real=True)
    both = fft.rfft(trace, whole) * fft.rfft(smooth, whole)
    first = (n - len(trace)) // 2
    out: Floats = fft.irfft(both, whole)[first : first + len(trace)]
    return out


def crossings(
    trace: Floats, smooth: Floats, threshold: float, offset: int, fraction: float
) -> list[float]:
    high = np.flatnonzero(trace > threshold * np.std(trace))
    n = len(trace) - offset
    if not len(high) or n < 2:
        return []
    smoothed = smoothed_by(smooth, trace)
    # Rises through 0 where the later sample is 1 / fraction of the earlier one.
    compared = smoothed[:n] - fraction * smoothed[offset:]
    shift = round(offset * (1 - fraction))
    found = []
    for region in np.split(high, np.flatnonzero(np.diff(high) > 1) + 1):
        first, last = int(region[0]) - shift, int(region[-1]) - shift
        if len(region) < 2 or first < 1 or last + 1 >= n:
            continue
        positive = compared[first : last + 1] >= 0
        # One rise, and nothing else: from all negative to all positive.
        at = int(positive.argmax())
        if at == 0 or not positive[at:].all():
            continue
        k = first + at - 1
        below, beyond = compared[k], compared[k + 1]
        found.append(k + below / (below - beyond) + shift)
    return found


def fit(traces: Array, *, basis: Array, projector: Array, n_out: int) -> Floats:
    """Return the coefficients of a linear fit, and the share of variance explained.

    traces: real (..., sample). basis: float64 (sample, coefficient); projector: its
        pseudo-inverse. n_out: number of coefficients + 1.
    Returns float64 (..., n_out), the score last.
    """
    values = traces.astype(np.float64)
    out = np.empty((*values.shape[:-1], n_out))
    # One trace after the other: the last bits of products depend on their number.
    for i in np.ndindex(values.shape[:-1]):
        out[i][:-1] = projector @ values[i]
        left = ((values[i] - basis @ out[i][:-1]) ** 2).sum()
        spread = ((values[i] - values[i].mean()) ** 2).sum()
        out[i][-1] = 1 - left / spread if spread else np.nan
    return out


def pulse_intensities(
    coefficients: Array, *, basis: Array, n_pulses: int, largest: bool
) -> Floats:
    """Return one number for each pulse: its highest sample, or the norm of its fit.

    coefficients: float64 (..., coefficient), those of the first pulse first.
    basis: float64 (sample, coefficient). Returns float64 (..., pulse).
    """
    lead, n = coefficients.shape[:-1], coefficients.shape[-1] // n_pulses
    out = np.empty((*lead, n_pulses))
    for i in np.ndindex(lead):
        for p in range(n_pulses):
            own = coefficients[i][p * n : (p + 1) * n]
            if largest:
                out[i][p] = (basis[:, p * n : (p + 1) * n] @ own).max()
            else:
                out[i][p] = np.sqrt((own**2).sum())
    return out
