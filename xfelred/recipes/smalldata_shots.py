"""Values of shots of small data that are known without a frame: IDs, columns, flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    ConfigError,
    XfelredError,
    listing,
)
from xfelred.names import FIDUCIALS, PULSE, TRAIN, recorded_name
from xfelred.ops.cuts import parse_cut
from xfelred.products.smalldata_file import MISSING
from xfelred.readers.protocol import Run
from xfelred.recipes.cube_shots import one_scalar
from xfelred.recipes.expressions import parse_formula
from xfelred.recipes.function_tree import lost_shots
from xfelred.recipes.recipe import at_key
from xfelred.recipes.smalldata_models import DROPPED, LightPulses
from xfelred.recipes.smalldata_recipe import SmallDataRecipe

LIGHT = "lightStatus"
LIGHTS = ("xray", "laser")
LCLS = "lcls"
PSANA = "xfelred.readers.lcls_psana"
UNKNOWN = -1  # whether there was light
# Columns of an event code, of LCLS1, LCLS2 and psana2.
CODES = ("evr/code_{}", "timing/eventcodes[{}]", "timing/raw/eventcodes[{}]")
User = Mapping[str, Any] | xr.Dataset


@dataclass(frozen=True, eq=False)
class Shots:
    """The shots of a run, one row each, and what the recipe says of them."""

    run: Run
    recipe: SmallDataRecipe
    ids: NDArray[Any]
    known: dict[str, NDArray[Any]] = field(default_factory=dict)  # (shot, ...), by name

    @property
    def computed(self) -> list[str]:
        """Names of what the recipe tells of the light, whatever the run says."""
        light = self.recipe.model.light_status
        return [f"{LIGHT}/{n}" for n in LIGHTS if getattr(light, n) is not None]

    def value(self, name: str, key: str) -> NDArray[Any]:
        """Return a value of every shot, NaN where there is none; read once."""
        if name not in self.known:
            found = one_scalar(self.run, self.recipe, name, key)[name]
            self.known[name] = at_rows(found, self.ids)
        return self.known[name]

    @property
    def by_pulse(self) -> list[str]:
        """Names of what is (train, pulse): the light of single pulses of a train."""
        light = self.recipe.model.light_status
        patterns = {n: isinstance(getattr(light, n), LightPulses) for n in LIGHTS}
        return [f"{LIGHT}/{n}" for n, is_pattern in patterns.items() if is_pattern]

    @cached_property
    def by_pulses(self) -> xr.DataArray:
        """Frames of the first detector that has several pulses of each train; lazy."""
        for name, spec in self.recipe.model.detectors.items():
            if name in self.run.detectors and spec.frames is None:
                found = self.run.frames(name, spec.key, bad_pixels="keep")
                if found.sizes.get(PULSE, 1) > 1 and PULSE in found.coords:
                    return found
        raise ArgumentError(
            "pulses: no detector of the recipe has several pulses of a train, by whose"
            " IDs they could be told"
        )

    @property
    def pulses(self) -> NDArray[Any]:
        """IDs of the pulses of that detector."""
        return np.asarray(self.by_pulses[PULSE].values)

    @property
    def unrecorded(self) -> NDArray[np.bool_]:
        """Which shots have no frame of that detector, bool (shot, pulse)."""
        frames = self.by_pulses
        gone = xr.zeros_like(frames[TRAIN], bool) | xr.zeros_like(frames[PULSE], bool)
        lost = lost_shots(frames)
        if lost is not None:
            gone = gone | lost
        at = frames.indexes[TRAIN].get_indexer(self.ids)
        found: NDArray[np.bool_] = gone.transpose(TRAIN, PULSE).values[at]
        found[at < 0] = True
        return found

    def flag(self, cut: str, key: str) -> NDArray[np.bool_]:
        parsed = parse_cut(cut)
        values = self.value(parsed.name, key)
        if values.ndim > 1 and parsed.name not in self.by_pulse:  # as cuts of cubes
            values = values.sum(tuple(range(1, values.ndim)))
        return parsed.passes(values)


def shots_of(run: Run, recipe: SmallDataRecipe) -> Shots:
    """Return the shots of a run, with their light status if the recipe tells it."""
    out = Shots(run, recipe, np.asarray(run.train_ids))
    light = recipe.model.light_status
    for name in LIGHTS:
        wanted = getattr(light, name)
        if wanted is not None:
            key = f"light_status.{name}"
            out.known[f"{LIGHT}/{name}"] = light_of(out, wanted, key)
    return out


def light_of(
    shots: Shots, wanted: list[int] | str | LightPulses, key: str
) -> NDArray[np.int64]:
    """Return 1 where there was light, 0 where not, -1 where nobody knows."""
    if isinstance(wanted, LightPulses):
        with at_key(shots.recipe, f"{key}.pulses"):
            pulses = shots.pulses
        lost = sorted({*wanted.ids} - {*pulses.tolist()})
        if lost:
            raise shots.recipe.error(
                f"{key}.pulses",
                f"the detector has no pulses {listing(map(str, lost))}, but"
                f" {listing(map(str, pulses))}",
            )
        on = np.isin(pulses, wanted.ids).astype(np.int64)
        return np.where(shots.unrecorded, UNKNOWN, on)
    if isinstance(wanted, str):
        return shots.flag(wanted, key).astype(np.int64)
    out = np.ones(len(shots.ids), np.int64)
    for code in wanted:
        seen = event_code(shots, abs(code), key)
        there = seen > 0
        out[~there if code < 0 else there] = 0
        out[np.isnan(seen)] = UNKNOWN
    return out


def event_code(shots: Shots, code: int, key: str) -> NDArray[np.float64]:
    for name in CODES:
        try:
            found = shots.value(name.format(code), key)
        except XfelredError:
            continue
        return found.astype(np.float64)
    names = listing(n.format(code) for n in CODES)
    raise shots.recipe.error(
        key,
        f"{shots.run.run_id} has no column of event code {code} ({names}); instead of"
        " codes, write a cut on a value that tells",
    )


def flags_of(shots: Shots) -> dict[str, xr.DataArray]:
    """Return the flags of a recipe, bool (train); ``dropped`` wherever it is known."""
    cuts = {f"flags.{n}": (n, cut) for n, cut in shots.recipe.model.flags.items()}
    found = {name: shots.flag(cut, key) for key, (name, cut) in cuts.items()}
    if DROPPED not in found:
        with suppress(XfelredError):  # a sum that asks for it says so
            found[DROPPED] = shots.flag(f"{LIGHT}/xray == 0", f"flags.{DROPPED}")
    return {n: labelled(shots, n, v) for n, v in found.items()}


def labelled(shots: Shots, name: str, values: NDArray[np.bool_]) -> xr.DataArray:
    coords = {TRAIN: shots.ids} | ({PULSE: shots.pulses} if values.ndim > 1 else {})
    return xr.DataArray(values, coords, tuple(coords), name)


def whole_columns(shots: Shots, user: User | None) -> dict[str, NDArray[Any]]:
    """Return every dataset that is known without a frame, by name."""
    model = shots.recipe.model
    found = dict(ids_of(shots))
    for i, name in enumerate(model.variables):
        found |= copied(shots, name, f"variables.{i}")
    found |= {n: v for n, v in shots.known.items() if n in shots.computed}
    for alias, name in model.epics.items():
        found[f"epics/{alias}"] = shots.value(name, f"epics.{alias}")
    return found | dict(user_values(shots, user))


def ids_of(shots: Shots) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the IDs as a file of this facility has them."""
    run = shots.run
    flavour = getattr(getattr(run, "flavour", None), "name", "")
    fiducials = run.scalars([]).coords.get(FIDUCIALS) if flavour == "LCLS1" else None
    if fiducials is not None:
        yield "event_time", shots.ids.astype(np.int64)
        yield "fiducials", stored(fiducials.values)
    elif flavour == "LCLS2" or is_psana(run):
        yield "timestamp", shots.ids
    else:
        yield "trainId", shots.ids


