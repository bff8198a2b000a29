"""The functions of cube recipes: of the results of bins, or of every shot."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import prod
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import ops
from xfelred.column_names import in_result
from xfelred.errors import ArgumentError, XfelredError
from xfelred.geometry import Geometry
from xfelred.lazy import PlannedArray, held, map_frames
from xfelred.names import AVAILABLE, BAD_PIXELS, PIXEL_DIMS, UNITS
from xfelred.ops.reductions.bin_frames import described
from xfelred.ops.validity import unrecorded
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_detectors import (
    NOISE,
    as_floats,
    at_highest_gain,
    constants_of,
    fits,
    signal_per_adu,
)
from xfelred.recipes.function_tree import (
    At,
    FunctionSpec,
    anywhere,
    lost_shots,
    results,
    shots_at_once,
    walked,
)
from xfelred.recipes.function_values import Entries, Facts, GeometryFile, Given
from xfelred.recipes.models import CubeFunction
from xfelred.recipes.recipe import Recipe
from xfelred.recipes.sources import content_of
from xfelred.shots import shot_dims

Positions = slice | NDArray[np.intp]
POSITIONS = ("x", "y", "z", "ix", "iy")
NUMBER = "number"  # dim of what all functions make of a shot, one after the other


def facts_of(run: Run, recipe: Recipe, name: str, frames: xr.DataArray) -> Facts:
    """Return what functions may need of a detector, as far as the run knows it."""
    constants = constants_of(run, name)
    bad = noise = None
    spec = recipe.model.detectors[name]
    if spec.bad_pixels == "apply" and BAD_PIXELS in constants:
        bad = (
            constants[BAD_PIXELS] if fits(constants[BAD_PIXELS], frames, name) else None
        )
    if NOISE in constants:
        noise = at_highest_gain(constants[NOISE])
        # Of frames that went through the gain, here or where they come from.
        if spec.key not in ("raw",) or spec.calibrate is not None:
            noise = noise * signal_per_adu(constants)
    kept = [k for k in POSITIONS if k in constants]
    return Facts(constants[kept], noise, bad, files_of(recipe, name))


def files_of(recipe: Recipe, name: str) -> dict[str, GeometryFile]:
    """Return the geometries in files that functions name, from where the recipe is."""
    spec, folder = recipe.model.detectors[name], os.path.dirname(recipe.source.name)
    tree = "functions" if "functions" in type(spec).model_fields else "det_proc"
    out: dict[str, GeometryFile] = {}
    for key, step in walked(getattr(spec, tree), f"detectors.{name}.{tree}"):
        file = step.parameters.get("poni_file")
        if file is not None:
            path = os.path.join(folder, file)
            try:
                out[file] = GeometryFile(Geometry.from_poni(path), content_of(path))
            except (XfelredError, ValueError, OSError) as error:
                raise recipe.error(f"{key}.poni_file", str(error)) from error
    return out


def of_bins(
    binned: xr.DataArray,
    spec: CubeFunction,
    facts: Facts,
    bad: xr.DataArray | None,
    at: At,
) -> dict[str, xr.DataArray]:
    """Return what a function makes of the sums, or means, of all bins.

    Names begin with that of the function, as do dims that bins do not have.
    """
    bins = tuple(str(d) for d in binned.dims if d not in PIXEL_DIMS)
    if bad is not None:
        binned = ops.apply_bad_pixels(as_floats(binned), bad)
    given = Given(binned, replace(facts, bad=bad), "", shots=bins)
    return {
        name: with_own_dims(value, bins, called_of(name, (spec,)))
        for name, value in made_of((spec,), given, at).items()
    }


def made_of(
    functions: Sequence[FunctionSpec], given: Given, at: At = anywhere
) -> dict[str, xr.DataArray]:
    """Return arrays that functions make; ArgumentError for what bins cannot hold."""
    out = {}
    for name, value in results(tuple(functions), given, at=at).items():
        (number,) = (i for i, s in enumerate(functions) if called_of(name, [s]))
        with at(f".functions.{number}"):
            if isinstance(value, Entries):
                raise ArgumentError(
                    f"{name}: bins hold arrays, not entries of which each shot has any"
                    " number; take a spectrum or a number of them, or small data"
                )
        out[name] = value
    return out


def with_own_dims(
    value: xr.DataArray, bins: Sequence[str], called: str
) -> xr.DataArray:
    """Return an array whose dims beside those of bins bear the name of a function."""
    own = {d: f"{called}_{d}" for d in map(str, value.dims) if d not in bins}
    kept = {*bins, *own}
    return value.drop_vars([c for c in value.coords if c not in kept]).rename(own)


def called_of(name: str, functions: Sequence[FunctionSpec], above: str = "") -> str:
    """Return the full name of the function that makes a result."""
    for spec in functions:
        called = f"{above}_{spec.called}" if above else spec.called
        if name == called or name.startswith(f"{called}_"):
            return called_of(name, spec.functions, called)
    return above


@dataclass(frozen=True, eq=False)
class OfShots:
    """What functions make of every shot of a detector: one row of numbers each.

    It is binned as frames are, in one go.
    """

    name: str
    frames: xr.DataArray
    results: Mapping[str, xr.DataArray]  # of one shot, for names, shapes and labels
    numbers: Callable[[xr.DataArray], xr.DataArray]  # of frames, (<shots>, number)

    @cached_property
    def array(self) -> xr.DataArray:
        return self.numbers(self.frames)

    def some(self, dim: str, at: Positions) -> xr.DataArray:
        """Return the numbers of some shots; others are not even read."""
        return self.numbers(self.frames.isel({dim: at}))

    def unpacked(
        self, binned: xr.Dataset, detector: str, quantities: Sequence[str]
    ) -> dict[str, xr.DataArray]:
        """Return the quantities of every result, from those of all numbers."""
        out = {}
        at = 0
        for name, one in self.results.items():
            here = slice(at, at + one.size)
            at += one.size
            stem = f"{detector}_{name}"
            own = {d: f"{detector}_{d}" for d in one.dims}
            unit = str(one.attrs.get(UNITS, "1"))
            for quantity in quantities:
                values = binned[f"{in_result(self.name)}_{quantity}"]
                values = values.transpose(..., NUMBER).isel({NUMBER: here})
                bins = {d: n for d, n in values.sizes.items() if d != NUMBER}
                out[f"{stem}_{quantity}"] = xr.DataArray(
                    values.data.reshape((*bins.values(), *one.shape)),
                    one.coords,
                    (*bins, *one.dims),
                    attrs=described(stem, quantity, unit),
                ).rename(own)
        return out


def of_shots(
    name: str, frames: xr.DataArray, functions: Sequence[FunctionSpec], facts: Facts,
    at: At,
) -> OfShots:  # fmt: skip
    """Return what functions make of every shot; lazy."""
    shots = shot_dims(frames)
    one = frames.isel({d: slice(0, 1) for d in shots})
    first = dict.fromkeys(shots, 0)
    made = made_of(functions, Given(one, facts, "", shots=shots), at)
    shapes = {
        k: with_own_dims(v.isel(first, drop=True), (), called_of(k, functions))
        for k, v in made.items()
    }
    core = tuple(str(d) for d in frames.dims if d not in shots)
    labels = {
        str(k): c.variable for k, c in frames.coords.items() if {*c.dims} <= {*core}
    }
    work = Work(tuple(functions), facts, shots, core, labels, dict(frames.attrs))
    step = shots_at_once(one, made.values(), functions)
    n = sum(v.size for v in shapes.values())
    return OfShots(name, frames, shapes, partial(numbers_of, work=work, step=step, n=n))


def numbers_of(frames: xr.DataArray, work: Work, step: int, n: int) -> xr.DataArray:
    """Return the `n` numbers that functions make of every shot; lazy."""
    gone = lost_shots(frames)
    packed = map_frames(
        rows_of_numbers,
        block_by_block(frames),
        *unrecorded(frames),
        core_dims=work.pixels,
        out_core={NUMBER: n},
        dtype=np.float64,
        work=work,
        step=step,
    )
    keep = [str(d) for d in work.shots if d in packed.coords]
    packed = packed.drop_vars([c for c in packed.coords if c not in keep])
    packed.attrs = {}
    return packed if gone is None else packed.assign_coords({AVAILABLE: ~gone})


def block_by_block(frames: xr.DataArray) -> xr.DataArray:
    """Return frames that kernels are given in whole blocks, not in small pieces.

    To set up functions takes as long as to work off some frames.
    """
    data = frames.data
    if not isinstance(data, PlannedArray):
        return frames
    return frames.copy(data=PlannedArray(data, None))


@dataclass(frozen=True, eq=False)
class Work:
    """What is done to blocks of frames, and what these are without their numbers."""

    functions: tuple[FunctionSpec, ...]
    facts: Facts
    shots: tuple[str, ...]
    pixels: tuple[str, ...]
    coords: Mapping[str, xr.Variable]
    attrs: Mapping[str, Any]


def rows_of_numbers(
    block: NDArray[Any], *masks: NDArray[np.bool_], work: Work, step: int
) -> NDArray[np.float64]:
    """Return all that functions make of each shot of a block, one after the other.

    `step` shots are worked off at a time.
    """
    n = max(1, step // max(1, prod(block.shape[1 : len(work.shots)])))
    parts = [slice(at, at + n) for at in range(0, max(1, len(block)), n)]
    return np.concatenate(
        [
            numbers_of_shots(
                block[some], [m[some] if len(m) > 1 else m for m in masks], work
            )
            for some in parts
        ]
    )


def numbers_of_shots(
    block: NDArray[Any], masks: Sequence[NDArray[np.bool_]], work: Work
) -> NDArray[np.float64]:
    dims = (*work.shots, *work.pixels)
    frames = xr.DataArray(block, work.coords, dims, attrs=dict(work.attrs))
    if masks:
        gone = np.logical_or.reduce(np.broadcast_arrays(*masks))
        there = {
            d: slice(None) if n > 1 else 0
            for d, n in zip(dims, gone.shape, strict=True)
        }
        marks = xr.DataArray(~gone, dims=dims).isel(there)
        frames = frames.assign_coords({AVAILABLE: marks})
    given = Given(held(frames), work.facts, "", shots=work.shots)
    made = made_of(work.functions, given).values()
    values = dask.compute(*made, scheduler="synchronous")
    lead = block.shape[: len(work.shots)]
    rows = [
        np.asarray(v.transpose(*work.shots, ...).values, np.float64)
        .reshape((*lead, prod(v.sizes[d] for d in v.dims if d not in work.shots)))
        for v in values
    ]  # fmt: skip
    return np.concatenate(rows, axis=-1)
