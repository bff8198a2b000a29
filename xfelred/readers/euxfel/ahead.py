"""Values of many keys train by train, read for several trains at once.

Thousands of slow keys have one number in each train. To open and to read a dataset for
one number takes as long as for a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import find_dataset
from xfelred.hdf5.rows import read_entries
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.locate import Location
from xfelred.readers.euxfel.run_data import RunData

AHEAD = 64 << 20  # bytes that are read before they are asked for, of all keys together


class Values:
    """The values of one key, asked for train after train."""

    def __init__(self, key: KeyData, where: Location, n_bytes: int) -> None:
        self.key, self.where, self.n_bytes = key, where, n_bytes
        self.known = range(0)  # trains whose rows are in memory
        self.first = 0  # of these rows
        self.rows: NDArray[np.generic] = np.empty(0)

    def of(self, i: int, tid: np.uint64) -> NDArray[np.generic]:
        """Return the entries of the train at a position; none: of any shape."""
        n = int(self.where.count[i])
        if not n:
            return np.empty(0)
        if i not in self.known and not self.read(i):
            return self.key.train_values(tid)
        at = int(self.where.first[i]) - self.first
        return self.rows[at : at + n]

    def read(self, i: int) -> bool:
        """Read a train and those behind it; False if it is better read alone."""
        path = self.key.all_files[int(self.where.file[i])].path
        name = self.key.hdf5_data_path
        try:
            dataset = find_dataset(path, name)
            if dataset is None or not dataset.shape:
                return False  # said by who reads it
            each = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
            trains, n_rows = following(self.where, i, self.n_bytes // max(each, 1))
            if len(trains) < 2:
                return False
            first = int(self.where.first[i])
            self.rows = read_entries(path, name, first, n_rows)
        except BrokenFileError:
            return False  # a damaged train costs itself, not those before it
        self.first, self.known = first, trains
        return True


def following(where: Location, i: int, most: int) -> tuple[range, int]:
    """Return the trains from one on whose rows follow each other in a file.

    They have at most so many rows, which are the second result.
    """
    part = slice(i, i + most)
    count, first = where.count[part], where.first[part]
    end = np.cumsum(count)
    follow = (where.file[part] == where.file[i]) & (first == first[:1] + end - count)
    follow = (follow | (count == 0)) & (end <= most)
    n = len(follow) if follow.all() else int(follow.argmin())
    return range(i, i + n), int(end[n - 1]) if n else 0


def values_of(run: RunData) -> Iterator[Values]:
    """Yield what reads each key of a run, for the trains of the run."""
    keys = [(e, sorted(e.keys())) for _, e in sorted(run.entries.items())]
    n_bytes = AHEAD // max(sum(len(names) for _, names in keys), 1)
    for source, names in keys:
        places: dict[str, Location] = {}
        for name in names:
            key = source.key_data(name)
            group = key.index_group
            if group not in places:
                found = source.with_ids(run.ids).located(group)
                if source.ids is not run.ids:
                    found = found.without(~np.isin(run.ids, source.ids))
                places[group] = found
            yield Values(key, places[group], n_bytes)
