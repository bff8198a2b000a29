"""The sources and trains of a run, or of a part of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from xfelred.errors import (
    ArgumentTypeError,
    BrokenFileError,
    SourceNameError,
    did_you_mean,
    listing,
    warn,
)
from xfelred.readers.by_train import ByTrain
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.extra_data.source_data import SourceData, merged
from xfelred.readers.euxfel.files import FileIndex, one_run, same_files_or_run
from xfelred.readers.euxfel.locate import check_conflicts, files_with
from xfelred.readers.euxfel.metadata import run_metadata
from xfelred.readers.left_out import LeftOut
from xfelred.readers.selection import TrainIDs


@dataclass(frozen=True, eq=False)
class RunData(ByTrain):
    """One run, or several joined, for the selected sources and trains.

    Attributes
    ----------
    entries : dict of str to SourceData
        Present name of each source and its data.
    all_files : tuple of FileIndex
        All files of the run, also those without a selected source or train.
    ids : uint64 (n,)
        Selected train IDs, sorted.
    single : bool
        Whether all data come from one run.
    inc_suspect_trains : bool
        Whether trains count that a file regards as suspect.
    default : bool
        Whether corrected data were looked for first, then raw ones.
    shown : frozenset of str or None
        Names of sources, present and old ones, that were selected; None: all.
    left_out : tuple of (file, reason)
        Files that could not be used.
    memo : dict
        What was found out about detectors.
    parent : RunData or None
        The run with more trains of which something is kept.
    """

    entries: dict[str, SourceData]
    all_files: tuple[FileIndex, ...]
    ids: TrainIDs
    single: bool = True
    inc_suspect_trains: bool = True
    default: bool = False
    shown: frozenset[str] | None = None
    left_out: tuple[LeftOut, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    parent: RunData | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        # Labels of every frame make a pickle large; they are read again where needed.
        stored = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**stored, "memo": {}, "parent": None}

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        """Return what identifies the data, whatever was looked up in them so far."""
        parts = [(s, e.selected_keys, e.ids) for s, e in sorted(self.entries.items())]
        return type(self).__name__, [f.token() for f in self.all_files], parts

    @cached_property
    def run_id(self) -> str:
        """Proposal and run, such as ``p700000 r0102``; empty if unknown."""
        if not self.single:
            return "several runs"
        try:
            found = run_metadata(self.all_files)
        except BrokenFileError:
            return ""
        proposal, number = found.get("proposalNumber"), found.get("runNumber")
        # A damaged file may hold anything there.
        if not (isinstance(proposal, int) and isinstance(number, int)):
            return ""
        return f"p{proposal:06d} r{number:04d}"

    @property
    def is_single_run(self) -> bool:
        """Whether all data come from one run."""
        return self.single

    @property
    def control_sources(self) -> frozenset[str]:
        """Sources with one row per train."""
        return frozenset(s for s, e in self.entries.items() if e.is_control)

    @property
    def instrument_sources(self) -> frozenset[str]:
        """Sources with any number of rows per train, legacy names included."""
        present = {s for s, e in self.entries.items() if e.is_instrument}
        names = frozenset(present | set(self.legacy_sources))
        return names if self.shown is None else names & self.shown

    @property
    def all_sources(self) -> frozenset[str]:
        """All source names."""
        return self.control_sources | self.instrument_sources

    @property
    def sources(self) -> list[str]:
        """All source names, sorted."""
        return sorted(self.all_sources)

    @cached_property
    def legacy_sources(self) -> dict[str, str]:
        """Old names of sources and the present ones."""
        found = {k: v for f in self.all_files for k, v in f.legacy.items()}
        # A real source of an old name wins.
        return {
            old: new
            for old, new in found.items()
            if new in self.entries
            and old not in self.entries
            and (self.shown is None or old in self.shown)
        }

    @cached_property
    def files(self) -> tuple[FileIndex, ...]:
        """The files that hold selected sources and trains; one file if none does."""
        used = {f.path for e in self.entries.values() for f in e.all_files}
        some = tuple(f for f in self.all_files if f.path in used)
        return files_with(some or self.all_files, self.ids, self.inc_suspect_trains)

    def source(self, name: str) -> SourceData:
        """Return the data of a source; a legacy name warns.

        Raises
        ------
        SourceNameError
            If the run has no such source.
        """
        if name in self.entries:
            return self.entries[name]
        if name in self.legacy_sources:
            new = self.legacy_sources[name]
            warn(
                f"{name} is an old name of {new}; use the new one",
                kind=DeprecationWarning,
            )
            return replace(self.entries[new], source=name, present_name=new)
        raise no_source(name, self.all_sources)

    def __contains__(self, item: object) -> bool:
        if isinstance(item, tuple) and len(item) == 2:
            source, key = item
            present = self.legacy_sources.get(str(source), str(source))
            return present in self.entries and key in self.entries[present]
        return isinstance(item, str) and item in self.all_sources

    def with_ids(self, ids: TrainIDs) -> Self:
        entries = {
            # Most often all have the trains of the run, in one array.
            s: e.with_ids(ids if e.ids is self.ids else e.ids[np.isin(e.ids, ids)])
            for s, e in self.entries.items()
        }
        # What is kept of all trains is cut to these; see `find_detector`.
        parent = self if self.memo else self.parent
        return replace(self, entries=entries, ids=ids, memo={}, parent=parent)

    def key_data(self, source: str, key: str) -> KeyData:
        """Return the data of one key of a source."""
        if not isinstance(key, str):
            raise ArgumentTypeError(
                f"run[source, key] takes the name of a key, not {key!r}; for trains of"
                f" a source: run[{source!r}].select_trains({key!r})"
            )
        return self.source(source).key_data(key)

    def with_legacy(self) -> dict[str, SourceData]:
        """Return the sources under their present and their old names."""
        old = {k: self.entries[v] for k, v in self.legacy_sources.items()}
        return {**self.entries, **old}

    def with_sources(self, chosen: dict[str, frozenset[str] | None]) -> Self:
        """Return the run with the chosen sources and keys."""
        entries: dict[str, SourceData] = {}
        for name, keys in chosen.items():
            present = self.legacy_sources.get(name, name)
            old = entries.get(present)
            if old is not None and (old.selected_keys is None or keys is None):
                keys = None
            elif old is not None and keys is not None:
                keys = keys | (old.selected_keys or frozenset())
            entries[present] = replace(self.entries[present], selected_keys=keys)
        shown = frozenset(chosen)
        return replace(self, entries=entries, shown=shown, memo={}, parent=None)


def no_source(name: str, sources: Iterable[str]) -> SourceNameError:
    known = sorted(sources)
    return SourceNameError(
        f"no source {name!r} in this run.{did_you_mean(name, known)}"
        f" It has {len(known)} sources: {listing(known)}"
    )


def entries_of(
    files: tuple[FileIndex, ...], ids: TrainIDs, inc_suspect_trains: bool
) -> dict[str, SourceData]:
    """Return the sources that a set of files holds, by present name."""
    by_source: dict[str, list[FileIndex]] = {}
    control: set[str] = set()
    for file in files:
        control |= file.control
        for name in file.control | (file.instrument - set(file.legacy)):
            by_source.setdefault(name, []).append(file)
    return {
        name: SourceData(
            name,
            "CONTROL" if name in control else "INSTRUMENT",
            tuple(own),
            ids,
            inc_suspect_trains,
            single=one_run(own),
        )
        for name, own in sorted(by_source.items())
    }


def joined_entries(runs: Sequence[RunData], ids: TrainIDs) -> dict[str, SourceData]:
    """Return the sources of several runs together, each for the trains of all."""
    entries: dict[str, SourceData] = {}
    for run in runs:
        for name, new in run.entries.items():
            old = entries.get(name)
            entries[name] = new if old is None else merged(old, new)
    suspects = all(r.inc_suspect_trains for r in runs)
    check_conflicts({s: e.all_files for s, e in entries.items()}, suspects)
    return {s: e.with_ids(ids) for s, e in entries.items()}


def same_run(runs: Sequence[RunData]) -> bool:
    """Return whether all data are known to come from one run."""
    first = runs[0]
    return all(
        r.single and same_files_or_run(first.all_files, r.all_files) for r in runs
    )
