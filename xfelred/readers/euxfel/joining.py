"""Sources, files and trains of several files, or of several runs, put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xfelred.readers.euxfel.files import FileIndex, one_run, same_files_or_run
from xfelred.readers.euxfel.locate import all_train_ids, check_conflicts
from xfelred.readers.euxfel.source_data import SourceData, merged
from xfelred.readers.selection import TrainIDs

if TYPE_CHECKING:
    from xfelred.readers.euxfel.run import Run


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
    """Return the sources of several runs together, each for the trains of all.

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
    suspects = all(r.inc_suspect_trains for r in runs)
    check_conflicts({s: e.all_files for s, e in entries.items()}, suspects)
    return {s: e.with_ids(ids) for s, e in entries.items()}


def same_run(runs: Sequence[Run]) -> bool:
    """Return whether all data are known to come from one run."""
    first = runs[0]
    return all(
        r.single and same_files_or_run(first.all_files, r.all_files) for r in runs
    )
