"""Pixels and one value per frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def divided(frames: NDArray[Any], value: NDArray[Any]) -> NDArray[np.float64]:
    """Return frames divided by a value each; NaN where that is 0 or NaN.

    Parameters
    ----------
    frames : real (...)
        Not modified.
    value : real (...)
        Broadcasts against `frames`.

    Returns
    -------
    float64 (...)
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        by = np.where(value != 0, value.astype(np.float64), np.nan)
        out: NDArray[np.float64] = frames / by
    return out


def below(frames: NDArray[Any], *masks: NDArray[Any], cut: float) -> NDArray[np.bool_]:
    """Return which pixels are below a cut and in none of the masks, bool (...)."""
    out: NDArray[np.bool_] = frames < cut
    for mask in masks:
        out &= mask == 0
    return out


def minus_region(
    frames: NDArray[Any],
    *masks: NDArray[Any],
    cut: float,
    bounds: tuple[tuple[int, int], tuple[int, int]],
) -> NDArray[Any]:
    """Subtract from every module the median of some of its pixels.

    Parameters
    ----------
    frames : real (..., slow_scan, fast_scan)
        Not modified.
    *masks : bool or integer (..., slow_scan, fast_scan)
        Non-zero: takes no part.
    cut : float
        Only pixels below this take part.
    bounds : ((low, high), (low, high))
        Positions of the pixels that may take part.

    Returns
    -------
    float (..., slow_scan, fast_scan)
        float64 of float64 and long integers, else float32. A module without a pixel
        that takes part is unchanged.
    """
    wide = frames.dtype.itemsize > (2 if frames.dtype.kind in "iu" else 4)
    out: NDArray[Any] = frames.astype(np.float64 if wide else np.float32)
    good = below(frames, *masks, cut=cut)
    rows, columns = (slice(*b) for b in bounds)
    cut_out, use = out[..., rows, columns], good[..., rows, columns]
    for i in np.ndindex(out.shape[:-2]):
        values: NDArray[Any] = cut_out[i][use[i]]
        if values.size:
            out[i] = out[i] - out.dtype.type(np.median(values))
    return out
