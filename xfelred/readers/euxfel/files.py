"""The index of one European XFEL file, read once: trains, sources, rows of each train.

Layout: spec of the DAQ file format, versions 0.5 to 1.3. Only the groups INDEX and
METADATA are read, and which names in INSTRUMENT are links.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, one_line
from xfelred.hdf5 import AnyDataset, AnyGroup, described, find_dataset, stored_dataset
from xfelred.hdf5.guard import check_regular
from xfelred.hdf5.remembered import Facts, remembered
from xfelred.readers.euxfel.alike import alike, compact
from xfelred.readers.euxfel.extra_data.file_names import FileNames
from xfelred.readers.left_out import LeftOut, readable

IndexArrays = tuple[NDArray[np.signedinteger[Any]], NDArray[np.signedinteger[Any]]]
# No dataset has more rows; a number of a row times its cells stays far from 2**63.
MOST_ROWS = 2**48
MOST_STATUS = 1000  # of the old form, where it multiplies the count; 0 or 1 in practice
IMPOSSIBLE = -1
KEPT = "European XFEL index 1"  # another number where `facts_of` changes
TIME_SERVER = "Karabo_TimerServer"  # listed in 1.1; it has no data
AUXILIARY = ("REDUCTION", "ERRATA")  # on how data were reduced, no data


@dataclass(frozen=True, eq=False)
class FileIndex(FileNames):
    """What INDEX and METADATA of one file say.

    Attributes
    ----------
    path : str
    size, mtime : int
        Bytes and time of change (ns) when the index was read.
    version : str
        Data format version; ``0.5`` where the file does not say.
    train_ids : uint64 (n,)
        Non-zero train IDs in file order.
    rows : slice or int64 (n,)
        Position of each of these trains in the INDEX arrays of the file.
    valid : bool (n,)
        False for suspect trains.
    control, instrument : frozenset of str
        Source names.
    legacy : dict of str to str
        Old names of instrument sources and the present ones.
    groups : dict of str to tuple of str
        Index groups of each instrument source.
    identity : (int, int) or None
        Proposal and run, where the file tells.
    headers, said : dict, set
        What has been looked up in the file, and which datasets were told to be missing.
    """

    path: str
    size: int
    mtime: int
    version: str
    train_ids: NDArray[np.uint64]
    rows: slice | NDArray[np.int64]
    valid: NDArray[np.bool_]
    control: frozenset[str]
    instrument: frozenset[str]
    legacy: dict[str, str]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    identity: tuple[int, int] | None = None
    cache: dict[tuple[str, str], IndexArrays] = field(default_factory=dict, repr=False)
    headers: dict[str, Any] = field(default_factory=dict, repr=False)
    said: set[str] = field(default_factory=set, repr=False)

    def __repr__(self) -> str:
        return (
            f"<xfelred FileIndex {one_line(self.path)}, {len(self.train_ids)} trains>"
        )

    def index(self, source: str, group: str) -> IndexArrays:
        """Return (first row, number of rows) of each train of the file, integers (n,).

        `IMPOSSIBLE` stands for what no dataset can have; see `check_rows`.

        Parameters
        ----------
        source : str
        group : str
            Index group of an instrument source; empty for a control source.
        """
        key = (source, group)
        if key not in self.cache:
            self.cache[key] = read_index(self, f"INDEX/{source}/{group}".rstrip("/"))
        return self.cache[key]

    @property
    def index_length(self) -> int:
        """Up to the last of these trains, the length of the INDEX arrays."""
        if isinstance(self.rows, slice):
            return len(self.train_ids)
        return int(self.rows.max(initial=-1)) + 1

    def token(self) -> tuple[str, int, int]:
        """Return what identifies the content of the file."""
        return (self.path, self.size, self.mtime)


def read_index(file: FileIndex, name: str) -> IndexArrays:
    """Read first and count, in whichever form the file has them."""
    first = row_numbers(file.path, f"{name}/first")
    # The oldest files have `last` and `status` instead.
    stored = find_dataset(file.path, f"{name}/count")
    if stored is not None:
        count = row_numbers(file.path, f"{name}/count", stored)
    else:
        count = old_counts(file.path, name, first)
    if len(first) < file.index_length or len(count) < len(first):
        raise BrokenFileError(
            f"{file.path} is inconsistent: {name} describes {len(first)} trains, but"
            f" the file lists {file.index_length}"
        )
    return compact(first[file.rows]), compact(count[file.rows])


def old_counts(path: str, name: str, first: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the counts of the old form of an index.

    There `last` is inclusive, often ``first - 1`` (which wraps) or 0 for a train
    without data, and means nothing where status is 0.
    """
    status = row_numbers(path, f"{name}/status")
    last = row_numbers(path, f"{name}/last")
    count = np.where(status > 0, last - first + 1, 0)
    wrapped = (last < 0) & (first > 0) | (first < 0) | (count < 0)
    lost = (status > 0) & wrapped | (status < 0) | (status > MOST_STATUS)
    return np.where(lost, IMPOSSIBLE, count * np.clip(status, 0, MOST_STATUS))


