"""Recognising datasets that are like a known one by the bytes of their headers.

Opening a dataset takes HDF5 some 0.1 ms, and a run may have 80 000 of them, all made
by the same program. Where the header of a dataset has the same bytes as that of one
which HDF5 has opened, but for the address of its values, everything else is the same
too: shape, type, filters. Whatever is not the same is left to HDF5.

Format: HDF5 file format specification, version 3.0, IV.A.1.a (object headers version
1) and IV.A.2.i (layout messages version 3).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import h5py
from h5py import h5g

from xfelred.hdf5.handles import Handle

PREFIX = struct.Struct("<BxHIII")  # version, messages, references, bytes; then messages
MESSAGE = struct.Struct("<HHB3x")  # type, bytes, flags
LAYOUT, CONTINUATION, CHANGED = 0x08, 0x10, 0x12
PLACE = {1: 2, 2: 3}  # of the address in layouts in one piece, and in chunks
ADDRESS = struct.Struct("<Q")
UNDEFINED = 2**64 - 1
MAX_HEADER = 4096


@dataclass(frozen=True)
class KnownHeader:
    """The header of a dataset that HDF5 has opened."""

    size: int  # bytes
    fixed: tuple[tuple[int, int, bytes], ...]  # begin, end, content: must be the same
    address: int  # where the address of the values stands
    in_one_piece: bool  # the values follow each other from there; else an index does
    base: int  # first byte of the file that HDF5 counts

    def address_in(self, header: bytes) -> int | None:
        """Return the address in another header if that is of the same kind."""
        if any(header[begin:end] != content for begin, end, content in self.fixed):
            return None
        found: int = ADDRESS.unpack_from(header, self.address)[0]
        return None if found == UNDEFINED else found


def learn(handle: Handle, address: int) -> KnownHeader | None:
    """Return the header of a dataset at an address, None if it is of another version.

    HDF5 must have opened the dataset, and it must lie in this file.
    """
    number = handle.raw.number
    base = int(handle.file.userblock_size)
    start = address + base
    header = os.pread(number, PREFIX.size, start)
    if len(header) < PREFIX.size:
        return None
    version, _, _, n_bytes, _ = PREFIX.unpack(header)
    if version != 1 or n_bytes > MAX_HEADER:
        return None
    size = PREFIX.size + n_bytes
    header = os.pread(number, size, start)
    free: list[tuple[int, int]] = []
    place = kind = None
    for message, begin, end in messages(header):
        if message == CONTINUATION:
            return None
        if message == CHANGED:
            free.append((begin, end))
        if message == LAYOUT and header[begin] == 3:
            kind = header[begin + 1]
            place = begin + PLACE[kind] if kind in PLACE else None
    if place is None:
        return None
    free.append((place, place + ADDRESS.size))
    # How many links lead to it is nobody's business here.
    free.append((4, 8))
    return KnownHeader(
        size, tuple(between(header, sorted(free))), place, kind == 1, base
    )


def messages(header: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield type, begin and end of the messages in a header of version 1."""
    at = PREFIX.size
    while at + MESSAGE.size <= len(header):
        kind, n_bytes, _ = MESSAGE.unpack_from(header, at)
        begin = at + MESSAGE.size
        yield kind, begin, begin + n_bytes
        at = begin + n_bytes


def between(
    header: bytes, free: list[tuple[int, int]]
) -> Iterator[tuple[int, int, bytes]]:
    """Yield the parts of a header between those that may differ."""
    at = 0
    for begin, end in free:
        if begin > at:
            yield at, begin, header[at:begin]
        at = max(at, end)
    if at < len(header):
        yield at, len(header), header[at:]


def address_of(here: h5g.GroupID, name: bytes) -> int | None:
    """Return where the header of an object is; None if a link leads elsewhere."""
    try:
        link = here.links.get_info(name)
    except (KeyError, RuntimeError):  # not there, or damaged: another way tells which
        return None
    return int(link.u) if link.type == h5py.h5l.TYPE_HARD else None


def values_at(
    handle: Handle, known: KnownHeader | None, address: int | None
) -> int | None:
    """Return the first byte of the values of a dataset like a known one.

    None if it is not like it, or has no values. Of chunks, this is their index.
    """
    if known is None or address is None:
        return None
    header = os.pread(handle.raw.number, known.size, known.base + address)
    found = known.address_in(header) if len(header) == known.size else None
    return None if found is None else found + known.base
