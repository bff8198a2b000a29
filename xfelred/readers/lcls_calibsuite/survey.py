"""Looking into a file of the calibration suite, and checking that it fits together."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError, listing
from xfelred.hdf5 import Dataset, Group, Unreadable, open_file
from xfelred.hdf5.remembered import Facts, remembered
from xfelred.readers.lcls_calibsuite.contents import (
    ANCILLARY,
    DETECTORS,
    FRAMES,
    STEP_VALUE,
    VALUE_NAME,
    Contents,
    Pieces,
)
from xfelred.readers.lcls_calibsuite.kept import KEPT, contents_from, facts_from
from xfelred.readers.lcls_calibsuite.layouts import (
    IMAGE_AXES,
    Found,
    ancillary_values,
    cut_up,
    flat_arrays,
    is_of_events,
    nested_arrays,
    piece_of,
    real_events,
    sources_of,
    step_number,
)
from xfelred.readers.left_out import told
from xfelred.readers.paths import file_at

N_EVENTS = "nEvents"
FLAT_AXES = 3  # of frames that cannot be anything else


def recognises(path: str) -> bool:
    """Return whether a file is laid out as the calibration suite's are."""
    try:
        return bool(remembered(path, f"{KEPT} or not", lambda: look(path))["is"])
    except OSError:
        return False


def look(path: str) -> Facts:
    with open_file(path) as file:
        frames = file.dataset(FRAMES)
        sure = frames is not None and frames.ndim >= FLAT_AXES
        sure = sure or DETECTORS in file or file.group(ANCILLARY) is not None
        images = (holds_images(name, child) for name, child in file.children())
        return {"is": sure or any(images)}


def holds_images(name: str, found: object) -> bool:
    """Tell whether something at the root is a step, or a detector, with images."""
    if isinstance(found, Dataset):
        return step_number(name) is not None and found.ndim == IMAGE_AXES
    sources = sources_of(name, found, nameless=False)
    return any(len(piece_of(data).shape) == IMAGE_AXES for _, _, data in sources)


def read_contents(path: str) -> Contents:
    """Return what a file holds, from the user's cache if it is there."""

    def find() -> Facts:
        with open_file(path) as file:
            return facts_from(contents_of(file, path))

    try:
        return contents_from(path, remembered(path, KEPT, find))
    except BrokenFileError as error:
        raise told(path, error) from error


def contents_of(file: Group, path: str) -> Contents:
    ancillary, header, more = ancillary_values(file)
    if file.dataset(FRAMES) is not None:
        arrays, numbers = flat_arrays(file)
        steps = set(numbers)
    else:
        arrays, steps, whole = nested_arrays(file)
        steps |= images_of_all_steps(path, arrays, whole, steps, header)
        more |= whole
    for pieces in ancillary.values():
        steps |= set(pieces)
    detectors = {
        name: pieces
        for name, pieces in arrays.items()
        if all(len(p.shape) == IMAGE_AXES for p in pieces.values())
    }
    ordered = np.array(sorted(steps), np.int64)
    series = {k: v for k, v in arrays.items() if k not in detectors} | ancillary
    check_images(path, detectors, arrays)
    check_lost(file, detectors)
    n_events = event_counts(path, ordered, detectors, series)
    for name, data in more.items():
        pieces = cut_up(data, ordered.tolist(), n_events.tolist(), images=False)
        if pieces and name not in series and data.dtype.kind in "biufSO":
            series[name] = pieces
            if data.name.startswith(f"{ANCILLARY}/"):
                ancillary[name] = pieces
    series = {k: fitted(v, ordered, n_events) for k, v in series.items()}
    check_series(path, ordered, n_events, series)
    found = file_at(path)
    return Contents(
        path=path,
        identity=(os.path.basename(path), found.size, found.mtime),
        steps=ordered,
        n_events=n_events,
        detectors=detectors,
        series=series,
        value_name=value_name(series, header, ancillary),
        metadata=header,
    )


def images_of_all_steps(
    path: str,
    arrays: Found,
    whole: dict[str, Dataset],
    steps: set[int],
    header: dict[str, object],
) -> set[int]:
    """Move frames of all steps, or of a single one, to the others; return the steps."""
    found: set[int] = set()
    for name, data in list(whole.items()):
        if data.ndim not in (IMAGE_AXES, IMAGE_AXES + 1):
            continue
        n = data.shape[0] if data.ndim > IMAGE_AXES else 1
        numbers = sorted(steps) if len(steps) == n else list(range(n))
        told: Any = header.get(N_EVENTS)
        if told is None:
            told = real_events(data) if data.ndim > IMAGE_AXES else len(data)
        counts = np.atleast_1d(np.asarray(told))
        if len(counts) not in (1, n) or counts.dtype.kind not in "iu":
            raise InconsistentDataError(
                f"{N_EVENTS} in {path} has {len(counts)} numbers of events, {data.name}"
                f" {n} steps; wanted one whole number for each step"
            )
        each = np.broadcast_to(counts, n).tolist()
        arrays[name] = cut_up(data, numbers, each, images=True)
        found |= set(numbers)
        del whole[name]
    return found


