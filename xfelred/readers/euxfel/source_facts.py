"""What the files say of one source: its trains, index groups and keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, NoDataError, listing
from xfelred.hdf5 import AnyGroup, looked_into
from xfelred.readers.euxfel.locate import SourceFiles


@dataclass(frozen=True, eq=False)
class SourceFacts(SourceFiles):
    """A control or instrument source, for the selected trains and keys.

    Attributes
    ----------
    selected_keys : frozenset of str or None
        None: all keys.
    """

    selected_keys: frozenset[str] | None = None
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

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

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        keys = self.keys()
        return key in keys or (self.is_control and f"{key}.value" in keys)

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
                found |= looked_into(file.path, partial(self.keys_in, known=known))
            except BrokenFileError as error:
                damaged = error
        if damaged is not None and not found:
            raise damaged
        return found

    def keys_in(self, file: AnyGroup, known: set[bytes]) -> set[str]:
        """Return the keys of a file, none if all its names are known."""
        group = file.group(f"{self.section}/{self.canonical_name}")
        if group is None:
            return set()
        names = set(group.all_names())  # cheap: not even headers are read for it
        if known.issuperset(names):
            return set()
        # Also datasets that cannot be read: asking for them tells why.
        found = {name.replace("/", ".") for name in group.dataset_names()}
        known.update(names)
        return found

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
        return self.located(group).count


def matching_keys(keys: Iterable[str], glob: str, is_control: bool) -> frozenset[str]:
    """Return the keys that match a glob, which may lack the ``.value`` of slow data."""
    if is_control and not glob.endswith((".value", "*")):
        glob += ".value"
    return frozenset(k for k in keys if fnmatchcase(k, glob))
