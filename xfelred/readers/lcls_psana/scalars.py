"""Single values per event of a psana2 run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import split_element
from xfelred.errors import PropertyNameError, listing, no_such, warn
from xfelred.names import LONG_NAME, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.readers.lcls_psana.events import Name
from xfelred.readers.lcls_psana.run_data import RunData
from xfelred.readers.lcls_psana.session import (
    LOCK,
    OpenRun,
    asking,
    first_run,
    open_source,
)
from xfelred.readers.lcls_psana.survey import small_files
from xfelred.readers.selection import check_position

SCAN = "scan/"
EPICS = "epics/"


def scalars(
    run: RunData, keys: str | Sequence[str], missing_keys: str = "raise"
) -> xr.Dataset:
    """Return values per event; see `Run.scalars`."""
    names = [keys] if isinstance(keys, str) else [str(k) for k in keys]
    slow = {n: (SCAN, n) for n in run.scan_names}
    slow |= {f"{SCAN}{n}": (SCAN, n) for n in run.scan_names}
    slow |= {f"{EPICS}{n}": (EPICS, n) for n in run.epics_names}
    found: dict[str, NDArray[Any]] = {}
    epics: dict[str, str] = {}
    by_glob: set[str] = set()
    elements = {n: split_element(n) for n in names if not known(run, n, slow)}
    elements = {n: e for n, e in elements.items() if e[1] and known(run, e[0], slow)}
    wanted = [n for n in names if n not in elements]
    extra = {base for base, _ in elements.values()} - {*wanted}
    for name in (*wanted, *sorted(extra)):
        matching = [name] if name in slow else [k for k in slow if fnmatchcase(k, name)]
        for key in matching:
            kind, variable = slow[key]
            if kind == EPICS:
                epics[key] = variable
                if key != name:
                    by_glob.add(key)
            else:
                found[key] = at_events(run, run.step_values(variable))
        if not matching and is_method(run, name):
            found[name] = measured(run, Name.parse(name))
        elif not matching and missing_keys == "raise":
            raise unknown(run, name, [*slow])
    found |= slow_values(run, epics, by_glob - {*names, *extra})
    found |= {n: element(n, found[base], at) for n, (base, at) in elements.items()}
    found = {k: v for k, v in found.items() if k not in extra}
    out = xr.Dataset(
        {k: on_events(k, v) for k, v in found.items()},
        coords={TRAIN: run.ids, **run.coordinates_of()},
    )
    out[TRAIN].attrs = {UNITS: "1", LONG_NAME: "timestamp"}
    return record(out, "scalars", keys=list(found))


def known(run: RunData, name: str, slow: Collection[str]) -> bool:
    """Return whether a name, or a glob, stands for something in the run."""
    return is_method(run, name) or any(k == name or fnmatchcase(k, name) for k in slow)


def element(name: str, values: NDArray[Any], at: tuple[int, ...]) -> NDArray[Any]:
    """Return one of the values of every event."""
    check_position(name, at, values.shape[1:])
    where: tuple[Any, ...] = (slice(None), *at)
    return values[where]


def unknown(run: RunData, name: str, known: Sequence[str]) -> PropertyNameError:
    return PropertyNameError(
        no_such("value", name, known, f" in {run.run_id}")
        + "; and methods of detectors as detector/raw/method, see run.sources and"
        " run.keys(source)"
    )


def is_method(run: RunData, name: str) -> bool:
    """Return whether a name is ``detector/interface/method`` of the run."""
    parts = name.split("/")
    return len(parts) == 3 and parts[2] in run.methods.get((parts[0], parts[1]), ())


def on_events(key: str, values: NDArray[Any]) -> xr.Variable:
    """Return values per event with their axes; names of facilities keep their /."""
    name = key.replace("/", "__")  # names of axes must not be paths
    dims = (TRAIN, *(f"{name}_dim{i}" for i in range(values.ndim - 1)))
    return xr.Variable(dims, values, {UNITS: "1", LONG_NAME: key})


def at_events(run: RunData, per_step: NDArray[Any]) -> NDArray[Any]:
    """Return values of steps at the selected events; before the first step NaN."""
    at = run.step_numbers()
    each = per_step[np.maximum(at, 0)]
    if (at >= 0).all():
        return each
    if each.dtype.kind not in "biuf":
        return np.where(at >= 0, each, "")
    return np.where(at >= 0, each.astype(float), np.nan)


def measured(run: RunData, name: Name) -> NDArray[Any]:
    """Return what a method gives at the selected events, NaN where it gives nothing."""
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
    if not got or len(here) < len(run.ids) or any(v is None for v in got):
        return out
    return out.astype(np.result_type(*(v.dtype for v in got)))


def slow_values(
    run: RunData, names: dict[str, str], by_glob: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return slow values at the selected events: the last one before each of them.

    `names` are variables of psana2 by the name of the result. Results `by_glob`, which
    nobody named, are left out, with a warning, if they are no arrays.
    """
    found = read_slow(run, names) if names else {}
    out, odd = {}, []
    for key, at in found.items():
        try:
            out[key] = column_of(key, at, len(run.ids))
        except PropertyNameError as error:
            if key not in by_glob:
                raise
            odd.append(str(error))
    if odd:
        warn(f"left out: {'; '.join(odd)}")
    return out


