"""Which datasets can be read without HDF5, and where their values lie.

Only layouts that are proved safe here; h5py reads all others. Facts on layouts: HDF5
file format specification, version 3.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np

from xfelred.hdf5.chunk_index import ChunkIndex
from xfelred.hdf5.filters import Stage, filters_of, pipeline_of
from xfelred.hdf5.raw import Identity

SPARSE = 10_000_000  # a grid of more chunks is not kept as a table
LayoutOrReason = tuple["Layout | None", str]


@dataclass(frozen=True, eq=False)
class Layout:
    """A dataset that can be read without HDF5."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill_value: object
    chunk: tuple[int, ...]  # shape of one; of a contiguous dataset its own
    start: int | None  # first byte if contiguous, -1: never written; None: chunks
    stages: tuple[Stage, ...] = ()  # filters in the order in which they were applied
    index: ChunkIndex | None = None  # where the chunks lie

    @property
    def row_bytes(self) -> int:
        return prod(self.chunk[1:]) * self.dtype.itemsize

    @property
    def grid(self) -> tuple[int, ...]:
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    @property
    def per_row(self) -> int:
        return prod(self.grid[1:])


def layout_of(
    dataset: h5py.Dataset, file: h5py.File, path: str, identity: Identity
) -> LayoutOrReason:
    """Return how to read a dataset directly, or None and why h5py must.

    `file`, at `path`, is that in which it was asked for; a link may lead elsewhere.
    """
    reason = unsafe_type(dataset) or unsafe_place(dataset, file)
    if reason:
        return None, reason
    properties = dataset.id.get_create_plist()
    if properties.fill_value_defined() == h5py.h5d.FILL_VALUE_UNDEFINED:
        return None, "its fill value is undefined"
    kind = properties.get_layout()
    if kind == h5py.h5d.CONTIGUOUS:
        return contiguous(dataset, identity.size)
    if kind == h5py.h5d.CHUNKED:
        return chunked(dataset, properties, path, identity)
    return None, "it is stored in the header of the file"


def unsafe_type(dataset: h5py.Dataset) -> str:
    """Say why values cannot be taken from the file as they are; nothing if they can."""
    dtype = dataset.dtype
    if not dataset.shape or 0 in dataset.shape:
        return f"its shape is {dataset.shape}"
    if dtype.kind not in "iuf" or dtype.subdtype or h5py.check_enum_dtype(dtype):
        return f"its type is {dtype}"
    # Also tells byte order, padding bits and floats that are not IEEE.
    if not dtype.isnative or dataset.id.get_type() != h5py.h5t.py_create(dtype):
        return f"its type {dtype} is not that of this machine"
    return ""


def unsafe_place(dataset: h5py.Dataset, file: h5py.File) -> str:
    """Say why the values are not in the file itself; nothing if they are."""
    if dataset.is_virtual:
        return "it is virtual"
    if dataset.external:
        return "its values are in external files"
    if dataset.file.filename != file.filename:
        return f"an external link leads to {dataset.file.filename}"
    if dataset.file.driver != "sec2":
        return f"the file driver is {dataset.file.driver}"
    return ""


def contiguous(dataset: h5py.Dataset, file_size: int) -> LayoutOrReason:
    size = prod(dataset.shape) * dataset.dtype.itemsize
    stored, start = dataset.id.get_storage_size(), dataset.id.get_offset()
    # A dataset that was never written may report a bogus offset.
    if not stored:
        start = -1
    elif start is None or stored != size:
        return None, f"{stored} bytes are stored for {size}"
    elif start + size > file_size:
        return None, "it reaches beyond the end of the file"
    return Layout(*facts_of(dataset), dataset.shape, start), ""


def chunked(
    dataset: h5py.Dataset, properties: h5py.h5p.PropDCID, path: str, identity: Identity
) -> LayoutOrReason:
    filters = filters_of(properties)
    stages = pipeline_of(filters)
    if stages is None:
        return None, f"of its HDF5 filters {[number for number, _ in filters]}"
    sizes = zip(dataset.shape, dataset.chunks, strict=True)
    grid = tuple(-(-n // c) for n, c in sizes)
    if prod(grid) > SPARSE:
        return None, f"it has {prod(grid)} chunks"
    size = prod(dataset.chunks) * dataset.dtype.itemsize
    index = ChunkIndex(dataset, path, identity, grid, size, len(stages))
    return Layout(*facts_of(dataset), dataset.chunks, None, stages, index), ""


def facts_of(
    dataset: h5py.Dataset,
) -> tuple[str, tuple[int, ...], np.dtype[Any], object]:
    return dataset.name, dataset.shape, dataset.dtype, dataset.fillvalue
