"""Files for the LCLS calibration suite, nested by step."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.products.atomic import atomic_output
from xfelred.products.blocks import hdf5_storage, store
from xfelred.products.calibsuite_input import (
    Steps,
    ancillary_of,
    check_parallel,
    detectors_of,
    values_of,
)
from xfelred.products.faults import explained
from xfelred.products.lock import only_writer
from xfelred.products.sink import checked_sink

DETECTORS, ANCILLARY = "detectorData", "ancillaryData"


@entry
def write_calibration_suite(
    data: object,
    path: str | os.PathLike[str],
    *,
    script_type: str,
    detector: str | None = None,
    ancillary: Mapping[str, Any] | None = None,
    timestamp: object = None,
    secondary: Mapping[str, Any] | None = None,
    acquisition_script: str = "",
    command_line: str = "",
    version: str = "",
    date: str | None = None,
    location: str = "",
    run: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write frames, step by step, for the scripts of the LCLS calibration suite.

    Parameters
    ----------
    data : DataArray, dict or list
        Frames of one detector, lazy or not: a DataArray (train, ...) or (frame, ...)
        with the coordinate ``step``, or without it for a single step; a DataArray
        (step, event, module, slow_scan, fast_scan), padded, with the coordinate
        ``n_events`` (step); a list with an array (event, module, row, column) for each
        step, or a dict of these by step number. For several detectors with the same
        events a dict of these by name.
    path : path
        A new file.
    script_type : str
        What kind of run it is, such as "delayScan" or "dark".
    detector : str, optional
        Name of a single detector; by default ``data.attrs["detector"]``, else
        "detector".
    ancillary : mapping, optional
        What the steps are: a name, such as "delay", and one value for each step (a
        sequence, a dict by step number, or a DataArray on ``step``); or one for each
        event (a DataArray on ``train``, or a dict of arrays by step number). The first
        name becomes the ``ancillaryDataType``. By default the coordinate ``step_value``
        of `data`.
    timestamp : list, dict or DataArray, optional
        Of every event.
    secondary : mapping, optional
        Other values of every event by name, such as ``{"wave8": ...}``.
    acquisition_script, command_line, version, location : str
        Header fields; left out where empty.
    date : str, optional
        By default the day of `run`.
    run : int, optional
        Seconds since the epoch; by default now.
    overwrite : bool
        Replace a file of this name once the new one is complete.

    Returns
    -------
    Path
        Where the file is. After an error nothing new carries this name.

    Raises
    ------
    ValueError
        If steps, events or shapes do not go together.
    OutputExistsError, OutputError, WorkersLostError
        As `xfelred.write`.

    Notes
    -----
    ``detectorData/step<N>/<detector>`` (event, module, row, column), ``timestamp`` and
    secondary values beside it; header fields and ``<name>/step<N>`` in
    ``ancillaryData``. Memory use is a few blocks, however long the run.
    `xfelred.open_run` reads it back.
    """
    if not str(script_type):
        raise ArgumentError("script_type is empty; say what kind of run it is: 'dark'")
    detectors = detectors_of(data, detector)
    first = check_parallel(detectors)
    extra = {**({} if timestamp is None else {"timestamp": timestamp})}
    extra |= dict(secondary or {})
    twice = set(extra) & set(detectors)
    if twice:
        raise ArgumentError(f"{', '.join(sorted(twice))} names a detector and a value")
    values = {name: values_of(v, name, first) for name, v in extra.items()}
    steps = ancillary_of(data, ancillary, first)
    number = int(time.time()) if run is None else int(run)
    header = {
        "scriptType": str(script_type),
        "ancillaryDataType": next(iter(steps), ""),
        "acquisitionScript": acquisition_script,
        "commandLine": command_line,
        "version": version,
        "date": date or time.strftime("%Y-%m-%d", time.gmtime(number)),
        "location": location,
    }
    target = Path(path).absolute()
    with (
        explained(target),
        only_writer(target),
        atomic_output(target, overwrite=overwrite) as partial,
    ):
        write_file(partial, detectors, values, steps, header, number)
    return target


def write_file(
    path: Path,
    detectors: dict[str, Steps],
    values: dict[str, dict[int, Any]],
    steps: dict[str, dict[int, Any]],
    header: dict[str, str],
    run: int,
) -> None:
    with checked_sink(path) as sink, h5py.File(sink, "w") as file:
        group = file.create_group(ANCILLARY)
        for name, text in header.items():
            if text:
                group[name] = text
        group["run"] = run
        for name, found in steps.items():
            for step, value in found.items():
                group[f"{name}/step{step}"] = value
        lazy: dict[str, dask.array.Array] = {}
        for name, of_steps in detectors.items():
            for step, array in of_steps.arrays.items():
                place = f"{DETECTORS}/step{step}/{name}"
                options = hdf5_storage(array)
                file.create_dataset(place, array.shape, array.dtype, **options)
                if 0 not in array.shape:  # without events there is nothing to compute
                    lazy[place] = dask.array.asarray(array)
        for name, by_step in values.items():
            for step, value in by_step.items():
                file[f"{DETECTORS}/step{step}/{name}"] = np.asarray(value)
        store(lazy, {n: file[n] for n in lazy}, sink)
