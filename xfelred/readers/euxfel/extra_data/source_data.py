"""The data of one source."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    InconsistentDataError,
    MultiRunError,
    NoDataError,
    PropertyNameError,
    did_you_mean,
)
from xfelred.hdf5 import find_dataset
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.files import same_files_or_run
from xfelred.readers.euxfel.locate import SourceFiles, check_conflicts
from xfelred.readers.euxfel.metadata import (
    check_single,
    run_metadata,
    run_value,
    run_values,
)
from xfelred.readers.euxfel.source_facts import SourceFacts, matching_keys
from xfelred.readers.selection import listed_names

Source = TypeVar("Source", bound=SourceFacts)
# What a key takes over of its source.
SHARED = [f.name for f in fields(SourceFiles)]
GLOB = re.compile(r"[*?\[]")  # what makes a glob of a name


@dataclass(frozen=True, eq=False, repr=False)
class SourceData(SourceFacts):
    """A control or instrument source, for the selected trains and keys."""

    def __repr__(self) -> str:
        return f"<xfelred SourceData source={self.source!r} for {len(self.ids)} trains>"

    def __getitem__(self, key: object) -> Any:
        """Return the data of a key, or the source for a selection of trains."""
        return self.key_data(key) if isinstance(key, str) else self.select_trains(key)

    @property
    def sel_keys(self) -> frozenset[str] | None:
        """Selected keys; None: all."""
        return self.selected_keys

    @property
    def is_legacy(self) -> bool:
        """Whether the source was asked for by its old name."""
        return self.present_name is not None

    @property
    def is_run_only(self) -> bool:
        """Whether this has only values of the start of the run, none per train."""
        return self.is_control and not self.keys()

    @property
    def index_groups(self) -> set[str]:
        """Groups of selected keys that share an index; {""} for control sources."""
        return set(self.groups)

    @property
    def aggregator(self) -> str | None:
        """The data aggregator that recorded it, such as ``DA01``."""
        return self.all_files[0].aggregator

    @property
    def data_category(self) -> str | None:
        """``RAW``, ``CORR`` or another kind, from the file name."""
        return self.all_files[0].data_category

    @property
    def storage_class(self) -> str | None:
        """``raw``, ``proc`` or another class, from where the facility keeps the run."""
        return self.all_files[0].storage_class

    def train_id_coordinates(
        self, index_group: str | None = None
    ) -> NDArray[np.uint64]:
        """Return the train ID of every entry.

        Parameters
        ----------
        index_group : str, optional
            Entries of this group; by default those that all groups have in common.

        Raises
        ------
        NoDataError
            If the source has no such group, or none at all.
        InconsistentDataError
            If no group is given and trains have other entries in another group.
        """
        groups = self.groups if index_group is None else (index_group,)
        if not groups:
            raise NoDataError(f"{self.source!r} has no data per train")
        first = self.group_counts(groups[0])
        for other in groups[1:]:
            if not np.array_equal(first, self.group_counts(other)):
                raise InconsistentDataError(
                    f"{self.source!r} has other numbers of entries in {other!r} than in"
                    f" {groups[0]!r}, so no train IDs fit both. Name the group:"
                    f" train_id_coordinates({groups[0]!r})"
                )
        return self.located(groups[0]).per_row(self.ids)

    def run_metadata(self) -> dict[str, Any]:
        """Return METADATA of the run; MultiRunError if several were joined."""
        if not self.single:
            raise MultiRunError(
                f"{self.source!r} comes from several runs, which have no common"
                " metadata; ask them before they are joined"
            )
        return run_metadata(self.all_files)

    def run_keys(self, inc_timestamps: bool = True) -> set[str]:
        """Return the keys of the values at the start of the run, selected or not."""
        check_single(self.all_files, self.source, self.single)
        return set(run_values(self.all_files, self.source, inc_timestamps))

    @property
    def device_class(self) -> str | None:
        """Karabo class of the device, if the run has it."""
        try:
            return str(self.run_value("classId"))
        except (PropertyNameError, MultiRunError, NoDataError):
            return None

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
        shared = {name: getattr(self, name) for name in SHARED}
        return KeyData(key=key, **shared)

    def no_key(self, key: str) -> PropertyNameError:
        """Return the error for a key that the source does not have."""
        known = self.keys(inc_timestamps=False)
        return PropertyNameError(
            f"source {self.source!r} has no key {key!r}."
            f"{did_you_mean(key, known)} It has {len(known)} keys:"
            f" run[{self.source!r}].keys()"
        )

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

    @entry
    def drop_empty_trains(self, index_group: str | None = None) -> Self:
        """Return the source for the trains in which it has data."""
        return self.with_ids(self.ids[self.data_counts(False, index_group) > 0])

    def select_keys(self, keys: object) -> Self:
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
    def union(self, *others: SourceFacts) -> Self:
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

    def __or__(self, other: SourceData) -> Self:
        return self.union(other)


def merged(old: Source, new: SourceFacts) -> Source:
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
    single, keys = old.single and new.single, None
    if old.selected_keys is not None and new.selected_keys is not None:
        keys = old.selected_keys | new.selected_keys
    return replace(
        old,
        all_files=files,
        selected_keys=keys,
        ids=np.union1d(old.ids, new.ids),
        single=single and same_files_or_run(old.all_files, new.all_files),
        memo={},
    )
