"""Finding detectors, values and steps in the layouts of the calibration suite."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from xfelred.errors import InconsistentDataError, listing
from xfelred.readers.lcls_calibsuite.contents import (
    ANCILLARY,
    DETECTORS,
    FRAMES,
    VALUE_NAME,
    Piece,
    Pieces,
)

STEP_NAME = re.compile(r"(?:step_?)?(\d+)", re.IGNORECASE)
STEP = "step"
IMAGE_AXES = 4  # event, module, row, column
Found = dict[str, Pieces]


def step_number(name: str) -> int | None:
    """Return the number in ``step7`` or ``7``; None for other names."""
    found = STEP_NAME.fullmatch(name)
    return int(found[1]) if found else None


def is_stepped(found: Any) -> bool:
    """Tell whether a group has nothing but datasets named like steps."""
    return (
        isinstance(found, h5py.Group)
        and len(found) > 0
        and all(
            step_number(k) is not None and isinstance(found.get(k), h5py.Dataset)
            for k in found
        )
    )


def is_step(name: str, found: Any) -> bool:
    """Tell whether a group is that of a step."""
    return step_number(name) is not None and isinstance(found, h5py.Group)


def piece_of(data: h5py.Dataset) -> Piece:
    """Return the values of one step, which are the whole of a dataset."""
    return Piece(
        data.name, tuple(data.shape or ()), data.dtype, bool(data.shape), None,
        data.chunks,
    )  # fmt: skip


def add(found: Found, name: str, step: int, piece: Piece) -> None:
    """Note the values of a step.

    Raises
    ------
    InconsistentDataError
        If it has some already, as ``step1`` and ``1``.
    """
    pieces = found.setdefault(name, {})
    if step in pieces:
        raise InconsistentDataError(
            f"{name} has step {step} twice: {pieces[step].dataset} and {piece.dataset};"
            " name every step once"
        )
    pieces[step] = piece


def nested_arrays(file: h5py.File) -> tuple[Found, set[int]]:
    """Return arrays of every step, and the numbers of all step groups.

    Layouts: ``detectorData/step0/epixM``, ``detectorData/epixM/step0``, and both
    without ``detectorData``.

    Raises
    ------
    InconsistentDataError
        If something beside the steps has another name.
    """
    found: Found = {}
    steps: set[int] = set()
    places = [file[DETECTORS]] if is_group(file, DETECTORS) else []
    for place in (*places, file):
        for name in place:
            child = place.get(name)
            if is_step(name, child):
                number = step_number(name) or 0
                steps.add(number)
                for key, data in datasets(child):
                    add(found, key, number, piece_of(data))
            elif is_stepped(child) and name != ANCILLARY:
                for key, data in datasets(child):
                    number = step_number(key) or 0
                    steps.add(number)
                    add(found, name, number, piece_of(data))
            elif place is not file:
                raise InconsistentDataError(
                    f"{DETECTORS}/{name} in {file.filename} is no step; steps are named"
                    f" step0, step1, ... or 0, 1, ...; there are {listing(place)}"
                )
    return found, steps


def datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the datasets of a group with their names."""
    for name in group:
        child = group.get(name)
        if isinstance(child, h5py.Dataset):
            yield name, child


def is_group(file: h5py.File, name: str) -> bool:
    """Tell whether a file has a group of this name."""
    return isinstance(file.get(name), h5py.Group)


def ancillary_values(file: h5py.File) -> tuple[Found, dict[str, Any]]:
    """Return values of every step below ``ancillaryData``, and its header fields.

    Raises
    ------
    InconsistentDataError
        If something there is neither.
    """
    header: dict[str, Any] = dict(file.attrs)
    header |= {name: data[()] for name, data in datasets(file) if not data.shape}
    if not is_group(file, ANCILLARY):
        return {}, plain(header)
    group = file[ANCILLARY]
    header |= dict(group.attrs)
    header |= {n: data[()] for n, data in datasets(group) if step_number(n) is None}
    header = plain(header)
    found: Found = {}
    for name in group:
        child = group.get(name)
        if isinstance(child, h5py.Dataset):
            number = step_number(name)
            if number is not None:
                # Without the name of a type in between: there is just one.
                kind = str(header.get(VALUE_NAME, "ancillary"))
                add(found, kind, number, piece_of(child))
        elif is_stepped(child):
            for key, data in datasets(child):
                add(found, name, step_number(key) or 0, piece_of(data))
        else:
            raise InconsistentDataError(
                f"{ANCILLARY}/{name} in {file.filename} holds {listing(child)}; wanted"
                " values of steps named step0, step1, ... or 0, 1, ..."
            )
    return found, header


def plain(header: dict[str, Any]) -> dict[str, Any]:
    """Return header fields as text and Python numbers."""
    out: dict[str, Any] = {}
    for name, value in header.items():
        if isinstance(value, bytes):
            out[name] = value.decode(errors="replace")
        elif isinstance(value, np.generic):
            item = value.item()
            out[name] = (
                item.decode(errors="replace") if isinstance(item, bytes) else item
            )
        else:
            out[name] = value
    return out


def flat_arrays(file: h5py.File) -> tuple[Found, list[int]]:
    """Return arrays with an axis of steps, cut into steps, and the step numbers.

    Raises
    ------
    InconsistentDataError
        If the frames have not the five axes, or the steps are not told apart.
    """
    frames = file[FRAMES]
    if frames.ndim != IMAGE_AXES + 1:
        raise InconsistentDataError(
            f"{FRAMES} in {file.filename} has shape {frames.shape}; wanted (step,"
            " event, module, row, column), with length 1 for a single step or module"
        )
    n_steps, n_events = frames.shape[:2]
    numbers = flat_numbers(file, n_steps)
    found: Found = {}
    for name, data in datasets(file):
        if name == STEP or data.ndim == 0:
            continue
        if data.shape[0] != n_steps:
            raise InconsistentDataError(
                f"{name} in {file.filename} has shape {data.shape}, {FRAMES} has"
                f" {n_steps} steps; wanted one entry for each step"
            )
        per_event = data.ndim > 1 and data.shape[1] == n_events
        for i, number in enumerate(numbers):
            piece = Piece(
                data.name, data.shape[1:], data.dtype, per_event, i, data.chunks
            )
            add(found, name, number, piece)
    return found, numbers


def flat_numbers(file: h5py.File, n_steps: int) -> list[int]:
    """Return the numbers of the steps of a flat file: its ``step``, or 0, 1, ..."""
    data = file.get(STEP)
    if not isinstance(data, h5py.Dataset):
        return list(range(n_steps))
    values = np.atleast_1d(data[()])
    if values.shape != (n_steps,) or values.dtype.kind not in "iu":
        raise InconsistentDataError(
            f"{STEP} in {file.filename} has shape {values.shape} of {values.dtype};"
            f" wanted {n_steps} whole numbers, one for each step of {FRAMES}"
        )
    if len(set(values.tolist())) < n_steps:
        raise InconsistentDataError(
            f"{STEP} in {file.filename} names a step twice: {listing(values.tolist())}"
        )
    return [int(v) for v in values]
