"""Rows read through h5py, where direct reads are not known to be safe."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.lazy import Rows


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
