"""Which shots of a run go into which bin of a cube, found before any frame is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from xfelred.column_names import split_element
from xfelred.errors import SelectionEmptyError, XfelredError, listing, warn
from xfelred.names import LASER_ON, PULSE, TRAIN
from xfelred.ops.cuts import Cut, parse_cuts
from xfelred.ops.reductions.bins import Bins
from xfelred.ops.shots.delay import delay
from xfelred.ops.shots.select_shots import CutFlow, cut_flow, empty_selection
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_pulses import with_pulse_ids
from xfelred.recipes.cube_recipe import CubeRecipe
from xfelred.recipes.recipe import Recipe, at_key
from xfelred.recipes.units import DELAY
from xfelred.shots import shot_value

# Cuts that say nothing about a shot without laser; lower case, as names differ.
LASER_ONLY = {"enc/lasdelay"} | {
    f"tt/{name}" for name in ("ttcorr", "ampl", "fltpos", "fltpos_ps", "fltposfwhm")
}
STATES = {"split": (True, False), "on": (True,), "off": (False,), "all": ()}
HALF = (-0.5, 0.5)  # edges around 0; the laser is a number to the bins
EVENTS, STREAM = "event", "stream"
NOMINAL = "nominal delay"
AT_NOMINAL = "n_off_at_nominal_delay"


@dataclass(frozen=True, eq=False)
class CubeShots:
    """Shots of a cube."""

    scalars: xr.Dataset  # all that the recipe names, and ``delay`` if it is binned
    by: dict[str, Bins]  # axes with their values; the laser first if it splits them
    where: xr.DataArray  # bool (train[, pulse]): pass the cuts of their laser state
    flows: dict[str, CutFlow]  # by laser state: "on", "off" or "all"
    cuts: dict[str, tuple[Cut, ...]]  # the same
    filter_name: str

    @cached_property
    def flow_json(self) -> str:
        return json.dumps(self.flow_list())

    @property
    def at_nominal(self) -> dict[str, int]:
        """How many shots without laser have the nominal delay, if any can."""
        attrs = self.scalars[DELAY].attrs if DELAY in self.scalars else {}
        return {k: int(v) for k, v in attrs.items() if k == AT_NOMINAL}

    def flow_list(self) -> list[dict[str, Any]]:
        return [
            flow_entry(self.filter_name, state, flow)
            for state, flow in self.flows.items()
        ]


def flow_entry(filter_name: str, state: str, flow: CutFlow) -> dict[str, Any]:
    counts = {"total": flow.total, "passed": flow.passed, "rows": flow.to_list()}
    return {"filter": filter_name, "laser": state, **counts}


def cube_shots(
    run: Run,
    recipe: CubeRecipe,
    filter_name: str | None = None,
    frames: Sequence[xr.DataArray] = (),
) -> CubeShots:
    """Return the shots of a cube; reads scalars only."""
    model = recipe.model
    name = recipe.filter_name(filter_name)
    ds = with_pulse_ids(run, recipe, needed_scalars(run, recipe, name), frames)
    by = {axis: with_values(recipe, axis, ds) for axis in model.bins}
    if model.laser != "all":
        laser_values(recipe, ds)
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
        without = (laser_values(recipe, ds) != 1).astype(float)
        both = Bins(edges=[HALF[0], HALF[1], HALF[1] + 1], values=without)
        by = {LASER_ON: both, **by}
    return CubeShots(ds, by, where, flows, cuts, name)


def laser_values(recipe: CubeRecipe, ds: xr.Dataset) -> xr.DataArray:
    """Return what tells the laser; ConfigError unless it is one value per shot."""
    name = recipe.model.laser_variable
    found = shot_value(ds, name)
    if not {TRAIN, PULSE} >= {*found.dims}:
        text = f"{name!r} has several values per shot; name one, such as '{name}[0]'"
        raise recipe.error("laser_variable", text)
    return found


def state_cut(laser_variable: str, state: bool | None) -> tuple[Cut, ...]:
    if state is None:
        return ()
    text = f"{laser_variable} == {int(state)}"
    return (Cut(laser_variable, (("==", float(state)),), text),)


def warn_of_absent_states(
    run: Run, laser_variable: str, flows: dict[str, CutFlow]
) -> None:
    for state, flow in flows.items():
        if not flow.rows[-1][1]:
            warn(
                f"{run.run_id} has no shot with laser {state} ({flow.rows[-1][0]});"
                f" these bins are empty. Is {laser_variable} the right laser_variable?"
            )


def nothing_passes(
    run: Run,
    ds: xr.Dataset,
    filter_name: str,
    rows: dict[str, tuple[Cut, ...]],
    flows: dict[str, CutFlow],
) -> SelectionEmptyError:
    texts = []
    for state, flow in flows.items():
        laser = "" if state == "all" else f" with laser {state}"
        named = ds.assign_attrs(run=f"{run.run_id}{laser}")
        texts.append(str(empty_selection(named, rows[state], flow)))
    error = SelectionEmptyError("\n".join(texts))
    error.cut_flow = next(iter(flows.values()))
    error.cut_flows = [flow_entry(filter_name, s, f) for s, f in flows.items()]
    return error


def needed_scalars(run: Run, recipe: CubeRecipe, filter_name: str) -> xr.Dataset:
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
    axes = {spec.variable or axis for axis, spec in model.bins.items()}
    for part in parts:
        if STREAM in part.attrs and axes & {*part}:  # its readouts are the shots
            ds = ds.isel({TRAIN: np.isin(ds[TRAIN].values, part[TRAIN].values)})
    return ds if delay_key is None else with_delay(run, recipe, ds)


def with_delay(run: Run, recipe: CubeRecipe, ds: xr.Dataset) -> xr.Dataset:
    """Return values with the delay, and the nominal one where shots go by it."""
    model = recipe.model
    options = model.delay.model_dump()
    with at_key(recipe, "delay"):
        corrected = delay(run, **options)
        nominal = delay(run, **{**options, "use_tt": False})
    ds = ds.assign({DELAY: corrected})
    if not model.delay.use_tt:
        return ds
    if any(s.unique for s in model.bins.values()):
        ds[NOMINAL] = nominal
    # The time tool sees nothing without the laser: shots without it have the delay of
    # the others, the nominal one where there is no value. smalldata_tools loses them.
    if model.laser in ("split", "off") and not model.output.compat:
        off = laser_values(recipe, ds) == 0
        mended = off & corrected.isnull() & nominal.notnull()
        filled = corrected.where(~mended, nominal)
        ds[DELAY] = filled.transpose(*corrected.dims)
        n = int(mended.sum())
        ds[DELAY].attrs = {**corrected.attrs, AT_NOMINAL: n}
    return ds


def one_scalar(run: Run, recipe: Recipe, name: str, key: str) -> xr.Dataset:
    base, position = split_element(name)
    with at_key(recipe, key):
        found = read_scalar(run, base)
        if position and base in found:
            found = found[[]].assign({name: shot_value(found, name)})
    # A run may know a value by a shorter name, such as one without ".value".
    (known,) = found.data_vars if len(found.data_vars) == 1 else (name,)
    if known not in found:
        raise recipe.error(
            key, f"{name!r} is no single value of {run.run_id}, but {listing(found)}"
        )
    return found[[known]].rename({known: name} if known != name else {})


def read_scalar(run: Run, name: str) -> xr.Dataset:
    """Return values by name, of shots or else of the readouts of slow detectors.

    The latter have ``attrs["stream"]``; their names may begin with it or not.
    """
    reasons: list[Exception] = []
    streams = [s for s in getattr(run, "streams", ()) if s != EVENTS]
    for stream in (None, *streams):  # the first reason says most
        own = name if stream is None else name.removeprefix(f"{stream}/")
        options = {} if stream is None else {"stream": stream}
        try:
            found: xr.Dataset = run.scalars([own], **options)
        except (XfelredError, KeyError, ValueError) as reason:
            reasons.append(reason)
            continue
        if stream is not None:
            found = found.rename({own: name} if own != name else {})
            found.attrs[STREAM] = stream
        return found
    raise reasons[0]


def damage_of(run: Run, recipe: CubeRecipe, detector: str) -> list[xr.Dataset]:
    if not recipe.model.require_detectors:
        return []
    try:
        return [run.scalars([f"damage/{detector}"])[[f"damage/{detector}"]]]
    except (XfelredError, KeyError, ValueError):
        return []  # only LCLS tells


def joined(run: Run, parts: list[xr.Dataset]) -> xr.Dataset:
    ids = np.asarray(run.train_ids)
    if not parts:
        return xr.Dataset(coords={TRAIN: ids})
    # Vectors without pulse IDs end in padding, some earlier than others.
    bare = [p for p in parts if PULSE in p.dims and PULSE not in p.coords]
    longest = max((p.sizes[PULSE] for p in bare), default=0)
    parts = [
        p.pad({PULSE: (0, longest - p.sizes[PULSE])})
        if any(p is b for b in bare) and p.sizes[PULSE] < longest
        else p
        for p in parts
    ]
    # A train that one stream lacks is NaN there, not lost for all.
    return xr.merge(parts, join="outer", compat="override", combine_attrs="drop")


def with_values(recipe: CubeRecipe, axis: str, ds: xr.Dataset) -> Bins:
    spec = recipe.model.bins[axis]
    name = spec.variable or axis
    if name == DELAY and spec.unique and NOMINAL in ds:
        name = NOMINAL
    values = shot_value(ds, name)
    extra = [d for d in values.dims if d not in (TRAIN, PULSE)]
    if extra:
        raise recipe.error(
            f"bins.{axis}",
            f"{name!r} has {values.sizes[extra[0]]} values per shot; name one, such as"
            f" '{name}[0]'",
        )
    values.attrs = dict(ds[spec.variable or axis].attrs)
    found = replace(recipe.bins[axis], values=values)
    with at_key(recipe, f"bins.{axis}"):
        # Once for the run: a detector with fewer trains has the same bins.
        made = found.resolve(values.values)
    known = values.values[np.isfinite(values.values)]
    if (made.labels(values.values) < 0).all():
        has = f"{known.min():g} to {known.max():g}" if known.size else "no value at all"
        warn(
            f"no shot is in a bin of {axis!r}: {name!r} has {has}, the bins go from"
            f" {made.edges[0]:g} to {made.edges[-1]:g}"
        )
    return replace(found, made=made)


def cuts_of(
    recipe: CubeRecipe, filter_name: str, ds: xr.Dataset, laser: bool | None
) -> tuple[Cut, ...]:
    """Return the cuts of a laser state: for off without those on the laser."""
    model = recipe.model
    cuts = parse_cuts(list(model.filters.get(filter_name, [])))
    if laser is False:
        own = {model.laser_variable.lower(), model.delay.correction.lower()}
        dropped = LASER_ONLY | own
        # By its name, and by that of the array it is a column of.
        cuts = tuple(
            c
            for c in cuts
            if not {c.name.lower(), split_element(c.name)[0].lower()} & dropped
        )
    if model.require_detectors:
        names = [f"damage/{d}" for d in model.detectors]
        # It is 1 where the data of a shot are there.
        cuts += parse_cuts([(n, 0.5, 1.5) for n in names if n in ds])
    return cuts
