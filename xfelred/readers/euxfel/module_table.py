"""Where the rows of every module and train of a detector lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, SelectionEmptyError
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.headers import dataset_name
from xfelred.readers.euxfel.run_data import RunData

IntTable = NDArray[np.signedinteger[Any]]  # of any width; see `module_table`


@dataclass(frozen=True, eq=False)
class ModuleTable:
    """Rows of one index group of all modules.

    Attributes
    ----------
    train_ids : uint64 (train,)
    sources : tuple of str
        One for each module.
    targets : tuple of (int, FileIndex)
        Position of a module and one of its files.
    target, first, count : integers (train, module)
        Position in `targets` (-1: no data), first row and number of rows.
    """

    train_ids: NDArray[np.uint64]
    sources: tuple[str, ...]
    targets: tuple[tuple[int, FileIndex], ...]
    target: IntTable
    first: IntTable
    count: IntTable

    def trains(self, keep: NDArray[np.bool_]) -> ModuleTable:
        if keep.all():
            return self
        return replace(
            self,
            train_ids=self.train_ids[keep],
            target=self.target[keep],
            first=self.first[keep],
            count=self.count[keep],
        )

    def columns(self, positions: list[int]) -> slice | list[int]:
        """Return what takes modules, in order, from the arrays; of all, no copy."""
        return slice(None) if len(positions) == len(self.sources) else positions

    def here(self, positions: list[int]) -> NDArray[np.bool_]:
        """Return where modules have data, bool (train, len(positions))."""
        return self.count[:, self.columns(positions)] > 0

    @cached_property
    def token(self) -> str:
        """What tells the rows of all modules and trains from others."""
        return str(tokenize(self.train_ids, self.target, self.first))

    def modules(self, positions: list[int]) -> ModuleTable:
        # Files of the others stay in the list, so that `target` need not change.
        new = {m: i for i, m in enumerate(positions)}
        return replace(
            self,
            sources=tuple(self.sources[m] for m in positions),
            targets=tuple((new.get(m, -1), file) for m, file in self.targets),
            target=self.target[:, positions],
            first=self.first[:, positions],
            count=self.count[:, positions],
        )

    def without(self, targets: list[int]) -> ModuleTable:
        """Return the table in which some files have no data."""
        gone = np.isin(self.target, targets)
        return replace(
            self,
            target=np.where(gone, -1, self.target).astype(self.target.dtype),
            count=np.where(gone, 0, self.count).astype(self.count.dtype),
        )

    def places(self, key: str) -> tuple[tuple[str, str], ...]:
        """Return file and dataset of a key, for every target."""
        return tuple(
            (f.path, dataset_name(self.sources[m], key)) for m, f in self.targets
        )

    def targets_used(self) -> list[int]:
        """Return the positions of the files that hold data of the trains."""
        seen = np.zeros(len(self.targets) + 1, bool)
        for column in self.target.T:  # in stretches of one file
            seen[column[np.append(True, column[1:] != column[:-1])[: len(column)]]] = (
                True  # -1, no data, is the last
            )
        return np.flatnonzero(seen[:-1]).tolist()

    def entries(self, positions: list[int]) -> NDArray[np.int64]:
        """Return the number of entries of each train, int64 (train,).

        The modules at `positions` tell it, others only where none of these has data.
        """
        chosen = (
            self.count[:, self.columns(positions)]
            .max(axis=1, initial=0)
            .astype(np.int64)
        )
        if len(positions) == len(self.sources):
            return chosen
        return np.where(chosen > 0, chosen, self.count.max(axis=1, initial=0))

    def check_alike(self, name: str, positions: list[int]) -> None:
        """Raise InconsistentDataError if modules differ in the entries of a train."""
        if (self.count == self.count[:, :1]).all():
            return
        used = self.count.astype(np.int64)
        others = np.setdiff1d(np.arange(used.shape[1]), positions)
        # A module that is not read matters where it alone tells what a train has.
        silent = (used[:, positions] == 0).all(axis=1)
        used[np.ix_(~silent, others)] = 0
        odd = (used > 0) & (used != self.entries(positions)[:, None])
        if not odd.any():
            return
        train = int(odd.any(axis=1).argmax())
        here = {m: int(n) for m, n in enumerate(used[train]) if n}
        votes = Counter(here.values())
        # Where a train is undecided, what is usual in the run decides.
        often = Counter(used[used > 0].tolist())
        usual = max(votes, key=lambda n: (votes[n], often[n]))
        blamed = ", ".join(
            f"{self.sources[m]} has {n} entries" for m, n in here.items() if n != usual
        )
        raise InconsistentDataError(
            f"Inconsistent frame counts for train {self.train_ids[train]} of {name}:"
            f" {blamed}; {list(here.values()).count(usual)} of {len(here)} modules have"
            f" {usual}. Read the other modules, run.frames(modules=[...]), or other"
            " trains, run.select_trains(...)"
        )

    def trains_with(self, name: str, min_modules: int) -> NDArray[np.bool_]:
        """Return which trains have data of `min_modules` modules; error if none has."""
        n_modules = (self.count > 0).sum(axis=1)
        keep: NDArray[np.bool_] = n_modules >= min_modules
        if not keep.any():
            raise SelectionEmptyError(
                f"no train of {name} has data of at least {min_modules} modules:"
                f" {len(self.train_ids)} trains and {len(self.sources)} modules were"
                f" looked at, at most {int(n_modules.max(initial=0))} modules have"
                " data in one train"
            )
        return keep


def module_table(data: RunData, sources: tuple[str, ...], group: str) -> ModuleTable:
    shape = (len(data.ids), len(sources))
    # Of a week's run these are the largest arrays in memory and in the graph.
    target: IntTable = np.full(shape, -1, np.int16)
    first: IntTable = np.zeros(shape, np.int32)
    count: IntTable = np.zeros(shape, np.int16)
    targets: list[tuple[int, FileIndex]] = []
    for m, name in enumerate(sources):
        source = data.entries[name].with_ids(data.ids)
        found = source.located(group)
        file = np.where(found.count > 0, found.file + len(targets), -1)
        target = with_column(target, m, file)
        first = with_column(first, m, found.first)
        count = with_column(count, m, found.count)
        targets += [(m, f) for f in source.all_files]
    return ModuleTable(data.ids, sources, tuple(targets), target, first, count)


def with_column(table: IntTable, m: int, column: IntTable) -> IntTable:
    """Put a column into a table; return a wider table if it does not fit."""
    if column.max(initial=0) > np.iinfo(table.dtype).max:
        table = table.astype(np.int64)
    table[:, m] = column
    return table
