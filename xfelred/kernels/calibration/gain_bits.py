"""Raw words of detectors that switch their gain: a flag and a number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def switched(raw: NDArray[Any], *, cut: int) -> NDArray[np.bool_]:
    """Return where a pixel has switched its gain: ``raw >= cut``, bool (...)."""
    found: NDArray[np.bool_] = raw >= cut
    return found


def values(raw: NDArray[Any], *, cut: int) -> NDArray[Any]:
    """Return the number without flags: ``raw & (cut - 1)``, dtype of `raw` (...)."""
    found: NDArray[Any] = raw & raw.dtype.type(cut - 1)
    return found


def upright(raw: NDArray[Any], *, cut: int) -> NDArray[Any]:
    """Return words whose number counts downwards with one that counts upwards.

    ``flags + (mask - number)`` with the mask ``cut - 1``; a word 0 stays: no data.

    Parameters
    ----------
    raw : unsigned or signed integer (...)
        Not modified.
    cut : int
        The lowest flag, a power of two.

    Returns
    -------
    integer (...)
        Same dtype.
    """
    # A power of two minus one minus a number below it: all its bits turned over.
    turned = raw ^ raw.dtype.type(cut - 1)
    return np.where(raw == 0, raw, turned)


def bits(raw: NDArray[Any], *, n_bits: int) -> NDArray[np.uint8]:
    """Return the lowest bits one by one, uint8 (..., bit), bit 0 first."""
    shifts = np.arange(n_bits, dtype=raw.dtype)
    return ((raw[..., np.newaxis] >> shifts) & raw.dtype.type(1)).astype(np.uint8)
