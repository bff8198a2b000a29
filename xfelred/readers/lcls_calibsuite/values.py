"""Values per event and per step of a calibration-suite run."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, listing
from xfelred.hdf5 import open_dataset
from xfelred.readers.lcls_calibsuite.contents import Contents, Piece, Pieces, events_of

MISSING = -99999  # what LCLS writes where an integer is missing
N_EVENTS = "n_events"
NUMBERS = "biufc"


def read_piece(contents: Contents, piece: Piece) -> NDArray[Any]:
    """Return the values of one step; NaN for events that are not there."""
    if piece.members:
        return read_members(contents, piece)
    data = open_dataset(contents.path, piece.dataset)
    values = np.asarray(data[()] if piece.at is None else data[piece.at])
    return values[: piece.shape[0]] if piece.per_event else values


def nothing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array of NaN, or of 0 or empty text where there is no NaN."""
    out = np.zeros(shape, dtype)
    if dtype.kind == "f":
        out[:] = np.nan
    return out


def read_members(contents: Contents, piece: Piece) -> NDArray[Any]:
    """Return the values of events that are datasets of their own."""
    complete = len(piece.members) == piece.shape[0]
    out = nothing(piece.shape, kind_of(contents, {0: piece}, complete))
    for number, name in piece.members:
        out[number] = open_dataset(contents.path, name)[()]
    return out


def kind_of(contents: Contents, pieces: Pieces, complete: bool) -> np.dtype[Any]:
    """Return the dtype of a series; floating where it has gaps."""
    members = [p for p in pieces.values() if p.members]
    complete = complete and all(len(p.members) == p.shape[0] for p in members)
    kinds = {p.dtype.newbyteorder("=") for p in pieces.values()}
    odd = [k for k in kinds if k.kind not in NUMBERS and len(kinds) > 1]
    if odd:
        names = listing(p.dataset for p in pieces.values())
        raise InconsistentDataError(
            f"values of steps are {listing(kinds)} in {names} of {contents.path}: they"
            " are not of one kind"
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
    out = nothing((len(ids), *entry), kind_of(contents, pieces, here <= set(pieces)))
    for step in sorted(here & set(pieces)):
        rows = events.step == step
        values = read_piece(contents, pieces[step])
        out[rows] = values[events.event[rows]] if pieces[step].per_event else values
    return out


def per_step(
    contents: Contents, name: str, *, average: bool = False
) -> NDArray[Any] | None:
    """Return a series for steps: (step, ...); None if it differs within one.

    With `average` values that differ within a step become their mean instead.
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
    dtype = kind_of(contents, pieces, complete)
    if found and dtype.kind in "iufb":
        dtype = np.result_type(dtype, *(np.asarray(v).dtype for v in found.values()))
    out = nothing((len(contents.steps), *entry), dtype)
    for i, step in enumerate(contents.steps.tolist()):
        if step in found:
            out[i] = found[step]
    return out


def equal(values: NDArray[Any]) -> bool:
    """Tell whether all events have one value; NaN is equal to NaN."""
    first = np.broadcast_to(values[:1], values.shape)
    return np.array_equal(values, first, equal_nan=values.dtype.kind == "f")


def nanmean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean over events without NaN."""
    with warnings.catch_warnings():
        # numpy warns where all events are NaN; NaN is the answer then.
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
