"""Blocks of shots of small data: worked off anywhere, stored, put together.

A block is cut into lanes, each a task that reads the frames of one detector piece by
piece, once, and runs all of its functions on every piece. Lanes and pieces depend on
the run and the recipe only, so that sums have the same bits on any scheduler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import ops
from xfelred.lazy import held
from xfelred.names import PULSE, TRAIN
from xfelred.ops.reductions.detector_sum import parsed
from xfelred.products.resumable import damaged
from xfelred.products.smalldata_file import MISSING, Column, Rows, Table
from xfelred.recipes import cube_state
from xfelred.recipes.function_tree import FunctionSpec, lost_shots, results
from xfelred.recipes.function_values import SHOTS, Entries, Facts, Given
from xfelred.recipes.functions import WHOLE
from xfelred.recipes.manifest import Block
from xfelred.recipes.smalldata_plan import (
    LANES,
    DetectorPlan,
    SmallDataPlan,
    has_pulses,
    plain_name,
)

Array = NDArray[Any]
PART = "data"


@dataclass(frozen=True, eq=False)
class Lane:
    """Some shots of a detector, one task."""

    frames: xr.DataArray  # lazy
    step: int
    facts: Facts
    functions: tuple[FunctionSpec, ...]
    sums: tuple[str, ...]
    flags: Mapping[str, xr.DataArray]
    first: bool  # whether its first shot is the first one of the run

    def __call__(self) -> Worked:
        """Return what the functions make of all shots, and their sums."""
        parts: list[list[Array]] = []
        sums: list[Array] = []
        for start in range(0, self.frames.sizes[TRAIN], self.step):
            chosen = self.frames.isel({TRAIN: slice(start, start + self.step)})
            # The only time that these frames are read.
            frames = held(chosen.compute(scheduler="synchronous"))
            found, more = self.of_piece(frames, first=self.first and start == 0)
            parts.append(found)
            sums = combined(self.sums, sums, more)
        return Worked([np.concatenate(p) for p in zip(*parts, strict=True)], sums)

    def of_piece(
        self, frames: xr.DataArray, *, first: bool
    ) -> tuple[list[Array], list[Array]]:
        made = results(self.functions, Given(frames, self.facts, ""))
        names = [parsed(s, tuple(self.flags)) for s in self.sums]
        sums = [
            ops.detector_sum(frames, plain_name(s, skip=first), flags=self.flags)
            for s in names
        ]
        values = [v.fields if isinstance(v, Entries) else v for v in made.values()]
        values, sums = dask.compute(values, sums, scheduler="synchronous")
        gone = lost_shots(frames)
        out: list[Array] = []
        for value in values:
            out += entries(value) if isinstance(value, dict) else [rows(value, gone)]
        return out, [np.asarray(s.values) for s in sums]


@dataclass(frozen=True, eq=False)
class Worked:
    """Parts of the columns of a detector for some shots, and sums over these."""

    parts: list[Array]
    sums: list[Array]


def combined(names: Sequence[str], one: list[Array], two: list[Array]) -> list[Array]:
    if not one or not two:
        return one or two
    return [joint(*each) for each in zip(names, one, two, strict=True)]


def joint(name: str, one: Array, two: Array) -> Array:
    """Return the sum, or maximum, of two; of shots without frames it is empty."""
    if not one.size or not two.size:
        return one if one.size else two
    return np.fmax(one, two) if "max" in name.split("_") else one + two


def rows(value: xr.DataArray, gone: xr.DataArray | None) -> Array:
    """Return values of shots as they are stored: nothing is -99999 or NaN."""
    lead = [d for d in SHOTS if d in value.dims]
    value = value.transpose(*lead, ...)
    array: Array = np.asarray(value.values)
    if array.dtype.kind in "bu":
        array = array.astype(np.int64 if array.dtype.itemsize > 2 else np.int32)
    if gone is not None:
        lost = np.broadcast_to(
            gone.transpose(*[d for d in SHOTS if d in gone.dims]).values.reshape(
                [gone.sizes.get(d, 1) for d in lead]
            ),
            array.shape[: len(lead)],
        )
        array = array.copy()
        array[lost] = np.nan if array.dtype.kind == "f" else MISSING
    if PULSE in value.dims and not has_pulses(value):
        array = array[:, 0]
    return array


def entries(fields: Mapping[str, xr.DataArray]) -> list[Array]:
    """Return how many entries every shot has, and the fields one after the other."""
    lead = [d for d in SHOTS if d in fields["row"].dims]
    values = {n: v.transpose(*lead, ...) for n, v in fields.items()}
    there = values["row"].notnull().values
    out: list[Array] = [there.reshape(len(there), -1).sum(1).astype(np.int64)]
    for name, value in values.items():
        found = value.values[there]
        out.append(found.astype(np.int64) if name in WHOLE else found)
    if has_pulses(fields["row"]):
        ids = np.asarray(values["row"][PULSE].values).astype(np.int64)
        out.append(
            np.broadcast_to(ids.reshape(-1, *(1,) * (there.ndim - 2)), there.shape)[
                there
            ]
        )
    return out


def lanes_of(
    detector: DetectorPlan, flags: Mapping[str, xr.DataArray], block: Block
) -> Iterator[Lane]:
    """Yield the lanes of a detector for a block of shots."""
    rows = detector.rows_in(*block.trains)
    start, stop = np.searchsorted(detector.rows, [rows.start, rows.stop]).tolist()
    n_pieces = -(-(stop - start) // detector.step)
    size = -(-n_pieces // LANES) * detector.step
    for at in range(start, stop, max(size, 1)):
        end = min(at + size, stop)
        frames = detector.frames.isel({TRAIN: slice(at, end)})
        first, last = detector.ids[detector.rows[[at, end - 1]]]
        yield Lane(
            frames,
            detector.step,
            detector.facts,
            detector.functions,
            detector.sums,
            {n: f.sel({TRAIN: slice(first, last)}) for n, f in flags.items()},
            first=at == 0,
        )


def block_task(plan: SmallDataPlan, place: Path, block: Block) -> Any:
    """Return what works off a block and stores it, when it is computed."""
    found = []
    for detector in plan.detectors.values():
        work = [
            # Nothing here looks into a lane, whose frames would else be computed.
            dask.delayed(lane, pure=False, traverse=False)()
            for lane in lanes_of(detector, plan.flags, block)
        ]
        rows = detector.rows_in(*block.trains)
        at = detector.rows[(detector.rows >= rows.start) & (detector.rows < rows.stop)]
        join = partial(joined, Skeleton.of(detector), at - rows.start, len(rows))
        found.append(dask.delayed(join, pure=False, traverse=False)(work))
    draft = cube_state.Draft.of(place, range(block.id, block.id + 1))
    return dask.delayed(partial(store, draft), pure=False, traverse=False)(found)


@dataclass(frozen=True)
class Skeleton:
    """What a detector stores, without its frames."""

    columns: tuple[Rows | Table, ...]
    sums: tuple[str, ...]

    @classmethod
    def of(cls, detector: DetectorPlan) -> Skeleton:
        return cls(detector.columns, detector.sums)


def joined(
    skeleton: Skeleton, at: NDArray[np.int64], n: int, lanes: Sequence[Worked]
) -> list[Array]:
    """Return the parts of a detector for a block: all of its shots, then the sums."""
    out: list[Array] = []
    i = 0
    for column in skeleton.columns:
        found = [
            np.concatenate([np.zeros(0, kind), *(w.parts[i + k] for w in lanes)])
            if isinstance(column, Table)
            else np.concatenate([column.nothing(0), *(w.parts[i + k] for w in lanes)])
            for k, kind in enumerate(column.parts)
        ]
        i += len(found)
        whole = (
            np.zeros(n, np.int64) if isinstance(column, Table) else column.nothing(n)
        )
        whole[at] = found[0]
        out += [whole, *found[1:]]
    sums: list[Array] = []
    for lane in lanes:
        sums = combined(skeleton.sums, sums, lane.sums)
    # No dtype of ours may change that of the sums of other blocks.
    return out + (sums or [np.zeros(0) for _ in skeleton.sums])


def store(draft: cube_state.Draft, detectors: Sequence[Sequence[Array]]) -> None:
    if draft.is_published():
        return
    for i, array in enumerate(a for parts in detectors for a in parts):
        draft.write(i, PART, np.ascontiguousarray(array))
    draft.publish()


def load(path: Path, which: Iterable[int]) -> list[Array]:
    """Return some parts of a block whose checksums were compared."""
    return [np.load(path / f"{i}.{PART}.npy", allow_pickle=False) for i in which]


@dataclass(frozen=True, eq=False)
class Slot:
    """Which parts of a block a column is, or, without one, the sums of a detector."""

    detector: DetectorPlan
    column: Column | None
    parts: range


def slots_of(plan: SmallDataPlan) -> list[Slot]:
    out: list[Slot] = []
    at = 0
    for detector in plan.detectors.values():
        for column in (*detector.columns, None):
            n = len(detector.sums) if column is None else len(column.parts)
            out.append(Slot(detector, column, range(at, at + n)))
            at += n
    return out


def check_parts(path: Path, slots: Sequence[Slot]) -> None:
    """Raise InconsistentDataError unless a block is as it was stored."""
    files = cube_state.checked_files(path)
    for slot in slots:
        for name in (f"{i}.{PART}.npy" for i in slot.parts):
            if name not in files:
                raise damaged(path, f"it has no {name}")
            cube_state.read_array(path / name)  # refuses what is no array of numbers
