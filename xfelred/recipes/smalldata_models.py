"""What a small-data recipe may say: every key, its type, its default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from xfelred.errors import ArgumentError
from xfelred.ops.cuts import parse_cut
from xfelred.recipes.expressions import parse_formula
from xfelred.recipes.function_tree import (
    FunctionSpec,
    check_name,
    with_different_names,
)
from xfelred.recipes.models import (
    ExecutionSpec,
    Pulses,
    PulseSpec,
    SourceSpec,
    all_different,
)
from xfelred.recipes.strict import Strict
from xfelred.recipes.units import wrong_value

DROPPED = "dropped"


class SmallDataDetector(SourceSpec):
    """What is made of the frames of one detector."""

    functions: list[FunctionSpec] = Field(default_factory=list)
    sums: list[str] = Field(default_factory=list)

    @field_validator("functions")
    @classmethod
    def different_names(cls, value: list[FunctionSpec]) -> list[FunctionSpec]:
        return with_different_names(value)

    @field_validator("sums")
    @classmethod
    def usable_sums(cls, value: list[str]) -> list[str]:
        for i, name in enumerate(value):
            if name in value[:i]:
                raise wrong_value(str(i), f"the sum {name!r} is there twice")
            check_name(name)
        return value


def each_usable(
    value: dict[str, str], parse: Callable[[str], object]
) -> dict[str, str]:
    for name, text in value.items():
        try:
            check_name(name)
            parse(text)
        except ValueError as error:
            raise wrong_value(name, str(error)) from None
    return value


class LightPulses(Strict):
    """The pulses of every train that have light: IDs, or ``{start, step, n}``."""

    pulses: Pulses

    @field_validator("pulses")
    @classmethod
    def with_ids(cls, value: PulseSpec) -> PulseSpec:
        if value.by is not None or isinstance(value.n, str):
            raise ArgumentError("give IDs of pulses, or start, step and n")
        return value

    @property
    def ids(self) -> list[int]:
        spec = self.pulses
        return spec.pulse_ids(
            len(spec.ids) if spec.ids is not None else int(spec.n or 0)
        )


Light = list[int] | str | LightPulses | None


class LightSpec(Strict):
    """Event codes that tell whether there was light; or a cut, or pulses, that do.

    A code above 0 tells of a shot without light, one below 0 (``-137``) is there only
    if there was light.
    """

    xray: Light = None
    laser: Light = None

    @field_validator("xray", "laser")
    @classmethod
    def readable(cls, value: Light) -> Light:
        if isinstance(value, str):
            parse_cut(value)
        elif isinstance(value, list) and (not value or 0 in value):
            raise ArgumentError("event codes are whole numbers other than 0")
        return value


class IntegratingSpec(Strict):
    """What is added up between the readouts of a slow detector."""

    sum: list[str] = Field(default_factory=list)  # of values, or results, of each shot
    variables: list[str] = Field(default_factory=list)  # of its own, copied


class SmallDataOutput(Strict):
    """In which formats small data are written."""

    formats: Annotated[
        list[Literal["h5", "zarr", "parquet"]],
        Field(min_length=1),
        AfterValidator(all_different),
    ] = Field(default=["h5"])


class SmallDataModel(Strict):
    """Small data: what is made of every shot of a run."""

    schema_version: Literal[1]
    kind: Literal["smalldata"]
    variables: list[str] = Field(default_factory=list)
    epics: dict[str, str] = Field(default_factory=dict)
    light_status: LightSpec = LightSpec()
    flags: dict[str, str] = Field(default_factory=dict)
    user: dict[str, str] = Field(default_factory=dict)
    detectors: dict[str, SmallDataDetector] = Field(default_factory=dict)
    integrating: dict[str, IntegratingSpec] = Field(default_factory=dict)
    execution: ExecutionSpec = Field(
        default_factory=lambda: ExecutionSpec(block_trains=1000)
    )
    output: SmallDataOutput = SmallDataOutput()

    @field_validator("flags")
    @classmethod
    def readable_flags(cls, value: dict[str, str]) -> dict[str, str]:
        return each_usable(value, parse_cut)

    @field_validator("user")
    @classmethod
    def readable_formulas(cls, value: dict[str, str]) -> dict[str, str]:
        return each_usable(value, parse_formula)

    @field_validator("epics")
    @classmethod
    def usable_aliases(cls, value: dict[str, str]) -> dict[str, str]:
        return each_usable(value, str)
