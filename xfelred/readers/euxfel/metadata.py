"""What METADATA, RUN and INDEX/timestamp of its files tell about a run."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import (
    BrokenFileError,
    ConfigError,
    MultiRunError,
    NoDataError,
    PropertyNameError,
    listing,
)
from xfelred.hdf5 import Dataset, Group, Unreadable, open_group
from xfelred.readers.euxfel.files import FileIndex, runs_of
from xfelred.readers.euxfel.locate import places_among
from xfelred.readers.selection import TrainIDs

Files = tuple[FileIndex, ...]


def run_metadata(files: Files) -> dict[str, Any]:
    """Return the one-element METADATA datasets of a file, as plain values.

    Files of format 0.5 have none: it is the first one of another format.
    """
    file = first_described(files)
    if file.version == "0.5":  # which has none but the list of sources
        return {"dataFormatVersion": "0.5"}
    group = open_group(file.path, "METADATA")
    if group is None:
        raise BrokenFileError(f"{file.path} has no METADATA")
    found: dict[str, Any] = {}
    for name, item in group.children():
        if isinstance(item, Unreadable):
            raise item.error
        if isinstance(item, Dataset) and item.shape == (1,):
            value = item.text(0) if item.is_text else item[0]
            found[name] = value.item() if isinstance(value, np.generic) else value
    return found


def first_described(files: Files) -> FileIndex:
    """Return the first file that says what run it is of, else the first one."""
    return next((f for f in files if f.version != "0.5"), files[0])


def train_timestamps(
    files: Files,
    ids: TrainIDs,
    labelled: bool,
    pydatetime: bool,
    euxfel_local_time: bool,
) -> Any:
    """Return the time of each train; see `Run.train_timestamps`."""
    if euxfel_local_time and not (labelled or pydatetime):
        raise ConfigError(
            "an array of times has no time zone, so euxfel_local_time=True needs"
            " labelled=True or pydatetime=True"
        )
    times: Any = recorded_times(files, ids)
    if not (labelled or pydatetime):
        return times
    series = xr.DataArray(times, {"trainId": ids}, ["trainId"]).to_series()
    zone = ZoneInfo("Europe/Berlin") if euxfel_local_time else UTC
    series = series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if pydatetime:
        series = series.dt.floor("us")  # datetime has no nanoseconds
        return [None if t is None or t != t else t.to_pydatetime() for t in series]
    return series


def recorded_times(files: Files, ids: TrainIDs) -> NDArray[np.datetime64]:
    """Return the time of each train, datetime64[ns] (n,), NaT where no file has it."""
    times = np.full(len(ids), np.datetime64("NaT", "ns"))
    for file in reversed(files):  # the first file that knows a train wins
        index = open_group(file.path, "INDEX")
        stored = None if index is None else index.dataset("timestamp")
        if stored is None or stored.ndim != 1 or stored.dtype.kind not in "iu":
            continue
        at, here = places_among(ids, file.train_ids)
        # A list that is too short tells nothing of the trains behind its end.
        stamps = np.zeros(max(len(stored), file.index_length), np.uint64)
        stamps[: len(stored)] = stored[:]
        stamps = stamps[file.rows].astype("datetime64[ns]")
        known = here & (stamps.astype(np.int64) > 0)  # 0 stands for no time
        times[at[known]] = stamps[known]
    return times


def check_single(files: Files, source: str, single: bool) -> None:
    """Raise MultiRunError if the files of a source are of several runs."""
    if not single:
        known = sorted(runs_of(files))
        which = listing(f"p{p:06d} r{r:04d}" for p, r in known) if known else "?"
        raise MultiRunError(
            f"{source!r} comes from several joined runs ({which}), and each"
            " has values of its own at its start. Ask the runs before they are"
            " joined, or read the values per train: run[source, key]"
        )


def run_groups(files: Files, source: str) -> list[Group]:
    """Return the groups of a source in the RUN sections; NoDataError if it has none."""
    groups = (open_group(f.path, f"RUN/{source}") for f in files)
    found = [g for g in groups if g is not None]
    if not found:
        raise NoDataError(
            f"{source!r} has no values at the start of the run, which only control"
            " sources have (names without ':output'). Read its data: run[source, key]"
        )
    return found


def run_value(files: Files, source: str, key: str) -> Any:
    """Return the value of a property in the first file that has it."""
    for group in run_groups(files, source):
        found = group.get(key.removesuffix(".value").replace(".", "/"))
        # A property is a group of value and timestamp.
        found = found.get("value") if isinstance(found, Group) else found
        if isinstance(found, Dataset):
            return first_row(found)
    raise PropertyNameError(
        f"source {source!r} has no run value {key!r}; see run[{source!r}].run_values()"
    )


def run_values(files: Files, source: str, inc_timestamps: bool) -> dict[str, Any]:
    """Return all values in the first file that has some, by key."""
    found: dict[str, Any] = {}
    for name, item in run_groups(files, source)[0].walk():
        if isinstance(item, Unreadable):
            raise item.error
        key = name.replace("/", ".")
        if inc_timestamps:
            found[key] = first_row(item)
        elif key.endswith(".value"):
            found[key.removesuffix(".value")] = first_row(item)
    return found


def first_row(dataset: Dataset) -> Any:
    """Return the first row of a RUN dataset; text as str."""
    if not dataset.shape or not len(dataset):
        raise NoDataError(
            f"{dataset.name} in {dataset.path} holds no value: its shape is"
            f" {dataset.shape}, wanted one row"
        )
    return dataset.text(0) if dataset.is_text else dataset[0]
