"""The functions of small-data recipes: their names, operations and parameters.

Each is given frames, or what the function above it made of them, and makes values of
every shot: arrays, or entries of which a shot has any number. Operations are lazy, so
that the same function tells the shapes of its results and computes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import ops
from xfelred.errors import ArgumentError, MissingConstantError, did_you_mean, listing
from xfelred.lazy import map_frames
from xfelred.lazy.scheduler import warn_in_task
from xfelred.names import DROPLET, FAST, SAMPLE, SLOW
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.curves import azimuthal_curve, pyfai_curve, ring_centre
from xfelred.recipes.function_values import Entries, Given, Made, Value
from xfelred.recipes.rings import AzimuthalSpec, PowderSpec
from xfelred.recipes.strict import Strict, checked
from xfelred.recipes.units import wrong_value

Maker = Callable[[Given, dict[str, Any]], Made]
# What a recipe does not give: arrays, which the run knows, and what only users can.
NOT_IN_RECIPES = {"bad_pixels", "noise", "labels", "other", "by", "geometry", "flags"}
MOST_OF_A_SHOT = 1 << 30  # bytes
FIELDS = ("data", "npix", "row", "col", "tile")  # of entries, as `ops.sparsify`
# Functions that work on what is found in frames; others know frames only.
OF_ENTRIES = ("spectrum", "photons", "sparsify")
WHOLE = ("npix", "tile")  # whole numbers among them
COUNTS = {"n_droplets": "nDroplets", "n_droplets_all": "nDroplets_all"}


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
    return Made(values, replace(given, array=values[main], entries=None))


def spectrum(given: Given, parameters: dict[str, Any]) -> Made:
    """Count pixels by value, or droplets by their signal."""
    if given.entries is not None and DROPLET in given.entries.dims:
        listed = map_frames(
            if_complete,
            given.entries["adu"],
            given.entries["n_droplets"],
            core_dims=(DROPLET,),
            called=given.called,
        )
        given = replace(given, array=listed.rename({DROPLET: FAST}).expand_dims(SLOW))
    return applied("spectrum", "histogram", given, parameters)


def if_complete(
    listed: NDArray[Any], found: NDArray[np.int64], *, called: str
) -> NDArray[Any]:
    """Return the droplets of some shots; warn of shots with more."""
    room = listed.shape[-1]
    if (found > room).any():
        warn_in_task(
            f"{called!r} lacks droplets of shots that have more than there is room for"
            f" ({room}); all are counted. Raise max_droplets"
        )
    return listed


def of_traces(operation: str, main: str) -> Maker:
    return partial(applied_to_traces, operation, main)


def applied_to_traces(
    operation: str, main: str, given: Given, parameters: dict[str, Any]
) -> Made:
    traces = replace(given, array=as_traces(given.array, given.shots))
    return applied(operation, main, traces, parameters)


def as_traces(array: xr.DataArray, shots: tuple[str, ...]) -> xr.DataArray:
    """Return an array whose last dim is that of samples."""
    own = [str(d) for d in array.dims if d not in shots]
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


def droplets(given: Given, parameters: dict[str, Any]) -> Made:
    options = droplet_options(given, parameters)
    found = ops.find_droplets(given.array, **options)
    values: dict[str, Value] = {new: found[old] for old, new in COUNTS.items()}
    check_room(found, "max_droplets", given.shots)
    return Made(values, replace(given, entries=found, found_with=parameters))


def check_room(entries: xr.Dataset, name: str, shots: tuple[str, ...]) -> None:
    """Raise ArgumentError for entries of a shot that fit into no memory."""
    n_shots = max(1, prod(entries.sizes.get(d, 1) for d in shots))
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
    check_room(entries, "max_photons", given.shots)
    return Made(values, replace(given, entries=entries, found_with={}))


def photon_counts(given: Given, parameters: dict[str, Any]) -> Made:
    found = ops.count_photons(given.array, **parameters)
    own = [d for d in found.dims if d not in given.shots]
    return Made({"nPhot": found.sum(own)}, replace(given, array=found))


def sparse(given: Given, parameters: dict[str, Any]) -> Made:
    n = parameters.get("n")
    source = given.array if given.entries is None else given.entries
    found = ops.sparsify(source, n or None)
    if n:
        check_room(found, "n", given.shots)
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
    spec: type[Strict] | None = None  # of all its parameters

    @property
    def parameters(self) -> dict[str, bool]:
        """Names of its parameters, and whether each must be given."""
        known = dict.fromkeys(self.more, False)
        if self.spec is not None:
            known |= {n: f.is_required() for n, f in self.spec.model_fields.items()}
        for operation in self.operations:
            taken = inspect.signature(getattr(ops, operation)).parameters
            for i, (name, p) in enumerate(taken.items()):
                if i and name not in NOT_IN_RECIPES and p.kind is not p.VAR_KEYWORD:
                    known.setdefault(name, p.default is p.empty)
        return known


FUNCTIONS: dict[str, Function] = {
    "roi": Function(region, ("roi",)),
    "project": Function(projection, ("project",)),
    "spectrum": Function(spectrum, ("spectrum",)),
    "rebin": Function(plain("rebin", "data"), ("rebin",)),
    "lineout": Function(plain("lineout", "data"), ("lineout",)),
    "curvature": Function(plain("correct_curvature", "data"), ("correct_curvature",)),
    "compress": Function(plain("compress", "data"), ("compress",)),
    "image": Function(image),
    "azimuthal": Function(azimuthal_curve, spec=AzimuthalSpec),
    "azav_pyfai": Function(pyfai_curve, spec=PowderSpec),
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
    spec = FUNCTIONS[function].spec
    if spec is not None:
        checked(spec, given)
    if function == "roi" and isinstance(given.get("bounds"), list):
        check_bounds(given["bounds"])
    n = given.get("n", 0) if function == "sparsify" else 0
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or n < 0):
        raise wrong_value("n", f"n is null, 0 or a number of entries, not {n!r}")


def check_bounds(bounds: list[Any]) -> None:
    if len(bounds) not in (2, 3):
        raise wrong_value("bounds", f"bounds are of 2 or 3 axes, not {len(bounds)}")
    for pair in bounds:
        match pair:
            case [int() | None as low, int() | None as high]:
                if high is not None and max(low or 0, 0) >= high:
                    raise wrong_value(
                        "bounds", f"bounds must rise, but [{low}, {high}] has no pixel"
                    )
            case _:
                raise wrong_value("bounds", f"{pair} is no pair of whole numbers")
