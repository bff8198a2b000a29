"""New files, with METADATA and train index of a run, for data taken from others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from xfelred import __version__
from xfelred.hdf5 import File, Group, NewGroup, open_group, string_dtype
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.metadata import (
    first_described,
    recorded_times,
    run_metadata,
)
from xfelred.readers.selection import TrainIDs
from xfelred.small_files import writing

FilePath = str | os.PathLike[str]


@contextmanager
def new_file(
    filename: FilePath, libver: tuple[str, str] | None = None
) -> Iterator[File]:
    """Open a file that gets its name, and replaces what has it, when it is whole."""
    target = os.fspath(filename)
    partial = f"{target}.partial"
    try:
        with writing(target), File(partial, "w", libver=libver) as f:
            yield f
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def stored_row(like: Group, key: str) -> Any:
    found = like.dataset(key)
    return [] if found is None else found[:]


def write_metadata(
    f: NewGroup,
    files: tuple[FileIndex, ...],
    ids: TrainIDs,
    single: bool,
    places: list[str],
) -> None:
    """Write what a reader asks first of a file with the trains `ids`, from `files`.

    `places` are sources and their index groups, such as ``INSTRUMENT/<source>/image``.
    Files that are not of one run (`single`) have no one number of it.
    """
    f.attrs["writer"] = f"xfelred {__version__}"
    first = first_described(files)
    like = open_group(first.path, "METADATA")
    old = first.version == "0.5"
    for key in run_metadata(files):
        version = key == "dataFormatVersion"  # no later one: INDEX/origin is left out
        if not old and like is not None and (version or single):
            f[f"METADATA/{key}"] = (
                np.array([b"1.0"]) if version else stored_row(like, key)
            )
    where = "METADATA" if old else "METADATA/dataSources"
    text = string_dtype("ascii")
    parts = [place.split("/", 1) for place in places]
    lists = {
        "dataSourceId": places,
        "root": [root for root, _ in parts],
        "deviceId": [device for _, device in parts],
    }
    for key, values in lists.items():
        f.create_dataset(f"{where}/{key}", data=values, dtype=text)
    f["INDEX/trainId"] = ids
    times = recorded_times(files, ids)
    if not np.isnat(times).any():
        f["INDEX/timestamp"] = times.astype(np.int64).astype(np.uint64)  # ns
    if not old:
        # Valid is what at least one file regards as such.
        known = [np.isin(ids, file.train_ids[file.valid]) for file in files]
        f["INDEX/flag"] = np.any(known, axis=0).astype(np.int32)
