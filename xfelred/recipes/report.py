"""The report of a cube: what its page shows, collected from plan and cube."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import in_result
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    LASER_ON,
    LONG_NAME,
    PIXEL_DIMS,
    UNITS,
)
from xfelred.ops.companions import matching
from xfelred.products.cube_report import (
    DIFFERENCE,
    CubeReport,
    DetectorReport,
    write_report,
)
from xfelred.products.report_histograms import (
    PixelHistogram,
    ShotState,
    pixel_histogram,
)
from xfelred.recipes.cube import CubePlan
from xfelred.recipes.cube_detectors import NOISE, constants_of, corrected, raw_frames
from xfelred.recipes.cube_outputs import IMAGE_INDEX, assembled
from xfelred.recipes.models import DetectorSpec, ThresholdSpec
from xfelred.recipes.units import DELAY
from xfelred.shots import at_shots, shot_dims

N_SHOTS = 100  # of which pixels are counted
FEW = 10  # pulses of a train
BATCH = 2**24  # pixels in memory at a time


def report(
    plan: CubePlan,
    cube: xr.Dataset,
    path: str | Path,
    *,
    frames: Mapping[str, xr.DataArray] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the page about a cube; of its images only means over bins are computed.

    `frames` are those that the user gave to `make_cube`.
    """
    means = mean_images(plan, cube)
    detectors = [
        detector_of(plan, name, means.get(name, {}), dict(frames or {}))
        for name in plan.frames
    ]
    page = CubeReport(
        title=f"Cube of {plan.run.run_id}",
        facts=facts_of(plan),
        recipe=plan.recipe.to_yaml(),
        states=states_of(plan),
        scalars=plan.shots.scalars,
        histograms=plan.recipe.model.histograms,
        cube=cube,
        detectors=detectors,
    )
    return write_report(Path(path), page, overwrite=overwrite)


def states_of(plan: CubePlan) -> list[ShotState]:
    shots, where = plan.shots, plan.shots.where
    everything = xr.full_like(where, True)
    out = []
    for name, flow in shots.flows.items():
        mine = everything
        if name != "all":
            laser = shots.scalars[plan.recipe.model.laser_variable]
            mine = everything & (laser == (1 if name == "on" else 0))
        out.append(ShotState(name, mine.transpose(*where.dims), shots.cuts[name], flow))
    return out


def facts_of(plan: CubePlan) -> list[tuple[str, str]]:
    model, shots = plan.recipe.model, plan.shots
    rows = [
        ("run", plan.run.run_id),
        ("facility", plan.run.facility),
        ("shots", f"{shots.where.size}, of which {int(shots.where.sum())} pass"),
        ("recipe", plan.recipe.source.name),
        ("filter", shots.filter_name),
        ("laser", model.laser),
    ]
    for name, spec in model.bins.items():
        said = spec.model_dump(mode="json", exclude_defaults=True)
        rows.append((f"bins of {name}", ", ".join(f"{k} {v}" for k, v in said.items())))
    if DELAY in shots.scalars:
        used = shots.scalars[DELAY].attrs
        more = used.get("correction", "none")
        text = f"{used.get('nominal', '')}" + (f" + {more}" if more != "none" else "")
        rows.append((DELAY, text))
        for n in shots.at_nominal.values():
            text = f"{n} shots without laser, whose time tool has no value"
            rows.append(("nominal delay", text))
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return [*rows, ("quantities", ", ".join(model.quantities)), ("written", made)]


def mean_images(plan: CubePlan, cube: xr.Dataset) -> dict[str, dict[str, xr.DataArray]]:
    """Return mean images of every detector by title, in memory; read at once."""
    parts = {name: mean_over_bins(cube, name) for name in plan.frames}
    found = {name: one for name, one in parts.items() if one is not None}
    made = dask.compute(*found.values())
    out = {}
    for name, one in zip(found, made, strict=True):
        constants = constants_of(plan.run, name)
        flat = set(PIXEL_DIMS) <= set(one.dims)
        if flat and set(IMAGE_INDEX) <= set(constants):
            one = assembled(one, constants)
        images = {"mean of all bins": one}
        if LASER_ON in one.dims:
            on, off = (one.sel({LASER_ON: state}, drop=True) for state in (True, False))
            gap = (on - off).assign_attrs(one.attrs)
            images = {"mean, laser on": on, "mean, laser off": off, DIFFERENCE: gap}
        shapes = {len(image.dims) for image in images.values()}
        out[name] = images if shapes <= {2, 3} else {}
    return out


def mean_over_bins(cube: xr.Dataset, name: str) -> xr.DataArray | None:
    """Return the mean over all bins, None if the cube has neither sum nor mean."""
    name = in_result(name)
    dims = [d for d in cube["n_shots"].dims if d != LASER_ON]
    weights = cube.get(f"{name}_count")
    if weights is None:
        weights = cube[f"{name}_shots"]
    if f"{name}_sum" in cube:
        value = cube[f"{name}_sum"]
        total = value
    elif f"{name}_mean" in cube:
        value = cube[f"{name}_mean"]
        total = value * weights
    else:
        return None
    # A bin that is NaN in a pixel does not count for that pixel.
    known = weights.where(value.notnull())
    n = known.sum(dims)
    mean = (total.sum(dims) / n.where(n > 0)).rename(f"{name}_mean")
    mean.attrs = {UNITS: value.attrs.get(UNITS, "1"), LONG_NAME: f"mean of {name}"}
    return mean


