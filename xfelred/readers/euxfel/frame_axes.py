"""The train and pulse axes of a detector's frames, dense or flat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import ArgumentTypeError, InconsistentDataError, listing
from xfelred.hdf5.rows import read_cells
from xfelred.lazy import Map, Node, Patterns, Source, load, one_each
from xfelred.lazy.indexing import Selector, as_slice
from xfelred.names import CELL, FRAME, GAIN, N_PULSES, PULSE, TRAIN
from xfelred.readers.euxfel.extra_data.module_keys import MultimodKeyData
from xfelred.readers.euxfel.frame_labels import (
    N_GAINS,
    FrameLabels,
    frame_labels,
    usual,
)
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.euxfel.module_plans import EntryLayout
from xfelred.readers.frames import FrameAxes
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import ById, ByIndex, matches


@dataclass(frozen=True, eq=False)
class LaidOut:
    """How trains and pulses become axes.

    Attributes
    ----------
    layout : EntryLayout
        Patterns for the read plan.
    cells : slice, int array or None
        Selected memory cells where these are an axis inside an entry (JUNGFRAU).
    """

    axes: FrameAxes
    layout: EntryLayout
    cells: Selector | None = None


def laid_out(detector: ModuleData, request: FramesRequest) -> LaidOut:
    here = detector.key_table(request.key).here(detector.positions)
    if detector.spec.inner:
        return cell_axes(detector, request, here)
    labels = frame_labels(detector).select(request.pulses)
    make_axes = flat_pulse_axes if request.layout == "frame" else pulse_axes
    return make_axes(detector, labels, here)


def pulse_axes(
    detector: ModuleData, labels: FrameLabels, here: NDArray[np.bool_]
) -> LaidOut:
    """Return the axes of AGIPD, LPD and DSSC data."""
    labels.check_unique(detector.detector_name, "pulseId")
    used = labels.used()
    axis = np.unique(labels.pulse[used])  # not of kinds that no train is
    slot = np.searchsorted(axis, labels.pulse)
    slots: tuple[int, ...] = (len(axis),)
    coords: dict[str, Any] = {TRAIN: detector.ids, PULSE: axis}
    leading: tuple[str, ...] = (TRAIN, PULSE)
    recorded, coords[CELL] = pulses_and_cells(labels, slot, len(axis))
    if detector.parallel_gain:
        slot = slot * N_GAINS + labels.gain  # gain is the inner one of two axes
        slots, leading = (len(axis), N_GAINS), (TRAIN, PULSE, GAIN)
        coords[GAIN] = np.arange(N_GAINS, dtype=np.uint8)
    coords[N_PULSES] = (TRAIN, recorded.sum(axis=1))
    layout = EntryLayout(
        labels.pattern, Patterns(labels.ptr, labels.offset, slot), slots
    )
    padded = recorded if not recorded.all() else None
    axes = FrameAxes(leading, coords, detector.numbers_read, here, padded)
    return LaidOut(axes, layout)


def pulses_and_cells(
    labels: FrameLabels, slot: NDArray[np.int64], n: int
) -> tuple[NDArray[np.bool_], tuple[Any, NDArray[np.int64]]]:
    """Return which pulses each train has, bool (train, pulse), and their memory cells.

    Cells are a coordinate of pulses, per train only where trains differ.
    """
    kind = np.repeat(np.arange(len(labels.ptr) - 1), np.diff(labels.ptr))
    inside = slot < n  # not so of pulses that only kinds without a train have
    at = kind[inside], slot[inside]
    recorded = np.zeros((len(labels.ptr) - 1, n), bool)
    recorded[at] = True
    cells = np.full(recorded.shape, -1, np.int64)
    cells[at] = labels.cell[inside]
    used = cells[np.unique(labels.pattern)]
    common = used.max(axis=0, initial=-1)
    if ((used == common) | (used < 0)).all():
        return recorded[labels.pattern], (PULSE, common)
    return recorded[labels.pattern], ((TRAIN, PULSE), cells[labels.pattern])


def flat_pulse_axes(
    detector: ModuleData, labels: FrameLabels, here: NDArray[np.bool_]
) -> LaidOut:
    train, at = labels.expanded
    coords: dict[str, Any] = {
        TRAIN: (FRAME, detector.ids[train]),
        PULSE: (FRAME, labels.pulse[at]),
        CELL: (FRAME, labels.cell[at].astype(np.int64)),
    }
    if detector.parallel_gain:
        coords[GAIN] = (FRAME, labels.gain[at])
    layout = EntryLayout(labels.pattern, labels.flat(), flat=True)
    axes = FrameAxes((FRAME,), coords, detector.numbers_read, here[train])
    return LaidOut(axes, layout)


def cell_axes(
    detector: ModuleData, request: FramesRequest, here: NDArray[np.bool_]
) -> LaidOut:
    """Return the axes of JUNGFRAU data: memory cells are pulses."""
    cells = memory_cells(detector)
    ids = detector.ids
    chosen = chosen_cells(cells, detector.frames_per_entry, request.pulses)
    picked = cells[:, chosen]
    layout = EntryLayout(np.zeros(len(ids), np.int64), one_each(1))
    # One row a train: its memory cells are cut out of it by the window.
    selector = as_slice(chosen) if len(chosen) else slice(0, 0, 1)
    if request.layout == "frame":
        train = np.repeat(np.arange(len(ids)), len(chosen))
        flat: dict[str, Any] = {
            TRAIN: (FRAME, ids[train]),
            PULSE: (FRAME, np.tile(chosen, len(ids))),
            CELL: (FRAME, picked.ravel()),
        }
        axes = FrameAxes((FRAME,), flat, detector.numbers_read, here[train])
        return LaidOut(axes, layout, selector)
    same = len(picked) > 0 and bool((picked == picked[:1]).all())
    coords: dict[str, Any] = {
        TRAIN: ids,
        PULSE: np.asarray(chosen),
        CELL: (PULSE, picked[0]) if same else ((TRAIN, PULSE), picked),
        N_PULSES: (TRAIN, np.full(len(ids), len(chosen))),
    }
    axes = FrameAxes((TRAIN, PULSE), coords, detector.numbers_read, here)
    return LaidOut(axes, layout, selector)


def memory_cells(detector: ModuleData) -> NDArray[np.int64]:
    """Return the memory cell of every frame, int64 (train, cell), alike in modules."""
    check_one_entry(detector)
    key = MultimodKeyData(detector, "data.memoryCell")
    if key.dtype.kind not in "iu" or key.entry_shape != (detector.frames_per_entry,):
        raise InconsistentDataError(
            f"data.memoryCell of {detector.detector_name} is {key.dtype}"
            f" {key.entry_shape} in each train; wanted a whole number for each of"
            f" {detector.frames_per_entry} frames"
        )
    plan, _ = key.plan((), 0, None)
    data = load(plan.narrow_modules(detector.positions)).astype(np.int64)
    here = detector.key_table("data.memoryCell").here(detector.positions)
    cells = data[np.arange(len(data)), here.argmax(axis=1)]
    odd = (data != cells[:, None]).any(axis=2) & here
    if odd.any():
        raise other_cells(detector, data, here, int(odd.any(axis=1).argmax()))
    known = here.any(axis=1)
    if known.any():  # a train without data of these modules is like the others
        cells[~known] = cells[known.argmax()]
    return cells


def other_cells(
    detector: ModuleData, data: NDArray[np.int64], here: NDArray[np.bool_], train: int
) -> InconsistentDataError:
    """Return the error that names the modules with other memory cells than most."""
    cells = {
        detector.modules[m]: tuple(data[train, i].tolist())
        for i, m in enumerate(detector.positions)
        if here[train, i]
    }
    right = usual(list(cells.values()))
    odd = listing(m for m, own in cells.items() if own != right)
    good = [m for m, own in cells.items() if own == right]
    return InconsistentDataError(
        f"modules of {detector.detector_name} disagree on the memory cells of train"
        f" {detector.ids[train]}: module {odd} has others than most. Read the"
        f" others: modules={good}"
    )


def check_one_entry(detector: ModuleData) -> None:
    """Raise InconsistentDataError if a train has several entries of memory cells."""
    several = detector.counts > 1
    if several.any():
        raise InconsistentDataError(
            f"{detector.detector_name} has {detector.counts.max()} entries in train"
            f" {detector.ids[several.argmax()]}, one is expected: frames of a"
            " train are its memory cells. Leave such trains out (select_trains), or"
            " read a module with run[source, key]"
        )


def chosen_cells(cells: NDArray[np.int64], n: int, pulses: object) -> NDArray[np.int64]:
    if isinstance(pulses, ById):
        # One answer for all trains, or none: positions are an axis of the array.
        numbers = cells[0] if len(cells) else np.arange(n)
        if (cells != numbers).any():
            raise InconsistentDataError(
                "by_id selects memory cells by number, but the trains have different"
                " cells; select positions (pulses=by_index[...]) or fewer trains"
            )
        return np.flatnonzero(matches(numbers, pulses.value))
    value = pulses.value if isinstance(pulses, ByIndex) else pulses
    return np.flatnonzero(matches(np.arange(n), value))


def per_cell(node: Node, n_cells: int) -> Node:
    """Return a recipe (train, pulse, ...) of JUNGFRAU data as (frame, ...).

    In its plan every memory cell counts as a row, so that selecting frames reaches
    the file.
    """
    dims = (FRAME, *node.dims[2:])
    if isinstance(node, Map):
        args = tuple(per_cell(arg, n_cells) for arg in node.args)
        return replace(node, args=args, frame_dims=dims)
    if not isinstance(node, Source):
        raise ArgumentTypeError(
            f"only sources and maps read frames, not {type(node).__name__}"
        )
    plan, shots = node.plan, len(node.plan.pattern)
    cells = np.arange(n_cells)[plan.entry[0]]
    n = len(cells)
    flat = replace(
        plan,
        read_rows=read_cells,
        first=plan.first.astype(np.int64) * n_cells,
        pattern=np.zeros(shots, np.int64),
        patterns=Patterns(np.array([0, n]), cells, np.zeros(n, np.int64)),
        slot_shape=(),
        entry=plan.entry[1:],
        entry_shape=plan.entry_shape[1:],
        n_inner=0,
        flat=True,
        token=tokenize(plan.token, "per cell"),
        chunk=(plan.chunk[0] * plan.chunk[1], *plan.chunk[2:]) if plan.chunk else (),
    )
    return Source(flat, dims)
