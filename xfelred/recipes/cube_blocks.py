"""The shots of a cube in blocks, and what a block adds to the bins."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import in_result
from xfelred.lazy import reduce_bins
from xfelred.names import BIN, TRAIN
from xfelred.ops.reductions.bin_frames import Options, n_frames, prepared, quantities_of
from xfelred.ops.reductions.bin_labels import Labels
from xfelred.products.extent import Extent
from xfelred.recipes import cube_state
from xfelred.recipes.cube import RESULTS, CubePlan
from xfelred.recipes.cube_seen import shots_with_data
from xfelred.recipes.cube_state import BinSums, RowsOnDisk
from xfelred.recipes.manifest import Block, blocks_of_ids
from xfelred.reductions.bins import BinStatistics
from xfelred.reductions.moments import sum_dtype, whole_sums
from xfelred.shots import shot_dims

SPREAD = ("var", "sem")  # what needs the squares of deviations
# Sums of a block that are larger than this are made for several blocks at once, until
# they are small beside the frames, or the frames are so many that a lost job hurts.
SMALL_SUMS = 64 << 20
PART = 8  # how many times as large as their sums frames have to be
MOST_FRAMES = 4 << 30  # bytes
ROW_BYTES = 64 << 20  # of a block of the finished cube
# Results of a reduction, and what is kept of them.
PARTS = {"sum": "sum", "var": "squares", "count": "count"}


@dataclass(frozen=True, eq=False)
class DetectorShots:
    """The frames of a detector and the bin of each of its shots."""

    name: str
    array: xr.DataArray  # corrected frames, lazy
    bins: xr.DataArray  # int64 on the shot dims of `array`; -1: in no bin
    labels: Labels  # of all shots of the cube
    options: Options
    # What makes the array of some shots, where blocks of it are not those of the cube.
    remade: Callable[[str, slice | NDArray[np.intp]], xr.DataArray] | None = None

    @property
    def squares(self) -> bool:  # of deviations: the spread is wanted
        return any(q in SPREAD for q in self.options.quantities)

    @property
    def complete(self) -> bool:
        """Whether no value is left out: NaN counts, or there is none."""
        return not self.options.skipna or self.array.dtype.kind in "biu"

    @property
    def kept(self) -> tuple[str, ...]:  # dims that a cube keeps
        reduced = shot_dims(self.array)
        return tuple(str(d) for d in self.array.dims if d not in reduced)

    @property
    def kept_shape(self) -> tuple[int, ...]:
        return tuple(self.array.sizes[d] for d in self.kept)

    @property
    def sum_dtype(self) -> np.dtype[Any]:
        return sum_dtype(self.array.dtype)

    @cached_property
    def trains(self) -> NDArray[Any]:
        return np.asarray(self.array[TRAIN].values)

    @cached_property
    def in_order(self) -> bool:
        return bool((self.trains[1:] >= self.trains[:-1]).all())

    def positions(self, first: int, last: int) -> slice | NDArray[np.intp]:
        """Return where trains from `first` to `last` are along the first shot dim."""
        trains = self.trains
        # A plain integer would make numpy compare in float64, too coarse for LCLS.
        low, high = trains.dtype.type(first), trains.dtype.type(last)
        if not self.in_order:
            return np.flatnonzero((trains >= low) & (trains <= high))
        start = int(np.searchsorted(trains, low))
        return slice(start, int(np.searchsorted(trains, high, side="right")))

    def of_blocks(self, group: Sequence[Block]) -> DetectorShots:
        dim = str(self.bins.dims[0])
        at = self.positions(group[0].trains[0], group[-1].trains[1])
        some = (
            self.array.isel({dim: at}) if self.remade is None else self.remade(dim, at)
        )
        return replace(self, array=some, bins=self.bins.isel({dim: at}))

    def present(self) -> NDArray[np.int64]:
        return occurring(self.bins.values)


def occurring(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(bins[bins >= 0])


def detector_shots(plan: CubePlan) -> dict[str, DetectorShots]:
    out = {}
    remade = {made.name: made.some for made in plan.of_shots.values()}
    for name, (detector, array) in plan.arrays.items():
        spec = plan.recipe.model.detectors[detector]
        labels = plan.labels_of(detector)
        wanted = {"sum", *plan.wanted(name)}
        options = Options(
            tuple(q for q in RESULTS if q in wanted), spec.skipna, 0, plan.compat
        )
        array, mine = prepared(array.rename(name), labels)
        out[name] = DetectorShots(name, array, mine, labels, options, remade.get(name))
    return out


def blocks_of(plan: CubePlan) -> tuple[Block, ...]:
    ids = np.unique(plan.shots.where[TRAIN].values)
    return blocks_of_ids(ids, plan.recipe.model.execution.block_trains)


def block_groups(
    blocks: Sequence[Block], detectors: Mapping[str, DetectorShots]
) -> Iterator[list[Block]]:
    """Yield the blocks that are worked off at once: one, or some with many bins.

    It depends on the shots and their bins only, never on workers or interruptions.
    """
    group: list[Block] = []
    for block in blocks:
        group.append(block)
        if is_enough(group, detectors):
            yield group
            group = []
    if group:
        yield group


def is_enough(group: list[Block], detectors: Mapping[str, DetectorShots]) -> bool:
    """Tell whether the sums of some blocks are small beside their frames."""
    sums = frames = 0
    for detector in detectors.values():
        at = detector.positions(group[0].trains[0], group[-1].trains[1])
        bins = detector.bins.values[at]
        pixels = prod(detector.kept_shape)
        n = len(bins) * detector.array.size // max(detector.bins.shape[0], 1)
        sums += len(occurring(bins)) * pixels * 8 * (1 + detector.squares)
        frames += n * detector.array.dtype.itemsize
    return sums <= SMALL_SUMS or sums * PART <= frames or frames >= MOST_FRAMES


@dataclass(frozen=True, eq=False)
class LazySums:
    """What some blocks add to the bins of a detector, not computed yet."""

    part: DetectorShots
    bins: NDArray[np.int64]  # that occur
    frames: NDArray[np.int64]  # in each of them
    found: Mapping[str, da.Array]  # sum, var, count on (bin, ...)


def sums_of(
    groups: Sequence[list[Block]], detectors: Mapping[str, DetectorShots]
) -> Iterator[dict[str, LazySums]]:
    """Yield what groups of blocks add to the bins, where there is something."""
    for group in groups:
        sums = {}
        for name, detector in detectors.items():
            part = detector.of_blocks(group)
            if found := statistics_of(part):
                bins = part.present()
                frames = n_frames(part.array, part.bins, part.labels.n).values[bins]
                sums[name] = LazySums(part, bins, frames, found)
        yield sums


def saving(
    sums: Mapping[str, LazySums], names: Sequence[str], place: Path, blocks: range
) -> da.Array:
    """Return what saves the sums of some blocks when it is computed.

    Each task writes its piece of them, wherever it runs; the last one gives the state
    its name. No process has all of them.
    """
    draft = cube_state.Draft.of(place, blocks)
    numbers = tuple(i for i, name in enumerate(names) if name in sums)
    uniform = [written(sums[names[i]], draft, i).all() for i in numbers]
    marks = da.stack(uniform) if uniform else da.zeros(1, dtype=bool)
    options = one_mark(1)
    return marks.rechunk(-1).map_blocks(
        publish, draft=draft, numbers=numbers, chunks=((1,),), **options
    )


def one_mark(ndim: int) -> dict[str, Any]:
    # Never the same name twice: a cluster may still know what an earlier call has done.
    name = f"cube-{secrets.token_hex(16)}"
    return {"name": name, "dtype": bool, "meta": np.empty((0,) * ndim, bool)}


def written(sums: LazySums, draft: cube_state.Draft, number: int) -> da.Array:
    """Return what writes the sums of a detector: whether all pixels have all frames."""
    shape = (len(sums.bins), *sums.part.kept_shape)
    kinds = {"sum": sums.part.sum_dtype, "var": np.dtype(np.float64)}
    kinds |= {"count": np.dtype(np.int64)}
    files = {
        name: draft.rows(number, PARTS[name], kinds[name], shape) for name in sums.found
    }
    draft.write(number, "bins", sums.bins)
    draft.write(number, "frames", sums.frames)
    blocks = list(sums.found.values())
    return da.map_blocks(
        put_sums,
        *blocks,
        draft=draft,
        files=files,
        frames=sums.frames,
        chunks=tuple((1,) * n for n in blocks[0].numblocks),
        **one_mark(blocks[0].ndim),
    )


def put_sums(
    *blocks: NDArray[Any],
    draft: cube_state.Draft,
    files: Mapping[str, Extent],
    frames: NDArray[np.int64],
    block_info: Any = None,
) -> NDArray[np.bool_]:
    """Write a piece of the sums of a detector."""
    found = dict(zip(files, blocks, strict=True))
    where = tuple(slice(a, b) for a, b in block_info[0]["array-location"])
    each = frames[where[0]].reshape(-1, *(1,) * (len(where) - 1))
    count = found.get("count", each)
    if files["sum"].dtype.kind == "i":
        found["sum"] = whole_sums(found["sum"])  # computed in float64, stored exactly
    if "var" in found:
        # Sums, not means: these can be put together with those of other blocks.
        found["var"] = np.where(count == 0, 0.0, found["var"] * count)
    if not draft.is_published():
        for name, values in found.items():
            files[name][where] = values
    return np.full((1,) * len(where), (count == each).all())


def publish(
    uniform: NDArray[np.bool_], draft: cube_state.Draft, numbers: Sequence[int]
) -> NDArray[np.bool_]:
    # A third less on disk, for the usual case: no count of its own for each pixel.
    pairs = zip(numbers, uniform.tolist(), strict=False)
    draft.publish(without=[f"{i}.count.npy" for i, same in pairs if same])
    return np.ones(1, bool)


def statistics_of(part: DetectorShots) -> dict[str, Any]:
    """Return lazy statistics of the bins that occur; none if there are none."""
    present = part.present()
    if not len(present):
        return {}
    values = part.bins.values
    # Bins without a shot here take no room: a block reaches few of a fine grid.
    renumbered = np.where(values >= 0, np.searchsorted(present, values), -1)
    results: dict[str, Any] = {"sum": np.float64}
    if part.squares:
        results["var"] = np.float64
    if not part.complete:
        results["count"] = np.int64
    array = part.array.drop_vars(list(part.array.coords))
    labels = xr.DataArray(renumbered, dims=part.bins.dims)
    found = reduce_bins(
        BinStatistics(len(present), complete=part.complete),
        array,
        labels,
        dims=shot_dims(array),
        results=results,
        new_dim=(BIN, len(present)),
    )
    return {k: v.transpose(BIN, ...).data for k, v in found.items()}


@dataclass(frozen=True, eq=False)
class AllBins:
    """Rows of bins that occur as an array of all bins; the others are 0.

    What dask needs of an array: it is read block by block.
    """

    bins: NDArray[np.int64]
    rows: NDArray[Any] | RowsOnDisk
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.rows.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: tuple[slice, ...]) -> NDArray[Any]:
        wanted = np.arange(self.shape[0])[index[0]]
        at = np.searchsorted(self.bins, wanted)
        there = at < len(self.bins)
        there[there] = self.bins[at[there]] == wanted[there]
        out = np.zeros((len(wanted), *self.rows.shape[1:]), self.dtype)
        for i in np.flatnonzero(there):
            out[i] = self.rows[at[i]]
        return out[(slice(None), *index[1:])]


def binned_dataset(detector: DetectorShots, sums: BinSums | None) -> xr.Dataset:
    """Return the binned frames of a detector as `ops.bin_frames` does, lazily."""
    n = detector.labels.n
    frames = n_frames(detector.array, detector.bins, n)
    found = lazy_results(detector, no_sums(detector) if sums is None else sums, frames)
    kept = set(detector.kept)
    coords = detector.array.coords.items()
    named = {str(k): c.variable for k, c in coords if set(c.dims) <= kept}
    found = {k: v.assign_coords(named) for k, v in found.items()}
    name, labels = in_result(detector.name), detector.labels
    out = quantities_of(name, detector.array, found, frames, labels, detector.options)
    result = xr.Dataset(out, coords=labels.coords())
    inside = labels.flat[labels.flat >= 0].ravel()
    shots = xr.DataArray(np.bincount(inside, minlength=n), dims=BIN)
    result["n_shots"] = labels.unfold(shots)
    if "count" in detector.options.quantities:
        seen = shots_with_data(
            result[f"{name}_count"], detector.array, detector.bins, len(labels.axes)
        )
        result[f"{name}_shots"] = seen
    return result


def lazy_results(
    detector: DetectorShots, sums: BinSums, frames: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Return sum, count, mean, var and sem of all bins, read block by block."""
    n, shape = detector.labels.n, detector.kept_shape
    dims = (BIN, *detector.kept)
    row = max(8 * prod(shape), 1)
    chunks = (max(1, min(n, ROW_BYTES // row)), *shape)

    def whole(rows: NDArray[Any] | RowsOnDisk) -> xr.DataArray:
        source = AllBins(np.asarray(sums.bins), rows, (n, *shape))
        # name=False: a token would hash all rows that are in memory.
        lazy = da.from_array(source, chunks=chunks, name=False, asarray=False)
        return xr.DataArray(lazy, dims=dims)

    total = whole(sums.sum)
    options, integer = detector.options, detector.sum_dtype.kind == "i"
    if sums.count is None:
        each = da.from_array(frames.values, chunks=total.data.chunks[:1])
        each = each.reshape(n, *(1,) * len(shape))
        lazy = da.broadcast_to(each, (n, *shape), chunks=total.data.chunks)
        count = xr.DataArray(lazy, dims=dims)
    else:
        count = whole(sums.count)
    mean = (total / count.where(count > 0)).astype(np.float64)
    if options.compat or not integer:
        total = total.where(count > 0)
    found = {"sum": total, "count": count, "mean": mean}
    if sums.squares is not None:
        squares = whole(sums.squares)
        found["var"] = squares / count.where(count > 0)
        spread = squares / (count - 1).where(count > 1)
        found["sem"] = (spread / count) ** 0.5
    return found


def no_sums(detector: DetectorShots) -> BinSums:
    none = np.zeros(0, np.int64)
    empty = (0, *detector.kept_shape)
    squares = np.zeros(empty) if detector.squares else None
    return BinSums(none, none, np.zeros(empty, detector.sum_dtype), squares)
