"""Rows read straight from the file, outside HDF5's process-wide lock.

Only for layouts that are proved safe here; `layout_of` returns None for all others,
which h5py then reads. Facts on layouts: HDF5 file format specification, version 3.0.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from math import prod
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError

DEFLATE, SHUFFLE = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
PIPELINES = ((), (DEFLATE,), (SHUFFLE, DEFLATE))
FEW = 32  # rows that are looked up one by one; for more the whole index is read


class RawFile:
    """A file descriptor that is closed when nobody reads through it any more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        # Missing where opening failed.
        if hasattr(self, "number"):
            os.close(self.number)


@dataclass(frozen=True)
class Chunks:
    """Where the chunk of each row lies; offset -1: never written."""

    offset: NDArray[np.int64]
    size: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DirectLayout:
    """A dataset whose rows can be read without HDF5.

    Attributes
    ----------
    dataset : h5py.Dataset
        To look up chunks; never to read.
    file : RawFile
        Kept open as long as somebody reads.
    start : int or None
        First byte of a contiguous dataset; None: one chunk per row.
    filters : tuple of int
        HDF5 filter numbers in the order in which they were applied.
    """

    dataset: h5py.Dataset
    file: RawFile
    start: int | None
    filters: tuple[int, ...]
    entry_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill_value: Any
    known: dict[str, Chunks] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def entry_bytes(self) -> int:
        """Bytes of one row in memory."""
        return prod(self.entry_shape) * self.dtype.itemsize

    def chunks(self, rows: NDArray[np.int64]) -> Chunks | None:
        """Return where the chunks of some rows lie; None if one skips a filter."""
        with self.lock:
            index = self.known.get("index")
            if index is None and len(rows) > FEW:
                index = self.known["index"] = whole_index(self.dataset)
        if index is not None:
            found = Chunks(index.offset[rows], index.size[rows])
        else:
            found = some_chunks(self.dataset, rows.tolist())
        return None if (found.size < 0).any() else found

    def read(self, rows: NDArray[np.int64], out: NDArray[Any]) -> bool:
        """Read whole rows into `out`, C-contiguous and of the same dtype.

        Returns False, with nothing done, where HDF5 must do it.
        """
        if self.start is not None:
            self.read_contiguous(rows, out)
            return True
        found = self.chunks(rows)
        if found is None:
            return False
        for i, (offset, size) in enumerate(
            zip(found.offset.tolist(), found.size.tolist(), strict=True)
        ):
            if offset < 0:
                out[i] = self.fill_value
            elif self.filters:
                out[i] = self.decoded(offset, size)
            else:
                self.fill(bytes_of(out[i : i + 1]), offset)
        return True

    def read_contiguous(self, rows: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read rows of a contiguous dataset, neighbours at once."""
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        ends = [*breaks.tolist(), len(rows)]
        begin = 0
        for end in ends:
            where = (self.start or 0) + int(rows[begin]) * self.entry_bytes
            self.fill(bytes_of(out[begin:end]), where)
            begin = end

    def fill(self, view: memoryview, offset: int) -> None:
        """Fill memory from the file; BrokenFileError at its end."""
        done = 0
        while done < len(view):
            n = os.preadv(self.file.number, [view[done:]], offset + done)
            if n == 0:
                raise BrokenFileError(
                    f"{self.file.path} ends at byte {offset + done}, in the middle of"
                    f" {self.dataset.name}: it was cut off"
                )
            done += n

    def decoded(self, offset: int, size: int) -> NDArray[Any]:
        """Read and decompress one chunk."""
        packed = bytearray(size)
        self.fill(memoryview(packed), offset)
        try:
            raw = isal_zlib.decompress(packed, bufsize=self.entry_bytes)
        except isal_zlib.error as error:  # type: ignore[misc]
            raise BrokenFileError(
                f"a chunk of {self.dataset.name} in {self.file.path} cannot be"
                f" decompressed: {error}"
            ) from error
        if len(raw) != self.entry_bytes:
            raise BrokenFileError(
                f"a chunk of {self.dataset.name} in {self.file.path} holds {len(raw)}"
                f" bytes instead of {self.entry_bytes}"
            )
        if SHUFFLE in self.filters:
            planes = np.frombuffer(raw, np.uint8).reshape(self.dtype.itemsize, -1)
            return (
                np.ascontiguousarray(planes.T)
                .view(self.dtype)
                .reshape(self.entry_shape)
            )
        return np.frombuffer(raw, self.dtype).reshape(self.entry_shape)


def bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the memory of a C-contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def layout_of(dataset: h5py.Dataset, file: RawFile) -> DirectLayout | None:
    """Return how to read a dataset directly; None if that is not known to be safe."""
    dtype = dataset.dtype
    plain = dtype.kind in "iuf" and dtype.isnative and not dtype.subdtype
    if not plain or h5py.check_enum_dtype(dtype) or not dataset.ndim:
        return None
    if dataset.file.driver != "sec2" or dataset.is_virtual or dataset.external:
        return None
    start: int | None = None
    properties = dataset.id.get_create_plist()
    kind = properties.get_layout()
    if kind == h5py.h5d.CONTIGUOUS:
        start = dataset.id.get_offset()
        size = prod(dataset.shape) * dtype.itemsize
        # A dataset that was never written may report a bogus offset.
        if start is None or dataset.id.get_storage_size() != size:
            return None
        if start + size > os.fstat(file.number).st_size:
            return None
    elif kind != h5py.h5d.CHUNKED or dataset.chunks != (1, *dataset.shape[1:]):
        return None
    filters = tuple(
        properties.get_filter(i)[0] for i in range(properties.get_nfilters())
    )
    if filters not in PIPELINES:
        return None
    return DirectLayout(
        dataset, file, start, filters, dataset.shape[1:], dtype, dataset.fillvalue
    )


def whole_index(dataset: h5py.Dataset) -> Chunks:
    """Return where every chunk lies; size -1 marks one that skips a filter."""
    offset = np.full(dataset.shape[0], -1, np.int64)
    size = np.zeros(dataset.shape[0], np.int64)

    def note(chunk: Any) -> None:
        row = chunk.chunk_offset[0]
        offset[row] = chunk.byte_offset
        size[row] = chunk.size if chunk.filter_mask == 0 else -1

    dataset.id.chunk_iter(note)
    return Chunks(offset, size)


def some_chunks(dataset: h5py.Dataset, rows: list[int]) -> Chunks:
    """Return where the chunks of a few rows lie."""
    rest = (0,) * (dataset.ndim - 1)
    offset, size = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64)
    for i, row in enumerate(rows):
        found = dataset.id.get_chunk_info_by_coord((row, *rest))
        if found.byte_offset is not None and found.size:
            offset[i] = found.byte_offset
            size[i] = found.size if found.filter_mask == 0 else -1
    return Chunks(offset, size)
