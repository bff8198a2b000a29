"""Which event a row of a small-data file is: the ID columns and their flavours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import (
    BrokenFileError,
    InconsistentDataError,
    UnknownFormatError,
    warn,
)
from xfelred.hdf5 import Group, open_dataset, open_group
from xfelred.hdf5.remembered import Facts, remembered
from xfelred.readers.lcls_times import LCLS2_EPOCH

Ids = NDArray[np.uint64]

KEPT = "LCLS small data 1"  # another number where a file is read in another way
SLOW = "intg/timestamp"
MISSING = -99999  # what the writer puts into integers where it has nothing


def wrapped_code(dtype: np.dtype[Any]) -> Any:
    """Return what is left of the missing code in the bits of an integer dtype."""
    code = MISSING % (1 << 8 * dtype.itemsize)
    return np.array(code, np.uint64).astype(dtype.newbyteorder("="))[()]


@dataclass(frozen=True)
class Flavour:
    """How a generation of files names its events."""

    name: str
    column: str  # dataset of the IDs
    second: str | None  # that of the fiducials, which tell apart events of one time
    epoch: int | None  # second since 1970 at which times start; None: IDs are no times
    train: str  # long name of the IDs

    @property
    def names(self) -> frozenset[str]:
        """Datasets that tell events from each other, and are no data."""
        return frozenset(n for n in (self.column, self.second) if n)


LCLS1 = "LCLS1"
TRAINS = "trainId"
TWO_COLUMNS = "EvtID/time"  # of old files: seconds and nanoseconds
FLAVOURS = (
    Flavour(LCLS1, "event_time", "fiducials", 0, "event_time (seconds << 32 | ns)"),
    Flavour(LCLS1, TWO_COLUMNS, "EvtID/fid", 0, "event time (seconds << 32 | ns)"),
    Flavour(
        "LCLS2", "timestamp", None, LCLS2_EPOCH,
        "timestamp (seconds since 1990 << 32 | ns)",
    ),
    # What xfelred writes for runs of other facilities.
    Flavour("trains", TRAINS, None, None, "train ID"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Events:
    """The events of a run, sorted by ID, and the row of each."""

    ids: Ids  # (event,)
    file: NDArray[np.int32]  # (event,), position of its file
    row: NDArray[np.int64]  # (event,), row in that file
    n_rows: tuple[int, ...]  # of each file

    def at(self, ids: Ids) -> Events:
        if len(ids) == len(self.ids):
            return self
        return self.take(np.searchsorted(self.ids, ids))

    def take(self, at: NDArray[np.intp]) -> Events:
        return Events(self.ids[at], self.file[at], self.row[at], self.n_rows)


@dataclass(frozen=True, eq=False)
class Part:
    """A file, and the ID of every row of it; see `read_ids`."""

    path: str
    flavour: Flavour
    ids: Ids


def flavour_of(group: Group) -> Flavour | None:
    """Return how a file names its events, None if it does not."""
    known = (f for f in FLAVOURS if group.dataset(f.column) is not None)
    return next(known, None)


def root(path: str) -> Group:
    found = open_group(path, "/")
    if found is None:
        raise BrokenFileError(f"{path} has no root group")
    return found


def flavour_in(path: str) -> Flavour:
    found = flavour_of(root(path))
    if found is None:
        looked = ", ".join(f.column for f in FLAVOURS)
        raise UnknownFormatError(
            f"{path} has no column that names events: looked for {looked}. It is no"
            " small-data file, or its writer did not finish"
        )
    return found


def read_ids(path: str, column: str) -> Ids:
    """Return the ID of every row; 0 where the writer had none."""
    values = flat(read_column(path, column))
    if values.dtype.kind not in "iu":
        raise InconsistentDataError(
            f"{column} in {path} is {values.dtype}; IDs of events are whole numbers"
        )
    if column == TWO_COLUMNS and values.ndim == 2 and values.shape[1] == 2:
        values = (values[:, 0].astype(np.int64) << 32) | values[:, 1].astype(np.int64)
    if values.ndim != 1:
        raise InconsistentDataError(
            f"{column} in {path} has shape {values.shape}; it needs one ID per row"
        )
    if values.dtype.kind == "i":
        values = np.maximum(values, 0)  # the code for nothing is negative
    return values.astype(np.uint64)


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """Return a table of one column, as some writers store numbers, as the column."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def read_column(path: str, name: str) -> NDArray[Any]:
    return np.asarray(open_dataset(path, name)[()])


def read_part(path: str) -> Part:
    """Return how a file names its events, and their IDs, from the user's cache."""
    facts = remembered(path, f"{KEPT} IDs", lambda: facts_of(path))
    return Part(path, FLAVOURS[facts["flavour"]], facts["ids"])


def facts_of(path: str) -> Facts:
    flavour = flavour_in(path)
    ids = read_ids(path, flavour.column)
    other = root(path).dataset(flavour.second) if flavour.second else None
    if other is not None and other.shape[:1] != (len(ids),):
        raise InconsistentDataError(
            f"{path} has {len(ids)} rows of {flavour.column}, but {flavour.second} has"
            f" shape {other.shape}: its writer did not finish. Copy the file again, or"
            " write it again"
        )
    return {"flavour": FLAVOURS.index(flavour), "ids": ids}


def slow_ids(path: str) -> Ids | None:
    """Return the IDs of the rows of slow detectors, None if there are none."""

    def find() -> Facts:
        here = root(path).dataset(SLOW) is not None
        return {"ids": read_ids(path, SLOW) if here else None}

    ids: Ids | None = remembered(path, f"{KEPT} slow IDs", find)["ids"]
    return ids


def events_of(
    paths: Sequence[str], found: Sequence[Ids], *, numbers: bool, what: str = "event"
) -> Events:
    """Return the events of files with some IDs, sorted by ID.

    Rows of parallel writers are not in the order of time. An ID that comes again keeps
    its first row; one warning counts such rows. See `sorted_events` for `numbers`.
    """
    n_rows = tuple(map(len, found))
    ids = np.concatenate(found) if found else np.zeros(0, np.uint64)
    file = np.repeat(np.arange(len(paths), dtype=np.int32), n_rows)
    row = np.concatenate([np.arange(n, dtype=np.int64) for n in n_rows])
    return sorted_events(Events(ids, file, row, n_rows), paths[0], what, numbers)


def sorted_events(events: Events, path: str, what: str, numbers: bool) -> Events:
    """Return events sorted by ID, each once; warn of others.

    0 is an ID where these are `numbers`, and stands for nothing else.
    """
    ids = events.ids
    if not (ids[:1] > 0).all() or (ids[1:] <= ids[:-1]).any():
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        first = np.ones(len(ids), bool)
        first[1:] = ids[1:] != ids[:-1]
        no_id = (ids == 0) & (not numbers)
        repeated = int((~first & ~no_id).sum())
        said = [f"{repeated} rows repeat the ID of an earlier row"] if repeated else []
        said += [f"{int(no_id.sum())} rows have no ID"] if no_id.any() else []
        if said:
            warn(
                f"{path}: {' and '.join(said)} and are left out: of {len(ids)} {what}"
                f" rows {int((first & ~no_id).sum())} remain"
            )
        return events.take(order[first & ~no_id])
    return events
