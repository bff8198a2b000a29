"""Undo what HDF5's shuffle and checksum filters did to the bytes of a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def unshuffle(planes: Bytes, out: Bytes, itemsize: int) -> None:
    """Put the bytes of each item together again.

    planes: uint8 (byte,); first bytes of all items, then all second bytes, and so on;
        bytes that do not fill an item stand unchanged at the end.
    out: uint8 (byte,); filled with the items one after the other.
    itemsize: bytes of one item.
    """
    n = len(planes) // itemsize
    whole = n * itemsize
    if itemsize == 2:
        join_2(planes[:whole], out[:whole].view(np.uint16))
    elif itemsize == 4:
        join_4(planes[:whole], out[:whole].view(np.uint32))
    elif itemsize == 8:
        join_8(planes[:whole], out[:whole].view(np.uint64))
    else:
        join_any(planes, out, n, itemsize)
    out[whole:] = planes[whole:]


@njit(nogil=True, cache=True)
def join_2(planes: Bytes, out: NDArray[np.uint16]) -> None:
    """Join two planes; shifts, unlike single bytes, are done for many items at once."""
    n = len(out)
    p0, p1 = planes[:n], planes[n : 2 * n]
    for i in range(n):
        out[i] = np.uint16(p0[i]) | (np.uint16(p1[i]) << np.uint16(8))


@njit(nogil=True, cache=True)
def join_4(planes: Bytes, out: NDArray[np.uint32]) -> None:
    n = len(out)
    p0, p1 = planes[:n], planes[n : 2 * n]
    p2, p3 = planes[2 * n : 3 * n], planes[3 * n : 4 * n]
    for i in range(n):
        low = np.uint32(p0[i]) | (np.uint32(p1[i]) << np.uint32(8))
        high = np.uint32(p2[i]) | (np.uint32(p3[i]) << np.uint32(8))
        out[i] = low | (high << np.uint32(16))


@njit(nogil=True, cache=True)
def join_8(planes: Bytes, out: NDArray[np.uint64]) -> None:
    n = len(out)
    for i in range(n):
        item = np.uint64(0)
        for k in range(8):
            item |= np.uint64(planes[k * n + i]) << np.uint64(8 * k)
        out[i] = item


@njit(nogil=True, cache=True)
def join_any(planes: Bytes, out: Bytes, n: int, itemsize: int) -> None:
    for k in range(itemsize):
        for i in range(n):
            out[i * itemsize + k] = planes[k * n + i]


@njit(nogil=True, cache=True)
def fletcher32(data: Bytes) -> Any:
    """Return the checksum that HDF5's fletcher32 filter appends.

    data: uint8 (byte,).
    Returns uint32; two sums modulo 65535 over big-endian 16-bit words; an odd last byte
        counts as the high half of a word.

    Sums are reduced once per 360 words: more would overflow 32 bits. See HDF5 file
    format specification version 3.0, "Fletcher32 checksum filter".
    """
    low = high = np.uint32(0)
    words = len(data) // 2
    i = 0
    while i < words:
        end = min(i + 360, words)
        for k in range(i, end):
            word = (np.uint32(data[2 * k]) << np.uint32(8)) | np.uint32(data[2 * k + 1])
            low = np.uint32(low + word)
            high = np.uint32(high + low)
        low = np.uint32((low & np.uint32(0xFFFF)) + (low >> np.uint32(16)))
        high = np.uint32((high & np.uint32(0xFFFF)) + (high >> np.uint32(16)))
        i = end
    if len(data) % 2:
        low = np.uint32(low + (np.uint32(data[len(data) - 1]) << np.uint32(8)))
        high = np.uint32(high + low)
        low = np.uint32((low & np.uint32(0xFFFF)) + (low >> np.uint32(16)))
        high = np.uint32((high & np.uint32(0xFFFF)) + (high >> np.uint32(16)))
    low = np.uint32((low & np.uint32(0xFFFF)) + (low >> np.uint32(16)))
    high = np.uint32((high & np.uint32(0xFFFF)) + (high >> np.uint32(16)))
    return np.uint32((high << np.uint32(16)) | low)


@njit(nogil=True, cache=True)
def packed_blocks(data: Bytes, first: int, total: int, block: int, tail: int) -> int:
    """Return where a row of length-prefixed blocks ends; -1 if it leaves the data.

    data: uint8 (byte,).
    first: where the first length (4 bytes, big-endian) stands.
    total, block: bytes that all blocks and each block but the last unpack to.
    tail: bytes that follow the last block as they are.
    """
    at = first
    blocks = (total + block - 1) // block
    for _ in range(blocks):
        if at + 4 > len(data):
            return -1
        size = 0
        for k in range(4):
            size = size * 256 + int(data[at + k])
        at += 4 + size
    return at + tail if at + tail <= len(data) else -1
