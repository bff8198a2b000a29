"""Where the rows of each train lie: which file, which rows."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, Self
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError, listing
from xfelred.hdf5 import Dataset, open_group
from xfelred.readers.by_train import ByTrain
from xfelred.readers.euxfel.files import FileIndex, IndexArrays
from xfelred.readers.selection import TrainIDs

# Of the selected trains in one file: a list of so many rows takes 32 MiB. Below, it is
# not worth a look at all datasets of the group.
MANY_ROWS = 2**22


@dataclass(frozen=True)
class Index:
    """An index group of a source, empty for a control source, and whose trains count.

    Without suspect trains what a file itself regards as suspect is ignored.
    """

    source: str
    group: str
    suspect: bool

    @property
    def name(self) -> str:
        return f"INDEX/{self.source}/{self.group}".rstrip("/")


@dataclass(frozen=True, eq=False)
class Location:
    """Position in the list of files (-1: in none), first row and number of rows.

    These arrays have one element for every train. `order` holds the positions of the
    trains with data in the order in which single sources are read: train order, but
    within an unbroken stretch of a file the order of the file.
    """

    file: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int64]
    order: NDArray[np.int64]
    # What it was made of must live as long as `LOCATIONS` knows it by the identity.
    parts: tuple[object, ...] = field(default=(), repr=False)
    # What was asked for last of trains that follow each other; see `ahead`.
    following: dict[tuple[int, int], tuple[range, int]] = field(
        default_factory=dict, repr=False
    )

    def without(self, gone: NDArray[np.bool_]) -> Location:
        """Return the location in which some trains have no data."""
        file, count = np.where(gone, -1, self.file), np.where(gone, 0, self.count)
        return Location(file, self.first, count, self.order[~gone[self.order]])

    @cached_property
    def files_used(self) -> NDArray[np.int64]:
        seen = np.zeros(int(self.file.max(initial=-1)) + 1, bool)
        seen[self.file[self.count > 0]] = True
        return np.flatnonzero(seen)

    def per_row(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what each train has, for each of its rows in the order of reading."""
        return np.repeat(values[self.order], self.count[self.order])


# Thousands of slow sources have the same rows in the same files: see `alike`.
LOCATIONS: WeakValueDictionary[tuple[object, ...], Location] = WeakValueDictionary()


