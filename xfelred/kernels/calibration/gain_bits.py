"""Raw words of detectors that switch their gain: flags, numbers, gain ranges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Bools

NO_RANGE = 255
# Mask of the control word, its value, and the gain index: psana, epix10ka.
CONTROL_WORDS = (
    (28, 28, 0), (28, 12, 1), (12, 8, 2), (60, 16, 3), (60, 0, 4), (60, 48, 5),
    (60, 32, 6),
)  # fmt: skip


def switched(raw: Array, *, cut: int) -> Bools:
    """Return where a pixel has switched its gain: ``raw >= cut``, bool (...)."""
    found: Bools = raw >= cut
    return found


def signal_bits(raw: Array, *, bits: int) -> Array:
    """Return the numbers (...) without their gain bits, same dtype."""
    return raw & raw.dtype.type(bits)


def upright(raw: Array, *, cut: int) -> Array:
    """Return words whose number counts downwards with one that counts upwards.

    ``flags + (mask - number)`` with the mask ``cut - 1``; a word 0 stays: no data.

    raw: integer (...), not modified; cut: the lowest flag, a power of two. Same dtype.
    """
    # A power of two minus one minus a number below it: all its bits turned over.
    turned = raw ^ raw.dtype.type(cut - 1)
    return np.where(raw == 0, raw, turned)


def bits(raw: Array, *, n_bits: int) -> NDArray[np.uint8]:
    """Return the lowest bits one by one, uint8 (..., bit), bit 0 first."""
    shifts = np.arange(n_bits, dtype=raw.dtype)
    return ((raw[..., np.newaxis] >> shifts) & raw.dtype.type(1)).astype(np.uint8)


def index_table() -> NDArray[np.uint8]:
    words = np.arange(64)
    table = np.full(64, NO_RANGE, np.uint8)
    for mask, value, index in CONTROL_WORDS:
        table[(words & mask) == value] = index
    return table


def epix10ka_index(raw: Array, config: Array, *trbit: Array) -> NDArray[np.uint8]:
    """Return the gain indices 0 to 6 of an epix10ka; 255 where there is none.

    raw: integer (..., slow_scan, fast_scan); bit 14 is the gain bit.
    config: integer (..., slow_scan, fast_scan); configuration of the pixels: bits 2 and
        3, and the trbit in bit 4 unless it is given.
    *trbit: integer, broadcast against `config`.

    The control word is ``config | trbit << 4 | gain bit << 5``.
    """
    word = config.astype(np.int64) & 28
    for one in trbit:
        word = (word & 12) | (one != 0).astype(np.int64) << 4
    return index_table()[word | ((raw.astype(np.int64) >> 14) & 1) << 5]


def index_of_bits(
    raw: Array, *, shift: int, code_bits: int, codes: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Return the gain ranges that bits of a number tell; 255 where there is none.

    raw: integer (...).
    shift, code_bits: the code is ``raw >> shift & code_bits``.
    codes: the code of each range.
    """
    table = np.full(code_bits + 1, NO_RANGE, np.uint8)
    for gain_range, code in enumerate(codes):
        table[code] = gain_range
    return table[(raw.astype(np.int64) >> shift) & code_bits]
