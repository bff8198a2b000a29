"""What describes a run, read from the bytes of a file past HDF5.

A run has thousands of small datasets and groups, and HDF5 takes 0.1 to 0.3 ms for a
look at one, hardly any of it for the bytes. Here one form of files is understood: that
which HDF5 writes unless it is asked for another. Whatever is not exactly as expected is
`NotPlain`, and HDF5 is asked. So damage is never explained here.

Format: HDF5 file format specification, version 3.0: II.A (superblock version 0), III.A
(B-trees version 1), III.B and III.C (symbol tables), III.D (local heaps), III.E (global
heaps) and IV.A.1.a (object headers version 1); of their messages see `messages`.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5f
from numpy.typing import NDArray

from xfelred.hdf5.datasets import as_text
from xfelred.hdf5.heaps import HEADER, OBJECT, PLACE
from xfelred.hdf5.messages import (
    CONTINUATION,
    IDLE,
    MOST,
    TELLING,
    TWO,
    UNDEFINED,
    Stored,
    Tables,
    odd,
    said_by,
)
from xfelred.hdf5.raw import RawFile, identity_of

SIGNATURE = b"\x89HDF\r\n\x1a\n"
# All of version 0; offsets and lengths of 8 bytes.
SUPERBLOCK = struct.Struct("<8sBBBxBBBxHHI4Q")
ROOT = struct.Struct("<QQ")  # of the symbol table entry behind: name, header
FIRST = 512  # bytes of a header that are read at once; most have fewer
PREFIX = struct.Struct("<BxHII4x")  # version, messages, references, bytes
MESSAGE = struct.Struct("<HHB3x")  # type, bytes, flags
SHARED = 2  # flag of a message that is elsewhere
TREE = struct.Struct("<4sBBHQQ")  # signature, kind, level, entries, neighbours
SYMBOLS = struct.Struct("<4sBxH")  # signature, version, entries
SYMBOL = struct.Struct("<QQI4xI12x")  # name, header, kind; where a soft link leads
SOFT = 2
HEAP = struct.Struct("<4sB3xQQQ")  # signature, version, bytes, free, place of the names
LAST_FREE = 1
PAGE = 4096
DEEP = 32  # levels of a tree
PIECES = 1024  # of a header: its attributes may be many


class Skim:
    """A file of the usual form; what was seen of its groups is kept."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.raw: RawFile | None = None
        self.open()
        self.check_not_written()
        raw = self.file()
        self.identity = identity_of(os.fstat(raw.number))
        self.size = self.identity.size
        self.groups: dict[str, dict[str, int | str]] = {}
        self.heaps: dict[int, dict[int, bytes]] = {}
        self.objects: dict[int, Stored | Tables] = {}
        self.page = 0, b""  # what was read last, and where it lies
        head = self.bytes_at(0, SUPERBLOCK.size + ROOT.size)
        signature, *about = SUPERBLOCK.unpack_from(head)
        usual = signature == SIGNATURE and about[:6] == [0, 0, 0, 0, 8, 8]
        base, _, end, driver = about[-4:]
        if not usual or base or end > self.size or driver != UNDEFINED:
            odd("superblock")
        self.root = ROOT.unpack_from(head, SUPERBLOCK.size)[1]

    def open(self) -> None:
        self.raw = RawFile(self.path)

    def file(self) -> RawFile:
        """Return the open file, which is not closed while somebody has this."""
        return self.raw or odd("closed")

    def check_not_written(self) -> None:
        raw = self.file()
        check_not_written(raw.number)

    def unchanged(self) -> bool:
        raw = self.file()
        return identity_of(os.fstat(raw.number)) == self.identity

    def bytes_at(self, at: int, n: int) -> bytes:
        """Return bytes of what describes data: most lies near what was read before."""
        begin, page = self.page
        if not (begin <= at and at + n <= begin + len(page)):
            if at + n > self.size or n > MOST:
                odd("beyond the end")
            begin = at - at % PAGE
            raw = self.file()
            page = os.pread(raw.number, at % PAGE + max(n, PAGE), begin)
            if n <= PAGE:
                self.page = begin, page
        found = page[at - begin : at - begin + n]
        if len(found) != n:
            odd("cut off")
        return found

    # -- objects ------------------------------------------------------------------

    def find(self, name: str) -> Stored | Tables | None:
        """Return what a name from the root stands for, None for nothing."""
        if not name:
            return self.object_at(self.root)
        above, _, last = name.rpartition("/")
        found = self.children(above).get(last)
        if isinstance(found, str):
            odd("a link")
        return None if found is None else self.object_at(found)

    def children(self, name: str) -> dict[str, int | str]:
        """Return headers, or where links lead, by the names in a group; none: {}."""
        known = self.groups.get(name)
        if known is None:
            found = self.find(name)
            if isinstance(found, Stored):
                odd("no group")
            known = {} if found is None else self.listed(found)
            self.groups[name] = known
        return known

    def object_at(self, address: int) -> Stored | Tables:
        known = self.objects.get(address)
        if known is None:
            known = self.objects[address] = self.header(address)
        return known

    def header(self, address: int) -> Stored | Tables:
        """Return what an object header says."""
        found: dict[int, bytes] = {}
        for kind, body in self.messages(address):
            if kind in found:
                odd("twice")
            found[kind] = body
        return said_by(found, self.size)

    def messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """Yield the messages of a header that say what is stored."""
        data = self.bytes_at(address, min(FIRST, self.size - address))
        version, left, _, n_bytes = PREFIX.unpack_from(data)
        if version != 1:
            odd("header")
        if PREFIX.size + n_bytes > len(data):
            data = self.bytes_at(address, PREFIX.size + n_bytes)
        pieces, filled = [data[PREFIX.size : PREFIX.size + n_bytes]], True
        for piece in pieces:
            at = 0
            while left and at + MESSAGE.size <= len(piece):
                kind, n, flags = MESSAGE.unpack_from(piece, at)
                at += MESSAGE.size + n
                left -= 1
                if n % 8:
                    odd("not aligned")
                if kind == CONTINUATION and len(pieces) < PIECES:
                    place, n_bytes = TWO.unpack_from(piece, at - n)
                    pieces.append(self.bytes_at(place, n_bytes))
                elif kind in TELLING and at <= len(piece) and not flags & SHARED:
                    yield kind, piece[at - n : at]
                elif kind not in IDLE:
                    odd("message")
            filled &= at == len(piece)
        if left or not filled:
            odd("messages are missing")

    # -- groups -------------------------------------------------------------------

    def listed(self, group: Tables) -> dict[str, int | str]:
        head = self.bytes_at(group.heap, HEAP.size)
        signature, version, size, free, place = HEAP.unpack(head)
        if signature != b"HEAP" or version:
            odd("heap")
        names = self.bytes_at(place, size)
        left = size // TWO.size
        while free != LAST_FREE:  # HDF5 opens no group where these are damaged
            if free + TWO.size > size:
                odd("heap")
            here, (free, n) = free, TWO.unpack_from(names, free)
            left -= 1
            if n < TWO.size or here + n > size or left < 0:
                odd("heap")
        found: dict[str, int | str] = {}
        for _, address in self.branches(group.tree, 0, 8, None):
            self.symbols(address, names, found)
        return found

    def symbols(self, at: int, names: bytes, found: dict[str, int | str]) -> None:
        """Enter the names of one node of a symbol table."""
        signature, version, n = SYMBOLS.unpack(self.bytes_at(at, SYMBOLS.size))
        if signature != b"SNOD" or version != 1 or not n:
            odd("symbols")
        data = self.bytes_at(at + SYMBOLS.size, n * SYMBOL.size)
        for start, header, kind, link in SYMBOL.iter_unpack(data):
            name = text_in(names, start)
            if not name or name in found or "/" in name:
                odd("name")
            if kind not in (0, 1, SOFT):
                odd("entry")
            found[name] = text_in(names, link) if kind == SOFT else header

    def branches(
        self, at: int, kind: int, key: int, level: int | None
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the keys, of so many bytes, and what they lead to in a tree."""
        signature, found, own, n, _, _ = TREE.unpack(self.bytes_at(at, TREE.size))
        if signature != b"TREE" or found != kind or own > DEEP:
            odd("tree")
        # No node below the first is empty: so there is no end to what is the same.
        if level is not None and (own != level or not n):
            odd("level")
        data = self.bytes_at(at + TREE.size, n * (key + 8) + key)
        for i in range(n):
            start = i * (key + 8)
            child = int.from_bytes(data[start + key : start + key + 8], "little")
            if own:
                yield from self.branches(child, kind, key, own - 1)
            else:
                yield data[start : start + key], child

    # -- values -------------------------------------------------------------------

    def rows(self, about: Stored, first: int, n: int) -> NDArray[Any]:
        """Return rows of a dataset as they are stored."""
        each = prod(about.shape[1:]) * about.dtype.itemsize
        if not n * each:
            return np.empty((n, *about.shape[1:]), about.dtype)
        if about.packed or about.place == UNDEFINED or n * each > MOST:
            odd("values")
        if about.chunks:
            return self.in_chunks(about)[first : first + n]
        out = np.empty((n, *about.shape[1:]), about.dtype)
        self.fill(out, about.place + first * each)
        return out

    def fill(self, out: NDArray[Any], at: int) -> None:
        if at + out.nbytes > self.size:
            odd("beyond the end")
        raw = self.file()
        memory = [out.data.cast("B")] if out.nbytes else []
        if os.preadv(raw.number, memory, at) != out.nbytes:
            odd("cut off")

    def in_chunks(self, about: Stored) -> NDArray[Any]:
        """Return a dataset whose chunks are whole rows, all of them written."""
        shape, chunks, n_dims = about.shape, about.chunks, len(about.shape)
        n = -(-shape[0] // chunks[0])
        size = prod(chunks) * about.dtype.itemsize
        if chunks[1:] != shape[1:] or n * size > MOST:
            odd("chunks")
        out = np.empty((n * chunks[0], *shape[1:]), about.dtype)
        seen = set()
        key = struct.Struct(f"<II{n_dims + 1}Q")
        for start, place in self.branches(about.place, 1, key.size, None):
            n_bytes, mask, row, *others = key.unpack(start)
            if n_bytes != size or mask or any(others) or row % chunks[0]:
                odd("chunk")
            if row >= len(out) or row in seen:
                odd("chunk")
            seen.add(row)
            self.fill(out[row : row + chunks[0]], place)
        if len(seen) != n:
            odd("chunks are missing")
        return out[: shape[0]]

    def texts(self, about: Stored, found: NDArray[Any]) -> NDArray[Any]:
        """Return texts, as object array, of what is stored for them."""
        flat: list[bytes]
        if about.text == "heap":
            data = found.tobytes()
            flat = [self.text_at(*place) for place in PLACE.iter_unpack(data)]
        else:
            flat = found.ravel().tolist()
            if about.text == "ended":
                flat = [v.partition(b"\0")[0] for v in flat]
        return np.array([as_text(v) for v in flat], object).reshape(found.shape)

    def text_at(self, length: int, address: int, number: int) -> bytes:
        if not length or not address:
            return b""
        heap = self.heaps.get(address)
        if heap is None:
            heap = self.heaps[address] = self.heap_at(address)
        found = heap.get(number)
        if found is None or len(found) != length:
            odd("text")
        return found.partition(b"\0")[0]

    def heap_at(self, address: int) -> dict[int, bytes]:
        signature, size = HEADER.unpack(self.bytes_at(address, HEADER.size))
        if signature != b"GCOL":
            odd("heap")
        heap = self.bytes_at(address, size)
        found: dict[int, bytes] = {}
        at = HEADER.size
        while at + OBJECT.size <= len(heap):
            number, n = OBJECT.unpack_from(heap, at)
            if not number:  # what is free reaches to the end
                break
            at += OBJECT.size
            if number in found or at + n > len(heap):
                odd("heap")
            found[number] = heap[at : at + n]
            at += -(-n // 8) * 8
        return found


def text_in(names: bytes, start: int) -> str:
    end = names.find(b"\0", start)
    if not 0 <= start < end:
        odd("name")
    return os.fsdecode(names[start:end])


def check_not_written(number: int) -> None:
    """Raise NotPlain if somebody writes a file, as far as HDF5 would know."""
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() in ("FALSE", "0"):
        # Only what this process itself writes can be told then.
        for file in h5f.get_obj_ids(h5f.OBJ_ALL, h5f.OBJ_FILE):
            if file.get_intent() & h5py.h5f.ACC_RDWR:
                odd("something is being written")
        return
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # Not held: others may write to it when they like, and then it is changed.
        fcntl.flock(number, fcntl.LOCK_UN)
    except OSError:
        odd("locked")