def read_slow(run: RunData, names: dict[str, str]) -> dict[str, dict[int, Any]]:
    """Return slow values as psana2 gives them, by the position of the event."""
    out: dict[str, dict[int, Any]] = {key: {} for key in names}
    single = run.address.files
    paths = [single] if single else small_files(run.address)[1]
    with LOCK:
        # In order: the store of psana2 answers with a later value when it is asked
        # afterwards.
        for path in paths:
            address = replace(run.address, files=path, offline=True)
            opened = first_run(open_source(address), address)
            with asking(address, f"read the slow values {listing(names.values())}"):
                for key, at, value in slow_of(opened, names, run.ids):
                    out[key][at] = value
    return out


def slow_of(
    opened: OpenRun, names: dict[str, str], ids: NDArray[np.uint64]
) -> Iterator[tuple[str, int, NDArray[Any]]]:
    """Yield (result, position of the event, value) of an open run of psana2."""
    known = {n for n, *_ in opened.epicsinfo}
    mine = {k: opened.Detector(n) for k, n in names.items() if n in known}
    for event in opened.events() if mine else ():
        at = int(np.searchsorted(ids, np.uint64(event.timestamp)))
        if at < len(ids) and int(ids[at]) == int(event.timestamp):
            for key, detector in mine.items():
                value = detector(event)
                if value is not None:
                    yield key, at, np.array(value)  # psana gives views of its buffers


def column_of(key: str, at: dict[int, NDArray[Any]], n: int) -> NDArray[Any]:
    """Return values as an array (event, ...): numbers, or texts as objects.

    Events without a value have NaN, or an empty text.
    """
    shapes = {v.shape for v in at.values()}
    kinds = {"t" if v.dtype.kind in "US" else v.dtype.kind for v in at.values()}
    numbers = kinds <= set("biuf")
    if len(shapes) > 1 or not (numbers or kinds == {"t"}):
        raise PropertyNameError(
            f"{key} has values of shapes {sorted(shapes)} and kinds {sorted(kinds)}: no"
            " numbers or texts per event"
        )
    shape = next(iter(shapes), ())
    if not numbers:
        out: NDArray[Any] = np.full((n, *shape), "", object)
    elif at and len(at) == n:
        out = np.empty((n, *shape), np.result_type(*(v.dtype for v in at.values())))
    else:
        out = np.full((n, *shape), np.nan)
    for position, value in at.items():
        out[position] = value if numbers else text_of(value)
    return out


def text_of(value: NDArray[Any]) -> Any:
    """Return texts as str, whatever psana2 gives."""
    if value.dtype.kind == "S":
        value = np.char.decode(value, errors="replace")
    return str(value) if value.ndim == 0 else value.astype(object)
