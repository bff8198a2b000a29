"""Heaps in which HDF5 keeps text of any length, looked at before it does.

HDF5 takes the length of a text as it stands, and memory for it; and it goes from
object to object of a heap by their sizes: at free space without a size, for ever.

Format: HDF5 file format specification, version 3.0, III.E (global heap) and IV.A.2.d
(variable-length data are a length, the address of a heap and a number in it).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import h5py

HEADER = struct.Struct("<4s4xQ")  # signature, bytes of the heap
OBJECT = struct.Struct("<H6xQ")  # number, bytes of the object
PLACE = struct.Struct("<IQI")  # length, address of the heap, number
MOST = 1 << 16  # places that are looked at; an honest file has few heaps


def fault_of(dataset: h5py.Dataset) -> str:
    """Return why HDF5 would not come back from reading text of a dataset, or nothing.

    Only what is not packed is looked at.
    """
    if dataset.file.id.get_create_plist().get_sizes() != (8, 8):
        return ""
    base = int(dataset.file.userblock_size)
    with open(dataset.file.filename, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        heaps = set()
        for length, address in places(dataset, file):
            if length > size:
                return f"a text of {length} bytes in a file of {size}"
            heaps.add(address)
        if any(has_no_end(file, base + address) for address in heaps):
            return "a heap of its texts is damaged"
    return ""


def places(dataset: h5py.Dataset, file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the length of each text, and the address of the heap that it is in."""
    pieces: list[tuple[int, int]] = []
    if dataset.chunks is None:
        start = dataset.id.get_offset()
        pieces = [] if start is None else [(start, dataset.id.get_storage_size())]
    elif not dataset.id.get_create_plist().get_nfilters():
        dataset.id.chunk_iter(lambda c: pieces.append((c.byte_offset, c.size)))
    left = MOST
    for start, size in pieces:
        n = min(size // PLACE.size, left)
        left -= n
        file.seek(start)
        data = file.read(n * PLACE.size)
        for at in range(0, len(data) - PLACE.size + 1, PLACE.size):
            length, address, _ = PLACE.unpack_from(data, at)
            if length and address:
                yield length, address


def has_no_end(file: BinaryIO, start: int) -> bool:
    """Tell whether the objects of a heap do not come to its end."""
    try:
        file.seek(start)
    except (OSError, ValueError, OverflowError):
        return False  # HDF5 says that it is outside of the file
    header = file.read(HEADER.size)
    if len(header) < HEADER.size or header[:4] != b"GCOL":
        return False  # HDF5 says that it is no heap
    left = HEADER.unpack(header)[1] - HEADER.size
    while left >= OBJECT.size:
        data = file.read(OBJECT.size)
        if len(data) < OBJECT.size:
            return False
        number, size = OBJECT.unpack(data)
        # The size of free space counts its own header.
        need = OBJECT.size + -(-size // 8) * 8 if number else size
        if need < OBJECT.size:
            return True
        left -= need
        if left > 0:
            file.seek(need - OBJECT.size, 1)
    return False
