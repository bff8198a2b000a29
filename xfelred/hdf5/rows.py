"""Rows of HDF5 datasets, through one cache of open files per process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.hdf5.datasets import Dataset
from xfelred.hdf5.direct import expanded, read_direct
from xfelred.hdf5.guard import guarded
from xfelred.hdf5.handles import Handle, OpenFiles, Target, default_limit
from xfelred.hdf5.messages import NotPlain
from xfelred.hdf5.objects import Group
from xfelred.hdf5.plain import AnyDataset, AnyGroup, past_hdf5, plain_dataset
from xfelred.hdf5.virtual import check_watched
from xfelred.hdf5.window import Slices
from xfelred.kernels.arrays import Array
from xfelred.lazy import Rows
from xfelred.lazy.indexing import Selector

Found = TypeVar("Found")
PICK_BLOCK = 8 << 20  # bytes of rows of which single positions are taken at once

Entry = tuple[Selector, ...]  # what is read of each row, by axis
OPEN_FILES = OpenFiles(default_limit())


def open_dataset(path: str, name: str) -> Dataset:
    return OPEN_FILES.dataset(path, name)


def find_dataset(path: str, name: str) -> AnyDataset | None:
    """Return a dataset, which is looked at past HDF5 where that can be."""
    try:
        return plain_dataset(path, name, partial(open_dataset, path, name))
    except NotPlain:
        found = OPEN_FILES.get(path, name)
    return found if isinstance(found, Dataset) else None


def stored_dataset(path: str, name: str) -> AnyDataset:
    """Return a dataset as `find_dataset` does; BrokenFileError if it is not there."""
    found = find_dataset(path, name)
    return open_dataset(path, name) if found is None else found


def looked_into(path: str, find: Callable[[AnyGroup], Found]) -> Found:
    """Return what is found in a file, as `described` does; HDF5 keeps it open."""
    found = past_hdf5(path, find)
    return find(OPEN_FILES.handle(path).root()) if found is None else found


def open_group(path: str, name: str) -> Group | None:
    found = OPEN_FILES.get(path, name)
    return found if isinstance(found, Group) else None


def read_rows(path: str, dataset: str, rows: Rows, entry: Entry, out: Array) -> None:
    """Read runs of rows of a dataset into ``out``; see `xfelred.lazy.RowReader`.

    A second axis of length 1 that `entry` does not mention is dropped (raw data of
    multi-module detectors). Values are cast as C does.
    """
    if not len(rows.start):
        return
    for _ in range(2):
        handle, target = OPEN_FILES.target(path, dataset)
        check_rows(target, path, dataset, rows, entry)
        with guarded(path, dataset), np.errstate(invalid="ignore"):
            read_target(handle, target, rows, entry, out)
            if still_valid(handle, target):
                return
    # It grows while we read, twice: fine as long as it is a whole file.
    open_dataset(path, dataset)


def check_rows(target: Target, path: str, name: str, rows: Rows, entry: Entry) -> None:
    """Raise BrokenFileError if a dataset lacks rows or axes."""
    shape = target.shape
    if len(rows.start) == 1:
        first, last = int(rows.start[0]), int(rows.start[0] + rows.count[0])
    else:
        first, last = int(rows.start.min()), int((rows.start + rows.count).max())
    if not shape or last > shape[0] or first < 0:
        raise BrokenFileError(
            f"{path} is inconsistent: its index points to row {last - 1} of {name},"
            f" which has {shape[0] if shape else 0} rows"
        )
    extra = len(shape) - 1 - len(entry)
    if extra not in (0, 1) or (extra and shape[1] != 1):
        raise BrokenFileError(
            f"{name} in {path} has shape {shape}, expected {len(entry)} axes"
            " after the first as in the other files of this run"
        )
    for selector, n in zip(entry, shape[1 + extra :], strict=True):
        if end_of(selector) > n:
            raise BrokenFileError(
                f"{name} in {path} has shape {shape}, too small for what is read from"
                f" each row: element {end_of(selector) - 1} of an axis of {n}"
            )


def end_of(selector: Selector) -> int:
    if isinstance(selector, slice):
        taken = range(selector.start or 0, selector.stop or 0, selector.step or 1)
        return (max(taken[0], taken[-1]) + 1) if taken else 0
    return int(np.max(selector, initial=-1)) + 1


def still_valid(handle: Handle, target: Target) -> bool:
    """Tell whether what was read is what the file holds; else read it again.

    A file that was cut off meanwhile is an error: HDF5 gives zeros then.
    """
    if handle.live:
        return True
    return handle.unchanged() and check_watched(target.watched)


def read_target(
    handle: Handle, target: Target, rows: Rows, entry: Entry, out: Array
) -> None:
    """Read rows directly, or through h5py."""
    if not out.size:
        return
    shape = target.shape[1:]
    if len(entry) < len(shape):
        entry, out = (slice(0, 1, 1), *entry), out[:, np.newaxis]
    window = tuple(
        slice(*e.indices(n))
        if isinstance(e, slice)
        else slice(int(e[0]), int(e[-1]) + 1, 1)
        for e, n in zip(entry, shape, strict=True)
    )
    if all(isinstance(e, slice) for e in entry):
        read_window(handle, target, rows, window, out)
    else:
        read_picked(handle, target, rows, entry, window, out)


def read_window(
    handle: Handle, target: Target, rows: Rows, window: Slices, out: Array
) -> None:
    """Read a window of rows directly, or through h5py."""
    layout = target.layout
    if layout is None or not read_direct(layout, handle.raw, rows, window, out):
        read_library(target.dataset, rows, window, out)


def read_picked(
    handle: Handle, target: Target, rows: Rows, entry: Entry, window: Slices, out: Array
) -> None:
    """Read single positions within rows: the window around them, a few rows at once."""
    shape = tuple(len(range(w.start, w.stop, w.step)) for w in window)
    inside = [
        slice(None) if isinstance(e, slice) else e - e[0]  # within the window
        for e in entry
    ]
    dtype = target.dataset.dtype
    n_rows = max(1, PICK_BLOCK // max(1, int(np.prod(shape)) * dtype.itemsize))
    row, place = expanded(rows.start, rows.count), expanded(rows.place, rows.count)
    for i in range(0, len(row), n_rows):
        some = row[i : i + n_rows]
        block = np.empty((len(some), *shape), dtype)
        ones = np.ones(len(some), np.int64)
        read_window(
            handle, target, Rows(some, ones, np.arange(len(some))), window, block
        )
        for axis, e in enumerate(inside):
            block = block[(slice(None),) * (axis + 1) + (e,)]
        out[place[i : i + n_rows]] = block


def read_cells(path: str, dataset: str, rows: Rows, entry: Entry, out: Array) -> None:
    """Read as `read_rows` does where every cell of a row counts as a row of its own.

    Cell c of row r of a dataset (row, cell, ...) with C cells has the number r * C + c.
    """
    n_cells = OPEN_FILES.target(path, dataset)[1].shape[1]
    place = expanded(rows.place, rows.count)
    row, cell = np.divmod(expanded(rows.start, rows.count), n_cells)
    new = np.ones(len(row), bool)
    # Increasing cells of one row, side by side in `out`, are read at once.
    new[1:] = (np.diff(row) != 0) | (np.diff(cell) <= 0) | (np.diff(place) != 1)
    edges = [*np.flatnonzero(new).tolist(), len(row)]
    for begin, end in pairwise(edges):
        one = Rows(row[begin : begin + 1], np.ones(1, np.int64), np.zeros(1, np.int64))
        at = int(place[begin])
        part = out[at : at + end - begin][np.newaxis]
        read_rows(path, dataset, one, (as_selector(cell[begin:end]), *entry), part)


def as_selector(cells: NDArray[np.int64]) -> Selector:
    """Return increasing cells as a slice where they are evenly spaced."""
    step = int(cells[1] - cells[0]) if len(cells) > 1 else 1
    if (np.diff(cells) == step).all():
        return slice(int(cells[0]), int(cells[-1]) + 1, step)
    return cells


def read_entries(path: str, dataset: str, first: int, n: int) -> Array:
    """Return a few rows of a dataset of any type; text as an object array of str."""
    return entries_of(stored_dataset(path, dataset), first, n)


def entries_of(source: AnyDataset, first: int, n: int) -> Array:
    """Return a few rows of a dataset, as `read_entries` does."""
    if first + n > source.shape[0]:
        raise BrokenFileError(
            f"{source.path} is inconsistent: its index points to row {first + n - 1} of"
            f" {source.name}, which has {source.shape[0]} rows"
        )
    # All rows are read without a selection, which takes HDF5 longer than a few rows.
    some = slice(None) if n == source.shape[0] else slice(first, first + n)
    found: Array = source.text(some) if source.is_text else source[some]
    if isinstance(source, Dataset):
        open_dataset(source.path, source.name)  # it may have been cut off meanwhile
    return found


def read_library(
    source: h5py.Dataset, rows: Rows, window: tuple[slice, ...], out: NDArray[Any]
) -> None:
    """Read windows of rows through h5py; a chunk that several rows share only once."""
    # Into a strided array HDF5 writes value by value, 16 times slower than a copy.
    straight = out.flags.c_contiguous and out.dtype == source.dtype
    together = int(source.chunks[0]) if source.chunks else 1
    for rows_of_run, take, place in runs_of(rows, together):
        if straight and rows_of_run is None and isinstance(place, slice):
            source.read_direct(out, (take, *window), (place,))
            continue
        block = source[(take, *window)]
        out[place] = block if rows_of_run is None else block[rows_of_run]


Run = tuple[NDArray[Any] | None, slice, slice | NDArray[Any]]


def runs_of(rows: Rows, together: int) -> list[Run]:
    """Return (rows within the slice, slice of the dataset, places) of every read.

    Evenly spaced single rows become one slice; runs that share a chunk are read in one
    and picked from that.
    """
    start, count, place = rows.start, rows.count, rows.place
    if len(start) > 2 and (count == 1).all() and (np.diff(place) == 1).all():
        steps = np.diff(start)
        if (steps == steps[0]).all() and steps[0] > 0:
            take = slice(int(start[0]), int(start[-1]) + 1, int(steps[0]))
            return [(None, take, slice(int(place[0]), int(place[0]) + len(start)))]
    runs = list(zip(start.tolist(), count.tolist(), place.tolist(), strict=True))
    found: list[Run] = []
    begin = 0
    while begin < len(runs):
        first, n, at = runs[begin]
        end, last = begin + 1, first + n
        while (
            end < len(runs)
            and 0 <= runs[end][0] // together - (last - 1) // together < 1
            and runs[end][0] >= last
        ):
            last = runs[end][0] + runs[end][1]
            end += 1
        if end == begin + 1:
            found.append((None, slice(first, last), slice(at, at + n)))
        else:
            part = runs[begin:end]
            inside = [np.arange(s - first, s - first + m) for s, m, _ in part]
            places = [np.arange(p, p + m) for _, m, p in part]
            found.append(
                (np.concatenate(inside), slice(first, last), np.concatenate(places))
            )
        begin = end
    return found
