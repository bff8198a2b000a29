"""A cube under the names, and with the conventions, of smalldata_tools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xfelred import ops
from xfelred.column_names import in_file_name, in_result
from xfelred.names import GAIN_RANGE, LASER_ON
from xfelred.ops.cuts import Cut, parse_cuts
from xfelred.ops.reductions.bin_labels import Axis
from xfelred.products.lcls_cube_file import selection_text, write_lcls_cube
from xfelred.recipes.cube import CubePlan, file_name
from xfelred.recipes.cube_detectors import constants_of
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.cube_shots import cuts_of
from xfelred.recipes.models import BinSpec
from xfelred.recipes.units import DELAY

SCAN = "scan/"
DAMAGE = "damage/"


def lcls_names(plan: CubePlan) -> dict[str, str]:
    run = file_name(plan.run.run_id)
    axis = "-".join(axis_name(plan, n, s) for n, s in plan.recipe.model.bins.items())
    return {
        state: f"Cube_{run}_{axis or 'all'}{'' if state == 'all' else '_' + state}"
        f"{plan.filter_suffix}.h5"
        for state in plan.shots.flows
    }


def axis_name(plan: CubePlan, name: str, spec: BinSpec) -> str:
    variable = spec.variable or name
    if variable == DELAY:
        nominal = str(plan.shots.scalars[DELAY].attrs.get("nominal", ""))
        variable = nominal if nominal.startswith(SCAN) else variable
    if variable.startswith(SCAN):
        return in_file_name(variable.removeprefix(SCAN))
    return in_file_name(name)


def write_lcls_file(
    plan: CubePlan, binned: Mapping[str, xr.Dataset], state: str, path: Path
) -> None:
    """Write the file of one laser state: "on", "off" or "all"."""
    arrays = scalar_arrays(plan, state)
    constants = {}
    mine = {name: of_state(ds, state) for name, ds in binned.items()}
    for name in plan.frames:
        arrays |= detector_arrays(plan, name, mine, state)
        constants[in_result(name)] = configuration(plan, name)
    text = selection_text(all_cuts(plan, state))
    write_lcls_cube(path, arrays, constants=constants, selection=text)


def of_state(ds: xr.Dataset, state: str) -> xr.Dataset:
    if LASER_ON not in ds.dims:
        return ds
    # Before cubes are finished, states have no labels: the first one is "on".
    return ds.isel({LASER_ON: int(state == "off")}, drop=True)


def axes_of(plan: CubePlan) -> list[Axis]:  # of the laser there is a file each
    return [a for a in plan.labels.axes if a.name != LASER_ON]


def with_outlier_bins(plan: CubePlan, value: xr.DataArray, fill: float) -> xr.DataArray:
    """Return an array with the empty bin that comes before distinct values."""
    if plan.compat:
        return value  # has it
    unique = [a.name for a in axes_of(plan) if a.bins is not None and a.bins.unique]
    bare = value.drop_vars(list(value.coords))
    if not unique:
        return bare
    return bare.pad(dict.fromkeys(unique, (1, 0)), constant_values=fill)


def scalar_arrays(plan: CubePlan, state: str) -> dict[str, Any]:
    """Return counts, sums and spreads of the values of shots, and the bins."""
    model = plan.recipe.model
    binned_by = [spec.variable or name for name, spec in model.bins.items()]
    names = [*dict.fromkeys([*binned_by, *model.variables])]
    # A count is made even where there is nothing else.
    data = plan.shots.scalars[names].assign(
        {"": xr.zeros_like(plan.shots.where, np.int8)}
    )
    shots, which = plan.shots, ("sum", "count", "var")
    ds = ops.bin_frames(
        data, shots.by, where=shots.where, compat=plan.compat, quantities=which
    )
    ds = of_state(ds, state)
    entries = ds["n_shots"]
    filled = entries > 0
    out: dict[str, Any] = bin_arrays(plan)
    out["nEntries"] = with_outlier_bins(plan, entries, 0).values
    for name in names:
        stem = name.replace("/", "__")
        total = ds[f"{stem}_sum"].astype(np.float64)
        if plan.compat:
            total = total.fillna(0.0)
        out[stem] = with_outlier_bins(plan, total.where(filled), np.nan).values
        if name in model.variables:
            variance = ds[f"{stem}_var"].where(filled)
            spread = variance.copy(data=np.sqrt(variance.data))
            out[f"std_{stem}"] = with_outlier_bins(plan, spread, np.nan).values
    if len(binned_by) == 1:
        out["binVar"] = out[binned_by[0].replace("/", "__")]
    return out


def bin_arrays(plan: CubePlan) -> dict[str, Any]:
    out = {}
    axes = [a for a in axes_of(plan) if a.bins is not None]
    for i, axis in enumerate(axes):
        assert axis.bins is not None
        bins = axis.bins
        if bins.unique and not plan.compat:
            bins = bins.with_outlier_bin()
        edges = bins.edges
        name = axis.name.replace("__", "_")
        if len(axes) == 1:
            out["binVar_bins"] = edges[:-1]
        else:
            # Left edges of a single axis; of several what recipes.md tells.
            out[f"bins_{name}"] = edges[1:] if i == 0 else (edges[1:] + edges[:-1]) / 2
    return out


def detector_arrays(
    plan: CubePlan, detector: str, results: Mapping[str, xr.Dataset], state: str
) -> dict[str, Any]:
    spec = plan.recipe.model.detectors[detector]
    ds = results[detector]
    finished = plan.finished_detector(detector, results)
    constants = constants_of(plan.run, detector) if spec.image else xr.Dataset()
    name = in_result(detector)
    shots = finished[f"{name}_shots"].fillna(0).astype(np.int64)
    total = ds[f"{name}_sum"].astype(np.float64).where(shots > 0)
    if spec.image:
        total = assembled(total, constants)
    out = {
        f"{name}_data": with_outlier_bins(plan, total, np.nan).data,
        f"{name}_nEntries": with_outlier_bins(plan, shots, 0).data,
    }
    made = {key: finished[key] for key in plan.outputs(detector, ds)}
    made |= sums_of_shots(plan, detector, results)
    for key, value in made.items():
        fill = 0 if value.dtype.kind in "biu" else np.nan
        out[key] = with_outlier_bins(plan, value, fill).data
    return out


def sums_of_shots(
    plan: CubePlan, detector: str, results: Mapping[str, xr.Dataset]
) -> dict[str, xr.DataArray]:
    """Return sums and spreads of what functions make of shots, named as variables."""
    if detector not in plan.of_shots:
        return {}
    made = plan.of_shots[detector]
    ds, name = results[made.name], in_result(detector)
    out = {
        key.removesuffix("_sum"): value
        for key, value in made.unpacked(ds, name, ["sum"]).items()
    }
    if "var" in plan.quantities:
        for key, value in made.unpacked(ds, name, ["var"]).items():
            out[f"std_{key.removesuffix('_var')}"] = value**0.5
    return out


def configuration(plan: CubePlan, name: str) -> xr.Dataset:
    known = constants_of(plan.run, name)
    if not plan.recipe.model.detectors[name].image:
        return known
    if GAIN_RANGE in known.dims:
        known = known.isel({GAIN_RANGE: 0})  # an image has room for one, the highest
    return known.map(lambda a: assembled(a, constants_of(plan.run, name)))


def all_cuts(plan: CubePlan, state: str) -> list[Cut]:
    """Return the cuts of a laser state, and the range of the bins."""
    shots = plan.shots
    cuts = shots.cuts[state]
    if plan.compat and state == "off":
        # smalldata_tools also lists the cuts that it drops for shots without laser.
        cuts = cuts_of(plan.recipe, shots.filter_name, shots.scalars, None)
    specs = plan.recipe.model.bins.items()
    edges = [a.bins for a in axes_of(plan)]
    ranges = [
        parse_cuts([(s.variable or n, float(b.edges[0]), float(b.edges[-1]))])[0]
        for (n, s), b in zip(specs, edges, strict=False)
        if b is not None
    ]
    # They add those on damage behind all others.
    last = [c for c in cuts if c.name.startswith(DAMAGE)]
    return [*(c for c in cuts if c not in last), *ranges, *last]
