"""Finding detectors, values and steps in the layouts of the calibration suite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xfelred.errors import (
    BrokenFileError,
    InconsistentDataError,
    listing,
    python_scalar,
    warn,
)
from xfelred.hdf5 import Dataset, Group
from xfelred.hdf5.objects import say_lost
from xfelred.readers.lcls_calibsuite.contents import (
    ANCILLARY,
    DETECTORS,
    FRAMES,
    VALUE_NAME,
    Piece,
    Pieces,
)

# Steps are called step7, step_7 or 7, and events alike.
STEP_NAME = re.compile(r"(?:step_?)?(\d+)", re.IGNORECASE)
EVENT_NAME = re.compile(r"(?:event_?)?(\d+)", re.IGNORECASE)
STEP = "step"
IMAGE_AXES = 4  # event, module, row, column
Found = dict[str, Pieces]


def step_number(name: str) -> int | None:
    """Return the number in ``step7`` or ``7``; None for other names."""
    found = STEP_NAME.fullmatch(name)
    return int(found[1]) if found else None


def is_stepped(found: object) -> bool:
    """Tell whether a group holds nothing but steps, each a dataset or of events."""
    return holds_only(found, STEP_NAME, lambda v: is_of_events(v) or is_dataset(v))


def is_of_events(found: object) -> bool:
    """Tell whether a group holds nothing but a dataset for every event."""
    return holds_only(found, EVENT_NAME, is_dataset)


def is_dataset(found: object) -> bool:
    return isinstance(found, Dataset)


def holds_only(
    found: object, name: re.Pattern[str], fits: Callable[[object], bool]
) -> bool:
    return (
        isinstance(found, Group)
        and len(found) > 0
        and all(name.fullmatch(k) and fits(v) for k, v in found.readable())
    )


def is_step(name: str, found: object) -> bool:
    return step_number(name) is not None and isinstance(found, Group)


def piece_of(data: Dataset | Group) -> Piece:
    """Return the values of one step: the whole of a dataset, or those of its events."""
    if isinstance(data, Group):
        return piece_of_events(data)
    per_event = bool(data.shape)
    return Piece(data.name, data.shape, data.dtype, per_event, None, data.chunks)


def piece_of_events(group: Group) -> Piece:
    """Return the values of one step whose events are datasets of their own."""
    events = dict(datasets(group))
    # Events that cannot be read count: the others keep their numbers.
    numbered = [(int(m[1]), k) for k in group if (m := EVENT_NAME.fullmatch(k))]
    members = sorted((i, f"{group.name}/{k}") for i, k in numbered if k in events)
    shapes = {d.shape for d in events.values()}
    where = f"{group.name} in {group.path}"
    if len(shapes) > 1:
        raise InconsistentDataError(
            f"events of {where} have different shapes: {listing(sorted(shapes))}"
        )
    numbers = sorted(number for number, _ in numbered)
    if len(set(numbers)) < len(numbers):
        raise InconsistentDataError(f"{where} names an event twice; name each once")
    dtype = np.result_type(*(d.dtype for d in events.values()))
    shape = (numbers[-1] + 1, *shapes.pop())
    return Piece(group.name, shape, dtype, True, members=tuple(members))


def add(found: Found, name: str, step: int, piece: Piece) -> None:
    pieces = found.setdefault(name, {})
    if step in pieces:
        raise InconsistentDataError(
            f"{name} has step {step} twice: {pieces[step].dataset} and {piece.dataset};"
            " name every step once"
        )
    pieces[step] = piece


def nested_arrays(file: Group) -> tuple[Found, set[int], dict[str, Dataset]]:
    """Return arrays of every step, the numbers of all steps, arrays of all steps.

    Layouts: ``detectorData/step0/epixM``, ``detectorData/epixM/step0``,
    ``detectorData/step0`` and these without ``detectorData``, each with a dataset for
    a step or for each of its events. Arrays of all steps are not cut up yet.
    """
    found: Found = {}
    steps: set[int] = set()
    top = file.get(DETECTORS)
    whole = {FRAMES: top} if isinstance(top, Dataset) else {}
    places = [top] if isinstance(top, Group) else []
    for place in (*places, file):
        for name, child in place.readable():
            sources = sources_of(name, child, nameless=place is not file)
            for key, number, data in sources:
                steps.add(number)
                add(found, key, number, piece_of(data))
            if sources or (place is file and not is_array(child)):
                steps |= {step_number(name) or 0} if is_step(name, child) else set()
            elif isinstance(child, Dataset) and child.shape:
                whole |= {name: child} if name not in (*whole, DETECTORS) else {}
            elif is_step(name, child) and not len(child):
                steps.add(step_number(name) or 0)
            else:
                raise InconsistentDataError(
                    f"{DETECTORS}/{name} in {file.path} is no step; steps are named"
                    f" step0, step1, ... or 0, 1, ...; there are {listing(place)}"
                )
    return found, steps, whole


def is_array(found: object) -> bool:
    return isinstance(found, Dataset) and bool(found.shape)


Source = tuple[str, int, Dataset | Group]


def sources_of(name: str, child: object, *, nameless: bool) -> list[Source]:
    """Return (source, step, values) of something beside other steps or sources.

    If `nameless` steps may hold values without the name of a detector, whatever their
    axes.
    """
    number = step_number(name)
    if number is None:
        known = name in (ANCILLARY, DETECTORS)
        if known or not isinstance(child, Group) or not is_stepped(child):
            return []
        return [(name, step_number(k) or 0, v) for k, v in child.readable()]
    if isinstance(child, Dataset):
        images = child.ndim == IMAGE_AXES
        return [(FRAMES, number, child)] if images or nameless else []
    if not isinstance(child, Group):
        return []
    if is_of_events(child) and piece_of(child).shape[1:] != ():
        return [(FRAMES, number, child)]
    return [
        (k, number, v)
        for k, v in child.readable()
        if isinstance(v, Dataset) or is_of_events(v)
    ]


def datasets(group: Group) -> Iterator[tuple[str, Dataset]]:
    for name, child in group.readable():
        if isinstance(child, Dataset):
            yield name, child


def values(group: Group, wanted: Callable[[str, Dataset], bool]) -> dict[str, Any]:
    """Return the values of some datasets of a group; warn of those without."""
    found, lost = {}, {}
    for name, data in datasets(group):
        try:
            if wanted(name, data):
                found[name] = data[()]
        except BrokenFileError as error:
            lost[name] = error
    say_lost(group, lost)
    return found


def ancillary_values(
    file: Group,
) -> tuple[Found, dict[str, Any], dict[str, Dataset]]:
    """Return values of steps below ``ancillaryData``, its header fields, its arrays."""
    header = file.attrs
    header |= values(file, lambda _, data: not data.shape)
    group = file.group(ANCILLARY)
    if group is None:
        return {}, as_python(header), {}
    header |= group.attrs
    header |= values(group, lambda name, _: step_number(name) is None)
    header = as_python(header)
    # Without the name of a type in between there is just one.
    kind = str(header.get(VALUE_NAME, "ancillary"))
    found: Found = {}
    arrays: dict[str, Dataset] = {}
    for name, child in group.readable():
        number = step_number(name)
        if number is not None and (isinstance(child, Dataset) or is_of_events(child)):
            add(found, kind, number, piece_of(child))
        elif isinstance(child, Dataset):
            arrays |= {name: child} if child.shape else {}
        elif sources := sources_of(name, child, nameless=True):
            for key, step, data in sources:
                add(found, key, step, piece_of(data))
        else:
            raise InconsistentDataError(
                f"{ANCILLARY}/{name} in {file.path} holds {listing(child)}; wanted"
                " values of steps named step0, step1, ... or 0, 1, ..."
            )
    return found, header, arrays


def cut_up(
    data: Dataset, steps: list[int], counts: list[int], *, images: bool
) -> dict[int, Piece]:
    """Return the steps of an array of all steps; nothing if it has no axis of these.

    The array is (step, event, ...), (step, ...), or of one step (event, ...); what it
    has beyond the `counts` of events is padding. With `images` it holds frames.
    """
    lone = len(steps) == 1 and data.shape[0] == counts[0]
    if (images and data.ndim == IMAGE_AXES) or (
        not images and lone and data.shape[:2] != (1, counts[0])
    ):
        return {steps[0]: piece_of(data)}
    if data.shape[0] != len(steps):
        return {}
    per_event = images or (data.ndim > 1 and data.shape[1] == max(counts, default=-1))
    return steps_of(data, steps, counts, per_event=per_event)


def steps_of(
    data: Dataset, steps: list[int], counts: list[int], *, per_event: bool
) -> dict[int, Piece]:
    """Return the steps along the first axis of an array."""
    found = {}
    for i, (step, n) in enumerate(zip(steps, counts, strict=True)):
        shape = (n, *data.shape[2:]) if per_event else data.shape[1:]
        found[step] = Piece(data.name, shape, data.dtype, per_event, i, data.chunks)
    return found


def as_python(header: dict[str, Any]) -> dict[str, Any]:
    """Return header fields as text and Python numbers."""
    items = {name: python_scalar(value) for name, value in header.items()}
    return {
        name: item.decode(errors="replace") if isinstance(item, bytes) else item
        for name, item in items.items()
    }


def flat_arrays(file: Group) -> tuple[Found, list[int]]:
    """Return arrays with an axis of steps, cut into steps, and the step numbers."""
    frames = file.dataset(FRAMES)
    if frames is None or frames.ndim != IMAGE_AXES + 1:
        shape = () if frames is None else frames.shape
        raise InconsistentDataError(
            f"{FRAMES} in {file.path} has shape {shape}; wanted (step, event, module,"
            " row, column), with length 1 for a single step or module"
        )
    n_steps, n_events = frames.shape[:2]
    numbers = flat_numbers(file, n_steps)
    counts = real_events(frames)
    lost = [k for k, n in zip(numbers, counts, strict=True) if n == 0 < n_events]
    if lost:
        warn(
            f"{FRAMES} in {file.path} holds nothing but NaN for {len(lost)} steps"
            f" ({listing(lost)}): they count as steps without events"
        )
    found: Found = {}
    for name, data in datasets(file):
        if name == STEP or data.ndim == 0:
            continue
        if data.shape[0] != n_steps:
            raise InconsistentDataError(
                f"{name} in {file.path} has shape {data.shape}, {FRAMES} has"
                f" {n_steps} steps; wanted one entry for each step"
            )
        per_event = data.ndim > 1 and data.shape[1] == n_events
        pieces = steps_of(data, numbers, counts, per_event=per_event)
        found |= {name: pieces} if pieces else {}
    return found, numbers


def real_events(frames: Dataset) -> list[int]:
    """Return the events of every step of (step, event, module, row, column).

    Steps with fewer events than others are padded with NaN; integers have no padding
    that could be told from data.
    """
    n_steps, n_events = frames.shape[:2]
    counts = [int(n_events)] * n_steps
    if frames.dtype.kind != "f" or not frames.size:
        return counts
    # One pixel of the last event tells most steps; whole events are read of the others.
    last = frames[:, -1, 0, 0, 0]
    for i in np.flatnonzero(np.isnan(last)).tolist():
        while counts[i] and np.isnan(frames[i, counts[i] - 1]).all():
            counts[i] -= 1
    return counts


def flat_numbers(file: Group, n_steps: int) -> list[int]:
    """Return the numbers of the steps of a flat file: its ``step``, or 0, 1, ..."""
    data = file.dataset(STEP)
    if data is None:
        if STEP in file:
            raise InconsistentDataError(
                f"{STEP} in {file.path} is a group; wanted {n_steps} whole numbers, one"
                f" for each step of {FRAMES}"
            )
        return list(range(n_steps))
    values = np.atleast_1d(data[()])
    if values.shape != (n_steps,) or values.dtype.kind not in "iu":
        raise InconsistentDataError(
            f"{STEP} in {file.path} has shape {values.shape} of {values.dtype};"
            f" wanted {n_steps} whole numbers, one for each step of {FRAMES}"
        )
    if len(set(values.tolist())) < n_steps:
        raise InconsistentDataError(
            f"{STEP} in {file.path} names a step twice: {listing(values.tolist())}"
        )
    return [int(v) for v in values]
