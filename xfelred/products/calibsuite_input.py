"""What users give to `write_calibration_suite`, brought to arrays by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, ArgumentTypeError, listing
from xfelred.names import EVENT, FRAME, MODULE, PIXEL_DIMS, STEP, STEP_VALUE, TRAIN
from xfelred.readers.lcls_calibsuite.layouts import step_number as named_number

N_EVENTS = "n_events"
DEFAULT_NAME = "detector"
IMAGE_AXES = 4


@dataclass(frozen=True)
class Steps:
    """Frames of a detector by step."""

    arrays: dict[int, Any]  # (event, module, row, column), lazy or not
    # Where the events of each step are along the shots of the input.
    positions: dict[int, NDArray[np.int64]] | None = None

    @property
    def counts(self) -> dict[int, int]:
        return {step: int(a.shape[0]) for step, a in self.arrays.items()}


def step_number(key: object) -> int | None:
    """Return the number of a step that is called ``3``, ``"3"`` or ``"step3"``."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    return named_number(key) if isinstance(key, str) else None


def detectors_of(data: Any, name: str | None) -> dict[str, Steps]:
    # A dict by step is one detector, any other is several of them.
    several = isinstance(data, Mapping) and None in map(step_number, data)
    if isinstance(data, xr.Dataset):
        data, several = dict(data.data_vars), True
    if several:
        if name is not None:
            raise ArgumentError(
                f"detector={name!r} is for one detector; there are {listing(data)}"
            )
        found = {str(k): steps_of(v, str(k)) for k, v in data.items()}
    else:
        attrs = getattr(data, "attrs", {})
        label = name or str(attrs.get("detector", "")) or DEFAULT_NAME
        found = {label: steps_of(data, label)}
    wrong = [k for k in found if "/" in k or step_number(k) is not None]
    if wrong or not found:
        raise ArgumentError(f"{listing(wrong)} is no name for a detector")
    return found


def steps_of(data: object, name: str) -> Steps:
    if isinstance(data, xr.DataArray):
        if STEP in data.dims:
            return of_padded(data, name)
        return of_shots(data, name)
    if isinstance(data, Mapping):
        numbers = [step_number(k) for k in data]
        if None in numbers or len(set(numbers)) < len(numbers):
            raise ArgumentError(
                f"{name} has the steps {listing(data)}; number each once"
            )
        items = {int(n or 0): v for n, v in zip(numbers, data.values(), strict=True)}
    elif isinstance(data, (list, tuple)):
        items = dict(enumerate(data))
    else:
        raise ArgumentTypeError(
            f"{name} is {type(data).__name__}; wanted a DataArray, or a list or dict of"
            " arrays (event, module, row, column) by step"
        )
    return Steps(
        {k: one_step(v, f"step {k} of {name}") for k, v in sorted(items.items())}
    )


def one_step(frames: object, name: str) -> Any:
    if isinstance(frames, xr.DataArray):
        lead = [d for d in frames.dims if d not in PIXEL_DIMS]
        array = with_module(frames.squeeze(lead[1:], drop=True), name).data
    else:
        array = frames if isinstance(frames, dask.array.Array) else np.asarray(frames)
    if array.ndim != IMAGE_AXES or array.dtype.kind not in "biuf":
        raise ArgumentError(
            f"{name} has shape {array.shape} of {array.dtype}; wanted numbers (event,"
            " module, row, column), with length 1 for a single module"
        )
    return array


def with_module(array: xr.DataArray, name: str) -> xr.DataArray:
    """Return frames (event axis, module, slow_scan, fast_scan)."""
    if MODULE not in array.dims:
        array = array.expand_dims(MODULE)
    lead = [d for d in array.dims if d not in PIXEL_DIMS]
    if len(lead) != 1 or not set(PIXEL_DIMS) <= set(array.dims):
        raise ArgumentError(
            f"{name} has dims {listing(array.dims)}; wanted one axis of events and"
            f" {listing(PIXEL_DIMS)}: a calibration-suite event is one image"
        )
    return array.transpose(*lead, *PIXEL_DIMS)


