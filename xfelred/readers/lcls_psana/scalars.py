"""Single values per event of a psana2 run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import PropertyNameError, did_you_mean, listing
from xfelred.names import LONG_NAME, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.readers.lcls_psana.events import Name
from xfelred.readers.lcls_psana.session import LOCK, first_run, open_source
from xfelred.readers.lcls_psana.survey import small_files

if TYPE_CHECKING:
    from xfelred.readers.lcls_psana.run import Run

SCAN = "scan/"
EPICS = "epics/"
ON_MISSING = ("raise", "ignore")


def scalars(
    run: Run, keys: str | Sequence[str], missing_keys: str = "raise"
) -> xr.Dataset:
    """Return values per event; see `Run.scalars`."""
    if missing_keys not in ON_MISSING:
        raise ValueError(
            f"missing_keys must be one of {ON_MISSING}, not {missing_keys!r}"
        )
    names = [keys] if isinstance(keys, str) else [str(k) for k in keys]
    slow = {n: (SCAN, n) for n in run.scan_names}
    slow |= {f"{SCAN}{n}": (SCAN, n) for n in run.scan_names}
    slow |= {f"{EPICS}{n}": (EPICS, n) for n in run.epics_names}
    found: dict[str, NDArray[Any]] = {}
    epics: dict[str, str] = {}
    for name in names:
        matching = [name] if name in slow else [k for k in slow if fnmatchcase(k, name)]
        for key in matching:
            kind, variable = slow[key]
            if kind == EPICS:
                epics[key] = variable
            else:
                found[key] = at_events(run, run.step_values(variable))
        if not matching and is_method(run, name):
            found[name] = measured(run, Name.parse(name))
        elif not matching and missing_keys == "raise":
            raise unknown(run, name, [*slow])
    found |= slow_values(run, epics)
    out = xr.Dataset(
        {k: labelled(k, v) for k, v in found.items()},
        coords={TRAIN: run.ids, **run.shot_labels()},
    )
    out[TRAIN].attrs = {UNITS: "1", LONG_NAME: "timestamp"}
    return record(out, "scalars", keys=list(found))


def unknown(run: Run, name: str, known: Sequence[str]) -> PropertyNameError:
    """Return the error for a name that the run does not have."""
    return PropertyNameError(
        f"no value {name!r} in {run.run_id}.{did_you_mean(name, known)} There are:"
        f" {listing(known)}; and methods of detectors as detector/raw/method, see"
        " run.sources and run.keys(source)"
    )


def is_method(run: Run, name: str) -> bool:
    """Return whether a name is ``detector/interface/method`` of the run."""
    parts = name.split("/")
    return len(parts) == 3 and parts[2] in run.methods.get((parts[0], parts[1]), ())


def labelled(key: str, values: NDArray[Any]) -> xr.Variable:
    """Return values per event with their axes; names of facilities keep their /."""
    dims = (
        TRAIN,
        *(f"{key.replace('/', '__')}_dim{i}" for i in range(values.ndim - 1)),
    )
    return xr.Variable(dims, values, {UNITS: "1", LONG_NAME: key})


def at_events(run: Run, per_step: NDArray[Any]) -> NDArray[Any]:
    """Return values of steps at the selected events; before the first step NaN."""
    at = run.step_numbers()
    each = per_step[np.maximum(at, 0)]
    return np.where(at >= 0, each, np.nan) if each.dtype.kind == "f" else each


def measured(run: Run, name: Name) -> NDArray[Any]:
    """Return what a method gives at the selected events, NaN where it gives nothing.

    Raises
    ------
    PropertyNameError
        If it gives no numbers, or not the same number of them at every event.
    """
    here = run.events_with(name.detector)
    got = run.values(name, here)
    shapes = {v.shape for v in got if v is not None}
    kinds = {v.dtype.kind for v in got if v is not None}
    if len(shapes) > 1 or not kinds <= set("biuf"):
        raise PropertyNameError(
            f"{name} of {run.run_id} gives values of shapes {sorted(shapes)} and kinds"
            f" {sorted(kinds)}: no numbers per event"
        )
    shape = next(iter(shapes), ())
    out = np.full((len(run.ids), *shape), np.nan)
    for at, value in zip(np.searchsorted(run.ids, here), got, strict=True):
        if value is not None:
            out[at] = value
    whole = len(here) == len(run.ids) and all(v is not None for v in got)
    dtype = (
        np.result_type(*(v.dtype for v in got if v is not None)) if got else out.dtype
    )
    return out.astype(dtype) if whole else out


def slow_values(run: Run, names: dict[str, str]) -> dict[str, NDArray[Any]]:
    """Return slow values at the selected events: the last one before each of them.

    The small files are read in order, because the store of psana2 answers with a later
    value when it is asked afterwards.
    """
    out = {key: np.full(len(run.ids), np.nan) for key in names}
    if not names:
        return out
    single = run.address.files
    paths = [single] if single else small_files(run.address)[1]
    with LOCK:
        for path in paths:
            address = replace(run.address, files=path, offline=True)
            opened = first_run(open_source(address), address)
            known = {n for n, *_ in opened.epicsinfo}
            mine = {k: opened.Detector(n) for k, n in names.items() if n in known}
            if not mine:
                continue
            for event in opened.events():
                at = int(np.searchsorted(run.ids, np.uint64(event.timestamp)))
                if at < len(run.ids) and int(run.ids[at]) == int(event.timestamp):
                    for key, detector in mine.items():
                        value = detector(event)
                        out[key][at] = np.nan if value is None else value
    return out
