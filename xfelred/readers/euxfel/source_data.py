"""One source of a run: its files, trains and keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    BrokenFileError,
    InconsistentDataError,
    MultiRunError,
    NoDataError,
    PropertyNameError,
    did_you_mean,
    listing,
)
from xfelred.hdf5 import Group
from xfelred.hdf5.rows import find_dataset, open_group
from xfelred.readers.euxfel.extra_data.source_names import SourceNames
from xfelred.readers.euxfel.files import FileIndex, same_files_or_run
from xfelred.readers.euxfel.key_data import KeyData
from xfelred.readers.euxfel.locate import (
    Location,
    check_conflicts,
    files_with,
    locate,
)
from xfelred.readers.euxfel.run_section import check_single, run_value, run_values
from xfelred.readers.selection import (
    TrainIDs,
    listed_names,
    select_train_ids,
    split_evenly,
)

GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, eq=False)
class SourceData(SourceNames):
    """A control or instrument source, for the selected trains and keys.

    Attributes
    ----------
    source : str
        Name by which it was asked for, an old one perhaps.
    section : {"CONTROL", "INSTRUMENT"}
    all_files : tuple of FileIndex
        The files that hold the source.
    ids : uint64 (n,)
        Selected train IDs of the run.
    selected_keys : frozenset of str or None
        None: all keys.
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
    selected_keys: frozenset[str] | None = None
    inc_suspect_trains: bool = True
    present_name: str | None = None
    single: bool = True
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"<xfelred SourceData source={self.source!r} for {len(self.ids)} trains>"

    @property
    def is_control(self) -> bool:
        """Whether this is slow data, one row per train."""
        return self.section == "CONTROL"

    @property
    def is_instrument(self) -> bool:
        """Whether this is fast data, any number of rows per train."""
        return self.section == "INSTRUMENT"

    @property
    def is_legacy(self) -> bool:
        """Whether the source was asked for by its old name."""
        return self.present_name is not None

    @property
    def canonical_name(self) -> str:
        """The present name of the source."""
        return self.present_name or self.source

    @cached_property
    def files(self) -> tuple[FileIndex, ...]:
        """The files that hold selected trains; one file if there are none."""
        return files_with(self.all_files, self.ids, self.inc_suspect_trains)

    @property
    def train_ids(self) -> list[int]:
        """Selected train IDs."""
        return [int(t) for t in self.ids]

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of selected keys that share an index; ``("",)`` if it is slow data."""
        if self.is_control:
            return ("",)
        name = self.canonical_name
        # A file need not have the groups of another one.
        found = dict.fromkeys(g for f in self.all_files for g in f.groups.get(name, ()))
        if self.selected_keys is None:
            return tuple(found)
        chosen = {k.partition(".")[0] for k in self.selected_keys}
        return tuple(g for g in found if g in chosen)

    @property
    def device_class(self) -> str | None:
        """Karabo class of the device, if the run has it."""
        try:
            return str(self.run_value("classId"))
        except (PropertyNameError, MultiRunError, NoDataError):
            return None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        keys = self.keys()
        return key in keys or (self.is_control and f"{key}.value" in keys)

    def __getitem__(self, key: Any) -> Any:
        """Return the data of a key, or the source for a selection of trains."""
        return self.key_data(key) if isinstance(key, str) else self.select_trains(key)

    def keys(self, inc_timestamps: bool = True) -> set[str]:
        """Return the keys; without timestamps control keys lose their ``.value``."""
        keys = self.selected_keys if self.selected_keys is not None else self.all_keys()
        if inc_timestamps or not self.is_control:
            return set(keys)
        return {k.removesuffix(".value") for k in keys if k.endswith(".value")}

    def all_keys(self) -> frozenset[str]:
        """Return every key in the files."""
        if "keys" not in self.memo:
            self.memo["keys"] = frozenset(self.find_keys())
        return self.memo["keys"]

    def find_keys(self) -> set[str]:
        """List the datasets of the source in all its files.

        A file with the same names as one before is not looked at more closely. One in
        which the source cannot be opened is in nobody's way until it is read.
        """
        found: set[str] = set()
        known: set[bytes] = set()
        damaged = None
        for file in self.all_files:
            try:
                group = open_group(file.path, f"{self.section}/{self.canonical_name}")
            except BrokenFileError as error:
                damaged = error
                continue
            if group is None:
                continue
            names = group.all_names()
            if known.issuperset(names):
                continue
            known.update(names)
            found |= datasets_in(group)
        if damaged is not None and not found:
            raise damaged
        return found

    @entry
    def one_key(self, index_group: str | None = None) -> str | None:
        """Return any key, or any of a group; None if the source has none at all.

        Raises
        ------
        NoDataError
            If no selected key is of that group.
        """
        keys = self.keys()
        if index_group is not None and not self.is_control:
            keys = {k for k in keys if k.startswith(f"{index_group}.")}
            self.check_group(index_group, bool(keys))
        return min(keys, default=None)

    def key_data(self, key: str) -> KeyData:
        """Return the data of one key.

        Raises
        ------
        PropertyNameError
            If the source has no such key; the ending ``.value`` may be left out.
        """
        keys = self.keys()
        if key not in keys and self.is_control and f"{key}.value" in keys:
            key = f"{key}.value"
        if key not in keys:
            if any(key.startswith(f"{k}.") for k in keys):  # k is a damaged group
                place = f"{self.section}/{self.canonical_name}"
                for file in self.all_files:
                    find_dataset(file.path, f"{place}/{key.replace('.', '/')}")
            raise self.no_key(key)
        return KeyData(
            self.source, key, self.section, self.all_files, self.ids,
            self.inc_suspect_trains, self.present_name, self.single,
        )  # fmt: skip

    def no_key(self, key: str) -> PropertyNameError:
        """Return the error for a key that the source does not have."""
        known = self.keys(inc_timestamps=False)
        return PropertyNameError(
            f"source {self.source!r} has no key {key!r}."
            f"{did_you_mean(key, known)} It has {len(known)} keys:"
            f" run[{self.source!r}].keys()"
        )

    def location(self, group: str) -> Location:
        """Return where each selected train lies, for one index group."""
        return locate(
            self.all_files, self.canonical_name, group, self.ids,
            self.inc_suspect_trains,
        )  # fmt: skip

    def check_group(self, group: str, known: bool) -> None:
        """Raise NoDataError for an index group that the source does not have."""
        if not known:
            raise NoDataError(
                f"{self.source!r} has no selected key in the group {group!r}; its"
                f" groups are {listing(map(repr, self.groups))}"
            )

    def group_counts(self, group: str) -> NDArray[np.int64]:
        """Return the number of entries in each train of an index group."""
        self.check_group(group, group in self.groups)
        if self.is_control and not self.keys():
            return np.zeros(len(self.ids), np.int64)
        return self.location(group).count

    @entry
    def data_counts(self, labelled: bool = True, index_group: str | None = None) -> Any:
        """Return the number of entries in each train, the largest over the groups.

        Parameters
        ----------
        labelled : bool, optional
            True: a pandas Series over train IDs; False: an array.
        index_group : str, optional
            Only this group.
        """
        groups = self.groups if index_group is None else (index_group,)
        count = np.zeros(len(self.ids), np.int64)
        for group in groups:
            count = np.maximum(count, self.group_counts(group))
        return pd.Series(count, index=self.ids) if labelled else count

    def with_ids(self, ids: TrainIDs) -> SourceData:
        """Return the source for other train IDs."""
        return replace(self, ids=ids)

    def select_trains(self, trains: Any) -> SourceData:
        """Return the source for a selection of its trains."""
        return self.with_ids(select_train_ids(self.ids, trains))

    @entry
    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[SourceData]:
        """Yield the source in pieces of its trains."""
        for piece in split_evenly(len(self.ids), parts, trains_per_part):
            yield self.with_ids(self.ids[piece])

    @entry
    def drop_empty_trains(self, index_group: str | None = None) -> SourceData:
        """Return the source for the trains in which it has data."""
        return self.with_ids(self.ids[self.data_counts(False, index_group) > 0])

    def select_keys(self, keys: Any) -> SourceData:
        """Return the source with some of its keys.

        Parameters
        ----------
        keys : str, iterable of str or None
            A name, or a glob such as ``beamPosition.*``; names; or None, or nothing,
            for all. ``.value`` may be left out.

        Raises
        ------
        PropertyNameError
            If the source has no such key.
        """
        if not isinstance(keys, str):
            names = () if keys is None else listed_names(keys)
            if not names:
                return self
            found = frozenset(self.key_data(k).key for k in names)
        elif GLOB.search(keys) is None:
            found = frozenset([self.key_data(keys).key])
        else:
            found = matching_keys(self.keys(), keys, self.is_control)
            if not found:
                raise self.no_key(keys)
        return replace(self, selected_keys=found)

    @entry
    def union(self, *others: SourceData) -> SourceData:
        """Return the data of several selections, or of several runs, of one source.

        Raises
        ------
        InconsistentDataError
            If they are of different sources, or have the same train twice.
        """
        joined = self
        for other in others:
            joined = merged(joined, other)
        check_conflicts({self.source: joined.all_files}, self.inc_suspect_trains)
        return joined

    @entry
    def run_value(self, key: str, *, allow_multi_run: bool = False) -> Any:
        """Return the value of a property at the start of the run (RUN section).

        Parameters
        ----------
        key : str
            ``.value`` may be left out.
        allow_multi_run : bool, optional
            Give the value of the first run where several are joined.

        Raises
        ------
        PropertyNameError
            If the source has no such property.
        NoDataError
            If it has no such values at all, as instrument sources.
        MultiRunError
            If the source comes from several runs.
        """
        check_single(self.all_files, self.source, self.single or allow_multi_run)
        return run_value(self.all_files, self.canonical_name, key)

    @entry
    def run_values(self, inc_timestamps: bool = True) -> dict[str, Any]:
        """Return all values at the start of the run; errors as in `run_value`."""
        check_single(self.all_files, self.source, self.single)
        return run_values(self.all_files, self.canonical_name, inc_timestamps)


def merged(old: SourceData, new: SourceData) -> SourceData:
    """Return one source from two: all files, trains and keys of both."""
    if old.canonical_name != new.canonical_name:
        raise InconsistentDataError(
            f"data of {old.source!r} and of {new.source!r} cannot be joined as one"
            " source; join runs, or selections of a run: run.select(...) | other"
        )
    files = old.all_files
    if {f.path for f in files} != {f.path for f in new.all_files}:
        # Of other files, those without a selected train could hold it a second time.
        files = tuple({f.path: f for f in (*old.files, *new.files)}.values())
    keys = None
    if old.selected_keys is not None and new.selected_keys is not None:
        keys = old.selected_keys | new.selected_keys
    return replace(
        old,
        all_files=files,
        selected_keys=keys,
        ids=np.union1d(old.ids, new.ids),
        single=(
            old.single
            and new.single
            and same_files_or_run(old.all_files, new.all_files)
        ),
        memo={},
    )


def matching_keys(keys: Iterable[str], glob: str, is_control: bool) -> frozenset[str]:
    """Return the keys that match a glob, which may lack the ``.value`` of slow data."""
    if is_control and not glob.endswith((".value", "*")):
        glob += ".value"
    return frozenset(k for k in keys if fnmatchcase(k, glob))


def datasets_in(group: Group) -> set[str]:
    """Return the names of the datasets below a group, as keys."""
    # Also those that cannot be read: asking for them tells why.
    return {name.replace("/", ".") for name, _ in group.walk()}
