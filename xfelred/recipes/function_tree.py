"""Trees of functions: as recipes write them, and what they make of frames."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import prod
from typing import Any

import xarray as xr
from pydantic import ConfigDict, Field, field_validator, model_validator

from xfelred import ops
from xfelred.errors import ArgumentError, listing, no_such
from xfelred.names import PIXEL_DIMS
from xfelred.ops.validity import unrecorded
from xfelred.recipes.function_values import Entries, Given, Value
from xfelred.recipes.functions import FUNCTIONS, OF_ENTRIES, check_parameters
from xfelred.recipes.strict import Strict
from xfelred.recipes.units import wrong_value
from xfelred.shots import SHOT_DIMS

PIECE = 64 << 20  # bytes of frames and of what is made of them, at once
# Operation and parameter that say how many entries have room, and bytes of each.
ROOMS = {
    "droplets": ("find_droplets", "max_droplets", 40),
    "photons": ("droplets_to_photons", "max_photons", 24),
}
At = Callable[[str], AbstractContextManager[Any]]
# What files have of their own: a name of a function would clash.
SEPARATORS = ("/", "\0")


def check_name(name: str) -> str:
    if not name or any(s in name for s in SEPARATORS) or name in (".", ".."):
        raise ArgumentError(f"{name!r} cannot be part of the name of a dataset")
    return name


class FunctionSpec(Strict):
    """A function of the frames, or of what the function above it makes.

    All other keys are parameters of the operation.
    """

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    function: str
    name: str | None = None
    functions: list[FunctionSpec] = Field(default_factory=list)

    @property
    def called(self) -> str:
        return self.name or self.function

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @field_validator("function")
    @classmethod
    def known_function(cls, value: str) -> str:
        if value not in FUNCTIONS:
            raise ArgumentError(no_such("function", value, FUNCTIONS, limit=30))
        return value

    @field_validator("name")
    @classmethod
    def usable_name(cls, value: str | None) -> str | None:
        return None if value is None else check_name(value)

    @field_validator("functions")
    @classmethod
    def different_names(cls, value: list[FunctionSpec]) -> list[FunctionSpec]:
        return with_different_names(value)

    @model_validator(mode="after")
    def known_parameters(self) -> FunctionSpec:
        check_parameters(self.function, self.parameters)
        return self


def with_different_names(specs: list[FunctionSpec]) -> list[FunctionSpec]:
    names = [s.called for s in specs]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise wrong_value(str(i), f"the name {name!r} is there twice")
    return specs


def walked(
    functions: Sequence[FunctionSpec], key: str
) -> Iterator[tuple[str, FunctionSpec]]:
    """Yield all functions of a tree, and the keys where these are in the recipe."""
    for i, spec in enumerate(functions):
        yield f"{key}.{i}", spec
        yield from walked(spec.functions, f"{key}.{i}.functions")


def anywhere(key: str) -> AbstractContextManager[None]:
    return nullcontext()


def results(
    functions: tuple[FunctionSpec, ...],
    given: Given,
    key: str = "",
    at: At = anywhere,
) -> dict[str, Value]:
    """Return what a tree of functions makes, by full names; lazy.

    `at` turns errors inside into those of a key of the recipe.
    """
    out: dict[str, Value] = {}
    for i, spec in enumerate(functions):
        here = f"{key}.functions.{i}"
        called = f"{given.called}_{spec.called}" if given.called else spec.called
        work = replace(given, called=called, has_below=bool(spec.functions))
        with at(here):
            if given.entries is not None and spec.function not in OF_ENTRIES:
                raise ArgumentError(
                    f"{spec.function} makes nothing of droplets or photons, but of"
                    " frames: put it beside the function above, not below it; below"
                    f" are {listing(OF_ENTRIES)}"
                )
            made = FUNCTIONS[spec.function].make(work, spec.parameters)
            if spec.functions and made.below is None:
                raise ArgumentError(
                    f"{spec.function} makes nothing for functions below"
                )
        mine = {f"{called}_{k}" if k else called: v for k, v in made.values.items()}
        if made.below is not None:
            below = replace(made.below, called=called)
            mine |= results(tuple(spec.functions), below, here, at)
        with at(here):
            for name in mine.keys() & out.keys():
                raise ArgumentError(f"another function makes {name!r}, too; rename one")
        out |= mine
    return out


def shots_at_once(
    frames: xr.DataArray, made: Iterable[Value], functions: Sequence[FunctionSpec]
) -> int:
    """Return how many shots are held at a time: frames, and what is made of them.

    frames, made: of some shots, lazy.
    """
    n = max(1, prod(n for d, n in frames.sizes.items() if d in SHOT_DIMS))
    size = frames.nbytes + sum(a.nbytes for v in made for a in arrays_in(v))
    return max(1, int(PIECE // max(1, size // n + room_of(functions))))


def room_of(functions: Sequence[FunctionSpec]) -> int:
    """Return the bytes of a shot that tables of droplets and photons are made in."""
    total = 0
    for spec in functions:
        operation, parameter, entry = ROOMS.get(spec.function, ("", "", 0))
        if entry:
            taken = inspect.signature(getattr(ops, operation)).parameters
            most = spec.parameters.get(parameter, taken[parameter].default)
            total += entry * int(most)
        total += room_of(spec.functions)
    return total


def arrays_in(value: Value) -> Iterator[xr.DataArray]:
    if isinstance(value, Entries):
        yield from value.fields.values()
    else:
        yield value


def lost_shots(frames: xr.DataArray) -> xr.DataArray | None:
    """Return which shots of a piece have no data at all, if there are any."""
    masks = [m.all([d for d in m.dims if d in PIXEL_DIMS]) for m in unrecorded(frames)]
    out = None
    for mask in masks:
        plain = mask.drop_vars([str(c) for c in mask.coords])
        out = plain if out is None else out | plain
    return out
