"""Where the chunks of a dataset lie: a few arrays, built once."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, logger_of
from xfelred.hdf5.cache_files import load_bytes, save_bytes
from xfelred.hdf5.raw import Identity

log = logger_of(__name__)

Ints = NDArray[np.int64]
FOLDER = "chunks"  # of the tables kept for the next session; see `cache_files`
WORTH_A_FILE = 1000  # chunks; a smaller table is built faster than it is read
# Building costs 2.5 us a chunk; h5py finds one in a balanced tree for about 250 us.
WORTHWHILE = 100


@dataclass(frozen=True, eq=False)
class ChunkTable:
    """Chunks in row-major order of the grid."""

    offset: Ints  # -1: never written
    size: Ints
    mask: Ints | None  # bit i set: filter i was skipped; None: none was anywhere
    complete: bool  # every chunk was written


def table_of(offset: Ints, size: Ints, mask: Ints) -> ChunkTable:
    complete = bool((offset >= 0).all())
    return ChunkTable(offset, size, mask if mask.any() else None, complete)


@dataclass(eq=False)
class ChunkIndex:
    """The table of one dataset, built when it pays."""

    dataset: h5py.Dataset
    path: str
    identity: Identity  # of the file at `path`
    grid: tuple[int, ...]
    chunk_bytes: int  # of an unpacked chunk
    n_filters: int
    asked: int = 0  # chunks so far
    made: ChunkTable | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def table(self, wanted: int) -> ChunkTable | None:
        """Return the table; None while reading through h5py is cheaper."""
        if self.made is not None:
            return self.made
        with self.lock:
            if self.made is None and not self.asked:
                self.made = self.remembered()
            self.asked += wanted
            if self.made is None and self.asked * WORTHWHILE >= prod(self.grid):
                self.made = self.build()
            return self.made

    def key(self) -> str:
        dataset = self.dataset
        shape = (*dataset.shape, *dataset.chunks)
        return repr((os.path.abspath(self.path), dataset.name, *self.identity, shape))

    def remembered(self) -> ChunkTable | None:
        """Return the table from the user's cache, if there is a sound one."""
        n = prod(self.grid)
        arrays = load_arrays(self.key(), n) if n > WORTH_A_FILE else None
        if arrays is None:
            return None
        table = table_of(*arrays)
        wrong = self.faults(table) or ("other chunks" if self.differs(table) else "")
        if wrong:
            log.debug("index of %s in the cache is wrong: %s", self.path, wrong)
        return None if wrong else table

    def build(self) -> ChunkTable:
        """Ask HDF5 for all chunks; raise BrokenFileError if one cannot be there."""
        table = ask_all(self.dataset, self.grid)
        wrong = self.faults(table)
        if wrong:
            raise BrokenFileError(
                f"{self.dataset.name} in {self.path}: {wrong}. The file was cut off or"
                " is damaged"
            )
        if len(table.offset) > WORTH_A_FILE:
            mask = np.zeros_like(table.offset) if table.mask is None else table.mask
            save_arrays(self.key(), (table.offset, table.size, mask))
        return table

    def faults(self, table: ChunkTable) -> str:
        exact = 0 if self.n_filters else self.chunk_bytes
        return faults(table, self.identity.size, exact, self.n_filters)

    def differs(self, table: ChunkTable) -> bool:
        """Compare a few chunks with what HDF5 says: the first, cheap to look up."""
        found = self.dataset.id.get_chunk_info_by_coord((0,) * self.dataset.ndim)
        offset = -1 if found.byte_offset is None else found.byte_offset
        n_chunks = np.count_nonzero(table.offset >= 0)
        same = offset == table.offset[0] and found.size == table.size[0]
        return not same or n_chunks != self.dataset.id.get_num_chunks()


def faults(table: ChunkTable, file_size: int, exact: int, n_filters: int) -> str:
    """Say what is wrong with a table; `exact` is the size of every chunk, 0 any."""
    there = table.offset >= 0
    offset, size = table.offset, table.size
    end = offset + size
    # Either alone first: the sum of two large numbers may overflow.
    outside = (offset > file_size) | (size > file_size) | (end > file_size)
    if (there & (outside | (size <= 0))).any():
        return f"a chunk lies outside of the {file_size} bytes of the file"
    if exact and (table.size[there] != exact).any():
        return f"a chunk does not have {exact} bytes"
    if table.mask is not None and (table.mask >> n_filters).any():
        return "a chunk skips a filter that is not there"
    order = np.argsort(table.offset[there], kind="stable")
    if (end[there][order][:-1] > table.offset[there][order][1:]).any():
        return "chunks overlap"
    return ""


def ask_all(dataset: h5py.Dataset, grid: tuple[int, ...]) -> ChunkTable:
    """Ask HDF5 for all chunks at once; one by one takes longer for each."""
    found: list[h5py.h5d.StoreInfo] = []
    dataset.id.chunk_iter(found.append)
    offset, size = np.full(prod(grid), -1, np.int64), np.zeros(prod(grid), np.int64)
    mask = np.zeros(prod(grid), np.int64)
    if found:
        corner = np.array([c[0] for c in found], np.int64)
        place, odd = np.divmod(corner, dataset.chunks)
        inside = (place >= 0).all() and (place < grid).all()
        at = np.ravel_multi_index(tuple(place.T), grid) if inside else []
        # HDF5 finds no piece at a place that none has, and fills in.
        if odd.any() or len(np.unique(at)) < len(found):
            raise BrokenFileError(
                f"the index of the chunks of {dataset.name} in {dataset.file.filename}"
                " is damaged: places and chunks do not belong together"
            )
        mask[at] = [c[1] for c in found]
        offset[at] = [c[2] for c in found]
        size[at] = [c[3] for c in found]
    return table_of(offset, size, mask)


def load_arrays(key: str, n: int) -> Ints | None:
    """Return three arrays of `n` numbers that were kept under a key, None if not."""
    body = load_bytes(FOLDER, key)
    if body is None or len(body) != 3 * 8 * n:
        return None
    return np.frombuffer(body, "<i8").astype(np.int64).reshape(3, n)


def save_arrays(key: str, arrays: Sequence[Ints]) -> None:
    """Keep three arrays under a key, if there is a place for them."""
    save_bytes(FOLDER, key, np.stack(arrays).astype("<i8").tobytes())
