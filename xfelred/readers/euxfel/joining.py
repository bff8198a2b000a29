"""Sources, files and trains of several files, or of several runs, put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.locate import all_train_ids, check_conflicts
from xfelred.readers.euxfel.source_data import SourceData
from xfelred.readers.selection import TrainIDs

if TYPE_CHECKING:
    from xfelred.readers.euxfel.run import Run


def one_run(files: Iterable[FileIndex]) -> bool:
    """Return whether no two files say that they are of different runs."""
    return len(runs_of(files)) < 2


def runs_of(files: Iterable[FileIndex]) -> set[tuple[int, int]]:
    """Return (proposal, run) of the files that tell; those of format 0.5 do not."""
    return {f.identity for f in files if f.identity is not None}


def entries_of(
    files: tuple[FileIndex, ...], inc_suspect_trains: bool
) -> dict[str, SourceData]:
    """Return the sources that a set of files holds, by present name."""
    ids = all_train_ids(files, inc_suspect_trains)
    by_source: dict[str, list[FileIndex]] = {}
    control: set[str] = set()
    for file in files:
        control |= file.control
        for name in file.control | (file.instrument - set(file.legacy)):
            by_source.setdefault(name, []).append(file)
    grouped = {s: tuple(f) for s, f in sorted(by_source.items())}
    return {
        s: SourceData(
            s, "CONTROL" if s in control else "INSTRUMENT", f, ids,
            inc_suspect_trains=inc_suspect_trains, single=one_run(f),
        )
        for s, f in grouped.items()
    }  # fmt: skip


def joined_entries(runs: Sequence[Run], ids: TrainIDs) -> dict[str, SourceData]:
    """Return the sources of several runs together.

    Raises
    ------
    InconsistentDataError
        If a source has the same train in two runs.
    """
    entries: dict[str, SourceData] = {}
    for run in runs:
        for name, new in run.entries.items():
            old = entries.get(name)
            entries[name] = new if old is None else merged(old, new)
    if all(np.array_equal(e.ids, ids) for e in entries.values()):
        entries = {s: e.with_ids(ids) for s, e in entries.items()}
    suspects = all(r.inc_suspect_trains for r in runs)
    check_conflicts({s: used_files(e) for s, e in entries.items()}, suspects)
    return entries


def merged(old: SourceData, new: SourceData) -> SourceData:
    """Return one source from two: all files, trains and keys of both."""
    files = tuple({f.path: f for f in (*old.files, *new.files)}.values())
    keys = None
    if old.selected_keys is not None and new.selected_keys is not None:
        keys = old.selected_keys | new.selected_keys
    ids = np.union1d(old.ids, new.ids)
    single = old.single and new.single and same_files_or_run(old.files, new.files)
    return replace(
        old, files=files, selected_keys=keys, ids=ids, single=single, memo={}
    )


def used_files(source: SourceData) -> tuple[FileIndex, ...]:
    """Return the files that hold a selected train of a source."""
    return tuple(f for f in source.files if np.isin(f.train_ids, source.ids).any())


def same_run(runs: Sequence[Run]) -> bool:
    """Return whether all data are known to come from one run."""
    first = runs[0]
    return all(r.single and same_files_or_run(first.files, r.files) for r in runs)


def same_files_or_run(one: tuple[FileIndex, ...], other: tuple[FileIndex, ...]) -> bool:
    """Return whether files are the same, or say that they are of the same run."""
    if {f.path for f in one} == {f.path for f in other}:
        return True
    names = runs_of(one), runs_of(other)
    return names[0] == names[1] and len(names[0]) == 1
