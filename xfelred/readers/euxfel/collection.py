"""Runs that another program opened and selected from, such as EXtra-data."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from xfelred.readers.euxfel.extra_data.source_data import SourceData
from xfelred.readers.euxfel.files import FileIndex, one_run, read_files
from xfelred.readers.euxfel.locate import all_train_ids, check_conflicts
from xfelred.readers.euxfel.run import Run
from xfelred.readers.euxfel.run_data import entries_of


def is_collection(source: object) -> bool:
    """Return whether something is a run, or a part of one, of another program."""
    return hasattr(source, "files") and not isinstance(source, (str, os.PathLike))


def from_collection(source: object, inc_suspect_trains: bool | None = None) -> Run:
    """Return the same sources, keys and trains of the same files.

    `source` has ``files``, each with a ``filename``. As far as it has them it also
    tells ``train_ids`` and the names of its sources; ``source[name]`` then has the
    ``files``, ``train_ids`` and ``sel_keys`` (None: all) of each. The data of a single
    source or key are a collection too.
    """
    if inc_suspect_trains is None:
        inc_suspect_trains = bool(getattr(source, "inc_suspect_trains", True))
    read, left_out = read_files(file_names(source))
    files = {f.path: f for f in read}
    parts = source_parts(source)
    if parts is None:
        every = all_train_ids(read, inc_suspect_trains)
        entries = entries_of(read, every, inc_suspect_trains)
    else:
        found = [entry(p, files, inc_suspect_trains) for p in parts]
        entries = {e.source: e for e in found}
    check_conflicts({s: e.all_files for s, e in entries.items()}, inc_suspect_trains)
    known = [e.ids for e in entries.values()]
    ids = np.asarray(getattr(source, "train_ids", np.concatenate(known)), np.uint64)
    ids = np.unique(ids)
    single = bool(getattr(source, "is_single_run", True)) and one_run(files.values())
    run = Run(entries, read, ids, single, inc_suspect_trains, left_out=left_out)
    # Most selections have the same trains in all sources; then they share one array.
    if all(np.array_equal(e.ids, ids) for e in entries.values()):
        shared = {s: e.with_ids(ids) for s, e in entries.items()}
        return replace(run, entries=shared)
    return run.with_ids(ids)


def file_names(source: Any) -> list[str]:
    return list(dict.fromkeys(os.fspath(f.filename) for f in source.files))


def source_parts(source: Any) -> list[Any] | None:
    """Return what tells of each source, under its present name; None if nothing does.

    An old name alone gives the source that it stands for.
    """
    if hasattr(source, "source"):
        return [source]
    if not hasattr(source, "all_sources"):
        return None
    old = dict(getattr(source, "legacy_sources", {}))
    names = set(source.all_sources) - set(old)
    return [source[name] for name in sorted(names)]


def entry(
    part: Any, files: dict[str, FileIndex], inc_suspect_trains: bool
) -> SourceData:
    """Return one source with the files, trains and keys that are selected of it."""
    own = tuple(files[name] for name in file_names(part) if name in files)
    keys = {part.key} if hasattr(part, "key") else getattr(part, "sel_keys", None)
    name = getattr(part, "canonical_name", part.source)
    return SourceData(
        name,
        "CONTROL" if any(name in f.control for f in own) else "INSTRUMENT",
        own,
        np.unique(np.asarray(part.train_ids, np.uint64)),
        inc_suspect_trains,
        selected_keys=None if keys is None else frozenset(keys),
        single=one_run(own),
    )
