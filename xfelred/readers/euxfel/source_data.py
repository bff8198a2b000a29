"""One source of a run: its files, trains and keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import h5py
import numpy as np
import pandas as pd

from xfelred.errors import MultiRunError, PropertyNameError, did_you_mean, listing
from xfelred.readers.euxfel.files import FileIndex, text
from xfelred.readers.euxfel.key_data import KeyData
from xfelred.readers.euxfel.locate import Location, locate
from xfelred.readers.hdf5 import open_group
from xfelred.readers.selection import (
    TrainIDs,
    select_train_ids,
    split_evenly,
)


@dataclass(frozen=True, eq=False)
class SourceData:
    """A control or instrument source, for the selected trains and keys.

    Attributes
    ----------
    source : str
        Name as in the files (the present one, not a legacy name).
    section : {"CONTROL", "INSTRUMENT"}
    files : tuple of FileIndex
        The files that hold the source.
    ids : uint64 (n,)
        Selected train IDs of the run.
    selected_keys : frozenset of str or None
        None: all keys.
    inc_suspect_trains : bool
    legacy_name : str or None
        The old name by which the source was asked for.
    single : bool
        Whether all files are of one run.
    """

    source: str
    section: Literal["CONTROL", "INSTRUMENT"]
    files: tuple[FileIndex, ...]
    ids: TrainIDs
    selected_keys: frozenset[str] | None = None
    inc_suspect_trains: bool = True
    legacy_name: str | None = None
    single: bool = True
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

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
        return self.legacy_name is not None

    @property
    def canonical_name(self) -> str:
        """The present name of the source."""
        return self.source

    @property
    def train_ids(self) -> list[int]:
        """Selected train IDs."""
        return [int(t) for t in self.ids]

    @property
    def index_groups(self) -> tuple[str, ...]:
        """Groups of keys that share an index; one empty name for control sources."""
        if self.is_control:
            return ("",)
        # A file need not have the groups of another one.
        found = (g for f in self.files for g in f.groups.get(self.source, ()))
        return tuple(dict.fromkeys(found))

    @property
    def device_class(self) -> str | None:
        """Karabo class of the device, if the run has it."""
        try:
            return str(self.run_value("classId"))
        except (PropertyNameError, MultiRunError):
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

        A file with the same names as one before is not looked at more closely.
        """
        found: set[str] = set()
        known: set[bytes] = set()
        for file in self.files:
            group = open_group(file.path, f"{self.section}/{self.source}")
            if group is None:
                continue
            names: list[bytes] = []
            group.id.links.visit(names.append)
            if known.issuperset(names):
                continue
            known.update(names)
            found |= datasets_in(group)
        return found

    def one_key(self) -> str:
        """Return any key."""
        return min(self.keys())

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
            known = self.keys(inc_timestamps=False)
            raise PropertyNameError(
                f"source {self.source!r} has no key {key!r}."
                f"{did_you_mean(key, known)} It has {len(known)} keys:"
                f" run[{self.source!r}].keys()"
            )
        return KeyData(
            self.source, key, self.section, self.files, self.ids,
            self.inc_suspect_trains, self.legacy_name,
        )  # fmt: skip

    def location(self, group: str) -> Location:
        """Return where each selected train lies, for one index group."""
        return locate(self.files, self.source, group, self.ids, self.inc_suspect_trains)

    def data_counts(self, labelled: bool = True, index_group: str | None = None) -> Any:
        """Return the number of entries in each train, the largest over the groups.

        Parameters
        ----------
        labelled : bool, optional
            True: a pandas Series over train IDs; False: an array.
        index_group : str, optional
            Only this group.
        """
        groups = self.index_groups if index_group is None else (index_group,)
        count = np.zeros(len(self.ids), np.int64)
        for group in groups:
            count = np.maximum(count, self.location(group).count)
        return pd.Series(count, index=self.ids) if labelled else count

    def with_ids(self, ids: TrainIDs) -> SourceData:
        """Return the source for other train IDs."""
        return replace(self, ids=ids)

    def select_trains(self, trains: Any) -> SourceData:
        """Return the source for a selection of its trains."""
        return self.with_ids(select_train_ids(self.ids, trains))

    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[SourceData]:
        """Yield the source in pieces of its trains."""
        for piece in split_evenly(len(self.ids), parts, trains_per_part):
            yield self.with_ids(self.ids[piece])

    def drop_empty_trains(self, index_group: str | None = None) -> SourceData:
        """Return the source for the trains in which it has data."""
        return self.with_ids(self.ids[self.data_counts(False, index_group) > 0])

    def select_keys(self, keys: Any) -> SourceData:
        """Return the source with some of its keys.

        `keys` is a name, names, or None for all; ``.value`` may be left out.
        """
        if keys is None or keys == set():
            return self
        wanted = {keys} if isinstance(keys, str) else set(keys)
        return replace(
            self, selected_keys=frozenset(self.key_data(k).key for k in wanted)
        )

    def check_single(self) -> None:
        """Raise MultiRunError if the files are of several runs."""
        if not self.single:
            known = sorted({f.identity for f in self.files if f.identity is not None})
            which = listing(f"p{p:06d} r{r:04d}" for p, r in known) if known else "?"
            raise MultiRunError(
                f"{self.source!r} comes from several joined runs ({which}), and each"
                " has values of its own at its start. Ask the runs before they are"
                " joined, or read the values per train: run[source, key]"
            )

    def run_value(self, key: str) -> Any:
        """Return the value of a property at the start of the run (RUN section).

        Raises
        ------
        PropertyNameError
            If the source has no such property.
        MultiRunError
            If the source comes from several runs.
        """
        self.check_single()
        for file in self.files:
            for name in (key, key.removesuffix(".value")):
                group = open_group(
                    file.path, f"RUN/{self.source}/{name.replace('.', '/')}"
                )
                if group is not None and "value" in group:
                    return plain_value(group["value"])
        raise PropertyNameError(
            f"source {self.source!r} has no run value {key!r}; see"
            f" run[{self.source!r}].run_values()"
        )

    def run_values(self, inc_timestamps: bool = True) -> dict[str, Any]:
        """Return all values at the start of the run; errors as in `run_value`."""
        self.check_single()
        found: dict[str, Any] = {}
        groups = (open_group(f.path, f"RUN/{self.source}") for f in self.files)
        group = next((g for g in groups if g is not None), None)
        if group is None:
            return found

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                key = name.replace("/", ".")
                if inc_timestamps:
                    found[key] = plain_value(item)
                elif key.endswith(".value"):
                    found[key.removesuffix(".value")] = plain_value(item)

        group.visititems(visit)
        return found


def datasets_in(group: h5py.Group) -> set[str]:
    """Return the names of the datasets below a group, as keys."""
    found = set()

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.add(name.replace("/", "."))

    group.visititems(visit)
    return found


def plain_value(dataset: h5py.Dataset) -> Any:
    """Return the first row of a RUN dataset; text as str."""
    value = dataset[0]
    return text(value) if isinstance(value, (bytes, str)) else value