def detector_of(
    plan: CubePlan,
    name: str,
    images: Mapping[str, xr.DataArray],
    given: dict[str, xr.DataArray],
) -> DetectorReport:
    spec = plan.recipe.model.detectors[name]
    said = spec.model_dump(mode="json", exclude_defaults=True, exclude={"det_proc"})
    facts = [(key, str(value)) for key, value in said.items()]
    for step in spec.det_proc:
        where = "every shot" if step.on == "shot" else f"the {step.on} of every bin"
        facts.append((f"{step.function} {step.called}", f"on {where}"))
    pixels = pixels_of(plan, name, given)
    unit = str(plan.frames[name].attrs.get(UNITS, ""))
    return DetectorReport(name, images, pixels, facts, unit)


def pixels_of(
    plan: CubePlan, name: str, given: dict[str, xr.DataArray]
) -> PixelHistogram | None:
    """Return the histogram of the pixels of some shots, before the threshold."""
    spec = plan.recipe.model.detectors[name]
    frames = plan.frames[name]
    cut: tuple[float | None, float | None] | None = None
    lines: dict[str, float] = {}
    known = name in given or spec.frames is not None or name in plan.run.detectors
    if spec.threshold is not None and known:
        raw = raw_frames(plan.run, plan.recipe, name, given)
        frames = corrected(raw, plan.run, name, plan.recipe, threshold=False)
        lines, cut = threshold_of(plan, name, spec)
    bad = constants_of(plan.run, name).get(BAD_PIXELS)
    return pixel_histogram(batches(frames, plan.where(name), bad), lines, cut)


def threshold_of(
    plan: CubePlan, name: str, spec: DetectorSpec
) -> tuple[dict[str, float], tuple[float | None, float | None] | None]:
    """Return the lines of a threshold, and the limits if they are of all pixels."""
    threshold = spec.threshold
    if isinstance(threshold, ThresholdSpec) and threshold.noise is not None:
        noise = constants_of(plan.run, name)[NOISE]
        noise = noise.isel(gain_range=0) if "gain_range" in noise.dims else noise
        at = threshold.noise * float(np.nanmedian(noise.values))
        return {f"threshold, {threshold.noise:g} noise (median)": at}, None
    if isinstance(threshold, ThresholdSpec):
        cut = (threshold.low, threshold.high)
    else:
        cut = (threshold, None)
    pairs = zip(("threshold", "upper threshold"), cut, strict=True)
    return {word: float(v) for word, v in pairs if v is not None}, cut


def batches(
    frames: xr.DataArray, where: xr.DataArray, bad: xr.DataArray | None
) -> Iterator[NDArray[Any]]:
    """Yield about 100 shots that pass the cuts: (shot, pixel), without bad pixels."""
    lead = list(shot_dims(frames))
    good = good_pixels(frames, lead, bad)
    first = lead[0]
    taken = taken_of(frames, where)
    some = np.flatnonzero(taken.any(lead[1:]).values)
    if not len(some):
        return
    # Of trains with many pulses a few pulses of a few trains.
    n_pulses = int(np.clip(int(taken.sum()) // len(some), 1, FEW))
    n = min(len(some), -(-N_SHOTS // n_pulses))
    # Evenly over the run: what drifts is to be seen.
    some = some[np.linspace(0, len(some) - 1, n).round().astype(int)]
    size = frames.size // max(frames.sizes[first], 1)
    step = max(BATCH // max(size, 1), 1)
    for start in range(0, n, step):
        here = {first: some[start : start + step]}
        part, mine = frames.isel(here), taken.isel(here)
        for dim in lead[1:]:
            pulses = np.flatnonzero(mine.any(first).values)
            few = {dim: pulses[:: max(len(pulses) // n_pulses, 1)]}
            part, mine = part.isel(few), mine.isel(few)
        values = part.transpose(*lead, ...).values[mine.values]
        yield values.reshape(len(values), -1)[:, good]


def good_pixels(
    frames: xr.DataArray, lead: list[str], bad: xr.DataArray | None
) -> NDArray[np.bool_]:
    sizes = {d: n for d, n in frames.sizes.items() if d not in lead}
    good = xr.DataArray(np.ones(tuple(sizes.values()), bool), dims=list(sizes))
    if bad is not None and set(bad.dims) <= set(sizes):
        good = good & xr.DataArray((matching(bad, frames, BAD_PIXELS) == 0).variable)
    flags: NDArray[np.bool_] = good.transpose(*sizes).values.reshape(-1)
    return flags


def taken_of(frames: xr.DataArray, where: xr.DataArray) -> xr.DataArray:
    """Return which shots of frames pass the cuts and have data."""
    lead = shot_dims(frames)
    some = at_shots(where, frames, "the shots")
    here = frames.coords.get(AVAILABLE)
    if here is not None:
        bare = xr.DataArray(here.variable)
        some = some & bare.any([d for d in here.dims if d not in lead])
    every = xr.DataArray(np.ones([frames.sizes[d] for d in lead], bool), dims=lead)
    return (every & some).transpose(*lead)
