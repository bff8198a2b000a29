"""What METADATA and INDEX/timestamp tell about a run."""

from __future__ import annotations

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, ConfigError
from xfelred.hdf5 import Dataset, Unreadable
from xfelred.hdf5.rows import open_group
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.selection import TrainIDs


def run_metadata(files: tuple[FileIndex, ...]) -> dict[str, Any]:
    """Return the one-element METADATA datasets of a file, as plain values.

    Files of format 0.5 have none: it is the first one of another format.
    """
    file = first_described(files)
    if file.version == "0.5":
        return {"dataFormatVersion": "0.5"}
    group = open_group(file.path, "METADATA")
    if group is None:
        raise BrokenFileError(f"{file.path} has no METADATA")
    found: dict[str, Any] = {}
    for name, item in group.children():
        if isinstance(item, Unreadable):
            raise item.error
        if isinstance(item, Dataset) and item.shape == (1,):
            found[name] = item.text(0) if item.is_text else plain(item[0])
    return found


def plain(value: object) -> Any:
    """Return a number as Python has it, whatever HDF5 stores."""
    return value.item() if isinstance(value, np.generic) else value


def first_described(files: tuple[FileIndex, ...]) -> FileIndex:
    """Return the first file that says what run it is of, else the first one."""
    return next((f for f in files if f.version != "0.5"), files[0])


def train_timestamps(
    files: tuple[FileIndex, ...],
    ids: TrainIDs,
    labelled: bool,
    pydatetime: bool,
    euxfel_local_time: bool,
) -> Any:
    """Return the time at which each train was recorded.

    Parameters
    ----------
    files : tuple of FileIndex
    ids : uint64 (n,)
    labelled : bool
        True: a pandas Series over train IDs.
    pydatetime : bool
        True: a list of `datetime` in UTC, None where unknown.
    euxfel_local_time : bool
        True: in the time zone of the facility (Europe/Berlin).

    Returns
    -------
    datetime64[ns] (n,), list or Series
        NaT where no file has a timestamp (format 0.5 has none).

    Raises
    ------
    ConfigError
        If local time is asked for as an array, which has no time zones.
    """
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


def recorded_times(
    files: tuple[FileIndex, ...], ids: TrainIDs
) -> NDArray[np.datetime64]:
    """Return the time of each train, datetime64[ns] (n,), NaT where no file has it."""
    times = np.full(len(ids), np.datetime64("NaT", "ns"))
    for file in reversed(files):  # the first file that knows a train wins
        index = open_group(file.path, "INDEX")
        stored = None if index is None else index.dataset("timestamp")
        if stored is None or stored.ndim != 1 or stored.dtype.kind not in "iu":
            continue
        at = np.searchsorted(ids, file.train_ids)
        here = at < len(ids)
        here[here] = ids[at[here]] == file.train_ids[here]
        # A list that is too short tells nothing of the trains behind its end.
        stamps = np.zeros(max(len(stored), file.rows.max(initial=-1) + 1), np.uint64)
        stamps[: len(stored)] = stored[:]
        stamps = stamps[file.rows].astype("datetime64[ns]")
        known = here & (stamps.astype(np.int64) > 0)
        times[at[known]] = stamps[known]
    return times
