"""Chosen frames of a detector in a new run file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, BrokenFileError
from xfelred.hdf5 import NewGroup, open_dataset
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.frame_labels import module_labels
from xfelred.readers.euxfel.key_facts import counted_patterns
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.euxfel.run_file import FilePath, new_file, write_metadata


def write_frames(
    detector: ModuleData,
    filename: FilePath,
    trains: object,
    pulses: object,
) -> None:
    """Write chosen frames of all modules; see `XtdfDetector.write_frames`."""
    train_ids, pulse_ids = np.asarray(trains), np.asarray(pulses)
    if train_ids.ndim != 1 or pulse_ids.ndim != 1 or train_ids.shape != pulse_ids.shape:
        raise ArgumentError(
            "trains and pulses must be one-dimensional and of one length, got shapes"
            f" {train_ids.shape} and {pulse_ids.shape}"
        )
    if detector.parallel_gain:
        raise ArgumentError(
            "frames of parallel-gain data cannot be chosen by pulse: each has three"
        )
    pairs = paired(train_ids, pulse_ids)
    run = detector.data
    places = sorted(
        f"INSTRUMENT/{source}/{group}"
        for source in detector.source_to_modno
        for group in run.entries[source].groups
    )
    with new_file(filename) as f:
        write_metadata(f, run.all_files, run.ids, run.single, places)
        for source in detector.source_to_modno:
            write_source(detector, f, source, pairs)


def paired(train: NDArray[Any], pulse: NDArray[Any]) -> NDArray[Any]:
    """Return pairs of IDs that can be compared as a whole."""
    out = np.empty(len(train), [("train", np.uint64), ("pulse", np.uint64)])
    out["train"], out["pulse"] = train, pulse
    return out


def chosen_rows(
    detector: ModuleData, module: int, pairs: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which rows of a module are among the pairs, in train order."""
    own = detector.table(detector.main_group).count[:, module]
    told = detector.key_table("image.pulseId").count[:, module] > 0
    pulse = module_labels(
        detector, "image.pulseId", module, np.repeat(told, detector.counts)
    )
    known = np.repeat(told, own)
    train = np.repeat(detector.ids, own)[known]
    keep = np.zeros(int(own.sum()), bool)
    keep[known] = np.isin(paired(train, pulse), pairs)
    return keep


def write_source(
    detector: ModuleData, f: NewGroup, source: str, pairs: NDArray[Any]
) -> None:
    module = list(detector.source_to_modno).index(source)
    data = detector.data.entries[source]
    for group in data.groups:
        table = detector.table(group)
        own = table.count[:, module]
        pattern, patterns = counted_patterns(own)
        shot, offset, _ = patterns.expand(pattern)
        if group == detector.main_group:
            keep = chosen_rows(detector, module, pairs)
            shot, offset = shot[keep], offset[keep]
        kept = np.bincount(shot, minlength=len(own))
        rows = table.first[shot, module] + offset
        index = f.create_group(f"INDEX/{source}/{group}")
        index["first"] = (np.cumsum(kept) - kept).astype(np.uint64)
        index["count"] = kept.astype(np.uint64)
        target = np.repeat(table.target[:, module], kept)
        places = [table.targets[t][1].path for t in target.tolist()]
        for key in sorted(data.all_keys()):
            if key.partition(".")[0] == group:
                copy_rows(f, data.key_data(key), places, rows)


def copy_rows(f: NewGroup, key: KeyData, paths: list[str], rows: NDArray[Any]) -> None:
    """Copy rows of a key from several files; it is laid out as in the first of them.

    Rows of a file that lacks the key are not written.
    """
    name = key.hdf5_data_path
    dtype, shape = key.stored
    like = open_dataset(next(iter(key.headers)), name)
    whole = like.shape[1:] == shape
    out = f.create_dataset(
        name,
        shape=(len(rows), *shape),
        dtype=like.dtype if dtype.kind == "O" else dtype,
        chunks=(like.chunks or None) if whole else True,
        maxshape=(None, *shape),
        **like.filters,
    )
    # Row by row: the DAQ stores each frame as a chunk of its own.
    for i, (path, row) in enumerate(zip(paths, rows.tolist(), strict=True)):
        if path in key.headers:
            stored = open_dataset(path, name)
            if row >= stored.shape[0]:
                raise BrokenFileError(
                    f"{path} is inconsistent: its index points to row {row} of {name},"
                    f" which has {stored.shape[0]} rows"
                )
            out[i] = stored[row].reshape(shape) if shape else stored[row]
