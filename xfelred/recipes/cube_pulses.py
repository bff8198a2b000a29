"""Values per pulse that have no pulse IDs, brought to the pulses of a detector.

Fast instruments of the European XFEL give a vector per train, one value for each X-ray
pulse in their order, without IDs, and padded to a fixed length. A detector records
other pulses, often dark ones in between. So a recipe says which pulse a value is of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import did_you_mean, listing, warn
from xfelred.names import CELL, LONG_NAME, PULSE, RECORDED, TRAIN
from xfelred.ops.cuts import parse_cut
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_recipe import CubeRecipe
from xfelred.recipes.models import PulseSpec
from xfelred.recipes.recipe import at_key
from xfelred.recipes.units import DELAY

KEY = "pulse_values"
DELAYS = (DELAY, f"nominal {DELAY}")  # both made from the nominal column
HOW = (
    "Say in the recipe which pulse each value is of: pulse_values: {{{name!r}: {{ids:"
    " [0, 4, 8]}}}}, or {{start: 0, step: 4, n: 3}}; or, if value i is that of the i-th"
    " frame of a train, {{by: position, n: 3}}. n may name a scalar with the number of"
    " pulses in each train. What follows in the vector is padding"
)


def with_pulse_ids(
    run: Run, recipe: CubeRecipe, ds: xr.Dataset, frames: Sequence[xr.DataArray]
) -> xr.Dataset:
    """Return scalars of which those per pulse have the pulse IDs of a detector.

    That is the first one with several pulses per train; the Dataset also gets its
    coordinate ``recorded``. Pulses without a value are NaN.
    """
    check_names(recipe)
    bare = [n for n, v in ds.data_vars.items() if PULSE in v.dims]
    if not bare or PULSE in ds.coords:
        return ds
    counted = {str(n): vector_of(run, recipe, str(n), ds[n]) for n in bare}
    vectors = {name: vector for name, (vector, _) in counted.items()}
    grid = grid_of(frames)
    if grid is None:
        longest = max(v.sizes[PULSE] for v in vectors.values())
        cut = {
            n: v.pad({PULSE: (0, longest - v.sizes[PULSE])}) for n, v in vectors.items()
        }
        return ds.drop_vars(bare).assign(cut)[list(ds.data_vars)]
    on_grid = {n: placed(recipe, n, v, c, grid) for n, (v, c) in counted.items()}
    out = ds.drop_vars(bare).assign(on_grid)[list(ds.data_vars)]
    here = grid.coords.get(RECORDED)
    if here is None:
        return out
    whole = here.reset_coords(drop=True).reindex({TRAIN: out[TRAIN]}, fill_value=False)
    return out.assign_coords({RECORDED: whole})


def check_names(recipe: CubeRecipe) -> None:
    model = recipe.model
    used = {spec.variable or axis for axis, spec in model.bins.items()}
    used |= {*model.variables, *model.histograms, model.laser_variable}
    used |= {parse_cut(cut).name for cuts in model.filters.values() for cut in cuts}
    used |= {column_of(recipe, DELAY), *DELAYS}
    for name in model.pulse_values:
        if name not in used:
            raise recipe.error(
                f"{KEY}.{name}",
                f"{name!r} is not used in this recipe.{did_you_mean(name, used)} It"
                f" uses {listing(sorted(used - set(DELAYS)))}",
            )


def grid_of(frames: Sequence[xr.DataArray]) -> xr.DataArray | None:
    """Return the frames whose pulses count, None if none have trains and pulses."""
    dense = [f for f in frames if {TRAIN, PULSE} <= set(f.dims)]
    several = [f for f in dense if f.sizes[PULSE] > 1]
    return next(iter(several or dense), None)


def column_of(recipe: CubeRecipe, name: str) -> str:
    nominal = recipe.model.delay.nominal
    if name not in DELAYS or name in recipe.model.pulse_values:
        return name
    return nominal if isinstance(nominal, str) else nominal[0]


def spec_of(recipe: CubeRecipe, name: str) -> PulseSpec | None:
    return recipe.model.pulse_values.get(column_of(recipe, name))


def vector_of(
    run: Run, recipe: CubeRecipe, name: str, values: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the values without padding, and how many each train has."""
    spec = spec_of(recipe, name)
    if spec is None:
        raise recipe.error(
            KEY,
            f"{name!r} has {values.sizes[PULSE]} values per train, without the IDs of"
            f" their pulses. {HOW.format(name=column_of(recipe, name))}",
        )
    n = numbers_of(run, recipe, name, spec, values)
    most = int(n.max(initial=0))
    if most > values.sizes[PULSE] or (spec.ids and most > len(spec.pulse_ids(most))):
        raise recipe.error(
            f"{KEY}.{name}",
            f"there are {most} pulses in a train, but {values.sizes[PULSE]} values"
            f" and {len(spec.ids or []) or 'no list of'} ids",
        )
    # Behind the last pulse of a train is padding: often 0, which looks like a value.
    valid = np.arange(most) < n[:, None]
    vectors = values.transpose(..., PULSE)[..., :most]
    rows = xr.DataArray(valid, {TRAIN: values[TRAIN]}, (TRAIN, PULSE))
    counts = xr.DataArray(n, {TRAIN: values[TRAIN]}, TRAIN)
    if values.dtype.kind == "b":  # NaN would make objects of booleans
        return vectors.where(rows, other=False), counts
    return vectors.where(rows), counts


