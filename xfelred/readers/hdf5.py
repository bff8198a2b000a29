"""Rows of HDF5 datasets, through one cache of open files per process."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.lazy import Rows
from xfelred.lazy.indexing import Selector, length
from xfelred.readers.hdf5_direct import DirectLayout, RawFile, layout_of

log = logging.getLogger(__name__)

MAX_OPEN = 256
COPY_BLOCK = 4 << 20  # bytes that are read at once where they are copied on
FileKey = tuple[str, int, int]  # path, bytes, time of change


class OpenFiles:
    """The most recently used files of this process, opened for reading.

    Files are recognised by path, size and time of change, so that one which was
    replaced is opened anew. A child process starts with an empty cache: HDF5 handles
    do not survive a fork.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.files: OrderedDict[FileKey, h5py.File] = OrderedDict()
        self.objects: dict[FileKey, dict[str, Any]] = {}
        self.raw: dict[FileKey, RawFile] = {}
        self.layouts: dict[tuple[FileKey, str], DirectLayout | None] = {}
        self.pid = os.getpid()

    def dataset(self, path: str, name: str) -> h5py.Dataset:
        """Return an open dataset; raise BrokenFileError if that is not possible."""
        found = self.get(path, name)
        if found is None:
            raise BrokenFileError(
                f"{path} has no dataset {name}. If it is still being copied, open"
                " the run"
                " again when it is complete"
            )
        if not isinstance(found, h5py.Dataset):
            raise BrokenFileError(f"{name} in {path} is a group, not a dataset")
        return found

    def get(self, path: str, name: str) -> Any:
        """Return the dataset or group that a name stands for, None for nothing."""
        try:
            stat = os.stat(path)
            key = (path, stat.st_size, stat.st_mtime_ns)
            with self.lock:
                known = self.known(key)
                if known.get(name) is None:
                    known[name] = self.files[key].get(name)
                return known[name]
        except (OSError, RuntimeError) as error:
            raise BrokenFileError(
                f"cannot open {path}: {error}. If the file was moved or is still being"
                " copied, open the run again when it is complete"
            ) from error

    def layout(self, path: str, name: str) -> DirectLayout | None:
        """Return how to read a dataset without HDF5, None if h5py must do it."""
        dataset = self.dataset(path, name)
        with self.lock:
            key = next((k for k in reversed(self.files) if k[0] == path), None)
            if key is None:
                return None
            if (key, name) not in self.layouts:
                self.layouts[key, name] = layout_of(dataset, self.raw[key])
                if self.layouts[key, name] is None:
                    log.info("%s in %s is read through h5py", name, path)
            return self.layouts[key, name]

    def known(self, key: FileKey) -> dict[str, Any]:
        """Return the open objects of a file, after opening it if need be."""
        if os.getpid() != self.pid:
            self.files, self.objects, self.raw = OrderedDict(), {}, {}
            self.layouts, self.pid = {}, os.getpid()
        if key not in self.files:
            self.forget([old for old in self.files if old[0] == key[0]])
            # Chunks hold one frame and are read once: HDF5's chunk cache only copies.
            file = h5py.File(key[0], "r", rdcc_nbytes=0)
            check_length(file, key)
            self.files[key], self.objects[key] = file, {}
            self.raw[key] = RawFile(key[0])
            self.forget(list(self.files)[: max(0, len(self.files) - self.limit)])
        self.files.move_to_end(key)
        return self.objects[key]

    def forget(self, keys: list[FileKey]) -> None:
        """Drop files; they are closed when no thread reads from them any more."""
        for key in keys:
            del self.files[key], self.objects[key], self.raw[key]
            self.layouts = {k: v for k, v in self.layouts.items() if k[0] != key}


def check_length(file: h5py.File, key: FileKey) -> None:
    """Raise BrokenFileError if a file is shorter than HDF5 believes.

    HDF5 shares what is open already: a file that was cut off since then would open
    without complaint and read as zeros.
    """
    believed = file.id.get_filesize()
    if believed > key[1]:
        raise BrokenFileError(
            f"{key[0]} has {key[1]} bytes but had {believed} when it was opened: it was"
            " cut off or is being written again"
        )


OPEN_FILES = OpenFiles(MAX_OPEN)


def open_dataset(path: str, name: str) -> h5py.Dataset:
    """Return an open dataset from the cache of this process."""
    return OPEN_FILES.dataset(path, name)


def read_rows(
    path: str,
    dataset: str,
    rows: Rows,
    entry: tuple[Selector, ...],
    out: NDArray[Any],
) -> None:
    """Read runs of rows of a dataset into ``out``; see `xfelred.lazy.RowReader`.

    A second axis of length 1 that `entry` does not mention is dropped (raw data of
    multi-module detectors). Values are cast as C does.

    Raises
    ------
    BrokenFileError
        If the file cannot be read or has fewer rows than its index says.
    """
    source = open_dataset(path, dataset)
    last = int((rows.start + rows.count).max())
    if last > source.shape[0] or int(rows.start.min()) < 0:
        raise BrokenFileError(
            f"{path} is inconsistent: its index points to row {last - 1} of {dataset},"
            f" which has {source.shape[0]} rows"
        )
    extra = source.ndim - 1 - len(entry)
    if extra not in (0, 1) or (extra and source.shape[1] != 1):
        raise BrokenFileError(
            f"{dataset} in {path} has shape {source.shape}, expected {len(entry)} axes"
            " after the first as in the other files of this run"
        )
    shape = source.shape[1 + extra :]
    whole = [length(e, n) for e, n in zip(entry, shape, strict=True)] == list(shape)
    if not (whole and read_direct(path, dataset, rows, out)):
        read_library(source, path, rows, entry, extra, out)
    # Once more: a file that was cut off meanwhile has given zeros.
    open_dataset(path, dataset)


