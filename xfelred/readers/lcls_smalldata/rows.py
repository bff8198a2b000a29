"""Reading the rows of some events: in the order of the file, then put in place."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.hdf5.rows import open_dataset, read_rows
from xfelred.lazy import Rows
from xfelred.lazy.guarded import refuse_too_large
from xfelred.lazy.indexing import Selector
from xfelred.readers.lcls_smalldata.columns import Column
from xfelred.readers.lcls_smalldata.ids import MISSING, Events

GAP = 512  # rows that are read for nothing rather than started anew behind them


@dataclass(frozen=True, eq=False)
class Pick:
    """How to take some rows of a dataset."""

    runs: Rows  # what is read, in the order of the file, into a buffer of `size` rows
    size: int
    take: NDArray[np.int64] | None  # position in the buffer of each; None: all in order


def pick_of(row: NDArray[np.int64], gap: int = GAP) -> Pick:
    """Return how to take rows in any order."""
    ordered = row if (row[1:] > row[:-1]).all() else np.sort(row)
    new = np.ones(len(ordered), bool)
    new[1:] = np.diff(ordered) > gap
    begin = np.flatnonzero(new)
    start = ordered[begin]
    last = ordered[np.append(begin[1:], len(ordered)) - 1] if len(ordered) else start
    count = last - start + 1
    place = np.cumsum(count) - count
    size = int(count.sum())
    if size == len(row) and ordered is row:
        return Pick(Rows(start, count, place), size, None)
    which = np.searchsorted(start, row, side="right") - 1
    return Pick(Rows(start, count, place), size, row - start[which] + place[which])


def read_sorted(
    path: str,
    dataset: str,
    rows: Rows,
    entry: tuple[Selector, ...],
    out: NDArray[Any],
) -> None:
    """Read as `read_rows` does, in the order of the file; see `xfelred.lazy.RowReader`.

    Rows of events side by side lie far apart where several processes have written;
    rows that share a stored piece must be asked for together to be read once.
    """
    if len(rows.start) > 1 and (np.diff(rows.start) < 0).any():
        order = np.argsort(rows.start, kind="stable")
        rows = Rows(rows.start[order], rows.count[order], rows.place[order])
    read_rows(path, dataset, rows, entry, out)


class EventReader:
    """Reads columns at some events; how to pick their rows is found out once."""

    def __init__(self, paths: tuple[str, ...], events: Events) -> None:
        self.paths, self.events = paths, events
        self.picks: dict[int, tuple[NDArray[np.int64] | None, Pick]] = {}

    def pick(self, file: int) -> tuple[NDArray[np.int64] | None, Pick]:
        """Return (positions of the events in a file or None: all, how to take them)."""
        if file not in self.picks:
            at = None
            if len(self.paths) > 1:
                at = np.flatnonzero(self.events.file == file)
            row = self.events.row if at is None else self.events.row[at]
            self.picks[file] = at, pick_of(row)
        return self.picks[file]

    def read(self, column: Column) -> NDArray[Any]:
        """Return a column (event, ...), with nothing for files that lack it."""
        out: NDArray[Any] | None = None
        n, name, dtype = len(self.events.ids), column.name, column.dtype
        shape = column.shape[1:]
        for i, path in enumerate(self.paths):
            at, pick = self.pick(i)
            if column.rows[i] < 0:
                n_rows = pick.size if pick.take is None else len(pick.take)
                values = np.full((n_rows, *shape), nothing(dtype))
            else:
                values = read_picked(path, name, dtype, shape, pick)
            if at is None:
                return values
            if out is None:
                out = np.empty((n, *shape), values.dtype)
            out = out.astype(np.result_type(out.dtype, values.dtype), copy=False)
            out[at] = values
        return np.empty((n, *shape), dtype) if out is None else out


def nothing(dtype: np.dtype[Any]) -> Any:
    """Return what stands for a missing value of a dtype, as the writer does."""
    if dtype.kind == "f":
        return dtype.type(np.nan)
    if dtype.kind == "i" and np.iinfo(dtype).min <= MISSING:
        return dtype.type(MISSING)
    return np.float64(np.nan) if dtype.kind in "iub" else ""


def read_picked(
    path: str, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], pick: Pick
) -> NDArray[Any]:
    if dtype.kind in "OSV":
        return read_objects(path, name, pick)
    size = pick.size * prod(shape) * dtype.itemsize
    refuse_too_large(size, size, (pick.size, *shape), f"{name} in {path}")
    buffer = np.empty((pick.size, *shape), dtype.newbyteorder("="))
    entry = tuple(slice(0, n, 1) for n in shape)
    read_rows(path, name, pick.runs, entry, buffer)
    return buffer if pick.take is None else buffer[pick.take]


def read_objects(path: str, name: str, pick: Pick) -> NDArray[Any]:
    """Return rows of texts or of arrays of different lengths, as objects."""
    dataset = open_dataset(path, name)
    runs = zip(pick.runs.start.tolist(), pick.runs.count.tolist(), strict=True)
    some = [slice(s, s + n) for s, n in runs]
    parts = [dataset.text(s) if dataset.is_text else dataset[s] for s in some]
    if not parts:
        return np.empty(0, object)
    values = np.concatenate(parts)
    return values if pick.take is None else values[pick.take]
