"""Errors of means over pairs that share shots.

The mean is h = sum N / sum D over pairs, with products N and their number D. What a
pair differs from it is d = N - h D. Two pairs are independent if they share no shot, so
that the variance of sum d is the sum of d d' over pairs of pairs that share one (dyadic
clusters: Fafchamps and Gubert 2007, doi:10.1016/j.jdeveco.2006.05.005; Aronow, Samii
and Assenova 2015, doi:10.1093/pan/mpv018). Shots are sorted into blocks, and S is the
sum of d over the pairs with a shot in a block: sum S^2 holds all of these products, and
those of a pair with itself twice if its shots are in two blocks; these are taken away
once. Sums of blocks instead of shots keep memory bounded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats
from xfelred.kernels.correlation import pairs as correlation
from xfelred.kernels.correlation.rows import Items

Sums = dict[str, Array]
MOMENTS = ("nn", "nd", "dd")
# Part of the variance of independent pairs below which an estimate is but noise.
LEAST = 0.5


def pair_moments(
    items: Items, weight: NDArray[np.integer[Any]], lead: int | None, *, raw: bool
) -> Sums:
    """Return the sums of N N, N D and D D over pairs, float64 (ring, lag).

    items: differences of shots.
    weight: int (item,); how often each of them is in the list.
    lead: the ring that leads.
    raw: products with the means of rings; D is then 1 for a ring with any product.
    """
    shape = items.shape[1:]
    sums = {name: np.zeros(shape) for name in MOMENTS}
    how = "none" if raw else "pairs"
    for which, values, counts in correlation.item_correlations(items, lead, how):
        n = counts.any(-1, keepdims=True) * 1.0 if raw else counts.astype(np.float64)
        n = np.broadcast_to(n, values.shape)
        products = np.nan_to_num(values, nan=0.0) * (1.0 if raw else n)
        many = weight[which]
        sums["nn"] += np.einsum("p,prk,prk->rk", many, products, products)
        sums["nd"] += np.einsum("p,prk,prk->rk", many, products, n)
        sums["dd"] += np.einsum("p,prk,prk->rk", many, n, n)
    return sums


def products_and_counts(
    sums: Sums, lead: int | None, *, raw: bool
) -> tuple[Floats, Floats]:
    """Return N and D of some pairs from their sums, float64 (ring, lag)."""
    n_lags = sums["pairs"].shape[-1]
    spectrum = sums["power" if lead is None else "cross"]
    products = scipy.fft.irfft(spectrum, n=n_lags)
    counts = sums["items"][:, None] if raw else sums["pairs"]
    return products, np.broadcast_to(counts, products.shape).astype(np.float64)


def shared_error(
    total: Sums,
    blocks: list[Sums],
    crossing: Sums,
    lead: int | None,
    normalization: str,
) -> Floats:
    """Return the standard error of a mean over pairs that share shots.

    total: `correlation.ring_sums` of all pairs.
    blocks: those of the pairs with a shot in each block; a pair across two is in both.
    crossing: `pair_moments` of the pairs across two blocks.
    lead, normalization: as in `correlation.mean_correlation`; standard deviations count
        as exact.
    Returns float64 (ring, lag); NaN where there are too few pairs to tell.

    variance = (sum S^2 - sum d^2) / (f D^2), with the last sum over crossing pairs.
    d counts from the mean of the same pairs, of which
    f = 1 - sum (D_block / D)^2 + sum (D_pair / D)^2 is left.
    """
    raw = normalization == "none"
    products, counts = products_and_counts(total, lead, raw=raw)
    mean = correlation.ratio(products, counts)
    squares, weights = np.zeros(mean.shape), np.zeros(mean.shape)
    for block in blocks:
        above, below = products_and_counts(block, lead, raw=raw)
        squares += (above - mean * below) ** 2
        weights += below**2
    twice = crossing["nn"] - 2 * mean * crossing["nd"] + mean**2 * crossing["dd"]
    # A difference of large numbers, where pairs agree to the last digits.
    twice = np.maximum(twice, 0.0)
    left = counts**2 - weights + crossing["dd"]
    variance = correlation.ratio(
        np.maximum(squares - twice, LEAST * twice), np.where(left > 0, left, 0.0)
    )
    divisor = np.ones(len(mean))
    if not raw:
        divisor = np.abs(correlation.scale(total, lead, normalization))
    return np.asarray(np.sqrt(variance) / divisor[:, None])


def left_out_error(
    total: Sums,
    blocks: list[Sums],
    crossing: Sums,
    lead: int | None,
    normalization: str,
) -> Floats:
    """Return the error with that of the standard deviations, by leaving out blocks.

    As `shared_error`, times the ratio of what leaving out one block at a time changes
    to what it would change if standard deviations were exact.
    """
    error = shared_error(total, blocks, crossing, lead, normalization)
    if normalization != "variance":
        return error
    mean = correlation.mean_correlation(total, lead, normalization)
    exact = correlation.scale(total, lead, normalization)[:, None]
    products, counts = products_and_counts(total, lead, raw=False)
    changed, linear = np.zeros(mean.shape), np.zeros(mean.shape)
    for block in blocks:
        above, below = products_and_counts(block, lead, raw=False)
        rest = {name: total[name] - block[name] for name in total}
        part = correlation.ratio(counts - below, counts)
        off = correlation.mean_correlation(rest, lead, normalization) - mean
        changed += np.nan_to_num(part * off) ** 2
        straight = above - correlation.ratio(products, counts) * below
        linear += np.nan_to_num(correlation.ratio(straight, counts * exact)) ** 2
    return np.asarray(error * np.sqrt(correlation.ratio(changed, linear)))