def read_direct(path: str, dataset: str, rows: Rows, out: NDArray[Any]) -> bool:
    """Read whole rows without HDF5; False, with nothing done, where that is unsafe."""
    layout = OPEN_FILES.layout(path, dataset)
    if layout is None:
        return False
    row = expanded(rows.start, rows.count)
    place = expanded(rows.place, rows.count)
    straight = out.flags.c_contiguous and out.dtype == layout.dtype
    if (
        straight
        and place[-1] - place[0] == len(place) - 1
        and (np.diff(place) == 1).all()
    ):
        target = out[place[0] : place[-1] + 1].reshape((len(row), *layout.entry_shape))
        return layout.read(row, target)
    step = max(1, COPY_BLOCK // max(layout.entry_bytes, 1))
    buffer = np.empty((min(step, len(row)), *layout.entry_shape), layout.dtype)
    for i in range(0, len(row), step):
        part = buffer[: len(row[i : i + step])]
        if not layout.read(row[i : i + step], part):
            return False
        with np.errstate(invalid="ignore"):
            out[place[i : i + step]] = part.reshape((len(part), *out.shape[1:]))
    return True


def expanded(start: NDArray[Any], count: NDArray[Any]) -> NDArray[np.int64]:
    """Return every row number of runs of rows."""
    before = np.cumsum(count) - count
    return np.repeat(start - before, count) + np.arange(int(count.sum()))


def read_library(
    source: h5py.Dataset,
    path: str,
    rows: Rows,
    entry: tuple[Selector, ...],
    extra: int,
    out: NDArray[Any],
) -> None:
    """Read rows, or parts of rows, through h5py."""
    window: tuple[Any, ...] = (0,) * extra + tuple(
        e if isinstance(e, slice) else slice(int(e[0]), int(e[-1]) + 1) for e in entry
    )
    inside = (slice(None) if isinstance(e, slice) else e - e[0] for e in entry)
    pick = (slice(None), *inside)
    fancy = any(not isinstance(e, slice) for e in entry)
    direct = out.flags.c_contiguous and out.dtype == source.dtype and not fancy
    try:
        for take, place in runs_of(rows):
            if direct:
                source.read_direct(out, (take, *window), (place,))
            else:
                block = source[(take, *window)]
                with np.errstate(invalid="ignore"):
                    out[place] = block[pick] if fancy else block
    except (OSError, ValueError, TypeError) as error:
        raise BrokenFileError(
            f"cannot read {source.name} in {path}: {error}"
        ) from error


def read_cells(
    path: str,
    dataset: str,
    rows: Rows,
    entry: tuple[Selector, ...],
    out: NDArray[Any],
) -> None:
    """Read as `read_rows` does where every cell of a row counts as a row of its own.

    Cell c of row r of a dataset (row, cell, ...) with C cells has the number r * C + c.
    """
    n_cells = open_dataset(path, dataset).shape[1]
    place = expanded(rows.place, rows.count)
    row, cell = np.divmod(expanded(rows.start, rows.count), n_cells)
    new = np.ones(len(row), bool)
    new[1:] = (np.diff(row) != 0) | (np.diff(cell) != 1) | (np.diff(place) != 1)
    edges = [*np.flatnonzero(new).tolist(), len(row)]
    for begin, end in pairwise(edges):
        one = Rows(row[begin : begin + 1], np.ones(1, np.int64), np.zeros(1, np.int64))
        cells = slice(int(cell[begin]), int(cell[end - 1]) + 1, 1)
        at = int(place[begin])
        part = out[at : at + end - begin][np.newaxis]
        read_rows(path, dataset, one, (cells, *entry), part)


def read_entries(path: str, dataset: str, first: int, n: int) -> NDArray[Any]:
    """Return a few rows of a dataset of any type; text as an object array of str.

    Raises
    ------
    BrokenFileError
        If the file cannot be read or has fewer rows.
    """
    source = open_dataset(path, dataset)
    if first + n > source.shape[0]:
        raise BrokenFileError(
            f"{path} is inconsistent: its index points to row {first + n - 1} of"
            f" {dataset}, which has {source.shape[0]} rows"
        )
    try:
        text = h5py.check_string_dtype(source.dtype) is not None
        found = (source.asstr() if text else source)[first : first + n]
    except (OSError, ValueError) as error:
        raise BrokenFileError(f"cannot read {dataset} in {path}: {error}") from error
    open_dataset(path, dataset)  # it may have been cut off meanwhile
    return found


def runs_of(rows: Rows) -> list[tuple[slice, slice]]:
    """Return (rows, places) as slices; evenly spaced single rows become one slice."""
    start, count, place = rows.start, rows.count, rows.place
    if len(start) > 2 and (count == 1).all() and (np.diff(place) == 1).all():
        steps = np.diff(start)
        if (steps == steps[0]).all() and steps[0] > 0:
            n = len(start)
            take = slice(int(start[0]), int(start[-1]) + 1, int(steps[0]))
            return [(take, slice(int(place[0]), int(place[0]) + n))]
    return [
        (slice(s, s + n), slice(p, p + n))
        for s, n, p in zip(start.tolist(), count.tolist(), place.tolist(), strict=True)
    ]


def open_group(path: str, name: str) -> h5py.Group | None:
    """Return an open group of a file, None if the file has no such group."""
    found = OPEN_FILES.get(path, name)
    return found if isinstance(found, h5py.Group) else None
