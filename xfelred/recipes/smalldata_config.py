"""What a small-data file says once: sums over the run, constants, parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.names import PIXEL_DIMS, PULSE
from xfelred.ops.reductions.detector_sum import parsed
from xfelred.products.lcls_cube_file import MICROMETRES, lcls_constants
from xfelred.recipes.cube_detectors import constants_of
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.function_tree import FunctionSpec
from xfelred.recipes.smalldata_plan import DetectorPlan, SmallDataPlan, has_pulses

CONFIG = "UserDataCfg"
Item = tuple[str, Any]


def finished_sums(
    plan: SmallDataPlan, detector: DetectorPlan, totals: Sequence[NDArray[Any]]
) -> Iterator[Item]:
    """Yield the sums of a detector by their names, images where these say so."""
    for name, total in zip(detector.sums, totals, strict=True):
        if not total.size:  # no shot has a frame
            fill = np.nan if "max" in name.split("_") else 0.0
            total = np.full(detector.sum_shape, fill)
        if parsed(name, tuple(plan.flags)).image:
            frame = xr.DataArray(total, dims=PIXEL_DIMS[3 - total.ndim :])
            total = assembled(frame, constants_of(plan.run, detector.name)).values
        yield f"Sums/{detector.name}_{name}", total


def configuration(plan: SmallDataPlan, detector: DetectorPlan) -> Iterator[Item]:
    """Yield what the run knows of the pixels, and the parameters of all functions."""
    above = f"{CONFIG}/{detector.name}"
    known = constants_of(plan.run, detector.name)
    for name, values in lcls_constants(known).items():
        yield f"{above}/{'cmask' if name == 'calib_mask' else name}", values
    if "z" in known:
        yield f"{above}/z", known["z"].values * MICROMETRES
    if has_pulses(detector.frames) and PULSE in detector.frames.coords:
        yield f"{above}/{PULSE}", detector.frames[PULSE].values
    spec = plan.recipe.model.detectors[detector.name]
    if isinstance(spec.common_mode, int | list):
        yield f"{above}/common_mode", np.asarray(spec.common_mode)
    for name, value in parameters(detector.functions):
        yield f"{above}/{name}", value


def parameters(functions: Sequence[FunctionSpec], stem: str = "") -> Iterator[Item]:
    for spec in functions:
        called = f"{stem}_{spec.called}" if stem else spec.called
        for name, value in spec.parameters.items():
            if value is not None:
                yield f"{called}__{called}_{name}", as_stored(value)
        yield from parameters(spec.functions, called)


def as_stored(value: object) -> Any:
    """Return numbers as an array, all else as text."""
    if isinstance(value, str):
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        return json.dumps(value)
    return array if array.dtype.kind in "biuf" else json.dumps(value)
