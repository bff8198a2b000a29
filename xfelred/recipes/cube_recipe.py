"""Cube recipes: read, checked, written."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from xfelred.detectors import told_by
from xfelred.errors import ArgumentError, ConfigError, did_you_mean, listing
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.lcls_common_modes import cmpars_of, completed
from xfelred.ops.reductions.bins import Bins
from xfelred.recipes.models import (
    AzimuthalSpec,
    BinSpec,
    CommonModeSpec,
    CubeModel,
    DelaySpec,
    DetectorSpec,
    ExecutionSpec,
    FramesSpec,
    OutputSpec,
    RoiSpec,
    ThresholdSpec,
)
from xfelred.recipes.text import LARGEST, Parsed, parse, plain_values
from xfelred.recipes.units import KeyedValueError
from xfelred.small_files import read_text

FIRST_FILTER = "filter1"
# Parts of a recipe by the last key that leads to them.
PARTS: dict[str, type[BaseModel]] = {
    "delay": DelaySpec,
    "frames": FramesSpec,
    "common_mode": CommonModeSpec,
    "threshold": ThresholdSpec,
    "roi": RoiSpec,
    "azimuthal": AzimuthalSpec,
    "execution": ExecutionSpec,
    "output": OutputSpec,
}


@dataclass(frozen=True, eq=False)
class CubeRecipe:
    """A checked cube recipe; see the keys in `json_schema`.

    Attributes
    ----------
    model : CubeModel
        Every key with its value or default.
    source : Parsed
        Where it came from, for messages.
    """

    model: CubeModel
    source: Parsed

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> CubeRecipe:
        """Read a recipe from a YAML or TOML file.

        Raises
        ------
        FileNotFoundError
            If there is no file.
        ConfigError
            If the recipe is wrong: names file, line and key.
        """
        wrong = partial(ConfigError, path=str(path))
        text = read_text(path, "recipe", wrong=wrong, limit=LARGEST)
        return checked(parse(text, str(path)))

    @classmethod
    def from_text(cls, text: str, name: str = "recipe") -> CubeRecipe:
        """Read a recipe from YAML text (TOML if `name` ends with .toml).

        Raises
        ------
        ConfigError
            If the recipe is wrong.
        """
        return checked(parse(text, name))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CubeRecipe:
        """Make a recipe from plain values.

        Raises
        ------
        ConfigError
            If the recipe is wrong.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"a recipe is a map of keys, not {type(values).__name__}")
        return checked(Parsed(plain_values(Parsed(values, {}, "recipe")), {}, "recipe"))

    @classmethod
    def of(cls, recipe: object) -> CubeRecipe:
        """Return a recipe from itself, a path, or a dict."""
        if isinstance(recipe, CubeRecipe):
            return recipe
        if isinstance(recipe, Mapping):
            return cls.from_dict(recipe)
        if isinstance(recipe, (str, os.PathLike)):
            return cls.from_file(recipe)
        raise ConfigError(
            f"a recipe is a CubeRecipe, a path or a dict, not {type(recipe).__name__}"
        )

    def with_compat(self, compat: bool | None) -> CubeRecipe:
        """Return the recipe with another ``output.compat``, and its defaults."""
        if compat is None or compat == self.model.output.compat:
            return self
        values = self.source.values
        output = {**(values.get("output") or {}), "compat": bool(compat)}
        return checked(replace(self.source, values={**values, "output": output}))

    @staticmethod
    def json_schema() -> dict[str, Any]:
        """Return the JSON schema of cube recipes."""
        return CubeModel.model_json_schema()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without keys that have their default."""
        return {
            "schema_version": 1,
            "kind": "cube",
            **self.model.model_dump(mode="json", exclude_defaults=True),
        }

    def to_yaml(self) -> str:
        """Return the recipe as YAML that reads back as the same recipe."""
        text: str = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CubeRecipe) and self.model == other.model

    __hash__ = None  # type: ignore[assignment]

    @property
    def sha256(self) -> str:
        """Digest of what the recipe says, however it is written."""
        resolved = self.model.model_dump(mode="json")
        return sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()

    @cached_property
    def bins(self) -> dict[str, Bins]:
        """The bins of every axis by its name."""
        return {name: self.bins_of(name) for name in self.model.bins}

    def bins_of(self, name: str) -> Bins:
        """Return the bins of one axis; ConfigError names the key."""
        try:
            return self.model.bins[name].bins(name)
        except KeyedValueError as error:
            raise self.error(f"bins.{name}.{error.key}", str(error)) from None
        except ConfigError as error:
            raise self.error(f"bins.{name}", str(error)) from None

    def filter_name(self, name: str | None) -> str:
        """Return the filter that is used: the first one by default.

        Raises
        ------
        ConfigError
            If there is none of this name.
        """
        known = list(self.model.filters)
        if name is None:
            return known[0] if known else FIRST_FILTER
        if name not in known and not (name == FIRST_FILTER and not known):
            raise self.error(
                "filters",
                f"no filter {name!r}.{did_you_mean(name, known)} There are:"
                f" {listing(known)}",
            )
        return name

    def error(self, key: str, text: str) -> ConfigError:
        """Return the error for a key."""
        return self.source.error(key, text)


def checked(parsed: Parsed) -> CubeRecipe:
    """Return the recipe of parsed values; ConfigError for the first mistake."""
    kind = parsed.values.get("kind", "cube")
    if kind != "cube":
        raise parsed.error(
            "kind", f"{kind!r} is no cube recipe; a cube recipe says kind: cube"
        )
    try:
        model = CubeModel.model_validate(parsed.values)
    except ValidationError as error:
        raise first_error(error, parsed) from None
    recipe = CubeRecipe(model, parsed)
    # Names get into files, where a slash would be a group.
    if len({n.replace("/", "__") for n in recipe.bins}) < len(recipe.bins):
        raise recipe.error("bins", "two axes would have the same name")
    for name, spec in model.detectors.items():
        try:
            check_common_mode(name, spec)
        except ValueError as error:
            key = f"detectors.{name}.common_mode"
            raise recipe.error(key, str(error)) from None
    return recipe


def lcls_kind(name: str, mode: object) -> str:
    found = told_by(name)
    # Numbers of common modes have a meaning only for one kind of detector.
    if found is None or kind_of(found.name).modes is None:
        raise ArgumentError(
            f"common_mode {mode}: the name {name!r} does not tell the detector; give"
            " groups and segment instead"
        )
    return found.kind


def check_common_mode(name: str, spec: DetectorSpec) -> None:
    """Raise ValueError unless a detector has the common mode of a recipe."""
    mode = spec.common_mode
    if mode is None or isinstance(mode, CommonModeSpec):
        return
    kind = kind_of(lcls_kind(name, mode) if spec.calibrate is None else spec.calibrate)
    if isinstance(mode, list):
        completed(tuple(mode))
    elif kind.modes is not None:
        cmpars_of(kind, mode)


def first_error(error: ValidationError, parsed: Parsed) -> ConfigError:
    """Return the error of the first mistake, with the nearest right word."""
    # Where a value may be of several types each one complains; ours say most.
    order = {"extra_forbidden": 0, "value_error": 1}
    found = min(error.errors(), key=lambda e: order.get(e["type"], 2))
    path = [str(p) for p in found["loc"]]
    cause = (found.get("ctx") or {}).get("error")
    if isinstance(cause, KeyedValueError):
        path += cause.path
    absent = found["type"] in ("missing", "extra_forbidden")
    key = ".".join(real_path(path, parsed.values, absent=absent))
    if found["type"] == "extra_forbidden":
        known = known_keys(path[:-1])
        near = did_you_mean(path[-1], known)
        return parsed.error(key, f"unknown key.{near} There are: {listing(known, 20)}")
    if found["type"] == "missing":
        return parsed.error(key, "is missing; it must be given")
    text = str(cause) if cause is not None else str(found["msg"])
    given = found.get("input")
    short = isinstance(given, (str, int, float, bool)) and repr(given) not in text
    shown = f", got {given!r}" if short else ""
    return parsed.error(key, f"{text[:1].lower()}{text[1:]}{shown}")


def real_path(path: list[str], values: object, *, absent: bool) -> list[str]:
    """Return the keys of a path that are in the values; an absent one if last."""
    # Checking a choice of several types puts their names into the path.
    out = []
    here = values
    for i, part in enumerate(path):
        last = i == len(path) - 1
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        elif not (absent and last and isinstance(here, Mapping)):
            continue
        out.append(part)
    return out


def known_keys(path: list[str]) -> list[str]:
    """Return the keys that are allowed at a path of pydantic."""
    if path[:1] == ["bins"]:
        model: type[BaseModel] = BinSpec
    elif path[:1] == ["detectors"] and len(path) == 2:
        model = DetectorSpec
    else:
        model = next((PARTS[p] for p in reversed(path) if p in PARTS), CubeModel)
    return list(model.model_fields)
