"""Means and medians of one number in bins of another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array


def profile(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    *,
    n_bins: int,
    limits: tuple[float, float] | None,
) -> dict[str, Array]:
    """Return mean, median and spread of `y` in `n_bins` bins of `x`, float64 (value,).

    Bins have equal widths, span `limits`, by default from the lowest x to the highest,
    and the last one includes its end. Results (bin,): ``x``, the centres; ``mean``,
    ``median``, ``std`` (ddof 0), ``error`` (std / root of the count), NaN in empty
    bins; ``count`` int64.
    """
    names = ("x", "mean", "median", "std", "error")
    out: dict[str, Array] = {k: np.full(n_bins, np.nan) for k in names}
    out["count"] = np.zeros(n_bins, np.int64)
    if limits is None and not x.size:
        return out
    low, high = (x.min(), x.max()) if limits is None else limits
    edges = np.linspace(low, high, n_bins + 1)
    out["x"] = (edges[1:] + edges[:-1]) / 2
    at = np.searchsorted(edges, x, side="right") - 1
    at[x == edges[-1]] = n_bins - 1
    for i in range(n_bins):
        some = y[at == i]
        if not some.size:
            continue
        out["count"][i] = some.size
        out["mean"][i], out["median"][i] = some.mean(), np.median(some)
        out["std"][i] = some.std()
        out["error"][i] = out["std"][i] / np.sqrt(some.size)
    return out
