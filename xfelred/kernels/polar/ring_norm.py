"""Rings of a polar map brought to a common scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats
from xfelred.kernels.polar.remap import result_dtype

HOWS = ("mean", "subtract", "contrast", "zscore", "shot")


def normalize_rings(
    block: NDArray[np.floating[Any]], *masks: Array, how: str, eps: float
) -> NDArray[np.floating[Any]]:
    """Normalize every ring of a block, or every shot.

    block: number (..., radius, phi); polar maps; not modified. NaN: bad.
    *masks: bool or integer (..., radius, phi), each axis of length 1 or as in `block`;
        non-zero: bad.
    how: {"mean", "subtract", "contrast", "zscore", "shot"}.
    eps: a mean, or standard deviation, below this part of the root mean square counts
        as 0.
    Returns float32, float64 for float64 (..., radius, phi); NaN where bad, and where a
        value is infinite. Sums are float64.
    """
    out = np.array(block, dtype=result_dtype(block.dtype), order="C")
    for bad in masks:
        if bad.any():
            np.copyto(out, np.nan, where=bad != 0)
    length = out.shape[-1] * (out.shape[-2] if how == "shot" else 1)
    if length:
        code = HOWS.index("mean" if how == "shot" else how)
        scale_rows(out.reshape(-1, length), code, eps)
    return out


@njit(nogil=True, cache=True)
def scale_rows(rows: Array, how: int, eps: float) -> None:
    """Normalize every row in place by its good values."""
    for i in range(len(rows)):
        row = rows[i]
        total, squares, n = 0.0, 0.0, 0
        for v in row:
            if np.isfinite(v):
                total += v
                squares += np.float64(v) * v
                n += 1
        mean = total / n if n else np.nan
        size = eps * np.sqrt(squares / n) if n else np.nan
        shift = 0.0 if how == 0 else mean
        scale = 1.0 if how == 1 else mean
        if how == 3:
            spread = 0.0
            for v in row:
                if np.isfinite(v):
                    spread += (v - mean) ** 2
            scale = np.sqrt(spread / n) if n else np.nan
        if how != 1 and not abs(scale) > size:
            scale = np.nan
        for j in range(row.size):
            good = np.isfinite(row[j])
            row[j] = (row[j] - shift) / scale if good else np.nan


def divided(block: Array, factor: Floats) -> NDArray[np.floating[Any]]:
    """Divide polar maps by a factor.

    block: number (..., radius, phi); not modified.
    factor: float64 (1, ..., radius, phi); NaN where it is not above 0.
    Returns float32, float64 for float64 (..., radius, phi).
    """
    safe = np.where(factor > 0, factor, np.nan)
    return np.asarray(block / safe, dtype=result_dtype(block.dtype))
