"""What the headers of groups and datasets say, in the one form that `skim` reads.

Format: HDF5 file format specification, version 3.0, IV.A.2: dataspaces version 1 (b),
datatypes version 1 (d), layouts version 3 (i), filters (l) and symbol tables (r).
"""

from __future__ import annotations

import struct
from math import prod
from operator import gt
from typing import Any, NamedTuple, NoReturn

import numpy as np

from xfelred.errors import XfelredError
from xfelred.hdf5.heaps import PLACE

UNDEFINED = 2**64 - 1
TWO = struct.Struct("<QQ")
SPACE, TYPE, OLD_FILL, FILL, LAYOUT, FILTERS, ATTRIBUTE = 1, 3, 4, 5, 8, 11, 12
CONTINUATION, TABLE = 16, 17
# Also: nothing, comments, times of change, references. No other says what is stored.
IDLE = {0, OLD_FILL, FILL, ATTRIBUTE, 13, 14, 18, 22}
TELLING = {SPACE, TYPE, LAYOUT, FILTERS, TABLE}
CONTIGUOUS, CHUNKED = 1, 2
MOST = 64 << 20  # bytes of a text, of values or of names


class NotPlain(XfelredError):  # noqa: N818 - caught where HDF5 is asked instead
    """Something is not of the one form that is understood here."""


class Stored(NamedTuple):
    """What the header of a dataset says."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    text: str  # "" for numbers, else how texts are stored
    chunks: tuple[int, ...]
    place: int  # of the values, or of the tree of chunks
    packed: bool


class Tables(NamedTuple):
    """What the header of a group says: where its tree and its names are."""

    tree: int
    heap: int


def numbers() -> dict[bytes, np.dtype[Any]]:
    """Return the dtypes of numbers as they are stored, by their messages."""
    found = {}
    for size in (1, 2, 4, 8):
        for sign in (0, 1):
            about = struct.pack("<4BIHH", 0x10, 8 * sign, 0, 0, size, 0, 8 * size)
            found[about] = np.dtype(f"{'ui'[sign]}{size}")
    for size, exponent, digits in ((2, 5, 10), (4, 8, 23), (8, 11, 52)):
        bias = 2 ** (exponent - 1) - 1
        bits = (digits, exponent, 0, digits, bias)
        head = struct.pack("<4BIHH", 0x11, 0x20, 8 * size - 1, 0, size, 0, 8 * size)
        found[head + struct.pack("<4BI", *bits)] = np.dtype(f"f{size}")
    return found


NUMBERS = numbers()


def odd(why: str) -> NoReturn:
    raise NotPlain(why)


def said_by(found: dict[int, bytes], file_size: int) -> Stored | Tables:
    """Return what messages say, by their kinds, of what is in a file of a size."""
    if TABLE in found:
        if found.keys() & {SPACE, TYPE, LAYOUT}:
            odd("group and dataset")
        return Tables(*TWO.unpack(found[TABLE][:16]))
    if not found.keys() >= {SPACE, TYPE, LAYOUT}:
        odd("neither group nor dataset")
    return stored_of(found, file_size)


def stored_of(found: dict[int, bytes], file_size: int) -> Stored:
    """Return what the messages of the header of a dataset say."""
    shape = shape_of(found[SPACE])
    dtype, text = type_of(found[TYPE])
    layout, packed = found[LAYOUT], FILTERS in found
    chunks: tuple[int, ...] = ()
    if layout[0] != 3:
        odd("layout")
    if layout[1] == CONTIGUOUS and not packed:
        place, size = TWO.unpack_from(layout, 2)
        whole = size == prod(shape) * dtype.itemsize
        if place != UNDEFINED and not (whole and place + size <= file_size):
            odd("size")
    elif layout[1] == CHUNKED:
        place, *lengths = struct.unpack_from(f"<Q{layout[2]}I", layout, 3)
        chunks = tuple(lengths[:-1])
        if len(chunks) != len(shape) or lengths[-1] != dtype.itemsize:
            odd("chunks")
        if not all(chunks):
            odd("chunks")
    else:
        odd("layout")
    return Stored(shape, dtype, text, chunks, place, packed)


def shape_of(message: bytes) -> tuple[int, ...]:
    version, n, flags = message[:3]
    if version != 1 or flags > 1:
        odd("space")
    shape: tuple[int, ...] = struct.unpack_from(f"<{n}Q", message, 8)
    most = struct.unpack_from(f"<{n}Q", message, 8 + 8 * n) if flags else shape
    if any(map(gt, shape, most)):
        odd("space")
    return shape


def type_of(message: bytes) -> tuple[np.dtype[Any], str]:
    """Return the dtype of what is stored, and how texts are; "" for numbers."""
    found = NUMBERS.get(message[:12]) or NUMBERS.get(message[:20])
    if found is not None:
        return found, ""
    kind, bits, size = message[0], message[1], int.from_bytes(message[4:8], "little")
    # Ended by a zero, or filled up with zeros.
    if kind == 0x13 and bits & 15 in (0, 1) and 0 < size < MOST:
        return np.dtype(f"S{size}"), "filled" if bits & 15 else "ended"
    if kind == 0x19 and bits & 15 == 1 and size == PLACE.size:
        return np.dtype(f"V{size}"), "heap"
    odd("type")
