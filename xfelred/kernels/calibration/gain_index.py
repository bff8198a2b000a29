"""Gain ranges of pixels, from the bits that tell them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_RANGE = 255
# Mask of the control word, its value, and the gain index: psana, epix10ka.
CONTROL_WORDS = (
    (28, 28, 0), (28, 12, 1), (12, 8, 2), (60, 16, 3), (60, 0, 4), (60, 48, 5),
    (60, 32, 6),
)  # fmt: skip


def index_table() -> NDArray[np.uint8]:
    """Return the gain index of every control word of six bits."""
    words = np.arange(64)
    table = np.full(64, NO_RANGE, np.uint8)
    for mask, value, index in CONTROL_WORDS:
        table[(words & mask) == value] = index
    return table


def epix10ka_index(
    raw: NDArray[Any], config: NDArray[Any], *trbit: NDArray[Any]
) -> NDArray[np.uint8]:
    """Return the gain indices 0 to 6 of an epix10ka; 255 where there is none.

    Parameters
    ----------
    raw : integer (..., slow_scan, fast_scan)
        Bit 14 is the gain bit.
    config : integer (..., slow_scan, fast_scan)
        Configuration of the pixels: bits 2 and 3, and the trbit in bit 4 unless it is
        given.
    *trbit : integer, broadcast against `config`, optional

    Notes
    -----
    The control word is ``config | trbit << 4 | gain bit << 5``.
    """
    word = config.astype(np.int64) & 28
    for one in trbit:
        word = (word & 12) | (one != 0).astype(np.int64) << 4
    return index_table()[word | ((raw.astype(np.int64) >> 14) & 1) << 5]


def index_of_bits(
    raw: NDArray[Any], *, shift: int, code_bits: int, codes: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return the gain ranges that bits of a number tell; 255 where there is none.

    Parameters
    ----------
    raw : integer (...)
    shift, code_bits : int
        The code is ``raw >> shift & code_bits``.
    codes : tuple of int
        The code of each range.
    """
    table = np.full(code_bits + 1, NO_RANGE, np.uint8)
    for gain_range, code in enumerate(codes):
        table[code] = gain_range
    return table[(raw.astype(np.int64) >> shift) & code_bits]
