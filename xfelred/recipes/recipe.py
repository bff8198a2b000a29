"""Recipes of any kind: read, checked against their model, written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar, Self, get_args

import yaml
from pydantic import BaseModel, ValidationError

from xfelred.errors import ConfigError, XfelredError, did_you_mean, listing
from xfelred.recipes.text import LARGEST, Parsed, parse, plain_values
from xfelred.recipes.units import KeyedValueError
from xfelred.small_files import read_text


@dataclass(frozen=True, eq=False)
class Recipe:
    """A checked recipe; a class for each kind says which keys there are."""

    kind: ClassVar[str]
    of_model: ClassVar[type[BaseModel]]

    model: Any
    source: Parsed

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read a recipe from a YAML or TOML file.

        Raises
        ------
        FileNotFoundError
            If there is no file.
        ConfigError
            If the recipe is wrong: names file, line and key.
        """
        return cls.checked(parsed_file(path))

    @classmethod
    def from_text(cls, text: str, name: str = "recipe") -> Self:
        """Read a recipe from YAML text (TOML if `name` ends with .toml).

        Raises
        ------
        ConfigError
            If the recipe is wrong.
        """
        return cls.checked(parse(text, name))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a recipe from plain values.

        Raises
        ------
        ConfigError
            If the recipe is wrong.
        """
        if not isinstance(values, Mapping):
            raise ConfigError(f"a recipe is a map of keys, not {type(values).__name__}")
        plain = plain_values(Parsed(values, {}, "recipe"))
        return cls.checked(Parsed(plain, {}, "recipe"))

    @classmethod
    def of(cls, recipe: object) -> Self:
        """Return a recipe from itself, a path, or a dict."""
        if isinstance(recipe, cls):
            return recipe
        if isinstance(recipe, Mapping):
            return cls.from_dict(recipe)
        if isinstance(recipe, (str, os.PathLike)):
            return cls.from_file(recipe)
        raise ConfigError(
            f"a recipe is a {cls.__name__}, a path or a dict, not"
            f" {type(recipe).__name__}"
        )

    @classmethod
    def checked(cls, parsed: Parsed) -> Self:
        """Return the recipe of parsed values; ConfigError for the first mistake."""
        kind = parsed.values.get("kind", cls.kind)
        if kind != cls.kind:
            raise parsed.error(
                "kind",
                f"{kind!r} is no {cls.kind} recipe; a {cls.kind} recipe says kind:"
                f" {cls.kind}",
            )
        try:
            model = cls.of_model.model_validate(parsed.values)
        except ValidationError as error:
            raise first_error(error, parsed, cls.of_model) from None
        recipe = cls(model, parsed)
        recipe.check()
        return recipe

    def check(self) -> None:
        """Raise ConfigError for what the model alone cannot see."""

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of these recipes."""
        return cls.of_model.model_json_schema()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without keys that have their default."""
        return {
            "schema_version": 1,
            "kind": self.kind,
            **self.model.model_dump(mode="json", exclude_defaults=True),
        }

    def to_yaml(self) -> str:
        """Return the recipe as YAML that reads back as the same recipe."""
        text: str = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and bool(self.model == other.model)

    __hash__ = None  # type: ignore[assignment]

    @property
    def sha256(self) -> str:
        """Digest of what the recipe says, however it is written."""
        resolved = self.model.model_dump(mode="json")
        return sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()

    def error(self, key: str, text: str) -> ConfigError:
        """Return the error for a key."""
        return self.source.error(key, text)


def parsed_file(path: str | os.PathLike[str]) -> Parsed:
    wrong = partial(ConfigError, path=str(path))
    text = read_text(path, "recipe", wrong=wrong, limit=LARGEST)
    return parse(text, str(path))


def kind_in(path: str | os.PathLike[str]) -> str:
    """Return what kind of recipe a file says it is; nothing if it does not."""
    return str(parsed_file(path).values.get("kind", ""))


def first_error(
    error: ValidationError, parsed: Parsed, model: type[BaseModel]
) -> ConfigError:
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
        known = known_keys(path[:-1], model)
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


def known_keys(path: list[str], model: type[BaseModel]) -> list[str]:
    """Return the keys that are allowed at a path of pydantic."""
    here = [model]
    for part in path:
        fields = [m.model_fields[part] for m in here if part in m.model_fields]
        below = [m for f in fields for m in models_in(f.annotation)]
        # A list and its positions, a map and its keys: the model is the same.
        chosen = [m for m in here if part == m.__name__]
        here = below or chosen or here
    return list(dict.fromkeys(name for m in here for name in m.model_fields))


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that a type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in get_args(annotation) for m in models_in(part)]


@contextmanager
def at_key(recipe: Recipe, key: str) -> Iterator[None]:
    """Turn errors inside the block into those of a key of the recipe."""
    try:
        yield
    except (XfelredError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, ConfigError) and error.key:
            raise
        raise recipe.error(key, str(error)) from error
