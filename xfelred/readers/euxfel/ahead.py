"""Values of many keys train by train, read for several trains at once.

Thousands of slow keys have one number in each train. To open and to read a dataset for
one number takes as long as for a hundred.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import find_dataset
from xfelred.hdf5.rows import entries_of
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.extra_data.source_data import SourceData
from xfelred.readers.euxfel.locate import Location
from xfelred.readers.euxfel.run_data import RunData

AHEAD = 64 << 20  # bytes that are read before they are asked for, of all keys together
LEAST = 1 << 10  # of one key

Rows = NDArray[np.generic]


class Values:
    """The values of one key, asked for train after train."""

    def __init__(self, key: KeyData, where: Location, n_bytes: int) -> None:
        self.key, self.where, self.n_bytes = key, where, n_bytes
        # Trains whose rows are in memory, the first of these rows, and the rows:
        # together, as several threads may look at several trains.
        self.held: tuple[range, int, Rows] = (range(0), 0, np.empty(0))

    def of(self, i: int, tid: np.uint64) -> Rows:
        """Return the entries of the train at a position; none: of any shape."""
        n = int(self.where.count[i])
        if not n:
            return np.empty(0)
        known, first, rows = self.held
        if i not in known:
            read = self.read(i)
            if read is None:
                return self.key.train_values(tid)
            self.held = _, first, rows = read
        at = int(self.where.first[i]) - first
        return rows[at : at + n]

    def read(self, i: int) -> tuple[range, int, Rows] | None:
        """Read a train and those behind it; None if it is better read alone."""
        path = self.key.all_files[int(self.where.file[i])].path
        name = self.key.hdf5_data_path
        try:
            dataset = find_dataset(path, name)
            if dataset is None or not dataset.shape:
                return None  # said by who reads it
            each = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
            trains, n_rows = following(self.where, i, self.n_bytes // max(each, 1))
            if len(trains) < 2:
                return None
            first = int(self.where.first[i])
            return trains, first, entries_of(dataset, first, n_rows)
        except BrokenFileError:
            return None  # a damaged train costs itself, not those before it


def following(where: Location, i: int, most: int) -> tuple[range, int]:
    """Return the trains from one on whose rows follow each other in a file.

    They have at most so many rows, which are the second result.
    """
    known = where.following.get((i, most))
    if known is None:
        part = slice(i, i + most)
        count, first = where.count[part], where.first[part]
        end = np.cumsum(count)
        follow = where.file[part] == where.file[i]
        follow &= first == first[:1] + end - count
        follow = (follow | (count == 0)) & (end <= most)
        n = len(follow) if follow.all() else int(follow.argmin())
        known = range(i, i + n), int(end[n - 1]) if n else 0
        where.following.clear()  # the keys of a source ask one behind the other
        where.following[i, most] = known
    return known


class SourceValues:
    """The values of all keys of a source, looked up when one is first asked for."""

    def __init__(self, run: RunData, source: SourceData) -> None:
        self.run, self.source = run, source

    @cached_property
    def keys(self) -> list[Values]:
        names = sorted(self.source.keys())
        # Few bytes of each do no harm, though all of the keys be asked for.
        share = AHEAD // len(self.run.entries) // max(len(names), 1)
        places: dict[str, Location] = {}
        found = []
        for name in names:
            key = self.source.key_data(name)
            group = key.index_group
            if group not in places:
                place = self.source.with_ids(self.run.ids).located(group)
                if self.source.ids is not self.run.ids:
                    place = place.without(~np.isin(self.run.ids, self.source.ids))
                places[group] = place
            found.append(Values(key, places[group], max(share, LEAST)))
        return found

    def of(self, i: int, tid: np.uint64, keep_dims: bool) -> dict[str, Any]:
        """Return what the train at a position has of each key that has something."""
        values = ((one.key.key, one.of(i, tid)) for one in self.keys)
        return {
            key: found if len(found) != 1 or keep_dims else found[0]
            for key, found in values
            if len(found)
        }
