"""METADATA and train index of a new run file, for data taken from others."""

from __future__ import annotations

from typing import Any

import numpy as np

from xfelred.hdf5 import Group, NewGroup, string_dtype
from xfelred.hdf5.rows import open_group
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.metadata import (
    first_described,
    recorded_times,
    run_metadata,
)
from xfelred.readers.selection import TrainIDs


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
    """Write what a reader asks of a file first.

    Parameters
    ----------
    f : File
        Open for writing.
    files : tuple of FileIndex
        Where the data come from.
    ids : uint64 (n,)
        Trains of the new file.
    single : bool
        Whether all files are of one run; of several there is no one number.
    places : list of str
        Sources and their index groups, such as ``INSTRUMENT/<source>/image``.
    """
    first = first_described(files)
    like = open_group(first.path, "METADATA")
    old = first.version == "0.5"
    for key in run_metadata(files):
        version = key == "dataFormatVersion"
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
        f["INDEX/timestamp"] = times.astype(np.int64).astype(np.uint64)
    if not old:
        known = [np.isin(ids, file.train_ids[file.valid]) for file in files]
        f["INDEX/flag"] = np.any(known, axis=0).astype(np.int32)