def row_numbers(
    path: str, name: str, stored: AnyDataset | None = None
) -> NDArray[np.int64]:
    """Return the numbers of an index as int64, `IMPOSSIBLE` where no row has them."""
    dataset = stored_dataset(path, name) if stored is None else stored
    if dataset.dtype.kind not in "iu" or dataset.ndim != 1:
        raise BrokenFileError(
            f"{path} is damaged: {name} is {dataset.dtype} {dataset.shape}, not a list"
            " of integers"
        )
    found = dataset[:]
    out = found.astype(np.int64)
    out[(found < 0) | (found > MOST_ROWS)] = IMPOSSIBLE
    return out


def read_file(path: str) -> FileIndex:
    """Return the index of a file, from the user's cache if it is there."""
    stat = check_regular(path)
    facts = remembered(path, KEPT, lambda: facts_of(path))
    rows, identity = facts["rows"], facts["identity"]
    return FileIndex(
        path=path,
        size=stat.st_size,
        mtime=stat.st_mtime_ns,
        version=facts["version"],
        train_ids=alike(facts["train_ids"]),
        rows=slice(0, len(facts["train_ids"])) if rows is None else rows,
        valid=alike(facts["valid"]),
        control=frozenset(facts["control"]),
        instrument=frozenset(facts["instrument"]),
        legacy=facts["legacy"],
        groups={source: tuple(found) for source, found in facts["groups"].items()},
        identity=None if identity is None else (identity[0], identity[1]),
    )


def facts_of(path: str) -> Facts:
    """Return what a file says; `rows` is None where they are all, up to some zeros."""
    return described(path, lambda f: facts_in(f, path))


def facts_in(f: AnyGroup, path: str) -> Facts:
    stored = train_numbers(f)
    # The index is padded with zeros, mostly at its end.
    n = int(np.count_nonzero(stored))
    rows = None if stored[:n].all() else np.flatnonzero(stored)
    train_ids = stored[:n].copy() if rows is None else stored[rows]
    version = version_of(f)
    control, instrument = source_names(f, path)
    return {
        "version": version,
        "train_ids": train_ids,
        "rows": rows,
        "valid": validity(f, version, train_ids, rows),
        "control": sorted(control),
        "instrument": sorted(instrument),
        "legacy": legacy_names(f, instrument),
        "groups": {s: list(f.group(f"INDEX/{s}") or ()) for s in instrument},
        "identity": identity_of(f),
    }


def train_numbers(f: AnyGroup) -> NDArray[np.uint64]:
    """Return what INDEX/trainId of a file holds; 0 where there is no train."""
    stored = f.dataset("INDEX/trainId")
    if stored is None:
        raise BrokenFileError(
            f"{f.path} has no INDEX/trainId: not a run file, or cut short"
        )
    found = stored[()]
    whole = found.dtype.kind in "iu" or (
        found.dtype.kind == "f" and bool((found == np.floor(found)).all())
    )
    if found.ndim != 1 or not whole or (found < 0).any():
        raise BrokenFileError(
            f"{f.path} is damaged: INDEX/trainId is {stored.dtype} {stored.shape} and"
            " not a list of train IDs, which are whole numbers above 0"
        )
    return found.astype(np.uint64)


def version_of(f: AnyGroup) -> str:
    """Return the version of the data format; files of 0.5 do not name it."""
    found = f.dataset("METADATA/dataFormatVersion")
    return "0.5" if found is None or not found.size else str(np.ravel(found.text())[0])


def identity_of(f: AnyGroup) -> tuple[int, int] | None:
    """Return proposal and run number, None if the file does not tell."""
    found = []
    for name in ("METADATA/proposalNumber", "METADATA/runNumber"):
        stored = f.dataset(name)
        if stored is None or not stored.size or stored.dtype.kind not in "iu":
            return None
        found.append(int(np.ravel(stored[()])[0]))
    return found[0], found[1]


