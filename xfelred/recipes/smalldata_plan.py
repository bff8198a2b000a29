"""What a small-data file will hold, found before any frame is read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred import ops
from xfelred.errors import SelectionEmptyError, listing, warn
from xfelred.names import AVAILABLE, FRAME, MAX_ERROR, PULSE, TRAIN
from xfelred.ops.reductions.detector_sum import Sum, parsed
from xfelred.products.smalldata_file import Column, Rows, Table
from xfelred.readers.protocol import Run
from xfelred.recipes.cube import file_name
from xfelred.recipes.cube_detectors import (
    check_detectors,
    check_shots,
    detector_frames,
)
from xfelred.recipes.cube_functions import facts_of
from xfelred.recipes.cube_shots import one_scalar
from xfelred.recipes.function_tree import FunctionSpec, results, shots_at_once
from xfelred.recipes.function_values import SHOTS, Entries, Facts, Given, Value
from xfelred.recipes.functions import WHOLE
from xfelred.recipes.recipe import at_key
from xfelred.recipes.smalldata_recipe import SmallDataRecipe
from xfelred.recipes.smalldata_shots import Shots, flags_of, shots_of

LANES = 8  # of a block: its pieces are worked off in so many tasks
INTG = "intg"  # the stream of slow detectors
At = partial[AbstractContextManager[Any]]


@dataclass(frozen=True, eq=False)
class DetectorPlan:
    """One detector: its frames, and what is made of each."""

    name: str
    frames: xr.DataArray  # (train, ...), corrected, lazy; those that were recorded
    ids: NDArray[Any]  # of its rows: the shots of the run, or the readouts of slow ones
    rows: NDArray[np.int64]  # of these frames
    facts: Facts
    functions: tuple[FunctionSpec, ...]
    sums: tuple[str, ...]
    columns: tuple[Column, ...]
    step: int  # shots that are held at once

    def rows_in(self, first: int, last: int) -> range:
        """Return the rows of the shots from one ID to another."""
        # A plain integer would make numpy compare in float64, too coarse for LCLS.
        low, high = self.ids.dtype.type(first), self.ids.dtype.type(last)
        start = int(np.searchsorted(self.ids, low))
        return range(start, int(np.searchsorted(self.ids, high, side="right")))

    @property
    def sum_shape(self) -> tuple[int, ...]:
        return tuple(n for d, n in self.frames.sizes.items() if d not in SHOTS)


@dataclass(frozen=True, eq=False)
class SmallDataPlan:
    """Small data of a run."""

    run: Run
    recipe: SmallDataRecipe
    shots: Shots
    flags: dict[str, xr.DataArray]
    detectors: dict[str, DetectorPlan]

    @property
    def name(self) -> str:
        return file_name(self.run.run_id)

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(c for d in self.detectors.values() for c in d.columns)


def smalldata_plan(
    run: Run, recipe: object, frames: Mapping[str, xr.DataArray] | None = None
) -> SmallDataPlan:
    """Return what will be made; reads scalars and constants only."""
    checked = SmallDataRecipe.of(recipe)
    if not len(run.train_ids):
        raise SelectionEmptyError(f"{run.run_id}: no shots are selected")
    given = {**traces_of(run, checked), **(frames or {})}
    check_detectors(run, checked, given)
    shots = shots_of(run, checked)
    flags = flags_of(shots)
    found = {
        name: detector_plan(run, checked, name, given, flags)
        for name in checked.model.detectors
    }
    return SmallDataPlan(run, checked, shots, flags, found)


def traces_of(run: Run, recipe: SmallDataRecipe) -> dict[str, xr.DataArray]:
    """Return the traces of what has no frames but a vector for every shot."""
    out = {}
    for name, spec in recipe.model.detectors.items():
        if name in run.detectors or spec.frames is not None or spec.key is None:
            continue
        try:
            out[name] = one_scalar(run, recipe, f"{name}/{spec.key}", "")[
                f"{name}/{spec.key}"
            ]
        except ValueError:
            continue  # what is nowhere is told with the names of all detectors
    return out


def detector_plan(
    run: Run,
    recipe: SmallDataRecipe,
    name: str,
    given: Mapping[str, xr.DataArray],
    flags: Mapping[str, xr.DataArray],
) -> DetectorPlan:
    spec = recipe.model.detectors[name]
    key = f"detectors.{name}"
    frames = detector_frames(run, recipe, name, given)
    if TRAIN not in frames.dims:
        text = f"its frames are along {listing(frames.dims)}; small data are by shot"
        text += f": give frames with a dim {TRAIN!r}" + (
            " (layout='train')" if FRAME in frames.dims else ""
        )
        raise recipe.error(key, text)
    slow = slow_ids(run) if name.startswith(f"{INTG}/") else None
    ids = np.asarray(run.train_ids) if slow is None else slow
    at = rows_of(run, recipe, name, frames, given, pd.Index(ids, name=TRAIN))
    kept = (at >= 0) & recorded(frames)
    order = np.flatnonzero(kept)
    order = order[np.argsort(at[order], kind="stable")]
    if not np.array_equal(order, np.arange(frames.sizes[TRAIN])):
        frames = frames.isel({TRAIN: order})
    facts = facts_of(run, recipe, name, frames)
    frames = frames.transpose(TRAIN, ...)
    one = frames.isel({TRAIN: slice(0, 1)})
    made = results(
        tuple(spec.functions), Given(one, facts, ""), key, partial(at_key, recipe)
    )
    columns = tuple(column(name, n, v) for n, v in made.items())
    for i, total in enumerate(spec.sums):
        with at_key(recipe, f"{key}.sums.{i}"):
            ops.detector_sum(one, plain_name(parsed(total, tuple(flags))), flags=flags)
    # Pulses of a train are held together.
    step = shots_at_once(one, made.values(), spec.functions) // one.sizes.get(PULSE, 1)
    return DetectorPlan(
        name, frames, ids, at[order], facts, tuple(spec.functions), tuple(spec.sums),
        columns, max(1, step),
    )  # fmt: skip


def rows_of(
    run: Run,
    recipe: SmallDataRecipe,
    name: str,
    frames: xr.DataArray,
    given: Mapping[str, xr.DataArray],
    ids: pd.Index,
) -> NDArray[np.int64]:
    """Return the row of every frame, -1 for what is of no shot of the run."""
    if TRAIN not in frames.indexes or not frames.indexes[TRAIN].isin(ids).any():
        check_shots(recipe, name, frames, ids, given)
    at = ids.get_indexer(frames.indexes[TRAIN]).astype(np.int64)
    lost = int((at < 0).sum())
    if lost:
        warn(
            f"{lost} of {len(at)} frames of {name} are of shots that {run.run_id} does"
            " not have, and are left out"
        )
    return at


def slow_ids(run: Run) -> NDArray[Any] | None:
    """Return the IDs of the readouts of slow detectors, if the run has a stream."""
    if INTG not in getattr(run, "streams", ()):
        return None
    stream_ids = getattr(run, "stream_ids")  # noqa: B009 - only such runs have it
    return np.asarray(stream_ids(INTG))


def recorded(frames: xr.DataArray) -> NDArray[np.bool_]:
    """Return which trains have any data."""
    there = frames.coords.get(AVAILABLE)
    if there is None or TRAIN not in there.dims:
        return np.ones(frames.sizes[TRAIN], bool)
    others = [d for d in there.dims if d != TRAIN]
    found: NDArray[np.bool_] = there.astype(bool).any(others).values
    return found


def column(detector: str, name: str, value: Value) -> Column:
    """Return the dataset, or table, that values of every shot are stored in."""
    if not isinstance(value, Entries):
        dtype, packed = stored_dtype(value.dtype), MAX_ERROR in value.attrs
        return Rows(f"{detector}/{name}", dtype, tail(value), packed)
    whole = np.dtype(np.int64)
    kinds = {n: whole if n in WHOLE else v.dtype for n, v in value.fields.items()}
    if has_pulses(next(iter(value.fields.values()))):
        kinds[PULSE] = whole
    kind = "ragged" if value.ragged else "var"
    return Table(f"{detector}/{kind}_{name}", tuple(kinds.items()), value.ragged)


def has_pulses(value: xr.DataArray) -> bool:
    return value.sizes.get(PULSE, 1) > 1


def tail(value: xr.DataArray) -> tuple[int, ...]:
    """Return the shape of a shot; one pulse is no axis."""
    kept = [d for d in value.dims if d not in SHOTS]
    lead = (value.sizes[PULSE],) if has_pulses(value) else ()
    return (*lead, *(value.sizes[d] for d in kept))


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a dtype that also holds what stands for nothing."""
    if dtype.kind not in "bu":
        return dtype
    return np.dtype(np.int64 if dtype.itemsize > 2 else np.int32)


def plain_name(wanted: Sum, *, skip: bool = False) -> str:
    """Return the name of a sum without what is done once, when all is added up."""
    words = [*wanted.flags]
    if wanted.threshold is not None:
        words.append(f"thresADU{wanted.threshold!r}".removesuffix(".0"))
    for word, said in {
        "nhits": wanted.hits, "square": wanted.square, "max": wanted.largest,
        "skip": skip and wanted.skip,
    }.items():  # fmt: skip
        words += [word] if said else []
    return "_".join(["calib", *words])
