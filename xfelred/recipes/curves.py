"""Functions of recipes that average over rings, or look for their centre."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import xarray as xr

from xfelred import ops
from xfelred.names import FAST, MODULE, PHI, SLOW, X, Y
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.function_values import Given, Made
from xfelred.recipes.rings import (
    AZAV,
    POWDER_AXES,
    AzimuthalSpec,
    PowderSpec,
    Rings,
    powder_rings,
    rings_of,
)
from xfelred.recipes.strict import checked

# Where pixels are takes seconds to find, and much room to send: by detector, function.
RINGS: dict[str, dict[str, Rings]] = {}
RINGS_LOCK = Lock()
MOST_RINGS = 4  # detectors


def azimuthal_curve(given: Given, parameters: dict[str, Any]) -> Made:
    spec, facts = checked(AzimuthalSpec, parameters), given.facts
    if facts.compat:
        spec = spec.model_copy(update={"compat": True})
    make = partial(rings_of, given.array, spec, facts.constants, facts.bad)
    found = rings_for(given, make).averages(given.array)
    return Made({AZAV: found["intensity"], "count": found["count"]}, None)


def pyfai_curve(given: Given, parameters: dict[str, Any]) -> Made:
    """Return curves about the centre of a PONI file, which is that of the image."""
    spec, image = checked(PowderSpec, parameters), flat_image(given)
    geometry = given.facts.files[spec.poni_file].geometry
    rings = rings_for(given, partial(powder_rings, image, spec, geometry))
    curves = rings.averages(image)["intensity"]
    name, scale = POWDER_AXES[spec.int_units]
    axes = {"q": curves[name] * scale}
    if spec.return2d:
        axes["az"] = curves[PHI] * (180 / np.pi)
    # Axes with every shot, as there.
    own = [d for d in curves.dims if d not in given.shots]
    one = xr.zeros_like(curves.isel(dict.fromkeys(own, 0), drop=True)).fillna(0)
    return Made({AZAV: curves, **{k: one + v for k, v in axes.items()}}, None)


def ring_centre(given: Given, parameters: dict[str, Any]) -> Made:
    found = ops.fit_centre(flat_image(given), **parameters)
    return Made({str(k): v for k, v in found.data_vars.items()}, None)


def flat_image(given: Given) -> xr.DataArray:
    """Return frames (..., slow_scan, fast_scan): their image, where that is known."""
    known = given.facts.constants
    if given.array.sizes.get(MODULE, 1) == 1 and "ix" not in known:
        return given.array
    return assembled(given.array, known).rename({Y: SLOW, X: FAST})


def rings_for(given: Given, make: Callable[[], Rings]) -> Rings:
    """Return the rings of a function, which each process makes once for all frames."""
    facts = given.facts
    with RINGS_LOCK:  # others wait, rather than make them, too
        if facts.token not in RINGS:
            while len(RINGS) >= MOST_RINGS:
                del RINGS[next(iter(RINGS))]
            RINGS[facts.token] = {}
        mine = RINGS[facts.token]
        if given.called not in mine:
            mine[given.called] = make()
        return mine[given.called]