def of_padded(data: xr.DataArray, name: str) -> Steps:
    """Return the steps of frames (step, event, module, slow_scan, fast_scan)."""
    if EVENT not in data.dims:
        raise ArgumentError(
            f"{name} has {STEP} but no {EVENT}; its dims are {data.dims}"
        )
    counts = np.full(data.sizes[STEP], data.sizes[EVENT])
    if N_EVENTS in data.coords:
        counts = np.asarray(data[N_EVENTS].values)
    if counts.shape != (data.sizes[STEP],) or counts.max(initial=0) > data.sizes[EVENT]:
        raise ArgumentError(
            f"{N_EVENTS} of {name} is {counts}; wanted one number for each of"
            f" {data.sizes[STEP]} steps, at most {data.sizes[EVENT]}"
        )
    found = {}
    for i, step in enumerate(whole_numbers(data, name)):
        one = data.isel({STEP: i, EVENT: slice(0, int(counts[i]))})
        found[step] = with_module(one, name).data
    return Steps(dict(sorted(found.items())))


def whole_numbers(data: xr.DataArray, name: str) -> list[int]:
    if STEP not in data.coords:
        return list(range(data.sizes[STEP]))
    values = data[STEP].values
    check_numbers(values, name)
    if len(set(values.tolist())) < len(values):
        raise ArgumentError(f"{name} has a {STEP} twice: {listing(values)}")
    return [int(v) for v in values]


def check_numbers(values: NDArray[Any], name: str) -> None:
    if values.dtype.kind not in "iu" or values.min(initial=0) < 0:
        raise ArgumentError(
            f"{STEP} of {name} is {values.dtype}; wanted whole numbers, 0 or more:"
            " the values of a scan go to ancillary="
        )


def of_shots(data: xr.DataArray, name: str) -> Steps:
    shot = FRAME if FRAME in data.dims else TRAIN
    if shot not in data.dims:
        raise ArgumentError(f"{name} has no axis of shots; its dims are {data.dims}")
    other = [d for d in data.dims if d not in (shot, *PIXEL_DIMS)]
    many = [d for d in other if data.sizes[d] != 1]
    if many:
        raise ArgumentError(
            f"{name} has {dict(data[many[0]].sizes)}; a calibration-suite event is one"
            " image: use layout='frame', or select one"
        )
    flat = with_module(data.squeeze(other, drop=True), name)
    number = np.zeros(data.sizes[shot], np.int64)
    if STEP in data.coords:
        if data[STEP].dims != (shot,):
            raise ArgumentError(
                f"{STEP} of {name} is on {data[STEP].dims}, not ({shot},)"
            )
        number = data[STEP].values
        check_numbers(number, name)
    arrays, positions = {}, {}
    for step in sorted(set(number.tolist())):
        at = np.flatnonzero(number == step)
        if EVENT in data.coords and data[EVENT].dims == (shot,):
            at = at[np.argsort(data[EVENT].values[at], kind="stable")]
        near = len(at) == at[-1] - at[0] + 1 and (np.diff(at) == 1).all()
        # Events in a row are a slice, which leaves lazy chunks as they are.
        in_a_row = slice(int(at[0]), int(at[-1]) + 1)
        arrays[int(step)] = flat.isel({shot: in_a_row if near else at}).data
        positions[int(step)] = at
    return Steps(arrays, positions)


def check_parallel(detectors: dict[str, Steps]) -> Steps:
    """Return the first detector; ValueError unless all have the same events."""
    name, first = next(iter(detectors.items()))
    if not first.arrays:
        raise ArgumentError(f"{name} has no step; there must be one at least")
    for other, steps in detectors.items():
        if steps.counts != first.counts:
            raise ArgumentError(
                f"{name} has {first.counts} events by step, {other} {steps.counts};"
                " detectors of one file must have the same events"
            )
        kinds = {(a.shape[1:], a.dtype) for a in steps.arrays.values()}
        if len(kinds) > 1:
            raise ArgumentError(
                f"{other} differs from step to step: {listing(kinds)}; wanted one shape"
                " and dtype"
            )
    return first


