"""The parts that all files of a European XFEL run share: INDEX and METADATA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

from xfelred.synth.euxfel.config import RunConfig
from xfelred.synth.euxfel.layout import Array

BYTES = h5py.string_dtype("ascii")
START_NS = 1_700_000_000_000_000_000  # the `creationDate` below, since 1970
TRAIN_PERIOD_NS = 100_000_000  # 10 trains a second
# The list of sources is padded in real files.
SOURCE_PADDING = 4
TIME_SERVER = "Karabo_TimerServer/SYS/TIMESERVER"


@dataclass(frozen=True)
class AllottedRows:
    """Which entries of a group of datasets belong to which train of a file.

    Entries ``first : first + count`` (uint64, one for each train) of `total` hold it.
    """

    first: Array
    count: Array
    total: int

    @property
    def used(self) -> Array:
        """Positions of the entries that belong to a train, in order."""
        ranges = [
            np.arange(a, a + n) for a, n in zip(self.first, self.count, strict=True)
        ]
        return np.concatenate([np.zeros(0, np.int64), *ranges]).astype(np.int64)

    def spread(self, values: ArrayLike, fill: object) -> Array:
        """Return `values` of the used entries with `fill` in all others."""
        values = np.asarray(values)
        out = np.full((self.total, *values.shape[1:]), fill, dtype=values.dtype)
        out[self.used] = values
        return out


def allot_rows(counts: Sequence[int], gap: int = 0, tail: int = 0) -> AllottedRows:
    """Return rows for trains with so many entries each, with unused ones between."""
    count = np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(count + gap)
    total = int(ends[-1]) if ends.size else 0
    first = (ends - count).astype(np.uint64)
    return AllottedRows(first, count.astype(np.uint64), total + tail)


def file_path(
    directory: Path, config: RunConfig, aggregator: str, sequence: int
) -> Path:
    category = "CORR" if config.corrected and aggregator[:2] != "DA" else "RAW"
    name = f"{category}-R{config.run:04d}-{aggregator}-S{sequence:05d}.h5"
    return directory / name


def padded(values: Array, multiple: int) -> Array:
    extra = -len(values) % multiple if multiple else 0
    return np.concatenate([values, np.zeros(extra, dtype=values.dtype)])


def write_trains(h5: h5py.File, config: RunConfig, trains: Sequence[int]) -> None:
    ids = np.array(trains, dtype=np.uint64)
    suspect = np.isin(ids, np.array(sorted(config.suspect), dtype=np.uint64))
    datasets: dict[str, Array] = {"trainId": ids}
    if config.format_version != "0.5":
        position = np.array([config.places[t] for t in trains], dtype=np.uint64)
        datasets["timestamp"] = START_NS + position * TRAIN_PERIOD_NS
        # Version 1.1 has the index of the origin here, where 0 is the time server.
        flag = suspect if config.format_version == "1.1" else ~suspect
        datasets["flag"] = flag.astype(np.int32)
    if config.format_version >= "1.2":
        datasets["origin"] = np.where(suspect, 0, -1).astype(np.int32)
    for name, values in datasets.items():
        values = padded(values.astype(values.dtype), config.padding)
        h5.create_dataset(f"INDEX/{name}", data=values, maxshape=(None,))


def write_source_index(
    h5: h5py.File, config: RunConfig, path: str, rows: AllottedRows
) -> None:
    group = h5.require_group(f"INDEX/{path}")
    group.create_dataset("first", data=padded(rows.first, config.padding))
    if config.index_form == "count":
        group.create_dataset("count", data=padded(rows.count, config.padding))
        return
    # An empty train has last = first - 1, which wraps around at first = 0.
    last = rows.first + rows.count - np.uint64(1)
    status = (rows.count > 0).astype(np.uint32)
    group.create_dataset("last", data=padded(last, config.padding))
    group.create_dataset("status", data=padded(status, config.padding))


def write_metadata(
    h5: h5py.File, config: RunConfig, sources: Sequence[str], sequence: int
) -> None:
    h5.require_group("RUN")
    old = config.format_version == "0.5"
    names = list(sources) + ([TIME_SERVER] if config.format_version == "1.1" else [])
    names += [""] * (-len(names) % SOURCE_PADDING)
    parts = [name.partition("/") for name in names]
    lists = {
        "dataSourceId": names,
        "root": [p[0] for p in parts],
        "deviceId": [p[2] for p in parts],
    }
    group = h5.require_group("METADATA" if old else "METADATA/dataSources")
    for name, values in lists.items():
        group.create_dataset(name, data=values, dtype=BYTES, maxshape=(None,))
    if old:
        return
    facts: dict[str, Any] = {
        "dataFormatVersion": config.format_version,
        "creationDate": "20231114T221320Z",
        "updateDate": "20231114T222320Z",
        "daqLibrary": "1.9.0",
        "karaboFramework": "2.7.0",
        "proposalNumber": np.uint32(config.proposal),
        "runNumber": np.uint32(config.run),
        "sequenceNumber": np.uint32(sequence),
        "runType": "Simulation",
        "sample": "No Sample",
    }
    for name, value in facts.items():
        dtype = BYTES if isinstance(value, str) else None
        h5.create_dataset(f"METADATA/{name}", data=[value], dtype=dtype)
