"""Values per event and per step of a calibration-suite run."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import split_element
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    InconsistentDataError,
    SourceNameError,
    did_you_mean,
    listing,
    shown,
)
from xfelred.hdf5.rows import open_dataset
from xfelred.names import EVENT, LONG_NAME, STEP, STEP_VALUE, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.readers.lcls_calibsuite.contents import Contents, Piece, Pieces
from xfelred.readers.lcls_calibsuite.events import events_of
from xfelred.readers.selection import listed_keys

if TYPE_CHECKING:
    from xfelred.readers.lcls_calibsuite.run import Run

MISSING = -99999  # what LCLS writes where an integer is missing
CHOICES = {"missing": ("nan", "keep"), "missing_keys": ("raise", "ignore")}
N_EVENTS = "n_events"
NUMBERS = "biufc"


def read_piece(contents: Contents, piece: Piece) -> NDArray[Any]:
    """Return the values of one step; NaN for events that are not there."""
    if piece.members:
        return read_members(contents, piece)
    data = open_dataset(contents.path, piece.dataset)
    values = np.asarray(data[()] if piece.at is None else data[piece.at])
    return values[: piece.shape[0]] if piece.per_event else values


def read_members(contents: Contents, piece: Piece) -> NDArray[Any]:
    """Return the values of events that are datasets of their own."""
    complete = len(piece.members) == piece.shape[0]
    dtype = kind_of({0: piece}, complete)
    out = np.zeros(piece.shape, dtype)
    if dtype.kind == "f":
        out[:] = np.nan
    for number, name in piece.members:
        out[number] = open_dataset(contents.path, name)[()]
    return out


def kind_of(pieces: Pieces, complete: bool) -> np.dtype[Any]:
    """Return the dtype of a series; floating where it has gaps."""
    members = [p for p in pieces.values() if p.members]
    complete = complete and all(len(p.members) == p.shape[0] for p in members)
    kinds = {p.dtype.newbyteorder("=") for p in pieces.values()}
    odd = [k for k in kinds if k.kind not in NUMBERS and len(kinds) > 1]
    if odd:
        names = listing(p.dataset for p in pieces.values())
        raise InconsistentDataError(
            f"values of steps are {listing(kinds)} in {names}: they are not of one kind"
        )
    dtype = np.result_type(*kinds)
    if complete or dtype.kind not in "iub":
        return dtype
    return np.dtype(np.float64)


def per_event(contents: Contents, name: str, ids: NDArray[np.int64]) -> NDArray[Any]:
    """Return a series for events: (event, ...), values of a step repeated, NaN gaps."""
    pieces = contents.series[name]
    events = events_of(contents, ids)
    entry = next(iter(pieces.values())).entry
    here = set(np.unique(events.step).tolist())
    dtype = kind_of(pieces, here <= set(pieces))
    out = np.zeros((len(ids), *entry), dtype)
    if dtype.kind == "f":
        out[:] = np.nan
    for step in sorted(here & set(pieces)):
        rows = events.step == step
        values = read_piece(contents, pieces[step])
        out[rows] = values[events.event[rows]] if pieces[step].per_event else values
    return out


def per_step(
    contents: Contents, name: str, *, average: bool = False
) -> NDArray[Any] | None:
    """Return a series for steps: (step, ...); None if it differs within one.

    Parameters
    ----------
    average : bool
        Give the mean of values that differ within a step instead.
    """
    pieces = contents.series[name]
    entry = next(iter(pieces.values())).entry
    found: dict[int, Any] = {}
    for step, piece in pieces.items():
        values = read_piece(contents, piece)
        if not piece.per_event:
            found[step] = values
        elif len(values):
            same = values.dtype.kind not in "iufb" or equal(values)
            if not same and not average:
                return None
            found[step] = values[0] if same else nanmean(values)
    complete = set(contents.steps.tolist()) <= set(found)
    dtype = kind_of(pieces, complete)
    if found and dtype.kind in "iufb":
        dtype = np.result_type(dtype, *(np.asarray(v).dtype for v in found.values()))
    out = np.zeros((len(contents.steps), *entry), dtype)
    if dtype.kind == "f":
        out[:] = np.nan
    for i, step in enumerate(contents.steps.tolist()):
        if step in found:
            out[i] = found[step]
    return out


def equal(values: NDArray[Any]) -> bool:
    """Tell whether all events have one value; NaN is equal to NaN."""
    first = values[:1]
    same = values == first
    if values.dtype.kind == "f":
        same |= np.isnan(values) & np.isnan(first)
    return bool(same.all())


def nanmean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over events without NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        out: NDArray[np.float64] = np.nanmean(values.astype(np.float64), axis=0)
    return out


def step_values(contents: Contents) -> NDArray[Any]:
    """Return the value of each step, NaN where the file has none."""
    name = contents.value_name
    if name is not None:
        values = per_step(contents, name, average=True)
        if values is not None and values.ndim == 1 and values.dtype.kind in "iufb":
            return values
    return np.full(len(contents.steps), np.nan)


def value_attrs(run: Run) -> dict[str, str]:
    """Return unit and long name of the value of a step."""
    name = run.contents.value_name or ""
    text = name if name not in ("", STEP_VALUE) else "value of the step"
    return {UNITS: "1", LONG_NAME: text}


def steps(run: Run) -> xr.Dataset:
    """Return what belongs to steps; see `Run.steps`."""
    contents = run.contents
    chosen = np.isin(contents.steps, run.step_numbers)
    events = events_of(contents, run.ids)
    n = np.bincount(events.position, minlength=len(contents.steps))
    found: dict[str, Any] = {
        N_EVENTS: (
            STEP,
            n.astype(np.int64),
            {UNITS: "1", LONG_NAME: "events of the step"},
        ),
        STEP_VALUE: (STEP, run.step_values, value_attrs(run)),
    }
    for name in run.series:
        pieces = contents.series[name].values()
        if name != contents.value_name and all(p.per_event for p in pieces):
            continue
        values = per_step(contents, name)
        if values is not None and name not in found:
            extra = [f"{name}_dim{i}" for i in range(values.ndim - 1)]
            found[name] = ((STEP, *extra), values, {UNITS: "1", LONG_NAME: name})
    out = xr.Dataset(found, coords={STEP: contents.steps}).isel({STEP: chosen})
    out[STEP].attrs = {UNITS: "1", LONG_NAME: "number of the step"}
    return record(out, "steps", run=run.run_id)


def shot_coords(run: Run, ids: NDArray[np.int64]) -> dict[str, xr.Variable]:
    """Return the coordinates ``step``, ``event``, ``step_value`` on train."""
    events = events_of(run.contents, ids)
    values = run.step_values[events.position] if len(run.step_values) else ids * np.nan
    one = {UNITS: "1"}
    return {
        STEP: xr.Variable(TRAIN, events.step, one | {LONG_NAME: "number of the step"}),
        EVENT: xr.Variable(
            TRAIN, events.event, one | {LONG_NAME: "number within the step"}
        ),
        STEP_VALUE: xr.Variable(TRAIN, values, value_attrs(run)),
    }


def scalars(
    run: Run,
    keys: str | Sequence[str],
    *,
    stream: str = "event",
    missing: str = "nan",
    missing_keys: str = "raise",
) -> xr.Dataset:
    """Return values per event; see `Run.scalars`."""
    if stream != "event":
        raise ArgumentError(
            f"stream={stream!r}; {run.run_id} has the stream 'event' only"
        )
    for word, value in (("missing", missing), ("missing_keys", missing_keys)):
        if value not in CHOICES[word]:
            raise ArgumentError(f"{word}={value!r}; wanted one of {CHOICES[word]}")
    names = named(
        run, [keys] if isinstance(keys, str) else listed_keys(keys), missing_keys
    )
    found = {}
    for name in names:
        base, position = (name, ()) if name in run.series else split_element(name)
        values = per_event(run.contents, base, run.ids)
        where: tuple[Any, ...] = (slice(None), *position)
        if len(position) not in (0, values.ndim - 1) or any(
            i >= n for i, n in zip(position, values.shape[1:], strict=False)
        ):
            raise SourceNameError(
                f"{name!r} asks for position {listing(position)}, but {base!r} of"
                f" {run.run_id} has shape {values.shape[1:]} per event"
            )
        values = values[where]
        if missing == "nan" and values.dtype.kind == "i" and (values == MISSING).any():
            values = np.where(values == MISSING, np.nan, values.astype(np.float64))
        dims = (TRAIN, *(f"{name}_dim{i}" for i in range(values.ndim - 1)))
        found[name] = (dims, values, {UNITS: "1", LONG_NAME: name})
    coords = {TRAIN: run.ids, **shot_coords(run, run.ids)}
    coords = {k: v for k, v in coords.items() if k not in found}
    out = xr.Dataset(found, coords)
    out[TRAIN].attrs = {UNITS: "1", LONG_NAME: "running event number"}
    return record(out, "scalars", keys=names, run=run.run_id)


def named(run: Run, keys: list[str], missing_keys: str) -> list[str]:
    """Return the series that names and globs stand for, without repetition."""
    out: list[str] = []
    for key in keys:
        if not isinstance(key, str):
            raise ArgumentTypeError(f"scalars takes names of keys, not {shown(key)}")
        hits = [n for n in run.series if n == key or fnmatchcase(n, key)]
        if not hits and split_element(key)[0] in run.series:
            hits = [key]
        if not hits and missing_keys == "raise":
            raise SourceNameError(
                f"no values {key!r} in {run.run_id}.{did_you_mean(key, run.series)}"
                f" There are: {listing(run.series)}"
            )
        out += [n for n in hits if n not in out]
    return out