def values_of(values: object, name: str, frames: Steps) -> dict[int, NDArray[Any]]:
    """Return values by step, one for each event."""
    found: dict[int, NDArray[Any]] = {}
    if isinstance(values, Mapping):
        found = {int(step_number(k) or 0): np.asarray(v) for k, v in values.items()}
    elif isinstance(values, (list, tuple)) and len(values) == len(frames.counts):
        found = dict(zip(frames.counts, map(np.asarray, values), strict=True))
    else:
        found = along_shots(values, name, frames)
    for step, n in frames.counts.items():
        if step not in found or found[step].ndim == 0 or len(found[step]) != n:
            size = found[step].shape if step in found else "no values"
            raise ArgumentError(
                f"{name} has {size} for step {step}, which has {n} events; wanted one"
                " value for each event"
            )
    return found


def along_shots(values: object, name: str, frames: Steps) -> dict[int, NDArray[Any]]:
    """Return values on shots, or on (step, event), by step."""
    array = np.asarray(values)
    counts = frames.counts
    if isinstance(values, xr.DataArray) and STEP in values.dims:
        array = values.transpose(STEP, EVENT, ...).values
        return {s: array[i, :n] for i, (s, n) in enumerate(counts.items())}
    total = sum(counts.values())
    if array.ndim == 0 or len(array) != total:
        raise ArgumentError(
            f"{name} has shape {array.shape}; wanted one value for each of {total}"
            " events, or a list or dict of these by step"
        )
    if frames.positions is not None:
        return {s: array[at] for s, at in frames.positions.items()}
    end = np.cumsum(list(counts.values()))
    return {s: array[e - n : e] for (s, n), e in zip(counts.items(), end, strict=True)}


def ancillary_of(
    data: object, ancillary: Mapping[str, Any] | None, frames: Steps
) -> dict[str, dict[int, Any]]:
    """Return values of steps, or of events by step, by name."""
    if ancillary is not None:
        return {str(k): one_ancillary(v, str(k), frames) for k, v in ancillary.items()}
    values = data.coords.get(STEP_VALUE) if isinstance(data, xr.DataArray) else None
    if values is None or values.dtype.kind not in "biuf":
        return {}
    if values.dtype.kind == "f" and bool(np.isnan(values.values).any()):
        return {}
    if values.dims == (STEP,):
        return {STEP_VALUE: one_ancillary(values, STEP_VALUE, frames)}
    by_step = along_shots(values, STEP_VALUE, frames)
    # Most scans hold one value during a step; then it is stored once for each.
    single = {s: v[0] for s, v in by_step.items() if len(v) and (v == v[0]).all()}
    return {STEP_VALUE: single if len(single) == len(by_step) else by_step}


def one_ancillary(values: object, name: str, frames: Steps) -> dict[int, Any]:
    """Return one value, or one for each event, of every step."""
    if step_number(name) is not None or "/" in name:
        raise ArgumentError(f"{name!r} is no name for ancillary values")
    found = by_step_number(values, name, frames)
    for step, n in frames.counts.items():
        value = found[step]
        if value.ndim and len(value) != n:
            raise ArgumentError(
                f"{name} has {len(value)} values for step {step}, which has {n} events;"
                " wanted one for the step, or for each event"
            )
    return dict(sorted(found.items()))


def by_step_number(values: object, name: str, frames: Steps) -> dict[int, NDArray[Any]]:
    counts = frames.counts
    if isinstance(values, Mapping):
        found = {int(step_number(k) or 0): np.asarray(v) for k, v in values.items()}
        if set(found) != set(counts):
            raise ArgumentError(
                f"{name} has the steps {listing(values)}, the frames {listing(counts)}"
            )
        return found
    if isinstance(values, xr.DataArray) and STEP not in values.dims:
        return along_shots(values, name, frames)
    if isinstance(values, xr.DataArray) and STEP in values.indexes:
        absent = [s for s in counts if s not in values.indexes[STEP]]
        if absent:
            raise ArgumentError(f"{name} has no value for step {listing(absent)}")
        values = values.sel({STEP: list(counts)})
    listed = values if isinstance(values, (list, tuple)) else list(np.asarray(values))
    if len(listed) != len(counts):
        raise ArgumentError(
            f"{name} has {len(listed)} values for {len(counts)} steps; wanted one for"
            " each step, or for each event: a dict of arrays by step, or a DataArray on"
            " train"
        )
    return {s: np.asarray(v) for s, v in zip(counts, listed, strict=True)}
