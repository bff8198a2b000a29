"""Cube recipes: read, checked, written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from xfelred.detectors import told_by
from xfelred.errors import ArgumentError, ConfigError, no_such
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.lcls_common_modes import cmpars_of, completed
from xfelred.ops.reductions.bins import Bins
from xfelred.recipes.models import CommonModeSpec, CubeModel, SourceSpec
from xfelred.recipes.recipe import Recipe, at_key
from xfelred.recipes.units import KeyedValueError

FIRST_FILTER = "filter1"


class CubeRecipe(Recipe):
    """A checked cube recipe; see the keys in `json_schema`.

    Attributes
    ----------
    model : CubeModel
        Every key with its value or default.
    source : Parsed
        Where it came from, for messages.
    """

    kind = "cube"
    of_model = CubeModel
    model: CubeModel

    def with_compat(self, compat: bool | None) -> CubeRecipe:
        """Return the recipe with another ``output.compat``, and its defaults."""
        if compat is None or compat == self.model.output.compat:
            return self
        values = self.source.values
        output = {**(values.get("output") or {}), "compat": bool(compat)}
        return self.checked(replace(self.source, values={**values, "output": output}))

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
            raise self.error("filters", no_such("filter", name, known))
        return name

    def check(self) -> None:
        """Raise ConfigError for names that clash, and common modes that do not fit."""
        # Names get into files, where a slash would be a group.
        if len({n.replace("/", "__") for n in self.bins}) < len(self.bins):
            raise self.error("bins", "two axes would have the same name")
        check_common_modes(self, self.model.detectors)


def check_common_modes(recipe: Recipe, detectors: Mapping[str, SourceSpec]) -> None:
    for name, spec in detectors.items():
        with at_key(recipe, f"detectors.{name}.common_mode"):
            check_common_mode(name, spec)


def lcls_kind(name: str, mode: object) -> str:
    found = told_by(name)
    # Numbers of common modes have a meaning only for one kind of detector.
    if found is None or kind_of(found.name).modes is None:
        raise ArgumentError(
            f"common_mode {mode}: the name {name!r} does not tell the detector; give"
            " groups and segment instead"
        )
    return found.kind


def check_common_mode(name: str, spec: SourceSpec) -> None:
    """Raise ValueError unless a detector has the common mode of a recipe."""
    mode = spec.common_mode
    if mode is None or isinstance(mode, CommonModeSpec):
        return
    kind = kind_of(lcls_kind(name, mode) if spec.calibrate is None else spec.calibrate)
    if isinstance(mode, list):
        completed(tuple(mode))
    elif kind.modes is not None:
        cmpars_of(kind, mode)