def fitted(pieces: Pieces, steps: NDArray[np.int64], n: NDArray[np.int64]) -> Pieces:
    """Return values with as many events as their step has, where some are not there.

    Events that are datasets of their own may be missing.
    """
    counts = dict(zip(steps.tolist(), n.tolist(), strict=True))
    return {
        step: replace(piece, shape=(max(counts[step], piece.shape[0]), *piece.entry))
        if piece.members
        else piece
        for step, piece in pieces.items()
    }


def check_lost(file: Group, detectors: Found) -> None:
    """Raise BrokenFileError if a step, or the frames of one, cannot be read.

    Events are numbered from the first step to the last: without it all later ones
    would have other numbers. An event that is a dataset of its own costs itself.
    """
    places = [("", file)]
    top = file.group(DETECTORS)
    places += [] if top is None else [(DETECTORS, top)]
    while places:
        name, place = places.pop()
        if step_number(name) is not None and is_of_events(place):
            continue
        for key, child in place.children():
            told = step_number(key) is not None or key in (*detectors, FRAMES)
            if isinstance(child, Unreadable) and (told or name == DETECTORS):
                raise child.error
            if isinstance(child, Group) and (told or key in detectors):
                places.append((key, child))


def check_images(path: str, detectors: Found, arrays: Found) -> None:
    """Raise unless frames have four axes and one shape and dtype in all steps."""
    for name, pieces in arrays.items():
        axes = {len(p.shape) for p in pieces.values()}
        # Waveforms of a secondary detector may have three axes, beside a detector.
        odd = max(axes, default=0) > IMAGE_AXES or (
            len(axes) > 1 and IMAGE_AXES in axes
        )
        lonely = not detectors and axes == {IMAGE_AXES - 1}
        if odd or lonely:
            shape = next(p.shape for p in pieces.values() if len(p.shape) in axes)
            raise InconsistentDataError(
                f"{name} in {path} has shape {shape}; frames are (event, module, row,"
                " column), with length 1 for a single module"
            )
    for name, pieces in detectors.items():
        no_numbers = {p.dtype for p in pieces.values() if p.dtype.kind not in "biuf"}
        if no_numbers:
            raise InconsistentDataError(
                f"{name} in {path} holds {listing(no_numbers)}; pixels are numbers. The"
                " file is damaged, or its writer did not finish: copy or write it again"
            )
        kinds = {(p.entry, p.dtype) for p in pieces.values()}
        if len(kinds) > 1:
            shapes = listing(f"{shape} {dtype}" for shape, dtype in kinds)
            raise InconsistentDataError(
                f"{name} in {path} differs from step to step: {shapes}"
            )


def event_counts(
    path: str, steps: NDArray[np.int64], detectors: Found, series: Found
) -> NDArray[np.int64]:
    """Return the number of events of each step, the same for all detectors."""
    counts = np.zeros(len(steps), np.int64)
    for i, step in enumerate(steps.tolist()):
        found = {n: p[step].shape[0] for n, p in detectors.items() if step in p}
        if found and len(found) < len(detectors):
            found |= {n: 0 for n in detectors if n not in found}
        if len(set(found.values())) > 1:
            raise InconsistentDataError(
                f"step {step} of {path} has "
                + ", ".join(f"{n} events of {name}" for name, n in found.items())
                + "; detectors of one file must have the same events"
            )
        if not found and not detectors:
            lengths = {
                p[step].shape[0]
                for n, p in series.items()
                if step in p and p[step].per_event
            }
            found = {"": max(lengths)} if lengths else {}
        counts[i] = next(iter(found.values()), 0)
    return counts


def check_series(
    path: str, steps: NDArray[np.int64], n_events: NDArray[np.int64], series: Found
) -> None:
    """Raise InconsistentDataError for a value per event of the wrong length."""
    counts = dict(zip(steps.tolist(), n_events.tolist(), strict=True))
    for name, pieces in series.items():
        for step, piece in pieces.items():
            if piece.per_event and piece.shape[0] != counts[step]:
                raise InconsistentDataError(
                    f"{piece.dataset} in {path} has {piece.shape[0]} values of {name}"
                    f" for the {counts[step]} events of step {step}; wanted one value"
                    " for each event, or one for the step"
                )
        entries = {p.entry for p in pieces.values()}
        if len(entries) > 1:
            raise InconsistentDataError(
                f"{name} in {path} has entries of different shapes: {listing(entries)}"
            )


def value_name(
    series: Found, header: dict[str, object], ancillary: Found
) -> str | None:
    """Return the name of the values that tell steps apart."""
    named = str(header.get(VALUE_NAME, ""))
    for name in (STEP_VALUE, named):
        if name in series:
            return name
    return next(iter(ancillary)) if len(ancillary) == 1 else None