def source_names(f: AnyGroup, path: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return control and instrument source names from METADATA."""
    # The second is where format 0.5 has it.
    for name in ("METADATA/dataSources/dataSourceId", "METADATA/dataSourceId"):
        listed = f.dataset(name)
        if listed is not None:
            entries = np.ravel(listed.text()).tolist()
            break
    else:
        raise BrokenFileError(f"{path} has no list of data sources in METADATA")
    control, instrument = set(), set()
    for entry in entries:
        if not entry:  # the list is padded with empty text
            continue
        section, _, device = entry.partition("/")
        if section == "CONTROL":
            control.add(device)
        elif section == "INSTRUMENT":
            instrument.add(device.rpartition("/")[0])  # without its index group
        elif section not in (TIME_SERVER, *AUXILIARY):
            raise BrokenFileError(f"{path} lists a source of unknown kind: {entry!r}")
    if not (control or instrument) and has_sources(f):
        raise BrokenFileError(
            f"{path} is damaged: {name} names no data source, but the file holds data"
        )
    return frozenset(control), frozenset(instrument)


def has_sources(f: AnyGroup) -> bool:
    sections = (f.group(name) for name in ("CONTROL", "INSTRUMENT"))
    return any(len(section) for section in sections if section is not None)


def legacy_names(f: AnyGroup, instrument: Iterable[str]) -> dict[str, str]:
    """Return the instrument sources that are soft links to another source."""
    root = f.group("INSTRUMENT")
    found = {}
    for name in instrument:
        target = None if root is None else root.soft_link(name)
        if target is not None:
            found[name] = target.removeprefix("/INSTRUMENT/")
    return found


def validity(
    f: AnyGroup,
    version: str,
    train_ids: NDArray[np.uint64],
    rows: NDArray[np.int64] | None,
) -> NDArray[np.bool_]:
    stored = f.dataset("INDEX/flag")
    if stored is None:  # format 0.5
        return guessed_validity(train_ids)
    last = len(train_ids) if rows is None else rows.max(initial=-1) + 1
    numbers = stored.dtype.kind in "iub"
    if stored.ndim != 1 or not numbers or len(stored) < last:
        raise BrokenFileError(
            f"{f.path} is damaged: INDEX/flag has shape {stored.shape} and dtype"
            f" {stored.dtype}, but there are {len(train_ids)} trains, with a number"
            " each"
        )
    flag = stored[:].astype(bool)
    flag = flag[: len(train_ids)] if rows is None else flag[rows]
    # In 1.1 the flag is the index of the origin: 0, the time server, is the valid one.
    return ~flag if version == "1.1" else flag


def guessed_validity(train_ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return False for the train IDs that break the order, in the oldest files.

    At every step that does not increase, the smaller of two sets is suspect: the
    earlier trains with IDs at or above the later one, or the later trains with IDs at
    or below the earlier one.
    """
    valid = np.ones(len(train_ids), bool)
    # Steps are rare, so a search of all trains at each of them costs little.
    for i in np.flatnonzero(train_ids[:-1] >= train_ids[1:]):
        before = np.flatnonzero(train_ids[: i + 1] >= train_ids[i + 1])
        after = i + 1 + np.flatnonzero(train_ids[i + 1 :] <= train_ids[i])
        valid[before if len(before) < len(after) else after] = False
    return valid


def read_files(
    paths: Sequence[str],
) -> tuple[tuple[FileIndex, ...], tuple[LeftOut, ...]]:
    """Read many files at once; damaged ones cost themselves, with a warning."""
    found, left_out = readable(read_file, paths)
    return tuple(found), left_out


def one_run(files: Iterable[FileIndex]) -> bool:
    """Return whether no two files say that they are of different runs."""
    return len(runs_of(files)) < 2


def runs_of(files: Iterable[FileIndex]) -> set[tuple[int, int]]:
    """Return (proposal, run) of the files that tell; those of format 0.5 do not."""
    return {f.identity for f in files if f.identity is not None}


def same_files_or_run(one: tuple[FileIndex, ...], other: tuple[FileIndex, ...]) -> bool:
    """Return whether files are the same, or say that they are of the same run."""
    if {f.path for f in one} == {f.path for f in other}:
        return True
    names = runs_of(one), runs_of(other)
    return names[0] == names[1] and len(names[0]) == 1
