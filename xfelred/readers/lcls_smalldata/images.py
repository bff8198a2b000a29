"""Detectors of a small-data file and their images, where it has any."""

from __future__ import annotations

from typing import Any

import numpy as np
from dask.base import tokenize

from xfelred.errors import (
    InconsistentDataError,
    PropertyNameError,
    SourceNotFound,
    did_you_mean,
    listing,
)
from xfelred.names import TRAIN
from xfelred.readers.frames import FrameTexts
from xfelred.readers.lcls_smalldata import constants
from xfelred.readers.lcls_smalldata.columns import (
    CONSTANTS,
    IMAGE_KEYS,
    INTG,
    Column,
)
from xfelred.readers.lcls_smalldata.lost import lost_images
from xfelred.readers.lcls_smalldata.rows import read_sorted
from xfelred.readers.lcls_smalldata.run_data import RunData, kind_of
from xfelred.readers.paths import fingerprint
from xfelred.readers.shot_frames import ShotImages, of_psana_key


def stream_of(name: str) -> str:
    return INTG if name.startswith(f"{INTG}/") else "event"


def default_key(run: RunData, detector: str) -> str:
    """Return which images of a detector are its frames: calib, full_area, ..."""
    here = run.image_keys(detector)
    found = next((key for key in IMAGE_KEYS if key in here), None)
    if found is None:
        other = f" It has {listing(here)}, to be named with key=." if here else ""
        raise SourceNotFound(
            f"no frames of {detector!r} in {run.run_id}: looked for"
            f" {', '.join(f'{detector}/{k}' for k in IMAGE_KEYS)}.{other} A"
            " small-data file seldom holds frames; give a recipe those of another run,"
            " joined by ID: frames={...}, or open that run here"
        )
    return found


def images_of(run: RunData, detector: str, key: str) -> ShotImages:
    """Return where the images of a detector are."""
    column = image_column(run, detector, key)
    stream = stream_of(detector)
    events = run.stream_events(stream).at(run.stream_ids(stream))
    target = events.file.copy()
    lacking = np.array([n < 0 for n in column.rows])
    target[lacking[events.file]] = -1
    absent = run.absent(detector) if stream == "event" else None
    there = np.ones(len(target), bool) if absent is None else ~absent
    there[there] = ~lost_images(
        run, column, stream, events.ids[there], told=absent is not None
    )
    target[~there] = -1
    shape = column.shape[1:]
    n_modules = shape[0] if len(shape) > 2 else 1
    bad, misfit = matching_bad(run, detector, key, shape)
    return ShotImages(
        name=detector,
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


def image_column(run: RunData, name: str, key: str) -> Column:
    """Return the column of images; raise an error that says what there is instead."""
    column = run.columns.get(f"{name}/{key}")
    if column is None:
        here = run.image_keys(name)
        raise PropertyNameError(
            f"{name} of {run.run_id} has no {key!r}.{did_you_mean(key, here)} Images:"
            f" {listing(here)}"
        )
    if run.may_be_image(column):
        return column
    n_rows = run.stream_events(stream_of(name)).n_rows
    if not column.fits(n_rows):
        paths = listing((f.path for f in run.files), 3)
        raise InconsistentDataError(
            f"{column.name} has shape {column.shape}, but there are {sum(n_rows)} rows"
            f" of events in {paths}: it has no image for every event"
        )
    raise PropertyNameError(
        f"{column.name} has shape {column.shape[1:]} per event and is no image; read it"
        f" with run.scalars([{column.name!r}])"
    )


def matching_bad(
    run: RunData, name: str, key: str, shape: tuple[int, ...]
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


def texts_of(run: RunData, detector: str, key: str) -> FrameTexts:
    """Return what frames say about themselves."""
    return FrameTexts(
        facility=run.facility,
        run_id=run.run_id,
        fingerprint=fingerprint(f.token() for f in run.files),
        data_kind=of_psana_key(key),
        left_out=run.left_out,
        attrs={"detector_kind": kind_of(detector)},
        long_names={TRAIN: run.flavour.train},
    )