def is_psana(run: Run) -> bool:
    return type(run).__module__.startswith(PSANA)


def copied(shots: Shots, name: str, key: str) -> dict[str, NDArray[Any]]:
    """Return columns of the run, as in the file."""
    # Only in such files a code stands for what is missing.
    coded = shots.run.facility == LCLS and not is_psana(shots.run)
    options: dict[str, Any] = {"missing": "keep"} if coded else {}
    with at_key(shots.recipe, key):
        found = shots.run.scalars([name], **options)
    numbers = {str(k): v for k, v in found.data_vars.items() if v.dtype.kind in "biuf"}
    if not numbers:
        raise shots.recipe.error(key, f"{name!r} holds no numbers")
    return {k: stored(at_rows(v, shots.ids)) for k, v in numbers.items()}


def user_values(shots: Shots, user: User | None) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield what formulas say, and what the user gave."""
    for name, text in shots.recipe.model.user.items():
        key = f"user.{name}"
        formula = parse_formula(text)
        values = {n: shots.value(n, key) for n in formula.names}
        n = len(shots.ids)
        try:
            found = formula({k: as_numbers(v) for k, v in values.items()})
            yield (
                f"userValues/{name}",
                stored(np.broadcast_to(found, (n, *found.shape[1:]))),
            )
        except ValueError as error:
            shapes = listing(f"{k} {v.shape}" for k, v in values.items())
            raise shots.recipe.error(
                key, f"these do not go together: {shapes} ({error})"
            ) from error
    for label, given in (user or {}).items():
        name = str(label)
        if name in shots.recipe.model.user:
            raise ConfigError(f"user: the recipe has a formula for {name!r}, too")
        yield f"userValues/{name}", stored(given_values(shots, name, given))


def given_values(shots: Shots, name: str, given: object) -> NDArray[Any]:
    if not isinstance(given, xr.DataArray) or TRAIN not in given.coords:
        raise ArgumentTypeError(
            f"user: {name!r} must be a DataArray with train IDs, by which it is joined"
            f" to the shots, not {type(given).__name__}"
        )
    if given.dtype.kind not in "biuf":
        raise ArgumentError(f"user: {name!r} of dtype {given.dtype} is no number")
    return at_rows(given, shots.ids)


def at_rows(values: xr.DataArray, ids: NDArray[Any]) -> NDArray[Any]:
    """Return values of shots in the order of `ids`; NaN, or the code, for others."""
    gone = values.coords.get(recorded_name(str(values.name)))
    values = values.transpose(TRAIN, ...)
    array = np.asarray(values.values)
    if gone is not None:  # integers that no float holds
        marks = gone.values.reshape(*gone.shape, *(1,) * (array.ndim - gone.ndim))
        array = np.where(marks, array, MISSING)
    have = np.asarray(values[TRAIN].values)
    if len(have) == len(ids) and (have == ids).all():
        return array
    at = values.indexes[TRAIN].get_indexer(ids)
    wide = array.dtype.kind in "iu" and array.dtype.itemsize == 8
    if (at < 0).any() and array.dtype.kind != "f":
        array = array.astype(np.int64 if wide else np.float64)
    found = array[at]
    found[at < 0] = MISSING if wide else np.nan
    return found


def as_numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    return values.astype(np.float64)


def stored(values: NDArray[Any]) -> NDArray[Any]:
    """Return values as small data stores them: no booleans."""
    return values.astype(np.int64) if values.dtype.kind == "b" else values
