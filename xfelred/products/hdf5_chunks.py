"""Chunks of HDF5 datasets that other processes make: written by them, or handed over.

HDF5 lets one process write a file. But where chunks are not packed their places can be
given out before there are values, and any process writes its own there; packed ones are
made where the values are, so that only copying them is left.
"""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.products.extent import write_at

Region = tuple[slice, ...]
Corner = tuple[int, ...]
GZIP_LEVEL = 1


@dataclass(frozen=True)
class Chunks:
    """The chunks of a dataset, and where they are in its file; packed ones have none.

    Writing the same values twice changes nothing, so that a task may run again after
    its worker has died.
    """

    path: Path
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    starts: Mapping[Corner, int]
    host: str = field(default_factory=socket.gethostname)  # which publishes the file

    def fit(self, where: Region) -> bool:
        """Tell whether all chunks of a region are in it as a whole."""
        axes = zip(where, self.chunk, self.shape, strict=True)
        return all(s.start % n == 0 and (s.stop % n == 0 or s.stop == m)
                   for s, n, m in axes)  # fmt: skip

    def of(self, where: Region) -> Chunks:
        """Return this with the places of the chunks of one region only."""
        some = {c: self.starts[c] for c in self.corners(where) if self.starts}
        return replace(self, starts=some)

    def corners(self, where: Region) -> Iterator[Corner]:
        axes = zip(where, self.chunk, strict=True)
        return product(*(range(s.start, s.stop, n) for s, n in axes))

    def put(self, where: Region, values: NDArray[Any]) -> list[tuple[Corner, bytes]]:
        """Write the chunks of a block; return those that the caller has to write."""
        if not self.starts:
            return [(c, packed(v)) for c, v in self.pieces(where, values)]
        # No new file: where it is gone, the call that wanted this is over.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            for corner, piece in self.pieces(where, values):
                write_at(descriptor, self.starts[corner], piece)
            if socket.gethostname() != self.host:
                os.fsync(descriptor)  # who publishes the file cannot, from elsewhere
        finally:
            os.close(descriptor)
        return []

    def pieces(
        self, where: Region, values: NDArray[Any]
    ) -> Iterator[tuple[Corner, NDArray[Any]]]:
        for corner in self.corners(where):
            inside = tuple(
                slice(c - s.start, c - s.start + n)
                for c, s, n in zip(corner, where, self.chunk, strict=True)
            )
            piece = np.ascontiguousarray(values[inside], self.dtype)
            if piece.shape != self.chunk:  # chunks at the end are as long as others
                whole = np.zeros(self.chunk, self.dtype)
                whole[tuple(map(slice, piece.shape))] = piece
                piece = whole
            yield corner, piece


def packed(piece: NDArray[Any]) -> bytes:
    """Do what HDF5's filters shuffle and deflate do."""
    size = piece.dtype.itemsize
    data = piece.reshape(-1).view(np.uint8).reshape(-1, size)
    return zlib.compress(data.T.tobytes(), GZIP_LEVEL)


def early() -> h5py.h5p.PropDCID:
    """Return what gives chunks their places when a dataset is made, without values."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def chunks_of(dataset: h5py.Dataset, path: Path) -> Chunks | None:
    """Return the chunks that other processes can make; None: HDF5 alone can."""
    if dataset.chunks is None:
        return None
    starts: dict[Corner, int] = {}
    if dataset.compression is None:
        dataset.id.chunk_iter(lambda c: starts.update({c.chunk_offset: c.byte_offset}))
        if not starts:  # they get their places when they are written
            return None
    elif (dataset.compression, dataset.shuffle) != ("gzip", True):
        return None
    return Chunks(path, dataset.shape, dataset.chunks, dataset.dtype, starts)