def numbers_of(
    run: Run, recipe: CubeRecipe, name: str, spec: PulseSpec, values: xr.DataArray
) -> NDArray[np.int64]:
    """Return how many values of each train are pulses; 0 where it is not known."""
    if not isinstance(spec.n, str):
        n = len(spec.ids or []) if spec.n is None else spec.n
        return np.full(values.sizes[TRAIN], n, np.int64)
    key = f"{KEY}.{name}.n"
    with at_key(recipe, key):
        found = run.scalars([spec.n])
    (column,) = found.data_vars
    counts = found[column].reindex({TRAIN: values[TRAIN]}).values.astype(float)
    known = np.isfinite(counts)
    if counts.ndim != 1 or (counts[known] % 1 != 0).any() or (counts[known] < 0).any():
        raise recipe.error(
            key,
            f"{spec.n!r} is not the number of pulses of each train: it has shape"
            f" {counts.shape} and values such as {listing(counts.ravel(), 4)}",
        )
    if not known.all():
        warn(
            f"{spec.n} is missing in {int((~known).sum())} of {len(known)} trains: no"
            f" value of {name} counts there"
        )
    return np.where(known, counts, 0).astype(np.int64)


def placed(
    recipe: CubeRecipe,
    name: str,
    vectors: xr.DataArray,
    counts: xr.DataArray,
    grid: xr.DataArray,
) -> xr.DataArray:
    """Return values on the trains and pulses of a detector, by ID or by position."""
    spec = spec_of(recipe, name)
    trains = grid[TRAIN]
    fill = False if vectors.dtype.kind == "b" else np.nan
    mine = vectors.reindex({TRAIN: trains}, fill_value=fill).transpose(TRAIN, PULSE)
    recorded = recorded_pulses(grid)
    n = mine.sizes[PULSE]
    if spec is None or spec.by == "position":
        at = np.cumsum(recorded, axis=1) - 1  # the i-th frame that a train has
        here = counts.reindex({TRAIN: trains}, fill_value=0)
        check_counts(recipe, name, here, recorded)
    else:
        if CELL in str(grid[PULSE].attrs.get(LONG_NAME)):
            raise recipe.error(
                f"{KEY}.{name}",
                "these frames have no pulse IDs, only places among the memory cells of"
                " a train; say by: position, with n",
            )
        ids = np.asarray(spec.pulse_ids(n))
        order = np.argsort(ids)
        pulses = grid[PULSE].values.astype(np.int64)
        near = order[np.searchsorted(ids, pulses, sorter=order).clip(0, max(n - 1, 0))]
        there = ids[near] == pulses if n else np.zeros(len(pulses), bool)
        if not there.any():
            raise recipe.error(
                f"{KEY}.{name}",
                f"no pulse ID is one of the detector's: the values are of"
                f" {listing(ids)}, the frames of {listing(pulses)}",
            )
        lost = n - int(np.isin(ids, pulses).sum())
        if lost and not there.all():
            warn(
                f"{name}: {lost} of {n} values are of pulses that the detector does not"
                f" have, and {int((~there).sum())} of its {len(pulses)} pulses have no"
                f" value: the values are of {listing(ids)}, the frames of"
                f" {listing(pulses)}"
            )
        at = np.broadcast_to(np.where(there, near, -1), recorded.shape)
    there = recorded & (at >= 0) & (at < n)
    taken = np.take_along_axis(mine.values, np.where(there, at, 0), axis=1)
    coords = {TRAIN: trains.variable, PULSE: grid[PULSE].variable}
    out = np.where(there, taken, fill)
    return xr.DataArray(out, coords, (TRAIN, PULSE), attrs=vectors.attrs)


def recorded_pulses(grid: xr.DataArray) -> NDArray[np.bool_]:
    here = grid.coords.get(RECORDED)
    if here is None:
        return np.ones((grid.sizes[TRAIN], grid.sizes[PULSE]), bool)
    return np.asarray(here.transpose(TRAIN, PULSE).values, bool)


def check_counts(
    recipe: CubeRecipe, name: str, counts: xr.DataArray, recorded: NDArray[np.bool_]
) -> None:
    n_values = counts.values
    n_frames = recorded.sum(axis=1)
    odd = (n_values != n_frames) & (n_values > 0) & (n_frames > 0)
    if odd.any():
        at = int(odd.argmax())
        raise recipe.error(
            f"{KEY}.{name}",
            f"train {counts[TRAIN].values[at]} has {n_frames[at]} frames, but"
            f" {n_values[at]} values ({int(odd.sum())} such trains): the position does"
            " not tell which frame a value is of. Give the pulse IDs of the values"
            " (ids, or start, step and n)",
        )
