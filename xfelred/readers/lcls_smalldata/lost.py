"""Images that the writer had not: frames in which every pixel is the missing code.

A file with ``damage/<detector>`` should say which these are, one without does not. A
few pixels of every image are looked at, and whole images only where these are all
codes: an image is lost if all of its pixels are. Packed images, of which no pixel can
be read alone, are looked at as far as that is quick.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import warn
from xfelred.hdf5 import open_dataset
from xfelred.lazy import Rows
from xfelred.readers.lcls_smalldata.columns import Column
from xfelred.readers.lcls_smalldata.ids import MISSING, Events, Ids, wrapped_code
from xfelred.readers.lcls_smalldata.rows import read_sorted
from xfelred.readers.lcls_smalldata.run_data import RunData

Bools = NDArray[np.bool_]
PROBES = 3  # pixels: one tells nearly all images, the others those with bad pixels
BLOCK = 64 << 20  # bytes of whole images that are looked at together
# Bytes that may be unpacked before an array is there, a second or so.
QUICK = 128 << 20
# Images of one value pack to less than a hundredth of their size by any filter.
PACKED_AWAY = 0.02
AT_ONCE, THREADS = 2048, 16
NOT_PROBED, PRESENT, LOST = -1, 0, 1


def lost_images(
    run: RunData, column: Column, stream: str, ids: Ids, *, told: bool
) -> Bools:
    """Return which images the writer lacked, bool (event,); said once for a column.

    `ids` are those of the selected events whose data are there as far as the file
    tells. If it tells (`told`) nothing is said of images that are not looked at.
    """
    everything = run.stream_events(stream)
    states: NDArray[np.int8] = run.memo.setdefault(
        f"lost {column.name}", np.full(len(everything.ids), NOT_PROBED, np.int8)
    )
    at = np.searchsorted(everything.ids, ids)
    new = at[states[at] == NOT_PROBED]
    if len(new):
        found = probed(run, column, everything.take(new), told=told)
        states[new] = np.where(found, LOST, PRESENT)
        say_lost(run, column, found)
    return states[at] == LOST


def say_lost(run: RunData, column: Column, lost: Bools) -> None:
    n = int(lost.sum())
    if n and not run.memo.get(f"said {column.name}"):
        run.memo[f"said {column.name}"] = True
        warn(
            f"{n} of {len(lost)} images of {column.name} in {run.run_id} hold nothing"
            f" but the code for a missing value ({MISSING} or NaN, or were never"
            " written): they are no frames (available is False)"
        )


def probed(run: RunData, column: Column, events: Events, *, told: bool) -> Bools:
    out = np.zeros(len(events.ids), bool)
    for i, file in enumerate(run.files):
        at = np.flatnonzero(events.file == i)
        if column.rows[i] < 0 or not len(at):
            continue
        out[at] = lost_rows(file.path, column.name, events.row[at], told=told)
    return out


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one file, and what stands for a missing one."""

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    codes: tuple[Any, ...]

    def read(self, rows: NDArray[np.int64], window: tuple[slice, ...]) -> NDArray[Any]:
        """Return a window of some images (row, *window)."""
        lengths = (w.stop - w.start for w in window)
        out = np.empty((len(rows), *lengths), self.dtype)

        def read(start: int) -> None:
            some = slice(start, start + AT_ONCE)
            read_sorted(self.path, self.name, runs_of(rows[some]), window, out[some])

        starts = range(0, len(rows), AT_ONCE)
        if len(starts) < 2:
            list(map(read, starts))
        else:  # a pixel costs no bytes, but a distant disk answers each of them late
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(read, starts))
        return out

    def missing(self, values: NDArray[Any]) -> Bools:
        """Return in which images all of the values are one code, bool (image,)."""
        flat = values.reshape(len(values), prod(values.shape[1:]))
        out = np.zeros(len(flat), bool)
        if self.dtype.kind == "f":
            out |= np.isnan(flat).all(axis=1)
        for code in self.codes:
            out |= (flat == code).all(axis=1)
        return out


