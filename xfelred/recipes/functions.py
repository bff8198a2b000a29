"""The functions of small-data recipes: their names, operations and parameters.

Each is given frames, or what the function above it made of them, and makes values of
every shot: arrays, or entries of which a shot has any number. Operations are lazy, so
that the same function tells the shapes of its results and computes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from secrets import token_hex
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from pydantic import ValidationError

from xfelred import ops
from xfelred.errors import ArgumentError, MissingConstantError, did_you_mean, listing
from xfelred.names import DROPLET, FAST, MODULE, PHOTON, PULSE, SAMPLE, SLOW, TRAIN
from xfelred.recipes.cube_outputs import assembled
from xfelred.recipes.rings import AzimuthalSpec, Rings, rings_of
from xfelred.recipes.units import wrong_value

# What a recipe does not give: arrays, which the run knows, and what only users can.
NOT_IN_RECIPES = {"bad_pixels", "noise", "labels", "other", "by", "geometry", "flags"}
SHOTS = (TRAIN, PULSE)
# Where pixels are takes seconds to find, and much room to send: by detector, function.
RINGS: dict[str, dict[str, Rings]] = {}
RINGS_LOCK = Lock()
MOST_RINGS = 4  # detectors
MOST_OF_A_SHOT = 1 << 30  # bytes
# Fields of entries by our names, and by those of the LCLS small data.
FIELDS = {"adu": "data", "npix": "npix", "row": "row", "col": "col", "module": "tile"}
WHOLE = ("npix", "tile")  # whole numbers among them
COUNTS = {"n_droplets": "nDroplets", "n_droplets_all": "nDroplets_all"}


@dataclass(frozen=True, eq=False)
class Facts:
    """What a run knows of the pixels of a detector, as far as functions need it."""

    constants: xr.Dataset  # some of x, y, z, ix, iy
    noise: xr.DataArray | None = None  # in units of the frames
    bad: xr.DataArray | None = None
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
    shots: tuple[str, ...] = SHOTS  # dims that are not of a frame


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
    return Made(values, replace(given, array=values[main], entries=None))


def spectrum(given: Given, parameters: dict[str, Any]) -> Made:
    """Count pixels by value, or droplets by their signal."""
    if given.entries is not None and DROPLET in given.entries.dims:
        listed = given.entries["adu"].rename({DROPLET: FAST}).expand_dims(SLOW)
        given = replace(given, array=listed)
    return applied("spectrum", "histogram", given, parameters)


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


def azimuthal_curve(given: Given, parameters: dict[str, Any]) -> Made:
    spec = azimuthal_spec(parameters)
    found = rings_for(given, spec).averages(given.array)
    return Made({str(k): v for k, v in found.data_vars.items()}, None)


def rings_for(given: Given, spec: AzimuthalSpec) -> Rings:
    """Return the rings of a function, which each process makes once for all frames."""
    facts = given.facts
    with RINGS_LOCK:  # others wait, rather than make them, too
        if facts.token not in RINGS:
            while len(RINGS) >= MOST_RINGS:
                del RINGS[next(iter(RINGS))]
            RINGS[facts.token] = {}
        mine = RINGS[facts.token]
        if given.called not in mine:
            mine[given.called] = rings_of(given.array, spec, facts.constants, facts.bad)
        return mine[given.called]


def azimuthal_spec(parameters: Mapping[str, Any]) -> AzimuthalSpec:
    try:
        return AzimuthalSpec.model_validate(parameters)
    except ValidationError as error:
        first = error.errors()[0]
        cause = (first.get("ctx") or {}).get("error")
        path = tuple(str(p) for p in first["loc"])
        raise wrong_value(path, str(cause or first["msg"])) from None


def droplets(given: Given, parameters: dict[str, Any]) -> Made:
    options = droplet_options(given, parameters)
    found = ops.find_droplets(given.array, **options)
    values: dict[str, Value] = {new: found[old] for old, new in COUNTS.items()}
    entries = found.drop_vars(list(COUNTS))
    check_room(entries, "max_droplets", given.shots)
    return Made(values, replace(given, entries=entries, found_with=parameters))


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
    entries = found[["row", "col", "module"]]
    check_room(entries, "max_photons", given.shots)
    entries = entries.assign(
        adu=xr.ones_like(entries["row"]).where(entries["row"].notnull())
    )
    return Made(values, replace(given, entries=entries, found_with={}))


def photon_counts(given: Given, parameters: dict[str, Any]) -> Made:
    found = ops.count_photons(given.array, **parameters)
    own = [d for d in found.dims if d not in given.shots]
    return Made({"nPhot": found.sum(own)}, replace(given, array=found))


def sparse(given: Given, parameters: dict[str, Any]) -> Made:
    n = parameters.get("n")
    if given.entries is None:
        return Made({"": lit_pixels(given.array, n)}, None)
    fields = {
        new: given.entries[old] for old, new in FIELDS.items() if old in given.entries
    }
    if not n:
        return Made({"": Entries(fields, ragged=n == 0)}, None)
    there = fields["row"].notnull()
    return Made({k: first_entries(k, v, there, n) for k, v in fields.items()}, None)


def lit_pixels(array: xr.DataArray, n: int | None) -> Entries:
    """Return the pixels that are neither 0 nor NaN, and where they are."""
    if n:
        raise ArgumentError("so many of each shot (n) can be kept of droplets only")
    if not {SLOW, FAST} <= set(array.dims):
        raise ArgumentError(
            f"sparsify stores droplets, photons or pixels, not what is on {array.dims}"
        )
    lit = (array != 0) & array.notnull()
    places = {"row": SLOW, "col": FAST, "tile": MODULE}
    fields = {"data": array}
    for name, dim in places.items():
        numbers = np.arange(array.sizes.get(dim, 1)) if dim in array.dims else [0]
        known = array[dim].values if dim in array.coords else numbers
        at = xr.DataArray(np.asarray(known, np.float64), dims=dim)
        at = at if dim in array.dims else at[0]
        fields[name] = (xr.zeros_like(array, np.float64) + at).where(lit)
    return Entries(fields, ragged=n == 0)


def first_entries(
    name: str, values: xr.DataArray, there: xr.DataArray, n: int
) -> xr.DataArray:
    """Return the first `n` entries of every shot, 0 behind the last one."""
    (dim,) = (d for d in values.dims if d in (DROPLET, PHOTON))
    found = values.where(there, 0).isel({dim: slice(0, n)})
    found = found.pad({dim: (0, n - found.sizes[dim])}, constant_values=0)
    return found if name == "data" else found.astype(np.int64)


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

    @property
    def parameters(self) -> dict[str, bool]:
        """Names of its parameters, and whether each must be given."""
        known: dict[str, bool] = dict.fromkeys(self.more, False)
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
    "image": Function(image),
    "azimuthal": Function(
        azimuthal_curve,
        more=tuple(AzimuthalSpec.model_fields),
    ),
    "droplets": Function(droplets, ("find_droplets",), ("use_noise",)),
    "photons": Function(photons, ("droplets_to_photons",), ("use_noise",)),
    "photon_counts": Function(photon_counts, ("count_photons",)),
    "sparsify": Function(sparse, more=("n",)),
    "autocorrelate": Function(plain("autocorrelate", "acf"), ("autocorrelate",)),
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
