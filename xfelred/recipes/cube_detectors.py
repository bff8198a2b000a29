"""Frames of a detector as a cube recipe wants them: calibrated, corrected, cut."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred import ops
from xfelred.errors import (
    ConfigError,
    MissingConstantError,
    XfelredError,
    listing,
    no_such,
    warn,
)
from xfelred.lazy import map_frames
from xfelred.names import (
    BAD_PIXELS,
    GAIN,
    GAIN_FACTOR,
    GAIN_RANGE,
    PHOTON,
    TRAIN,
    UNITS,
)
from xfelred.ops.companions import matching
from xfelred.provenance import record
from xfelred.readers.open import open_run
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_recipe import lcls_kind
from xfelred.recipes.models import (
    CommonModeSpec,
    PhotonsSpec,
    SourceSpec,
    ThresholdSpec,
)
from xfelred.recipes.recipe import Recipe, at_key
from xfelred.shots import check_overlap

NOISE = "noise"


def check_detectors(
    run: Run, recipe: Recipe, given: Mapping[str, xr.DataArray]
) -> None:
    """Raise ConfigError for detectors that are nowhere, or that nobody asks for."""
    known = [*run.detectors, *given]
    for name, spec in recipe.model.detectors.items():
        if name not in known and spec.frames is None:
            raise recipe.error(
                f"detectors.{name}",
                no_such("detector", name, known, f" in {run.run_id}"),
            )
    unused = [n for n in given if n not in recipe.model.detectors]
    if unused:
        raise ConfigError(
            f"frames= has {listing(unused)}, but the recipe names the detectors"
            f" {listing(recipe.model.detectors)}"
        )


def check_shots(
    recipe: Recipe,
    name: str,
    frames: xr.DataArray,
    wanted: pd.Index,
    given: Mapping[str, xr.DataArray],
) -> None:
    """Raise ConfigError unless frames of a detector can be joined to the shots."""
    if TRAIN not in frames.coords:
        raise ConfigError(
            f"frames of {name!r} have no train IDs, by which shots are joined"
        )
    have = frames.indexes[TRAIN]
    foreign = name in given or recipe.model.detectors[name].frames is not None
    found = wanted.isin(have)
    # A detector of the run itself may have been off for a while.
    if foreign or not found.any():
        with at_key(recipe, f"detectors.{name}"):
            check_overlap(found, have, wanted, dim=TRAIN, name=f"frames of {name}")


def detector_frames(
    run: Run, recipe: Recipe, name: str, given: Mapping[str, xr.DataArray]
) -> xr.DataArray:
    """Return the corrected frames of a detector; nothing is read but constants."""
    with at_key(recipe, f"detectors.{name}"):
        frames = raw_frames(run, recipe, name, given)
    return corrected(frames, run, name, recipe)


def raw_frames(
    run: Run, recipe: Recipe, name: str, given: Mapping[str, xr.DataArray]
) -> xr.DataArray:
    spec = recipe.model.detectors[name]
    if name in given:
        return given[name]
    if spec.frames is None:
        found: xr.DataArray = run.frames(name, spec.key, bad_pixels="keep")
        return found
    # Paths are relative to the recipe.
    base = os.path.dirname(recipe.source.name)
    source = spec.frames.source
    if os.sep in source or os.path.exists(os.path.join(base, source)):
        source = os.path.join(base, source)
    try:
        other = open_run(source)
    except FileNotFoundError as error:
        key = f"detectors.{name}.frames.source"
        raise recipe.error(key, str(error)) from error
    elsewhere: xr.DataArray = other.frames(
        spec.frames.detector or name, spec.frames.key or spec.key, bad_pixels="keep"
    )
    return elsewhere


def corrected(
    frames: xr.DataArray,
    run: Run,
    name: str,
    recipe: Recipe,
    *,
    threshold: bool = True,
) -> xr.DataArray:
    """Return frames after calibration, common mode, bad pixels and `threshold`."""
    spec = recipe.model.detectors[name]
    key = f"detectors.{name}"
    bad = frames.coords.get(BAD_PIXELS)
    frames = frames.drop_vars(BAD_PIXELS, errors="ignore")
    constants = constants_of(run, name)
    if bad is None and BAD_PIXELS in constants:
        bad = constants[BAD_PIXELS]
    applied = bad if spec.bad_pixels == "apply" else None
    # What the user has written is applied, or an error; a default may not fit.
    if applied is not None and "bad_pixels" not in spec.model_fields_set:
        applied = applied if fits(applied, frames, name) else None
    if spec.calibrate is not None:
        with at_key(recipe, f"{key}.calibrate"):
            frames = calibrated(frames, constants, spec, applied)
    elif spec.common_mode is not None:
        with at_key(recipe, f"{key}.common_mode"):
            frames = without_common_mode(frames, spec.common_mode, bad, constants, name)
    if applied is not None and spec.calibrate is None:
        with at_key(recipe, f"{key}.bad_pixels"):
            frames = as_floats(frames)
            frames = ops.apply_bad_pixels(frames, applied)
    if spec.threshold is not None and threshold:
        with at_key(recipe, f"{key}.threshold"):
            frames = with_threshold(
                frames, spec.threshold, constants, calibrated=spec.calibrate is not None
            )
    if spec.photons is not None and threshold:
        with at_key(recipe, f"{key}.photons"):
            frames = in_photons(frames, spec.photons)
    return frames


def in_photons(frames: xr.DataArray, spec: PhotonsSpec) -> xr.DataArray:
    """Return the number of photons in every pixel, NaN where it is bad."""
    unit = str(frames.attrs.get(UNITS, ""))
    adu = spec.adu_per_photon
    if adu is None and unit != PHOTON:
        raise MissingConstantError(
            f"the frames are in {unit or 'no unit'}, not in photons: say what one is,"
            " such as photons: {adu_per_photon: 154, fraction: 0.9}"
        )
    options = spec.model_dump(include={"fraction", "threshold"})
    counts = ops.count_photons(frames, adu_per_photon=adu or 1.0, **options)
    # A pixel that is bad has no photon, which is not the same as none seen.
    out = counts.astype(np.float32)
    if frames.dtype.kind == "f":
        out = out.where(frames.notnull())
    out.attrs = counts.attrs
    return out


def calibrated(
    frames: xr.DataArray,
    constants: xr.Dataset,
    spec: SourceSpec,
    bad: xr.DataArray | None,
) -> xr.DataArray:
    if "pedestal" not in constants:
        raise MissingConstantError(
            f"calibrate: {spec.calibrate} needs a pedestal; the run has"
            f" {', '.join(map(str, constants)) or 'no constants'}"
        )
    if spec.bad_pixels == "keep":
        constants = constants.drop_vars(BAD_PIXELS, errors="ignore")
    mode: Any = spec.common_mode
    if isinstance(mode, CommonModeSpec):
        mode = mode.model_dump()
    elif isinstance(mode, list):
        mode = tuple(mode)
    return ops.calibrate(
        frames, constants, kind=str(spec.calibrate), common_mode=mode, bad_pixels=bad
    )


def constants_of(run: Run, name: str) -> xr.Dataset:
    try:
        found: xr.Dataset = run.constants(name)
    except (XfelredError, KeyError):
        return xr.Dataset()
    return found


def without_common_mode(
    frames: xr.DataArray,
    mode: CommonModeSpec | int | list[float],
    bad: xr.DataArray | None,
    constants: xr.Dataset,
    name: str,
) -> xr.DataArray:
    if isinstance(mode, CommonModeSpec):
        options = mode.model_dump(exclude={"groups"})
        return ops.subtract_common_mode(
            frames, tuple(mode.groups), bad_pixels=bad, **options
        )
    kind = lcls_kind(name, mode)
    cmpars = None if isinstance(mode, int) else tuple(mode)
    number = mode if isinstance(mode, int) else None
    return ops.subtract_common_mode_lcls(
        frames,
        number,
        detector=kind,
        cmpars=cmpars,
        bad_pixels=bad,
        noise=constants.get(NOISE),
    )


def with_threshold(
    frames: xr.DataArray,
    threshold: float | ThresholdSpec,
    constants: xr.Dataset,
    *,
    calibrated: bool,
) -> xr.DataArray:
    """Return frames in which pixels outside a threshold are 0."""
    if isinstance(threshold, ThresholdSpec) and threshold.noise is not None:
        if NOISE not in constants:
            raise MissingConstantError("threshold: the run has no noise of the pixels")
        noise = at_highest_gain(constants[NOISE])
        if calibrated:  # the noise is in adu, these frames went through the gain
            noise = noise * signal_per_adu(constants)
        low = matching(noise, frames, NOISE) * threshold.noise
        out = map_frames(cut_below, frames, low.astype(np.float64), dtype=frames.dtype)
        return record(out, "threshold", frames, noise=threshold.noise)
    if isinstance(threshold, ThresholdSpec):
        limits = (threshold.low, threshold.high)
    else:
        limits = (threshold, None)
    lo = -np.inf if limits[0] is None else limits[0]
    hi = np.inf if limits[1] is None else limits[1]
    out = map_frames(cut_outside, frames, lo=lo, hi=hi, dtype=frames.dtype)
    return record(out, "threshold", frames, low=limits[0], high=limits[1])


def fits(bad: xr.DataArray, frames: xr.DataArray, name: str) -> bool:
    """Return whether bad pixels that nobody asked for fit the frames; warn if not."""
    try:
        matching(bad, frames, BAD_PIXELS)
    except ValueError as error:
        warn(
            f"detectors.{name}: the bad pixels that the run knows are not of these"
            f" frames and are not applied: {error}. Say bad_pixels: keep, or put bad"
            " pixels of their own into the frames (coordinate bad_pixels)"
        )
        return False
    return True


def as_floats(frames: xr.DataArray) -> xr.DataArray:
    if frames.dtype.kind == "f":
        return frames
    # To have NaN, without losing a number: float32 is exact up to 16 bits, float64 up
    # to 2**53.
    return frames.astype(np.float32 if frames.dtype.itemsize <= 2 else np.float64)


def signal_per_adu(constants: xr.Dataset) -> xr.DataArray | float:
    """Return what one adu in the highest gain is worth after the calibration."""
    out: xr.DataArray | float = 1.0
    if GAIN in constants.data_vars:
        gain = abs(at_highest_gain(constants[GAIN]))
        out = (1 / gain).where(gain != 0, 0.0)
    if GAIN_FACTOR in constants.data_vars:
        out = out * abs(at_highest_gain(constants[GAIN_FACTOR]))
    return out


def at_highest_gain(constant: xr.DataArray) -> xr.DataArray:
    if GAIN_RANGE not in constant.dims:
        return constant
    return constant.isel({GAIN_RANGE: 0}, drop=True)  # ranges go from high to low


def cut_below(x: NDArray[Any], low: NDArray[np.float64]) -> NDArray[Any]:
    out: NDArray[Any] = np.where(x < low, x.dtype.type(0), x)
    return out


def cut_outside(x: NDArray[Any], *, lo: float, hi: float) -> NDArray[Any]:
    # NaN is neither: it stays.
    out: NDArray[Any] = np.where((x < lo) | (x > hi), x.dtype.type(0), x)
    return out
