"""HDF5 files of small data, laid out as those of the LCLS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.products.blocks import GZIP
from xfelred.products.sink import checked_sink

MISSING = -99999  # in integers; NaN in floats


@dataclass(frozen=True)
class Rows:
    """A dataset with one row for every shot."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]  # of a row
    packed: bool = False  # a row is a chunk of its own

    @property
    def parts(self) -> tuple[np.dtype[Any], ...]:
        return (self.dtype,)

    def nothing(self, n: int) -> NDArray[Any]:
        """Return rows of shots without data."""
        fill = np.nan if self.dtype.kind == "f" else MISSING
        return np.full((n, *self.shape), fill, self.dtype)


@dataclass(frozen=True)
class Table:
    """Fields with any number of entries of every shot.

    Stored as ``var_<name>`` with lengths, or as ``ragged_<name>``.
    """

    path: str  # such as epix_2/var_droplet_sparse
    fields: tuple[tuple[str, np.dtype[Any]], ...]
    ragged: bool = False

    @property
    def parts(self) -> tuple[np.dtype[Any], ...]:
        lengths = np.dtype(np.int64)  # they come first
        return (lengths, *(kind for _, kind in self.fields))


Column = Rows | Table


@dataclass(frozen=True)
class Size:
    """How many rows a column has, and entries in all of them if it is a table."""

    rows: int
    entries: int = 0


def write_small_data(
    path: Path,
    columns: Sequence[Column],
    blocks: Iterable[Sequence[NDArray[Any]]],
    sizes: Sequence[Size],
    *,
    once: Iterable[tuple[str, Any]],
    attrs: Mapping[str, str],
) -> None:
    """Write a file, block of shots after block of shots.

    `blocks` give the parts of all columns one after the other, `sizes` are those of all
    blocks together; `once` are datasets that are known as a whole.
    """
    with checked_sink(path) as sink, h5py.File(sink, "w") as file:
        file.attrs.update(attrs)
        for name, values in once:
            file[name] = values
        pairs = zip(columns, sizes, strict=True)
        places = [p for c, size in pairs for p in made(file, c, size)]
        at = [0] * len(places)
        for block in blocks:
            lengths: NDArray[Any] = np.zeros(0, np.int64)
            for i, (place, values) in enumerate(zip(places, block, strict=True)):
                if place.is_lengths:
                    lengths = values
                n = place.write(at[i], values, lengths)
                at[i] += n


@dataclass(frozen=True)
class Place:
    """Where one part of a column is written."""

    dataset: h5py.Dataset | None  # None: lengths of a ragged table are not stored
    is_lengths: bool = False
    ragged: bool = False

    def write(self, at: int, values: NDArray[Any], lengths: NDArray[np.int64]) -> int:
        """Write values; return by how much the next ones are further on."""
        if self.ragged and self.dataset is not None:
            ends = np.cumsum(lengths)
            for i, (stop, n) in enumerate(zip(ends, lengths, strict=True)):
                if n:
                    self.dataset[at + i] = values[stop - n : stop]
            return len(lengths)
        if self.dataset is not None and len(values):
            self.dataset[at : at + len(values)] = values
        return len(values)


def made(file: h5py.File, column: Column, size: Size) -> Iterator[Place]:
    """Make the datasets of a column; yield where each of its parts goes."""
    if isinstance(column, Rows):
        shape = (size.rows, *column.shape)
        options = {"chunks": (1, *column.shape), **GZIP} if column.packed else {}
        yield Place(file.create_dataset(column.path, shape, column.dtype, **options))
        return
    lengths = f"{column.path}_len"
    if column.ragged:
        yield Place(None, is_lengths=True)
        for name, kind in column.fields:
            dataset = file.create_dataset(
                f"{column.path}_{name}", (size.rows,), h5py.vlen_dtype(kind)
            )
            yield Place(dataset, ragged=True)
        return
    yield Place(file.create_dataset(lengths, (size.rows,), np.int64), is_lengths=True)
    for name, kind in column.fields:
        dataset = file.create_dataset(f"{column.path}/{name}", (size.entries,), kind)
        yield Place(dataset)
