"""The files that a cube is written to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import xarray as xr

from xfelred.names import LASER_ON
from xfelred.products.atomic import publish
from xfelred.products.write import write
from xfelred.recipes.cube import CubePlan
from xfelred.recipes.cube_detectors import constants_of
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.lcls_cube import lcls_names, write_lcls_file
from xfelred.recipes.report import report

ENDINGS = {"zarr": ".zarr", "h5": ".h5", "netcdf": ".nc"}
LAST_NUMBER = re.compile(r"\d+(?!.*\d)")
INPROGRESS = ".inprogress"


def product_names(plan: CubePlan) -> list[str]:
    """Return the file names of all products."""
    out = []
    for kind in dict.fromkeys(plan.recipe.model.output.formats):
        if kind in ENDINGS:
            out.append(f"{plan.name}{ENDINGS[kind]}")
        elif kind == "lcls_h5":
            out += lcls_names(plan).values()
        else:
            out += tiff_names(plan).values()
    return [*out, f"{plan.name}.html"] if plan.recipe.model.output.report else out


def product_paths(plan: CubePlan, out: Path) -> list[Path]:
    """Return where all products go."""
    return [out / name for name in product_names(plan)]


def tiff_names(plan: CubePlan) -> dict[str, str]:
    """Return the name of the image of every detector."""
    found = LAST_NUMBER.search(plan.run.run_id)
    number = int(found[0]) if found else 0
    chosen = plan.shots.filter_name
    return {
        name: f"Run_{number}_{name.replace('/', '__')}_filter_{chosen}.tiff"
        for name in plan.frames
    }


def write_products(
    plan: CubePlan,
    binned: Mapping[str, xr.Dataset],
    work: Path,
    out: Path,
    frames: Mapping[str, xr.DataArray] | None = None,
) -> list[Path]:
    """Write all products; they get their names when all of them are complete.

    Parameters
    ----------
    plan : CubePlan
    binned : mapping of str to Dataset
        Binned frames of every detector, as `ops.bin_frames` gives them.
    work : Path
        Where unfinished files may be.
    out : Path
    frames : mapping of str to DataArray, optional
        As the user gave them, for the report.
    """
    made: list[tuple[Path, Path]] = []
    for kind in dict.fromkeys(plan.recipe.model.output.formats):
        made += [(p, out / p.name.removesuffix(INPROGRESS))
                 for p in written(plan, binned, kind, work)]  # fmt: skip
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
        for detector, name in tiff_names(plan).items():
            image = mean_image(plan, detector, binned[detector])
            yield write(image, work / name, overwrite=True)


def mean_image(plan: CubePlan, name: str, binned: xr.Dataset) -> xr.DataArray:
    """Return the mean over all bins of the mean images of a detector."""
    total, count = binned[f"{name}_sum"], binned[f"{name}_count"]
    means = total / count.where(count > 0)
    bins = [d for d in means.dims if d in binned["n_shots"].dims or d == LASER_ON]
    image = means.mean(bins, skipna=True).rename(name)
    image.attrs = {k: v for k, v in total.attrs.items() if k == "units"}
    if plan.recipe.model.detectors[name].image:
        image = assembled(image, constants_of(plan.run, name)).rename(name)
    return image.assign_attrs(long_name=f"mean over all bins of {name}")
