"""Where the frames of a calibration-suite run are, and frames by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.utils import parse_bytes
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError
from xfelred.hdf5.rows import open_dataset, read_cells, read_rows
from xfelred.lazy import (
    Patterns,
    ReadPlan,
    RowReader,
    Rows,
    Source,
    View,
    block_chunks,
    planned,
)
from xfelred.lazy.indexing import Selector, as_slice
from xfelred.names import (
    EVENT,
    FAST,
    MODULE,
    PIXEL_DIMS,
    RECORDED,
    SLOW,
    STEP,
    STEP_VALUE,
)
from xfelred.provenance import record
from xfelred.readers.entry import cut, entry_window
from xfelred.readers.frames import frame_attrs, module_positions
from xfelred.readers.lcls_calibsuite.run_data import RunData, plain_number
from xfelred.readers.lcls_calibsuite.values import N_EVENTS
from xfelred.readers.request import FramesRequest
from xfelred.readers.shot_frames import STORED_APART, ShotImages


def images_of(run: RunData, name: str) -> ShotImages:
    """Return which row of which dataset each event of a run is."""
    contents, events = run.contents, run.events
    pieces = contents.detectors[name]
    first = next(iter(pieces.values()))
    chunks = {p.chunks for p in pieces.values() if p.shape[0]}
    chunk = next(iter(chunks)) if len(chunks) == 1 else None
    reader: RowReader = read_rows
    if any(p.members for p in pieces.values()):
        # Each image is a dataset of its own.
        members = {(s, n): d for s, p in pieces.items() for n, d in p.members}
        targets = tuple((contents.path, d) for d in members.values())
        place = {key: i for i, key in enumerate(members)}
        pairs = zip(events.step.tolist(), events.event.tolist(), strict=True)
        target = np.array([place.get(pair, -1) for pair in pairs], np.int32)
        row, chunk, reader = np.zeros(len(run.ids), np.int64), None, read_single
    elif first.at is not None:
        # Rows of a flat file are steps; the events inside count as rows of their own.
        n = open_dataset(contents.path, first.dataset).shape[1]
        at = np.array([pieces[s].at for s in contents.steps.tolist()], np.int64)
        targets = ((contents.path, first.dataset),)
        target = np.zeros(len(run.ids), np.int32)
        row, reader = at[events.position] * n + events.event, read_cells
        chunk = None if chunk is None else chunk[1:]
    else:
        targets = tuple((contents.path, p.dataset) for p in pieces.values())
        # A step without frames has no dataset, but no events either.
        places = {step: i for i, step in enumerate(pieces)}
        numbers = [places.get(s, -1) for s in contents.steps.tolist()]
        target, row = np.array(numbers, np.int32)[events.position], events.event
    return ShotImages(
        name=name,
        ids=run.ids,
        targets=targets,
        target=target,
        row=row,
        shape=first.entry,
        dtype=first.dtype,
        modules=tuple(range(first.entry[0])),
        token=tokenize(contents.path, contents.identity),
        chunk=chunk or (),
        reader=reader,
    )


def read_single(
    path: str,
    dataset: str,
    rows: Rows,
    entry: tuple[Selector, ...],
    out: NDArray[Any],
) -> None:
    """Read a dataset that is one row; see `xfelred.lazy.RowReader`."""
    if len(rows.start):
        out[rows.place] = cut(open_dataset(path, dataset)[()], entry)


def step_frames(
    run: RunData, images: ShotImages, request: FramesRequest
) -> xr.DataArray:
    """Return frames as a lazy array (step, event, module, slow_scan, fast_scan).

    Steps with fewer events than others are padded with the fill value; ``n_events``
    (step) tells how many are real, ``recorded`` (step, event) which.
    """
    if images.reader is read_single:
        raise InconsistentDataError(
            f"each event of {images.name} in {run.run_id} is a dataset of its own, so"
            " that steps cannot be read at once; use layout='train', whose frames know"
            " their step and event"
        )
    numbers = run.step_numbers
    positions = module_positions(request.modules, list(images.modules), images.name)
    plan = step_plan(run, images, request, positions)
    source = Source(plan, (STEP, EVENT, MODULE, STORED_APART, SLOW, FAST))
    node = View(source, (STEP, EVENT, *PIXEL_DIMS))
    events = run.events
    counts = np.array([(events.step == s).sum() for s in numbers.tolist()], np.int64)
    at = np.isin(run.contents.steps, numbers)
    slots = np.arange(plan.shape[1])
    modules = [images.modules[i] for i in positions]
    coords: dict[str, Any] = {
        STEP: (STEP, numbers, plain_number("number of the step")),
        EVENT: (EVENT, slots, plain_number("event of the step")),
        MODULE: (MODULE, modules, plain_number("module number")),
        N_EVENTS: (STEP, counts, plain_number("events of the step")),
        STEP_VALUE: (STEP, run.step_values[at], run.value_attrs),
        RECORDED: (
            (STEP, EVENT),
            slots < counts[:, None],
            plain_number("the step has this event"),
        ),
    }
    array = planned(node, block_chunks(node, parse_bytes(request.chunk_size)))
    out = xr.DataArray(array, coords, node.dims, name=request.key)
    texts = run.texts_of(images.name, request.key)
    texts = replace(texts, n_modules=images.n_modules, attrs={})
    out.attrs = frame_attrs(texts, images.name, request, images.dtype, node.dtype)
    params: dict[str, object] = {
        "detector": images.name,
        "layout": "step",
        "astype": str(plan.dtype),
    }
    params |= {"fill_value": request.fill_value, "modules": modules}
    return record(out, "frames", **params, roi=str(request.roi), run=run.run_id)


def step_plan(
    run: RunData, images: ShotImages, request: FramesRequest, positions: list[int]
) -> ReadPlan:
    """Return which rows of each step go where; the events of a step are its slots."""
    window, lengths, _ = entry_window(request.roi, images.shape[-2:])
    events = run.events
    target, ptr, offset, slot = [], [0], [], []
    for step in run.step_numbers.tolist():
        here = np.flatnonzero(events.step == step)
        target.append(int(images.target[here[0]]) if len(here) else -1)
        offset.append(images.row[here].astype(np.int64))
        slot.append(np.arange(len(here)))
        ptr.append(ptr[-1] + len(here))
    n_steps = len(target)
    counts = np.diff(ptr)
    widest = int(counts.max()) if n_steps else 0
    dtype, fill = request.pixels(
        images.dtype, images.name, gaps=bool((counts < widest).any())
    )
    entry = (as_slice(np.asarray(positions, np.int64)), *window)
    asked = (entry, str(dtype), str(fill), "step")
    empty = np.zeros(0, np.int64)
    return ReadPlan(
        read_rows=images.reader,
        targets=images.targets,
        target=np.array(target, np.int32).reshape(n_steps, 1),
        first=np.zeros((n_steps, 1), np.int64),
        pattern=np.arange(n_steps),
        patterns=Patterns(
            np.array(ptr),
            np.concatenate([empty, *offset]),
            np.concatenate([empty, *slot]),
        ),
        slot_shape=(widest,),
        entry=entry,
        entry_shape=(len(positions), *lengths),
        n_inner=1,
        dtype=dtype,
        fill_value=fill,
        flat=False,
        token=tokenize(images.token, images.targets, run.ids, run.step_numbers, *asked),
        ids=run.step_numbers,
        chunk=images.chunk,
    )


def step_list(frames: xr.DataArray) -> list[xr.DataArray]:
    """Return one array (event, module, slow_scan, fast_scan) for each step."""
    counts = frames[N_EVENTS].values.tolist()
    return [frames.isel({STEP: i, EVENT: slice(0, n)}) for i, n in enumerate(counts)]
