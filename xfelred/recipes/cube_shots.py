"""Which shots of a run go into which bin of a cube, found before any frame is read."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from xfelred.errors import ConfigError, SelectionEmptyError, XfelredError, listing
from xfelred.names import LASER_ON, TRAIN
from xfelred.ops.bins import Bins
from xfelred.ops.cuts import Cut, parse_cuts
from xfelred.ops.delay import delay
from xfelred.ops.select_shots import CutFlow, cut_flow, empty_selection
from xfelred.recipes.cube_pulses import labelled_pulses
from xfelred.recipes.cube_recipe import CubeRecipe
from xfelred.recipes.units import DELAY

# Cuts that say nothing about a shot without laser; lower case, as names differ.
LASER_ONLY = frozenset({
    "enc/lasdelay", "tt/ttcorr", "tt/ampl", "tt/fltpos", "tt/fltpos_ps", "tt/fltposfwhm"
})  # fmt: skip
STATES = {"split": (True, False), "on": (True,), "off": (False,), "all": ()}
HALF = (-0.5, 0.5)
NOMINAL = "nominal delay"


@dataclass(frozen=True, eq=False)
class CubeShots:
    """Shots of a cube.

    Attributes
    ----------
    scalars : Dataset (train[, pulse])
        All values that the recipe names, and ``delay`` if it is binned.
    by : dict of str to Bins
        Axes with their values; the laser first if the recipe splits by it.
    where : DataArray (train[, pulse]), bool
        Shots that pass the cuts of their laser state.
    flows : dict of str to CutFlow
        By laser state: "on", "off" or "all".
    cuts : dict of str to tuple of Cut
        By laser state.
    filter_name : str
    """

    scalars: xr.Dataset
    by: dict[str, Bins]
    where: xr.DataArray
    flows: dict[str, CutFlow]
    cuts: dict[str, tuple[Cut, ...]]
    filter_name: str

    @cached_property
    def flow_json(self) -> str:
        """The cut flow of every laser state as JSON."""
        return json.dumps(self.flow_list())

    def flow_list(self) -> list[dict[str, Any]]:
        """Return the cut flow of every laser state."""
        return [
            flow_entry(self.filter_name, state, flow)
            for state, flow in self.flows.items()
        ]


def flow_entry(filter_name: str, state: str, flow: CutFlow) -> dict[str, Any]:
    """Return a cut flow as JSON types, and of what it is."""
    return {
        "filter": filter_name, "laser": state, "total": flow.total,
        "passed": flow.passed, "rows": flow.to_list(),
    }  # fmt: skip


def cube_shots(
    run: Any,
    recipe: CubeRecipe,
    filter_name: str | None = None,
    frames: Sequence[xr.DataArray] = (),
) -> CubeShots:
    """Return the shots of a cube; reads scalars only.

    Values per pulse get the pulse IDs of `frames`, see `labelled_pulses`.

    Raises
    ------
    ConfigError
        If the recipe names what the run does not have.
    SelectionEmptyError
        If no shot passes the cuts of any laser state; it has the table.
    """
    model = recipe.model
    name = recipe.filter_name(filter_name)
    ds = labelled_pulses(run, recipe, needed_scalars(run, recipe, name), frames)
    by = {axis: with_values(recipe, axis, ds) for axis in model.bins}
    states = STATES[model.laser]
    where: xr.DataArray | None = None
    flows: dict[str, CutFlow] = {}
    cuts: dict[str, tuple[Cut, ...]] = {}
    rows: dict[str, tuple[Cut, ...]] = {}
    for state in states or (None,):
        label = "all" if state is None else "on" if state else "off"
        cuts[label] = cuts_of(recipe, name, ds, state)
        rows[label] = (*cuts[label], *state_cut(model.laser_variable, state))
        passing, flows[label] = cut_flow(ds, rows[label])
        where = passing if where is None else where | passing
    for bins in by.values():  # a cut per train counts for each of its pulses
        if where is not None and bins.values is not None:
            where = where.broadcast_like(bins.values).transpose(TRAIN, ...)
    if where is None or not bool(where.any()):
        raise nothing_passes(run, ds, name, rows, flows)
    if model.laser == "split":
        warn_of_absent_states(run, model.laser_variable, flows)
        # The first bin is that with laser.
        without = (ds[model.laser_variable] != 1).astype(float)
        both = Bins(edges=[HALF[0], HALF[1], HALF[1] + 1], values=without)
        by = {LASER_ON: both, **by}
    return CubeShots(ds, by, where, flows, cuts, name)


def state_cut(laser_variable: str, state: bool | None) -> tuple[Cut, ...]:
    """Return the cut that leaves the shots of a laser state; none for all shots."""
    if state is None:
        return ()
    text = f"{laser_variable} == {int(state)}"
    return (Cut(laser_variable, (("==", float(state)),), text),)


def warn_of_absent_states(
    run: Any, laser_variable: str, flows: dict[str, CutFlow]
) -> None:
    """Warn if the run has no shot at all of a laser state."""
    for state, flow in flows.items():
        if not flow.rows[-1][1]:
            warnings.warn(
                f"{run.run_id} has no shot with laser {state} ({flow.rows[-1][0]});"
                f" these bins are empty. Is {laser_variable} the right laser_variable?",
                stacklevel=2,
            )


def nothing_passes(
    run: Any,
    ds: xr.Dataset,
    filter_name: str,
    rows: dict[str, tuple[Cut, ...]],
    flows: dict[str, CutFlow],
) -> SelectionEmptyError:
    """Return the error with the table of every laser state."""
    texts = []
    for state, flow in flows.items():
        laser = "" if state == "all" else f" with laser {state}"
        named = ds.assign_attrs(run=f"{run.run_id}{laser}")
        texts.append(str(empty_selection(named, rows[state], flow)))
    error = SelectionEmptyError("\n".join(texts))
    error.cut_flow = next(iter(flows.values()))
    error.cut_flows = [flow_entry(filter_name, s, f) for s, f in flows.items()]
    return error


def needed_scalars(run: Any, recipe: CubeRecipe, filter_name: str) -> xr.Dataset:
    """Return all values that the recipe names, by the names that it uses."""
    model = recipe.model
    wanted: dict[str, str] = {}  # name: key of the recipe
    for axis, spec in model.bins.items():
        wanted.setdefault(spec.variable or axis, f"bins.{axis}")
    for i, variable in enumerate(model.variables):
        wanted.setdefault(variable, f"variables.{i}")
    for i, cut in enumerate(model.filters.get(filter_name, [])):
        wanted.setdefault(parse_cuts([cut])[0].name, f"filters.{filter_name}.{i}")
    if model.laser != "all":
        wanted.setdefault(model.laser_variable, "laser_variable")
    for variable in model.histograms:
        wanted.setdefault(variable, f"histograms.{variable}")
    delay_key = wanted.pop(DELAY, None)
    parts = [one_scalar(run, recipe, name, key) for name, key in wanted.items()]
    parts += [p for d in model.detectors for p in damage_of(run, recipe, d)]
    ds = joined(run, parts)
    if delay_key is not None:
        options = model.delay.model_dump()
        try:
            ds[DELAY] = delay(run, **options)
            if model.delay.use_tt and any(s.unique for s in model.bins.values()):
                ds[NOMINAL] = delay(run, **{**options, "use_tt": False})
        except (ConfigError, TypeError) as error:
            raise recipe.error("delay", str(error)) from error
    return ds


def one_scalar(run: Any, recipe: CubeRecipe, name: str, key: str) -> xr.Dataset:
    """Return one value; ConfigError with the key of the recipe if it is not there."""
    try:
        found: xr.Dataset = run.scalars([name])
    except (XfelredError, KeyError, ValueError) as error:
        raise recipe.error(key, str(error)) from error
    # A run may know a value by a shorter name, such as one without ".value".
    (known,) = found.data_vars if len(found.data_vars) == 1 else (name,)
    if known not in found:
        raise recipe.error(
            key, f"{name!r} is no single value of {run.run_id}, but {listing(found)}"
        )
    return found[[known]].rename({known: name} if known != name else {})


def damage_of(run: Any, recipe: CubeRecipe, detector: str) -> list[xr.Dataset]:
    """Return whether data of a detector are present, where the run tells."""
    if not recipe.model.require_detectors:
        return []
    try:
        return [run.scalars([f"damage/{detector}"])[[f"damage/{detector}"]]]
    except (XfelredError, KeyError, ValueError):
        return []


def joined(run: Any, parts: list[xr.Dataset]) -> xr.Dataset:
    """Return values of several reads on the union of their shots."""
    ids = np.asarray(run.train_ids)
    if not parts:
        return xr.Dataset(coords={TRAIN: ids})
    return xr.merge(parts, join="outer", compat="override", combine_attrs="drop")


def with_values(recipe: CubeRecipe, axis: str, ds: xr.Dataset) -> Bins:
    """Return the bins of an axis with what shots are binned by."""
    spec = recipe.model.bins[axis]
    bins = recipe.bins[axis]
    name = spec.variable or axis
    if name == DELAY and spec.unique and NOMINAL in ds:
        name = NOMINAL
    values = ds[name]
    extra = [d for d in values.dims if d not in (TRAIN, "pulse")]
    if extra:
        values = values.sum(extra, skipna=False)
    values.attrs = dict(ds[spec.variable or axis].attrs)
    found = Bins(
        edges=bins.edges, centres=bins.centres, start=bins.start, stop=bins.stop,
        step=bins.step, n=bins.n, range=bins.range, unique=bins.unique,
        tolerance=bins.tolerance, quantiles=bins.quantiles, values=values,
    )  # fmt: skip
    try:
        found.resolve(values.values)
    except ConfigError as error:
        raise recipe.error(f"bins.{axis}", str(error)) from error
    return found


def cuts_of(
    recipe: CubeRecipe, filter_name: str, ds: xr.Dataset, laser: bool | None
) -> tuple[Cut, ...]:
    """Return the cuts of a laser state: for off without those on the laser."""
    model = recipe.model
    cuts = parse_cuts(list(model.filters.get(filter_name, [])))
    if laser is False:
        dropped = LASER_ONLY | {model.laser_variable.lower()}
        cuts = tuple(c for c in cuts if c.name.lower() not in dropped)
    if model.require_detectors:
        names = [f"damage/{d}" for d in model.detectors]
        cuts += parse_cuts([(n, 0.5, 1.5) for n in names if n in ds])
    return cuts
