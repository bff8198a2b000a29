"""Chosen frames of a detector in a new run file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred import __version__
from xfelred.errors import BrokenFileError
from xfelred.readers.euxfel.locate import accepted
from xfelred.readers.euxfel.metadata import (
    first_described,
    run_metadata,
    train_timestamps,
)
from xfelred.readers.euxfel.plans import counted_patterns
from xfelred.readers.hdf5 import open_dataset, open_group

if TYPE_CHECKING:
    from xfelred.readers.euxfel.detectors import XtdfDetector
    from xfelred.readers.euxfel.key_data import KeyData


def write_frames(
    detector: XtdfDetector, filename: str | os.PathLike[str], trains: Any, pulses: Any
) -> None:
    """Write chosen frames of all modules to a new file in the facility's layout.

    Parameters
    ----------
    detector : AGIPD1M, AGIPD500K, DSSC1M, LPD1M or LPDSolo
    filename : path
        Replaced if it exists; nothing is left there if writing fails.
    trains, pulses : int arrays (n,)
        Train and pulse ID of each frame; unknown pairs are ignored.

    Raises
    ------
    ValueError
        If `trains` and `pulses` are not one-dimensional and equally long, or for
        parallel-gain data, whose pulse IDs do not tell frames apart.
    """
    train_ids, pulse_ids = np.asarray(trains), np.asarray(pulses)
    if train_ids.ndim != 1 or pulse_ids.ndim != 1 or train_ids.shape != pulse_ids.shape:
        raise ValueError(
            "trains and pulses must be one-dimensional and of one length, got shapes"
            f" {train_ids.shape} and {pulse_ids.shape}"
        )
    if detector.parallel_gain:
        raise ValueError(
            "frames of parallel-gain data cannot be chosen by pulse: each pulse has"
            " three"
        )
    chosen = chosen_frames(detector, train_ids, pulse_ids)
    target = os.fspath(filename)
    partial = f"{target}.partial"
    try:
        with h5py.File(partial, "w") as f:
            f.attrs["writer"] = f"xfelred {__version__}"
            write_metadata(detector, f)
            for source in detector.source_to_modno:
                write_source(detector, f, source, chosen)
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def chosen_frames(
    detector: XtdfDetector, train_ids: NDArray[Any], pulse_ids: NDArray[Any]
) -> NDArray[np.bool_]:
    """Return which frames of the detector are among the pairs, bool (frame,)."""
    labels = detector.pulse_labels()
    train, at = labels.expanded
    have = np.rec.fromarrays([detector.data.ids[train], labels.pulse[at]])
    want = np.rec.fromarrays(
        [train_ids.astype(np.uint64), pulse_ids.astype(np.uint64)], dtype=have.dtype
    )
    return np.isin(have, want)


def write_source(
    detector: XtdfDetector, f: h5py.File, source: str, chosen: NDArray[np.bool_]
) -> None:
    """Write all groups of one module."""
    module = list(detector.source_to_modno).index(source)
    data = detector.data.entries[source]
    counts = detector.counts
    for group in data.index_groups:
        table = detector.table(group)
        own = table.count[:, module]
        if group == detector.main_group:
            train = np.repeat(np.arange(len(counts)), counts)
            keep = chosen & (own > 0)[train]
            kept = np.bincount(train[keep], minlength=len(counts))
            inside = np.arange(len(train)) - np.repeat(
                np.cumsum(counts) - counts, counts
            )
            rows = table.first[train[keep], module] + inside[keep]
        else:
            kept = own
            pattern, patterns = counted_patterns(own)
            shot, offset, _ = patterns.expand(pattern)
            rows = table.first[shot, module] + offset
        index = f.create_group(f"INDEX/{source}/{group}")
        index["first"] = (np.cumsum(kept) - kept).astype(np.uint64)
        index["count"] = kept.astype(np.uint64)
        target = np.repeat(table.target[:, module], kept)
        places = [table.targets[t][1] for t in target.tolist()]
        for key in sorted(data.all_keys()):
            if key.partition(".")[0] == group:
                copy_rows(f, data.key_data(key), places, rows)


def copy_rows(f: h5py.File, key: KeyData, paths: list[str], rows: NDArray[Any]) -> None:
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
        chunks=like.chunks if whole else True,
        maxshape=(None, *shape),
        compression=like.compression,
        compression_opts=like.compression_opts,
        shuffle=like.shuffle,
        fletcher32=like.fletcher32,
    )
    for i, (path, row) in enumerate(zip(paths, rows.tolist(), strict=True)):
        if path in key.headers:
            stored = open_dataset(path, name)
            if row >= stored.shape[0]:
                raise BrokenFileError(
                    f"{path} is inconsistent: its index points to row {row} of {name},"
                    f" which has {stored.shape[0]} rows"
                )
            out[i] = stored[row].reshape(shape) if shape else stored[row]


def write_metadata(detector: XtdfDetector, f: h5py.File) -> None:
    """Write METADATA and the train index."""
    run = detector.data
    first = first_described(run.files)
    like = open_group(first.path, "METADATA")
    old = first.version == "0.5"
    for key in run_metadata(run.files):
        version = key == "dataFormatVersion"
        # Of several runs there is no one number.
        if not old and like is not None and (version or run.single):
            f[f"METADATA/{key}"] = np.array([b"1.0"]) if version else like[key][:]
    entries = sorted(
        f"{source}/{group}"
        for source in detector.source_to_modno
        for group in run.entries[source].index_groups
    )
    where = "METADATA" if old else "METADATA/dataSources"
    text = h5py.string_dtype("ascii")
    lists = {
        "dataSourceId": [f"INSTRUMENT/{e}" for e in entries],
        "root": ["INSTRUMENT"] * len(entries),
        "deviceId": entries,
    }
    for key, values in lists.items():
        f.create_dataset(f"{where}/{key}", data=values, dtype=text)
    f["INDEX/trainId"] = run.ids
    times = train_timestamps(run, False, False, False)
    if not np.isnat(times).any():
        f["INDEX/timestamp"] = times.astype(np.int64).astype(np.uint64)
    if not old:
        f["INDEX/flag"] = valid_trains(detector).astype(np.int32)


def valid_trains(detector: XtdfDetector) -> NDArray[np.bool_]:
    """Return which trains at least one file regards as valid."""
    ids = detector.data.ids
    out = np.zeros(len(ids), bool)
    for file in detector.data.files:
        out |= np.isin(ids, file.train_ids[accepted(file, False)])
    return out
