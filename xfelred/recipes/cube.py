"""Cubes: the binned scalars and frames of a run, lazily."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xfelred import __version__
from xfelred import ops as ops
from xfelred.column_names import in_file_name, in_result
from xfelred.entries import entry
from xfelred.errors import CONTROL
from xfelred.names import (
    BAD_PIXELS,
    DATA_KIND,
    FINGERPRINT,
    LASER_ON,
    LONG_NAME,
    PIXEL_DIMS,
    TRAIN,
    UNITS,
    VERSION,
)
from xfelred.ops.reductions.bin_frames import prepared
from xfelred.ops.reductions.bin_labels import Labels, bin_labels
from xfelred.provenance import record
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_detectors import (
    check_detectors,
    check_shots,
    constants_of,
    detector_frames,
)
from xfelred.recipes.cube_functions import OfShots, facts_of, of_bins, of_shots
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.cube_recipe import FIRST_FILTER, CubeRecipe
from xfelred.recipes.cube_seen import shots_with_data
from xfelred.recipes.cube_shots import CubeShots, cube_shots
from xfelred.recipes.function_values import Facts
from xfelred.recipes.recipe import at_key
from xfelred.shots import shot_dims

ALWAYS = ("sum", "mean")  # of the variables that are binned by
# All that a cube can hold, in the order in which files have them.
RESULTS = ("sum", "count", "mean", "var", "sem")


@dataclass(frozen=True, eq=False)
class CubePlan:
    """A cube before its frames are binned."""

    run: Run
    recipe: CubeRecipe
    shots: CubeShots
    compat: bool  # bins and empty bins as in the cubes of smalldata_tools
    frames: dict[str, xr.DataArray]  # corrected, lazy, of every detector
    facts: dict[str, Facts]  # of those that have functions
    of_shots: dict[str, OfShots]  # what functions make of shots, by detector

    @property
    def name(self) -> str:
        """Such as ``cube_xpptest01_Run0042_delay``; the stem of file names."""
        axes = "-".join(map(in_file_name, self.recipe.model.bins)) or "all"
        return f"cube_{file_name(self.run.run_id)}_{axes}{self.filter_suffix}"

    @property
    def filter_suffix(self) -> str:
        chosen = self.shots.filter_name
        return "" if chosen == FIRST_FILTER else f"_{chosen}"

    @property
    def quantities(self) -> tuple[str, ...]:
        return tuple(self.recipe.model.quantities)

    @property
    def labels(self) -> Labels:
        return self.labels_of(None)

    def labels_of(self, detector: str | None) -> Labels:
        """Return the bins of the shots whose frames are taken; by default of all."""
        where = self.shots.where if detector is None else self.where(detector)
        return bin_labels(xr.Dataset(), where, self.shots.by, where, self.compat)

    @property
    def arrays(self) -> dict[str, tuple[str, xr.DataArray]]:
        """All that is binned beside scalars: (detector, array), by name."""
        made = {w.name: (name, w.array) for name, w in self.of_shots.items()}
        return {name: (name, array) for name, array in self.frames.items()} | made

    def wanted(self, name: str) -> tuple[str, ...]:
        """Return what is needed of each bin of an array."""
        more: tuple[str, ...] = ("count",)
        if name in self.frames:
            steps = self.recipe.model.detectors[name].det_proc
            more = (*more, *(p.on for p in steps))
        return tuple(q for q in RESULTS if q in (*self.quantities, *more))

    def where(self, name: str) -> xr.DataArray:
        """Return the shots whose frames of a detector are binned."""
        limit = self.recipe.model.detectors[name].max_shots_per_bin
        if limit is None:
            return self.shots.where
        return first_shots(self.labels, self.shots.where, limit)

    def scalar_results(self) -> xr.Dataset:
        """Return counts of shots and the binned values; small, in memory."""
        model = self.recipe.model
        axes = [spec.variable or name for name, spec in model.bins.items()]
        rest = [v for v in model.variables if v not in axes]
        options: dict[str, Any] = {"where": self.shots.where, "compat": self.compat}
        by = self.shots.by
        counted = xr.Dataset({"": xr.zeros_like(self.shots.where, np.int8)})
        out = ops.bin_frames(counted, by, quantities=("count",), **options)
        out = out.drop_vars("_count")
        for names, more in ((axes, ALWAYS), (rest, ())):
            wanted = tuple(q for q in RESULTS if q in (*self.quantities, *more))
            for ds in self.of_same_shots(names):
                found = ops.bin_frames(ds, by, quantities=wanted, **options)
                out = out.assign(found.drop_vars("n_shots").data_vars)
        return out

    def of_same_shots(self, names: list[str]) -> list[xr.Dataset]:
        """Return scalars, those per train apart from those per pulse.

        A value per train counts for each of its pulses if these are binned.
        """
        groups: dict[frozenset[str], dict[str, xr.DataArray]] = {}
        for name in names:
            value = self.shots.scalars[name].broadcast_like(self.shots.where)
            groups.setdefault(frozenset(shot_dims(value)), {})[name] = value
        return [xr.Dataset(group) for group in groups.values()]

    def detector_results(self, name: str) -> xr.Dataset:
        """Return the binned frames of a detector, or results of shots, lazy."""
        detector, array = self.arrays[name]
        # Shots of scalars and frames may not fit.
        with at_key(self.recipe, f"detectors.{detector}"):
            found = ops.bin_frames(
                array.rename(name),
                self.shots.by,
                where=self.where(detector),
                skipna=self.recipe.model.detectors[detector].skipna,
                quantities=self.wanted(name),
                compat=self.compat,
            )
        if name not in self.frames:
            return found
        labels, stem = self.labels_of(name), in_result(name)
        some = prepared(array.rename(name), labels)
        count = found[f"{stem}_count"]
        seen = shots_with_data(count, *some, len(labels.axes))
        return found.assign({f"{stem}_shots": seen})

    def finished(self, detectors: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """Return the cube, from what `detector_results` gives, lazy or in memory."""
        cube = self.scalar_results()
        parts = [self.finished_detector(n, detectors) for n in self.frames]
        for part in parts:
            cube = cube.assign_coords(part.coords).assign(part.data_vars)
        if LASER_ON in cube.dims:
            # Binned like a number from -0.5 on; to a user the bins are true and false.
            cube = cube.drop_vars([f"{LASER_ON}_edges"], errors="ignore")
            attrs = {UNITS: "1", LONG_NAME: "pump laser on"}
            cube = cube.assign_coords({LASER_ON: (LASER_ON, [True, False], attrs)})
        cube.attrs = self.attributes(cube.attrs)
        said = {
            "recipe": self.recipe.sha256,
            "filter": self.shots.filter_name,
            "compat": self.compat,
            "pulse_values": self.recipe.model.model_dump(mode="json")["pulse_values"],
        }
        return record(cube, "make_cube", *self.frames.values(), **said)

    def outputs(self, detector: str, binned: xr.Dataset) -> dict[str, xr.DataArray]:
        """Return what functions make of the sums, or means, of bins, by name."""
        name, constants = in_result(detector), constants_of(self.run, detector)
        out: dict[str, xr.DataArray] = {}
        for i, step in enumerate(self.recipe.model.detectors[detector].det_proc):
            if step.on == "shot":
                continue
            source, bad = binned[f"{name}_{step.on}"], constants.get(BAD_PIXELS)
            key = f"detectors.{detector}.det_proc"
            at = partial(at_function, self.recipe, key, [i])
            with at_key(self.recipe, f"{key}.{i}"):
                made = of_bins(source, step, self.facts[detector], bad, at)
            for result, value in made.items():
                own = {d: f"{name}_{d}" for d in value.dims if d not in source.dims}
                out[f"{name}_{result}"] = value.rename(own)
        return out

    def finished_detector(
        self, detector: str, results: Mapping[str, xr.Dataset]
    ) -> xr.Dataset:
        spec = self.recipe.model.detectors[detector]
        constants = constants_of(self.run, detector)
        name, binned = in_result(detector), results[detector]
        out = self.outputs(detector, binned)
        shots = binned[f"{name}_shots"]
        # A sum over the pixels of an empty bin would be 0.
        out = {
            k: v.where(shots > 0) if v.dtype.kind == "f" else v for k, v in out.items()
        }
        out = {f"{name}_shots": shots.rename(f"{name}_shots"), **out}
        if detector in self.of_shots:
            made = self.of_shots[detector]
            out |= made.unpacked(results[made.name], name, self.quantities)
        for quantity in self.quantities:
            value = binned[f"{name}_{quantity}"]
            whole = {"slow_scan", "fast_scan"} <= set(value.dims)
            out[f"{name}_{quantity}"] = (
                assembled(value, constants) if spec.image and whole else value
            )
        kind = self.frames[detector].attrs.get(DATA_KIND)
        for value in out.values():
            value.attrs |= {} if kind is None else {DATA_KIND: kind}
        return xr.Dataset(out)

    def attributes(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        recipe = json.dumps(self.recipe.to_dict(), sort_keys=True)
        return {
            "run_id": self.run.run_id,
            "facility": self.run.facility,
            "recipe": recipe,
            "xfelred_config": json.dumps(self.recipe.model.model_dump(mode="json")),
            "cut_flow": self.shots.flow_json,
            "n_outside": int(attrs.get("n_outside", 0)),
            **self.shots.at_nominal,
            "filter": self.shots.filter_name,
            VERSION: __version__,
            FINGERPRINT: ", ".join(
                sorted(
                    {str(f.attrs.get(FINGERPRINT, "")) for f in self.frames.values()}
                )
            ),
        }


def file_name(run_id: str) -> str:
    # IDs of runs may hold slashes, spaces and control characters.
    return re.sub(r"[/\s]", "_", CONTROL.sub("_", run_id))


def first_shots(labels: Labels, where: xr.DataArray, limit: int) -> xr.DataArray:
    """Return the first `limit` shots of every bin, in shot order."""
    flat = labels.shots.transpose(*where.dims).values.reshape(-1)
    order = np.argsort(flat, kind="stable")  # shots of a bin stay in their order
    ranked = flat[order]
    starts = np.searchsorted(ranked, ranked)
    rank = np.empty(len(flat), np.int64)
    rank[order] = np.arange(len(flat)) - starts
    taken = (flat >= 0) & (rank < limit)
    return where.copy(data=taken.reshape(where.shape))


def cube_plan(
    run: Run,
    recipe: object,
    *,
    filter: str | None = None,
    frames: Mapping[str, xr.DataArray] | None = None,
    compat: bool | None = None,
) -> CubePlan:
    """Return a cube before its frames are binned; reads scalars and constants only."""
    checked = CubeRecipe.of(recipe).with_compat(compat)
    given = dict(frames or {})
    check_detectors(run, checked, given)
    lazy = {
        name: detector_frames(run, checked, name, given)
        for name in checked.model.detectors
    }
    shots = cube_shots(run, checked, filter, list(lazy.values()))
    for name, array in lazy.items():
        check_shots(checked, name, array, shots.where.indexes[TRAIN], given)
    check_pixels_alike(checked, lazy)
    compat_bins = checked.model.output.compat
    facts = {
        name: replace(facts_of(run, checked, name, array), compat=compat_bins)
        for name, array in lazy.items()
        if checked.model.detectors[name].det_proc
    }
    made = {
        name: found
        for name in facts
        if (
            found := results_of_shots(
                checked, name, taken(lazy[name], shots.where), facts[name]
            )
        )
    }
    plan = CubePlan(run, checked, shots, compat_bins, lazy, facts, made)
    for name in facts:  # mistakes are found before frames are read
        one = lazy[name].isel(dict.fromkeys(shot_dims(lazy[name]), 0), drop=True)
        one = one.astype(np.float64)
        stem = in_result(name)
        plan.outputs(name, xr.Dataset({f"{stem}_sum": one, f"{stem}_mean": one}))
    return plan


def taken(frames: xr.DataArray, where: xr.DataArray) -> xr.DataArray:
    """Leave out trains that pass no cut, if any passes."""
    passes = where.any([d for d in where.dims if d != TRAIN]).values
    ids = where.indexes[TRAIN][passes]
    at = np.flatnonzero(frames.indexes[TRAIN].isin(ids))
    few = len(at) and len(at) < len(frames.indexes[TRAIN])
    return frames.isel({frames[TRAIN].dims[0]: at}) if few else frames


def at_function(
    recipe: CubeRecipe, key: str, numbers: list[int], here: str
) -> AbstractContextManager[None]:
    """Turn errors into those of the function at a place of the tree, in the recipe."""
    _, _, first, *rest = here.split(".")
    return at_key(recipe, ".".join([key, str(numbers[int(first)]), *rest]))


def results_of_shots(
    recipe: CubeRecipe, name: str, frames: xr.DataArray, facts: Facts
) -> OfShots | None:
    """Return what functions make of every shot of a detector, if there are any."""
    key = f"detectors.{name}.det_proc"
    steps = recipe.model.detectors[name].det_proc
    chosen = {i: step for i, step in enumerate(steps) if step.on == "shot"}
    if not chosen:
        return None
    at = partial(at_function, recipe, key, list(chosen))
    return of_shots(f"{name}.of_shots", frames, list(chosen.values()), facts, at)


def check_pixels_alike(recipe: CubeRecipe, frames: Mapping[str, xr.DataArray]) -> None:
    first, *rest = frames.items() if frames else [("", xr.DataArray())]
    for name, array in rest:
        for d in PIXEL_DIMS:
            one, two = first[1], array
            if d not in one.dims or d not in two.dims:
                continue
            labels = [a.indexes[d] for a in (one, two) if d in a.indexes]
            differ = len(labels) == 2 and not labels[0].equals(labels[1])
            if one.sizes[d] != two.sizes[d] or differ:
                raise recipe.error(
                    f"detectors.{name}",
                    f"{name} and {first[0]} have other pixels along {d} ({two.sizes[d]}"
                    f" and {one.sizes[d]}), and a cube has one such dim; write a recipe"
                    " for each of them",
                )


@entry
def make_cube(
    run: Run,
    recipe: object,
    *,
    filter: str | None = None,
    frames: Mapping[str, xr.DataArray] | None = None,
    compat: bool | None = None,
) -> xr.Dataset:
    """Return a cube as a Dataset; frames are read when it is computed.

    Parameters
    ----------
    run : Run
        Of any facility.
    recipe : CubeRecipe, path or dict
    filter : str, optional
        Which of the recipe's filters; by default the first.
    frames : dict of str to DataArray, optional
        Frames of detectors, with a coordinate ``train``, joined by ID.
    compat : bool, optional
        Bins, empty bins and bad pixels as in the cubes of smalldata_tools; by default
        what the recipe says (``output.compat``).

    Returns
    -------
    Dataset (laser_on, <bins>, ...)
        ``n_shots``; ``<v>_sum, _count, _mean, _var`` of each binned variable, each
        variable and each detector, as chosen by ``quantities``; ``<det>_shots``;
        outputs of ``det_proc`` as ``<det>_<name>_<output>``, those of functions of
        every shot (``on: shot``) with ``_sum`` and so on, as variables. Coordinates:
        bins and ``<bin>_edges``. Attributes: ``recipe`` and ``cut_flow`` (JSON),
        ``n_outside``, ``run_id``, provenance. Frames are lazy, the rest is in memory.

    Raises
    ------
    ConfigError
        If the recipe is wrong, or names what the run does not have.
    SelectionEmptyError
        If no shot passes the filter; it has the table as ``cut_flow``.
    """
    plan = cube_plan(run, recipe, filter=filter, frames=frames, compat=compat)
    found = {name: plan.detector_results(name) for name in plan.arrays}
    return plan.finished(found)