def lost_rows(path: str, name: str, rows: NDArray[np.int64], *, told: bool) -> Bools:
    """Return which rows of a dataset are lost images, bool (row,)."""
    dataset = open_dataset(path, name)
    dtype = dataset.dtype.newbyteorder("=")
    codes = missing_codes(dtype, dataset.fillvalue)
    images = Images(path, name, dataset.shape[1:], dtype, codes)
    lost = never_written(path, name, rows)
    left = np.flatnonzero(~lost)
    left = left[quick(path, name, rows[left], told=told)]
    for pixel in probe_pixels(images.shape):
        window = tuple(slice(i, i + 1, 1) for i in pixel)
        left = left[images.missing(images.read(rows[left], window))]
    n = max(1, BLOCK // max(1, prod(images.shape) * dtype.itemsize))
    whole = tuple(slice(0, k, 1) for k in images.shape)
    for i in range(0, len(left), n):
        some = left[i : i + n]
        lost[some] = images.missing(images.read(rows[some], whole))
    return lost


def missing_codes(dtype: np.dtype[Any], fill_value: object) -> tuple[Any, ...]:
    """Return what stands for a missing value in images of a dtype, but for NaN.

    Integers of fewer bits hold what is left of -99999 in them. A fill value other than
    0 is there to tell rows that nobody wrote.
    """
    code = dtype.type(MISSING) if dtype.kind == "f" else wrapped_code(dtype)
    own = np.asarray(fill_value).astype(dtype)[()]
    return (code,) if own == 0 or own != own else (code, own)


def never_written(path: str, name: str, rows: NDArray[np.int64]) -> Bools:
    """Return of which rows the file has no piece."""
    dataset = open_dataset(path, name)
    out = np.zeros(len(rows), bool)
    if not dataset.chunks or not len(rows):
        return out
    grid = [-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.n_chunks == prod(grid):
        return out
    there = np.zeros(grid[0], bool)
    there[[row // dataset.chunks[0] for row, _ in dataset.stored_chunks()]] = True
    return ~there[rows // dataset.chunks[0]]


def quick(path: str, name: str, rows: NDArray[np.int64], *, told: bool) -> Bools:
    """Return which rows can be looked at without unpacking much, bool (row,)."""
    dataset = open_dataset(path, name)
    out = np.ones(len(rows), bool)
    if not dataset.chunks or not dataset.packed:
        return out
    per_chunk = dataset.chunks[0]
    size = prod(dataset.chunks) * dataset.dtype.itemsize
    if len(np.unique(rows // per_chunk)) * size <= QUICK:
        return out
    small = np.zeros(-(-dataset.shape[0] // per_chunk), bool)
    if per_chunk == 1:
        for row, n_bytes in dataset.stored_chunks():
            small[row] = n_bytes < PACKED_AWAY * size
        out = small[rows]
        if int(out.sum()) * size <= QUICK:
            return out
    if told:
        return np.zeros(len(rows), bool)
    warn(
        f"{name} in {path} is packed, and there is no damage/{name.rpartition('/')[0]}:"
        " whether some of its images hold nothing but the code for a missing value was"
        " not looked at"
    )
    return np.zeros(len(rows), bool)


def probe_pixels(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return some pixels that lie far apart."""
    size = prod(shape)
    flat = {int(size * (2 * i + 1) / (2 * PROBES + 1)) for i in range(PROBES)}
    return [tuple(map(int, np.unravel_index(i, shape))) for i in sorted(flat)]


def runs_of(rows: NDArray[np.int64]) -> Rows:
    new = np.ones(len(rows), bool)
    new[1:] = np.diff(rows) != 1
    start = np.flatnonzero(new)
    count = np.diff(start, append=len(rows))
    return Rows(rows[start], count, start)