def places_among(
    known: TrainIDs, ids: TrainIDs
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return where IDs stand among sorted ones, and which of them are there at all."""
    # Those of a file mostly follow each other among those of the run.
    start = int(np.searchsorted(known, ids[0])) if len(ids) else 0
    if np.array_equal(known[start : start + len(ids)], ids):
        return np.arange(start, start + len(ids)), np.ones(len(ids), bool)
    at = np.searchsorted(known, ids)
    here = at < len(known)
    here[here] = known[at[here]] == ids[here]
    return at, here


def accepted_ids(file: FileIndex, inc_suspect_trains: bool) -> TrainIDs:
    return file.train_ids if inc_suspect_trains else file.train_ids[file.valid]


def locate(files: tuple[FileIndex, ...], index: Index, train_ids: TrainIDs) -> Location:
    """Return where the rows of each of some sorted trains lie, in files of a source."""
    rows: list[IndexArrays | None] = []
    for file in files:
        own = accepted_ids(file, index.suspect)
        here = places_among(train_ids, own)[1].any() and not lacks_group(file, index)
        rows.append(file.index(index.source, index.group) if here else None)
    known = [pair for pair in rows if pair is not None]
    parts = (train_ids, *files, *(array for pair in known for array in pair))
    # So many rows are compared with what the source itself has.
    many = any(int(count.sum()) > MANY_ROWS for _, count in known)
    key = (index if many else index.suspect, *map(id, parts))
    found = LOCATIONS.get(key)
    if found is None:
        made = located(files, index, train_ids, rows)
        found = LOCATIONS[key] = replace(made, parts=parts)
    return found


def located(
    files: tuple[FileIndex, ...],
    index: Index,
    train_ids: TrainIDs,
    rows_of: list[IndexArrays | None],
) -> Location:
    """Return the location; `rows_of` has first and count of each file that matters."""
    n = len(train_ids)
    where, first_row, n_rows = np.full(n, -1), np.zeros(n, int), np.zeros(n, int)
    stretches: list[NDArray[np.int64]] = []
    for i, (file, own) in enumerate(zip(files, rows_of, strict=True)):
        if own is None:
            continue
        whole = index.suspect or bool(file.valid.all())
        use = slice(None) if whole else np.flatnonzero(file.valid)
        at, match = places_among(train_ids, file.train_ids[use])
        if whole and match.all() and (np.diff(at) == 1).all():
            span: slice | NDArray[np.intp] = slice(int(at[0]), int(at[-1]) + 1)
            stretches.append(at)
        else:
            use = np.arange(len(file.train_ids))[use][match]
            span = at[match]
            # Left-out trains break a stretch too: their rows lie in between.
            stretches += np.split(span, np.flatnonzero(np.diff(use) > 1) + 1)
        rows = own[0][use], own[1][use]
        check_rows(file, index, file.train_ids[use], rows)
        where[span] = i
        first_row[span], n_rows[span] = rows
    # A file may hold trains out of order; its stretches are read as they stand.
    stretches.sort(key=lambda s: (int(s[0]), int(s[-1])))
    order = np.concatenate(stretches) if stretches else np.zeros(0, int)
    return Location(where, first_row, n_rows, order[n_rows[order] > 0])


def lacks_group(file: FileIndex, index: Index) -> bool:
    """Return whether a file has neither an index nor data of a group of a source."""
    if not index.group or index.group in file.groups.get(index.source, ()):
        return False
    return open_group(file.path, f"INSTRUMENT/{index.source}/{index.group}") is None


def has_rows(file: FileIndex, index: Index, ids: TrainIDs) -> bool:
    """Return whether a file holds rows of a group, for some of the trains."""
    if lacks_group(file, index):
        return False
    here = places_among(ids, file.train_ids)[1]
    if not index.suspect:
        here &= file.valid
    return bool((file.index(index.source, index.group)[1][here] > 0).any())


def check_rows(file: FileIndex, index: Index, ids: TrainIDs, rows: IndexArrays) -> None:
    """Raise BrokenFileError where an index points to rows that cannot be.

    What no dataset can have is always refused. More rows than the source has are
    refused here only if there are so many that a list of them fills the memory; else
    they are found when they are read, and cost only the trains that have them.
    """
    first, count = rows
    wrong = (count < 0) | ((first < 0) & (count > 0))
    if not wrong.any() and int(count.sum()) > MANY_ROWS:
        wrong = (count > 0) & (first.astype(np.int64) + count > most_rows(file, index))
    if wrong.any():
        raise BrokenFileError(
            f"{file.path} is damaged: first and count in {index.name} point to rows"
            f" that {index.source} does not have, for {int(wrong.sum())} trains:"
            f" {listing(ids[wrong], 3)}. Leave them out (select_trains), or get"
            " another copy of the file"
        )


def most_rows(file: FileIndex, index: Index) -> int:
    """Return the rows of the longest dataset of an index group."""
    section = "INSTRUMENT" if index.group else "CONTROL"
    found = open_group(file.path, f"{section}/{index.source}/{index.group}".rstrip("/"))
    lengths = (
        item.shape[0]
        for _, item in (() if found is None else found.walk())
        if isinstance(item, Dataset) and item.shape
    )
    return max(lengths, default=0)


def files_with(
    files: tuple[FileIndex, ...], ids: TrainIDs, inc_suspect_trains: bool
) -> tuple[FileIndex, ...]:
    """Return the files that hold some of the trains; the first file if none does."""
    trains = ((f, accepted_ids(f, inc_suspect_trains)) for f in files)
    held = tuple(f for f, own in trains if places_among(ids, own)[1].any())
    return held or files[:1]


def all_train_ids(files: tuple[FileIndex, ...], inc_suspect_trains: bool) -> TrainIDs:
    """Return the sorted train IDs that at least one file accepts."""
    # Files of other modules have the same trains, in one array: see `alike`.
    found = {
        (id(f.train_ids), id(f.valid)): accepted_ids(f, inc_suspect_trains)
        for f in files
    }
    if not found:
        return np.zeros(0, np.uint64)
    ids = in_order(list(found.values()))
    return ids[np.append(True, ids[1:] != ids[:-1])[: len(ids)]]


def in_order(parts: list[TrainIDs]) -> TrainIDs:
    """Return the IDs of all files, sorted; those of a file mostly are already."""
    ids = np.concatenate(parts)
    if not (ids[1:] < ids[:-1]).any():
        return ids
    # Sorts what is a few sorted stretches in linear time; np.unique takes ten times it.
    return np.sort(ids, kind="stable")


def check_conflicts(
    sources: dict[str, tuple[FileIndex, ...]], inc_suspect_trains: bool
) -> None:
    """Raise InconsistentDataError where one source has the same train twice."""
    checked: set[tuple[int, ...]] = set()
    for source, files in sources.items():
        # Most sources share their files, or have the same trains; see `alike`.
        key = tuple(part for f in files for part in (id(f.train_ids), id(f.valid)))
        if key in checked:
            continue
        checked.add(key)
        own = [accepted_ids(f, inc_suspect_trains) for f in files]
        ids = in_order(own)
        repeated = ids[1:][ids[1:] == ids[:-1]]
        if len(repeated):
            twice = np.unique(repeated)
            where = [f.path for f in files if np.isin(twice[0], f.train_ids)]
            raise InconsistentDataError(
                f"conflicting data: source {source!r} has train {twice[0]}"
                f"{f' and {len(twice) - 1} more' if len(twice) > 1 else ''} twice, in"
                f" {', '.join(where)}. If these trains are suspect, open the run with"
                " inc_suspect_trains=False"
            )


@dataclass(frozen=True, eq=False)
class SourceFiles(ByTrain):
    """The files of a source, for the selected trains.

    Attributes
    ----------
    source : str
        Name by which it was asked for, an old one perhaps.
    section : {"CONTROL", "INSTRUMENT"}
    all_files : tuple of FileIndex
        The files that hold the source.
    ids : uint64 (n,)
        Selected train IDs.
    inc_suspect_trains : bool
    present_name : str or None
        Name as in the files, if it was asked for by an old one.
    single : bool
        Whether all files are of one run.
    """

    source: str
    section: Literal["CONTROL", "INSTRUMENT"]
    all_files: tuple[FileIndex, ...]
    ids: TrainIDs
    inc_suspect_trains: bool = True
    present_name: str | None = None
    single: bool = True

    def with_ids(self, ids: TrainIDs) -> Self:
        return replace(self, ids=ids)

    @property
    def is_single_run(self) -> bool:
        """Whether all data come from one run."""
        return self.single

    @property
    def is_auxiliary(self) -> bool:
        """False: sources that describe a reduction of data are not read."""
        return False

    @property
    def is_control(self) -> bool:
        """Whether this is slow data, one row per train."""
        return self.section == "CONTROL"

    @property
    def is_instrument(self) -> bool:
        """Whether this is fast data, any number of rows per train."""
        return self.section == "INSTRUMENT"

    @property
    def canonical_name(self) -> str:
        """The present name of the source."""
        return self.present_name or self.source

    @cached_property
    def files(self) -> tuple[FileIndex, ...]:
        """The files that hold selected trains; one file if there are none."""
        return files_with(self.all_files, self.ids, self.inc_suspect_trains)

    def files_with_rows(self, group: str) -> list[FileIndex]:
        """Return the files that hold rows of selected trains, of one index group."""
        index = Index(self.canonical_name, group, self.inc_suspect_trains)
        return [file for file in self.files if has_rows(file, index, self.ids)]

    def located(self, group: str) -> Location:
        """Return where each selected train lies, for one index group."""
        index = Index(self.canonical_name, group, self.inc_suspect_trains)
        return locate(self.all_files, index, self.ids)
