"""The files that a cube is written to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import xarray as xr

from xfelred.column_names import in_result
from xfelred.errors import ArgumentError
from xfelred.names import LASER_ON, LONG_NAME, UNITS
from xfelred.products.atomic import publish
from xfelred.products.write import write
from xfelred.recipes.cube import CubePlan
from xfelred.recipes.cube_detectors import constants_of
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.lcls_cube import lcls_names, write_lcls_file
from xfelred.recipes.report import mean_over_bins, report

ENDINGS = {"zarr": ".zarr", "h5": ".h5", "netcdf": ".nc"}
# TIFF files are named as those of smalldata_tools: by the number of the run alone.
LAST_NUMBER = re.compile(r"\d+(?!.*\d)")
INPROGRESS = ".inprogress"


def product_names(plan: CubePlan) -> list[str]:
    out = []
    for kind in dict.fromkeys(plan.recipe.model.output.formats):
        if kind in ENDINGS:
            out.append(f"{plan.name}{ENDINGS[kind]}")
        elif kind == "lcls_h5":
            out += lcls_names(plan).values()
        else:
            out += [file for _, _, file in tiff_names(plan)]
    return [*out, f"{plan.name}.html"] if plan.recipe.model.output.report else out


def product_paths(plan: CubePlan, out: Path) -> list[Path]:
    return [out / name for name in product_names(plan)]


def tiff_names(plan: CubePlan) -> list[tuple[str, str, str]]:
    """Return (detector, laser state, file) of every image; one for each state."""
    found = LAST_NUMBER.search(plan.run.run_id)
    number = int(found[0]) if found else 0
    chosen = plan.shots.filter_name
    split = plan.recipe.model.laser == "split"
    return [
        (name, state, f"Run_{number}_{in_result(name)}{part}_filter_{chosen}.tiff")
        for name in plan.frames
        for state, part in ([("on", "_on"), ("off", "_off")] if split else [("", "")])
    ]


def write_products(
    plan: CubePlan,
    binned: Mapping[str, xr.Dataset],
    work: Path,
    out: Path,
    frames: Mapping[str, xr.DataArray] | None = None,
) -> list[Path]:
    """Write all products; they get their names when all of them are complete.

    `work` is for unfinished files, `frames` are those that the user gave.
    """
    made: list[tuple[Path, Path]] = []
    for kind in dict.fromkeys(plan.recipe.model.output.formats):
        parts = written(plan, binned, kind, work)
        made += [(p, out / p.name.removesuffix(INPROGRESS)) for p in parts]
    if plan.recipe.model.output.report:
        page = work / f"{plan.name}.html"
        report(plan, plan.finished(binned), page, frames=frames, overwrite=True)
        made.append((page, out / page.name))
    for partial, path in made:
        publish(partial, path, overwrite=True)
    return [path for _, path in made]


def written(
    plan: CubePlan, binned: Mapping[str, xr.Dataset], kind: str, work: Path
) -> Iterator[Path]:
    """Write the products of one format; yield where they are."""
    if kind in ENDINGS:
        cube = plan.finished(binned)
        yield write(cube, work / f"{plan.name}{ENDINGS[kind]}", overwrite=True)
    elif kind == "lcls_h5":
        for state, name in lcls_names(plan).items():
            path = work / f"{name}{INPROGRESS}"
            write_lcls_file(plan, binned, state, path)
            yield path
    else:
        for detector, state, name in tiff_names(plan):
            image = mean_image(plan, detector, binned[detector], state)
            yield write(image, work / name, overwrite=True)


def mean_image(
    plan: CubePlan, name: str, binned: xr.Dataset, state: str
) -> xr.DataArray:
    """Return the mean image of the shots of all bins in one laser state."""
    image = mean_over_bins(binned, name)
    if image is None:
        raise ArgumentError(f"no sums of {name} to make an image of")
    if state:
        # Before frames are finished, states have no labels: the first one is "on".
        image = image.isel({LASER_ON: int(state == "off")}, drop=True)
    if LASER_ON in image.dims:
        raise ArgumentError(
            f"an image of {name} would mix shots with and without laser"
        )
    attrs = {k: v for k, v in image.attrs.items() if k == UNITS}
    if plan.recipe.model.detectors[name].image:
        image = assembled(image, constants_of(plan.run, name))
    text = f"mean of the shots of all bins of {name}"
    text += f", laser {state}" if state else ""
    image.attrs = {**attrs, LONG_NAME: text}
    return image.rename(in_result(name))
