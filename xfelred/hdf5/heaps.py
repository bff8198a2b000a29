"""Heaps in which HDF5 keeps text of any length, looked at before it does.

HDF5 takes the length of a text as it stands, and memory for it; and it goes from
object to object of a heap by their sizes: at a size of 0, or beyond 64 bits, for ever.

Format: HDF5 file format specification, version 3.0, III.E (global heap) and IV.A.2.d
(variable-length data are a length, the address of a heap and a number in it).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from h5py import h5d, h5f, h5i, h5p

HEADER = struct.Struct("<4s4xQ")  # signature, bytes of the heap
OBJECT = struct.Struct("<H6xQ")  # number, bytes of the object
PLACE = struct.Struct("<IQI")  # length, address of the heap, number
MOST = 1 << 16  # places that are looked at; an honest file has few heaps


def fault_of(dataset: h5d.DatasetID, properties: h5p.PropDCID) -> str:
    """Return why HDF5 would not come back from reading text of a dataset, or nothing.

    Only what is not packed is looked at.
    """
    about = h5i.get_file_id(dataset).get_create_plist()
    if about.get_sizes() != (8, 8):
        return ""
    base = about.get_userblock()
    number = os.open(h5f.get_name(dataset), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(number).st_size
        heaps = set()
        for length, address in places(dataset, properties, number):
            if length > size:
                return f"a text of {length} bytes in a file of {size}"
            heaps.add(address)
        if any(has_no_end(number, base + address, size) for address in heaps):
            return "a heap of its texts is damaged"
    finally:
        os.close(number)
    return ""


def places(
    dataset: h5d.DatasetID, properties: h5p.PropDCID, number: int
) -> Iterator[tuple[int, int]]:
    """Yield the length of each text, and the address of the heap that it is in."""
    pieces: list[tuple[int, int]] = []
    if properties.get_layout() == h5d.CONTIGUOUS:
        start = dataset.get_offset()
        pieces = [] if start is None else [(start, dataset.get_storage_size())]
    elif properties.get_layout() == h5d.CHUNKED and not properties.get_nfilters():
        dataset.chunk_iter(lambda c: pieces.append((c.byte_offset, c.size)))
    left = MOST
    for start, size in pieces:
        n = min(size // PLACE.size, left)
        left -= n
        data = os.pread(number, n * PLACE.size, start)
        for at in range(0, len(data) - PLACE.size + 1, PLACE.size):
            length, address, _ = PLACE.unpack_from(data, at)
            if length and address:
                yield length, address


def has_no_end(number: int, start: int, file_size: int) -> bool:
    """Tell whether the objects of a heap do not come to its end."""
    if start + HEADER.size > file_size:
        return False  # HDF5 says that it is outside of the file
    signature, size = HEADER.unpack(os.pread(number, HEADER.size, start))
    if signature != b"GCOL" or start + size > file_size:
        return False  # HDF5 says that it is no heap
    heap = os.pread(number, size, start)
    at = HEADER.size
    while at + OBJECT.size <= len(heap):
        which, n_bytes = OBJECT.unpack_from(heap, at)
        # The size of free space counts its own header.
        need = OBJECT.size + -(-n_bytes // 8) * 8 if which else n_bytes
        # What is too large for 64 bits begins again at 0 in HDF5, which then goes on
        # through the middle of objects.
        if need < OBJECT.size or at + need > len(heap):
            return True
        at += need
    return False
