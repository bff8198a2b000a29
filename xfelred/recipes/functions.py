"""The functions of small-data recipes: their names, operations and parameters.

Each is given frames, or what the function above it made of them, and makes values of
every shot: arrays, or entries of which a shot has any number. Operations are lazy, so
that the same function tells the shapes of its results and computes them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from secrets import token_hex
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr
from pydantic import ValidationError

from xfelred import ops
from xfelred.errors import (
    ArgumentError,
    MissingConstantError,
    did_you_mean,
    listing,
    must_be_one_of,
)
from xfelred.geometry import Geometry, locate
from xfelred.names import FAST, MODULE, PHI, PULSE, SAMPLE, SLOW, TRAIN, X, Y
from xfelred.recipes.cube_outputs import Rings, assembled, on_rings, rings_of
from xfelred.recipes.models import AzimuthalSpec
from xfelred.recipes.units import wrong_value

# What a recipe does not give: arrays, which the run knows, and what only users can.
NOT_IN_RECIPES = {"bad_pixels", "noise", "labels", "other", "by", "geometry", "flags"}
NOT_OF_A_CURVE = ("function", "name", "on")
SHOTS = (TRAIN, PULSE)
# Where pixels are takes seconds to find, and much room to send: by detector, function.
RINGS: dict[str, dict[str, Rings]] = {}
RINGS_LOCK = Lock()
MOST_RINGS = 4  # detectors
MOST_OF_A_SHOT = 1 << 30  # bytes
FIELDS = ("data", "npix", "row", "col", "tile")  # of entries, as `ops.sparsify`
WHOLE = ("npix", "tile")  # whole numbers among them
# Axes of pyFAI: ours, and what they are times.
POWDER_AXES: dict[str, tuple[Literal["q", "two_theta"], float]] = {
    "2th_deg": ("two_theta", 180 / np.pi), "2th_rad": ("two_theta", 1.0),
    "q_A^-1": ("q", 1.0), "q_nm^-1": ("q", 10.0),
}  # fmt: skip
PYFAI = ("npts", "npts_az", "int_units", "polarization_factor", "return2d")
COUNTS = {"n_droplets": "nDroplets", "n_droplets_all": "nDroplets_all"}


@dataclass(frozen=True, eq=False)
class Facts:
    """What a run knows of the pixels of a detector, as far as functions need it."""

    constants: xr.Dataset  # some of x, y, z, ix, iy
    noise: xr.DataArray | None = None  # in units of the frames
    bad: xr.DataArray | None = None
    folder: str = ""  # of the recipe, from which its files are named
    token: str = field(default_factory=lambda: token_hex(16))


@dataclass(frozen=True, eq=False)
class Given:
    """What a function works on."""

    array: xr.DataArray
    facts: Facts
    called: str  # full name of the function, such as droplet_d2p
    has_below: bool = False  # functions of its result
    entries: xr.Dataset | None = None  # what the function above has found in `array`
    found_with: Mapping[str, Any] = field(default_factory=dict)  # its parameters


@dataclass(frozen=True, eq=False)
class Entries:
    """Any number of entries of every shot, padded with NaN along one dim."""

    fields: Mapping[str, xr.DataArray]  # (train[, pulse], entry)
    ragged: bool = False  # stored as arrays of many lengths, else in one with lengths


Value = xr.DataArray | Entries


class Made(NamedTuple):
    """Values by the end of their name, and what the functions below work on."""

    values: dict[str, Value]
    below: Given | None


Maker = Callable[[Given, dict[str, Any]], Made]


def plain(operation: str, main: str) -> Maker:
    """Return the function that applies an operation and keeps all that it returns."""
    return partial(applied, operation, main)


def applied(
    operation: str, main: str, given: Given, parameters: dict[str, Any]
) -> Made:
    found = getattr(ops, operation)(given.array, **parameters)
    if isinstance(found, xr.DataArray):
        found = xr.Dataset({main: found})
    values = {str(k): v for k, v in found.data_vars.items()}
    return Made(values, replace(given, array=values[main]))


def of_traces(operation: str, main: str) -> Maker:
    return partial(applied_to_traces, operation, main)


def applied_to_traces(
    operation: str, main: str, given: Given, parameters: dict[str, Any]
) -> Made:
    traces = replace(given, array=as_traces(given.array))
    return applied(operation, main, traces, parameters)


def as_traces(array: xr.DataArray) -> xr.DataArray:
    """Return an array whose last dim is that of samples."""
    own = [str(d) for d in array.dims if d not in SHOTS]
    if SAMPLE in own:
        return array
    own = [d for d in own if array.sizes[d] > 1] or own
    if not own:
        raise ArgumentError("a function of traces is given one number of every shot")
    kept = array.drop_vars([c for c in array.coords if own[-1] in array[c].dims])
    return kept.rename({own[-1]: SAMPLE})


def region(given: Given, parameters: dict[str, Any]) -> Made:
    wanted = bool(parameters.get("write_area", False))
    bounds = parameters.get("bounds")
    rest = {k: v for k, v in parameters.items() if k != "bounds"}
    rest["write_area"] = wanted or given.has_below
    found = ops.roi(given.array, bounds, **rest)
    values: dict[str, Value] = {str(k): v for k, v in found.data_vars.items()}
    if not rest["write_area"]:
        return Made(values, None)
    below = replace(given, array=found["area"])
    if not wanted:
        del values["area"]
    return Made(values, below)


def projection(given: Given, parameters: dict[str, Any]) -> Made:
    if parameters.get("noise_sigma") is not None:
        parameters = {**parameters, "noise": noise_of(given)}
    return applied("project", "data", given, parameters)


def image(given: Given, parameters: dict[str, Any]) -> Made:
    found = assembled(given.array, given.facts.constants)
    return Made({"img": found}, replace(given, array=found))


def azimuthal_curve(given: Given, parameters: dict[str, Any]) -> Made:
    spec = azimuthal_spec(parameters)
    facts = given.facts
    make = partial(rings_of, given.array, spec, facts.constants, facts.bad)
    found = on_rings(given.array, rings_for(given, make), spec, facts.bad)
    return Made({str(k): v for k, v in found.data_vars.items()}, None)


def flat_image(given: Given) -> xr.DataArray:
    """Return frames (..., slow_scan, fast_scan): their image, where that is known."""
    known = given.facts.constants
    if given.array.sizes.get(MODULE, 1) == 1 and "ix" not in known:
        return given.array
    return assembled(given.array, known).rename({Y: SLOW, X: FAST})


def ring_centre(given: Given, parameters: dict[str, Any]) -> Made:
    found = ops.fit_centre(flat_image(given), **parameters)
    return Made({str(k): v for k, v in found.data_vars.items()}, None)


def pyfai_curve(given: Given, parameters: dict[str, Any]) -> Made:
    """Return curves about the centre of a PONI file, which is that of the image."""
    image = flat_image(given)
    made = partial(poni_rings, image, given.facts.folder, parameters)
    rings = rings_for(given, made)
    n_az = parameters.get("npts_az", 360) if parameters.get("return2d") else None
    unit, scale = POWDER_AXES[parameters.get("int_units", "2th_deg")]
    curves = ops.integrate_azimuthally(
        image.assign_coords(rings.coords).assign_attrs(rings.attrs),
        parameters.get("npts", 256),
        phi_bins=n_az,
        unit=unit,
        polarization=parameters.get("polarization_factor", 1.0),
    )["intensity"]
    axes = {"q": curves[unit] * scale}
    if n_az is not None:
        axes["az"] = curves[PHI] * (180 / np.pi)
    # Axes with every shot, as there.
    one = xr.zeros_like(curves.isel({d: 0 for d in curves.dims if d not in SHOTS}))
    one = one.drop_vars([c for c in one.coords if c not in SHOTS]).fillna(0)
    return Made({"azav": curves, **{k: one + v for k, v in axes.items()}}, None)


def poni_rings(image: xr.DataArray, folder: str, parameters: dict[str, Any]) -> Rings:
    path = os.path.join(folder, parameters["poni_file"])
    located = locate(image, Geometry.from_poni(path))
    new = {
        str(n): c.variable for n, c in located.coords.items() if n not in image.coords
    }
    return Rings(new, located.attrs, [], np.zeros(0))


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


def azimuthal_spec(parameters: Mapping[str, Any]) -> AzimuthalSpec:
    try:
        return AzimuthalSpec.model_validate({"function": "azimuthal", **parameters})
    except ValidationError as error:
        first = error.errors()[0]
        cause = (first.get("ctx") or {}).get("error")
        path = tuple(str(p) for p in first["loc"])
        raise wrong_value(path, str(cause or first["msg"])) from None


def droplets(given: Given, parameters: dict[str, Any]) -> Made:
    options = droplet_options(given, parameters)
    found = ops.find_droplets(given.array, **options)
    values: dict[str, Value] = {new: found[old] for old, new in COUNTS.items()}
    check_room(found, "max_droplets")
    return Made(values, replace(given, entries=found, found_with=parameters))


def check_room(entries: xr.Dataset, name: str) -> None:
    """Raise ArgumentError for entries of a shot that fit into no memory."""
    n_shots = max(1, prod(entries.sizes.get(d, 1) for d in SHOTS))
    if entries.nbytes / n_shots > MOST_OF_A_SHOT:
        raise ArgumentError(
            f"{name} makes room of {entries.nbytes / n_shots / 2**30:.1f} GiB for each"
            " shot; take a smaller one"
        )


def droplet_options(given: Given, parameters: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(parameters)
    if options.pop("use_noise", True):
        options["noise"] = noise_of(given)
    return options


def photons(given: Given, parameters: dict[str, Any]) -> Made:
    # Photons are those of the droplets that the function above has found.
    known = FUNCTIONS["photons"].parameters
    above = {k: v for k, v in given.found_with.items() if k in known}
    options = droplet_options(given, {**above, **parameters})
    found = ops.droplets_to_photons(given.array, **options)
    values: dict[str, Value] = {"nPhotons": found["n_photons"], "prob": found["prob"]}
    entries = found.drop_vars("prob")
    check_room(entries, "max_photons")
    return Made(values, replace(given, entries=entries, found_with={}))


def photon_counts(given: Given, parameters: dict[str, Any]) -> Made:
    found = ops.count_photons(given.array, **parameters)
    own = [d for d in found.dims if d not in SHOTS]
    return Made({"nPhot": found.sum(own)}, replace(given, array=found))


def sparse(given: Given, parameters: dict[str, Any]) -> Made:
    n = parameters.get("n")
    source = given.array if given.entries is None else given.entries
    found = ops.sparsify(source, n or None)
    fields = {k: found[k] for k in FIELDS if k in found}
    if n:
        return Made({**fields}, None)
    return Made({"": Entries(fields, ragged=n == 0)}, None)


def noise_of(given: Given) -> xr.DataArray:
    if given.facts.noise is None:
        raise MissingConstantError(
            "the run has no noise of the pixels (rms); say use_noise: false, and give"
            " thresholds in units of the frames"
        )
    return given.facts.noise


@dataclass(frozen=True)
class Function:
    """A function of recipes."""

    make: Maker
    operations: tuple[str, ...] = ()  # of `ops`, whose parameters it has
    more: tuple[str, ...] = ()  # parameters of its own
    needs: tuple[str, ...] = ()  # those that must be given

    @property
    def parameters(self) -> dict[str, bool]:
        """Names of its parameters, and whether each must be given."""
        known = dict.fromkeys(self.more, False) | dict.fromkeys(self.needs, True)
        for operation in self.operations:
            taken = inspect.signature(getattr(ops, operation)).parameters
            for i, (name, p) in enumerate(taken.items()):
                if i and name not in NOT_IN_RECIPES and p.kind is not p.VAR_KEYWORD:
                    known.setdefault(name, p.default is p.empty)
        return known


FUNCTIONS: dict[str, Function] = {
    "roi": Function(region, ("roi",)),
    "project": Function(projection, ("project",)),
    "spectrum": Function(plain("spectrum", "histogram"), ("spectrum",)),
    "rebin": Function(plain("rebin", "data"), ("rebin",)),
    "lineout": Function(plain("lineout", "data"), ("lineout",)),
    "curvature": Function(plain("correct_curvature", "data"), ("correct_curvature",)),
    "compress": Function(plain("compress", "data"), ("compress",)),
    "image": Function(image),
    "azimuthal": Function(
        azimuthal_curve,
        more=tuple(n for n in AzimuthalSpec.model_fields if n not in NOT_OF_A_CURVE),
    ),
    "azav_pyfai": Function(pyfai_curve, more=PYFAI, needs=("poni_file",)),
    "fit_centre": Function(ring_centre, ("fit_centre",)),
    "droplets": Function(droplets, ("find_droplets",), ("use_noise",)),
    "photons": Function(photons, ("droplets_to_photons",), ("use_noise",)),
    "photon_counts": Function(photon_counts, ("count_photons",)),
    "sparsify": Function(sparse, ("sparsify",)),
    "autocorrelate": Function(plain("autocorrelate", "acf"), ("autocorrelate",)),
    "waveform_baseline": Function(
        of_traces("waveform_baseline", "wf"), ("waveform_baseline",)
    ),
    "waveform_integrate": Function(
        of_traces("waveform_integrate", "integral"), ("waveform_integrate",)
    ),
    "waveform_hits": Function(of_traces("waveform_hits", "hits"), ("waveform_hits",)),
    "waveform_cfd": Function(of_traces("waveform_cfd", "hit_time"), ("waveform_cfd",)),
    "waveform_fit": Function(of_traces("waveform_fit", "amplitude"), ("waveform_fit",)),
    "waveform_svd": Function(of_traces("waveform_svd", "score"), ("waveform_svd",)),
}  # fmt: skip


def check_parameters(function: str, given: Mapping[str, Any]) -> None:
    """Raise KeyedValueError for a parameter that a function does not have, or lacks."""
    known = FUNCTIONS[function].parameters
    for name in given:
        if name not in known:
            raise wrong_value(
                name,
                f"{function} has no parameter {name!r}.{did_you_mean(name, known)}"
                f" There are: {listing(sorted(known), 30)}",
            )
    missing = [n for n, needed in known.items() if needed and n not in given]
    if missing:
        raise ArgumentError(f"{function} needs {listing(missing)}")
    if function == "azimuthal":
        azimuthal_spec(given)
    if function == "azav_pyfai":
        must_be_one_of("int_units", given.get("int_units", "2th_deg"), POWDER_AXES)
    n = given.get("n", 0) if function == "sparsify" else 0
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 0):
        raise wrong_value("n", f"n is null, 0 or a number of entries, not {n!r}")
