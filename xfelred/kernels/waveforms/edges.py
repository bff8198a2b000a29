"""The step in a trace: where it is, how high and how sharp."""

from __future__ import annotations

from math import prod

import numpy as np

from xfelred.kernels.arrays import Array, Floats

POSITION, AMPLITUDE, FWHM, NEXT = range(4)
N_QUANTITIES = 4


def ratio(traces: Array, *others: Array, n_dark: int) -> Floats:
    """Return traces over background, both without dark; NaN where that is not above 0.

    traces: real (..., sample). *others: `n_dark` (0 or 1) darks, then the background or
        nothing; axes as those of `traces` or of length 1.
    Returns float64 (..., sample).
    """
    out = traces.astype(np.float64)
    dark = others[0].astype(np.float64) if n_dark else 0.0
    out = out - dark
    for background in others[n_dark:]:
        by = background - dark
        out = out / np.where(by > 0, by, np.nan)
    return out


def find_edge(traces: Array, *, weights: tuple[float, ...], first: int) -> Floats:
    """Return where a filter answers most to every trace, and how.

    traces: real (..., sample); not modified.
    weights: of the filter; the answer at its middle is the sum of weights times
        samples.
    first: position of the first sample.
    Returns float64 (..., quantity): position and full width at half maximum in samples,
        NaN where the highest answer is the first or the last one, or a trace has NaN;
        amplitude; and that of the next maximum outside of the half width, 0 if there
        is none.
    """
    lead, n = traces.shape[:-1], traces.shape[-1]
    filter_ = np.array(weights)
    offset = first + (len(filter_) - 1) / 2
    flat = traces.reshape(prod(lead), n).astype(np.float64)
    out = np.full((len(flat), N_QUANTITIES), np.nan)
    for trace, found in zip(flat, out, strict=True):
        if np.isfinite(trace).all():
            answer(np.correlate(trace, filter_, "valid"), offset, found)
    return out.reshape(*lead, N_QUANTITIES)


def answer(r: Floats, offset: float, found: Floats) -> None:
    """Describe the highest maximum of the answer of a filter."""
    k = int(np.argmax(r))
    found[AMPLITUDE], found[NEXT] = r[k], 0.0
    if k == 0 or k == len(r) - 1:
        return
    # The parabola through three points.
    left, right = r[k] - r[k - 1], r[k] - r[k + 1]
    shift = 0.5 * (left - right) / (left + right) if left + right > 0 else 0.0
    found[POSITION] = offset + k + shift
    found[AMPLITUDE] = r[k] + 0.25 * (left - right) * shift
    half = found[AMPLITUDE] / 2
    low, high = crossing(r[k::-1], half), crossing(r[k:], half)
    found[FWHM] = low + high
    others = np.flatnonzero((r[1:-1] >= r[:-2]) & (r[1:-1] > r[2:])) + 1
    apart = others[(others < k - low) | (others > k + high)]
    found[NEXT] = max(r[apart].max(initial=0.0), 0.0)


def crossing(r: Floats, half: float) -> float:
    """Return after how many samples the answer is below half; NaN if it never is."""
    below = np.flatnonzero(r < half)
    if not len(below):
        return np.nan
    i = int(below[0])
    return float(i - 1 + (r[i - 1] - half) / (r[i - 1] - r[i]))
