"""Detectors of a small-data file and their images, where it has any."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.detectors import told_by
from xfelred.errors import (
    InconsistentDataError,
    PropertyNameError,
    SourceNotFound,
    did_you_mean,
    listing,
    warn,
)
from xfelred.names import FIDUCIALS, LONG_NAME, TIME, TRAIN, UNITS
from xfelred.readers.data_kind import of_psana_key
from xfelred.readers.lcls_smalldata import constants
from xfelred.readers.lcls_smalldata.columns import (
    APART,
    CONSTANTS,
    DAMAGE,
    INTG,
    Column,
)
from xfelred.readers.lcls_smalldata.ids import MISSING, flat
from xfelred.readers.lcls_smalldata.lost import lost_images
from xfelred.readers.lcls_smalldata.rows import read_sorted
from xfelred.readers.lcls_smalldata.scalars import IMAGE_KEYS
from xfelred.readers.lcls_times import event_time
from xfelred.readers.shot_frames import Labels, ShotImages

if TYPE_CHECKING:
    from xfelred.readers.lcls_smalldata.run import Run

IMAGE_AXES = (2, 3)
DATA_PRESENT = (0.5, 1.5)  # of damage/<detector>, the limits of smalldata_tools


def detectors(run: Run) -> dict[str, str]:
    """Return names and kinds of the detectors: with images, or with pedestals."""
    pedestal = re.compile(rf"{CONSTANTS}/([^/]+)/ped")
    names = {owner(c) for c in run.columns.values() if may_be_image(run, c)}
    known = {m[1] for m in map(pedestal.fullmatch, run.columns) if m}
    # Constants of a slow detector do not say that it is one.
    names |= {n for n in known if f"{INTG}/{n}" not in names}
    return {name: kind_of(name) for name in sorted(names)}


def kind_of(name: str) -> str:
    """Return the kind of a detector, as far as its name tells."""
    found = told_by(name)
    return "image" if found is None else found.kind


def owner(column: Column) -> str:
    """Return the detector that a column belongs to."""
    return column.name.rpartition("/")[0]


def stream_of(name: str) -> str:
    """Return the stream that a detector belongs to."""
    return INTG if name.startswith(f"{INTG}/") else "event"


def may_be_image(run: Run, column: Column) -> bool:
    """Return whether a column has two or three axes per event."""
    inside = column.source == INTG and INTG in run.streams
    if (column.source in APART and not inside) or column.is_table:
        return False
    if "/" not in column.name or column.dtype.kind not in "iuf":
        return False
    n_rows = run.stream_events(INTG if inside else "event").n_rows
    return len(column.shape) - 1 in IMAGE_AXES and column.fits(n_rows)


def image_keys(run: Run, name: str) -> list[str]:
    """Return what a detector has with two or three axes per event."""
    return [
        c.name.removeprefix(f"{name}/")
        for c in run.columns.values()
        if c.name.startswith(f"{name}/") and may_be_image(run, c)
    ]


def default_key(run: Run, name: str) -> str:
    """Return which images of a detector are its frames.

    Raises
    ------
    SourceNotFound
        If it has none.
    """
    here = image_keys(run, name)
    found = next((key for key in IMAGE_KEYS if key in here), None)
    if found is None:
        other = f" It has {listing(here)}, to be named with key=." if here else ""
        raise SourceNotFound(
            f"no frames of {name!r} in {run.run_id}: looked for"
            f" {', '.join(f'{name}/{k}' for k in IMAGE_KEYS)}.{other} A small-data file"
            " seldom holds frames; give a recipe those of another run, joined by ID:"
            " frames={...}, or open that run here"
        )
    return found


def images_of(run: Run, name: str, key: str) -> ShotImages:
    """Return where the images of a detector are.

    Raises
    ------
    PropertyNameError
        If it has no such images.
    """
    column = image_column(run, name, key)
    stream = stream_of(name)
    events = run.stream_events(stream).at(run.stream_ids(stream))
    target = events.file.copy()
    lacking = np.array([n < 0 for n in column.rows])
    target[lacking[events.file]] = -1
    absent = run.absent(name) if stream == "event" else None
    there = np.ones(len(target), bool) if absent is None else ~absent
    there[there] = ~lost_images(
        run, column, stream, events.ids[there], told=absent is not None
    )
    target[~there] = -1
    shape = column.shape[1:]
    n_modules = shape[0] if len(shape) > 2 else 1
    bad, misfit = matching_bad(run, name, key, shape)
    return ShotImages(
        name=name,
        ids=events.ids,
        targets=tuple((f.path, column.name) for f in run.files),
        target=target,
        row=events.row,
        shape=shape,
        dtype=column.dtype.newbyteorder("="),
        modules=tuple(range(n_modules)),
        token=tokenize([f.token() for f in run.files]),
        chunk=column.chunk,
        bad=bad,
        bad_misfit=misfit,
        reader=read_sorted,
    )


def image_column(run: Run, name: str, key: str) -> Column:
    """Return the column of images; raise an error that says what there is instead."""
    column = run.columns.get(f"{name}/{key}")
    if column is None:
        here = image_keys(run, name)
        raise PropertyNameError(
            f"{name} of {run.run_id} has no {key!r}.{did_you_mean(key, here)} Images:"
            f" {listing(here)}"
        )
    if may_be_image(run, column):
        return column
    n_rows = run.stream_events(stream_of(name)).n_rows
    if not column.fits(n_rows):
        raise InconsistentDataError(
            f"{column.name} has shape {column.shape}, but {run.run_id} has"
            f" {sum(n_rows)} rows of events: it has no image for every event"
        )
    raise PropertyNameError(
        f"{column.name} has shape {column.shape[1:]} per event and is no image; read it"
        f" with run.scalars([{column.name!r}])"
    )


def matching_bad(
    run: Run, name: str, key: str, shape: tuple[int, ...]
) -> tuple[Any, str]:
    """Return the bad pixels if they are of the shape of images, and why not.

    Images of a part of a detector have none, and that is no fault.
    """
    detector = name.removeprefix(f"{INTG}/")
    bad = constants.bad_pixels(run, detector)
    whole = shape if len(shape) > 2 else (1, *shape)
    if bad is None or bad.shape == whole:
        return bad, ""
    if key not in IMAGE_KEYS:
        return None, ""
    return None, (
        f"the mask of {detector} in {CONSTANTS} is {bad.shape} (module, slow_scan,"
        f" fast_scan), but {name}/{key} of {run.run_id} is {whole}: its frames have no"
        " bad pixels; give your own to ops.apply_bad_pixels"
    )


def labels_of(run: Run, name: str, key: str) -> Labels:
    """Return what frames say about themselves."""
    names = [(f.path.rsplit("/", 1)[-1], f.size, f.mtime) for f in run.files]
    return Labels(
        facility=run.facility,
        run_id=run.run_id,
        fingerprint=str(tokenize(names))[:16],
        train=run.flavour.train,
        shots=shot_coordinates(run, stream_of(name)),
        attrs={"detector_kind": kind_of(name)},
        data_kind=of_psana_key(key),
        left_out=run.left_out,
    )


def shot_coordinates(run: Run, stream: str) -> dict[str, xr.Variable]:
    """Return the time, and the fiducials, of the events of a stream."""
    ids = run.stream_ids(stream)
    found = {}
    if run.flavour.epoch is not None:
        found[TIME] = event_time(ids, run.flavour.epoch)
    second = run.flavour.second
    if stream == "event" and second is not None and second in run.columns:
        attrs = {UNITS: "1", LONG_NAME: "fiducials of the event"}
        values = flat(run.read(run.columns[second], "event"))
        if values.ndim == 1 and values.dtype.kind in "iuf":
            found[FIDUCIALS] = xr.Variable(TRAIN, values, attrs)
        else:
            warn(
                f"{second} of {run.run_id} holds {values.dtype} {values.shape} instead"
                " of one number per event: it is left out"
            )
    return found


def absent(run: Run, source: str) -> Any:
    """Return bool (event,) where ``damage/<source>`` does not say that data are there.

    1 says so; 0, or nothing (NaN, -99999), does not.
    """
    column = run.columns.get(f"{DAMAGE}/{source}")
    if column is None or column.shape[1:] not in ((), (1,)):
        return None
    if not column.fits(run.events.n_rows) or column.dtype.kind not in "biuf":
        return None
    values = flat(run.read(column, "event")).astype(float)
    say_odd(run, column, values)
    return ~((values > DATA_PRESENT[0]) & (values < DATA_PRESENT[1]))


def say_odd(run: Run, column: Column, values: NDArray[np.float64]) -> None:
    """Warn, once, if ``damage/<source>`` holds what no writer puts there."""
    told = np.isin(values, (0, 1))
    nothing = np.isnan(values) | (values == MISSING)
    odd = ~(told | nothing)
    if not odd.any() and (told.any() or not len(values)):
        return
    if not run.memo.setdefault(f"odd {column.name}", False):
        run.memo[f"odd {column.name}"] = True
        n = int(odd.sum()) or len(values)
        warn(
            f"{column.name} of {run.run_id} says of {n} of {len(values)} events neither"
            " that their data are there (1) nor that they are not (0): they count as"
            " lost (available is False)"
        )
