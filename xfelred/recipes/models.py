"""What a cube recipe may say: every key, its type, its default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from xfelred.errors import ArgumentError, no_such
from xfelred.masks import segment_of
from xfelred.ops.calibration_kinds import kind_of
from xfelred.ops.cuts import parse_cut
from xfelred.ops.reductions.bins import Bins
from xfelred.recipes.function_tree import FunctionSpec
from xfelred.recipes.strict import Strict
from xfelred.recipes.units import default_unit, number_of, wrong_value

Quantities = Literal["sum", "count", "mean", "var", "sem"]
Formats = Literal["zarr", "h5", "netcdf", "lcls_h5", "tiff"]
MODES = {True: "on", False: "off"}
EVERY_FILTER = "all"  # what the command line calls all of them
# How the peer treats bad pixels; a recipe that says otherwise is followed.
PEER = {"bad_pixels": "keep", "skipna": False}
GROUPS = ("bank", "row", "column", "full_row", "full_column", "all")
FILTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")


def no_boolean(value: object) -> object:
    if isinstance(value, bool):  # pydantic takes True and False for 1 and 0
        raise ArgumentError(f"must be a number, not {str(value).lower()}")
    return value


# Infinite: no limit.
Limit = Annotated[float, Field(allow_inf_nan=True)] | None
Quantity = Annotated[float | str, BeforeValidator(no_boolean)]


def laser_mode(value: object) -> object:
    # YAML 1.1 makes booleans of the words on and off.
    return MODES.get(value, value) if isinstance(value, bool) else value


class BinSpec(Strict):
    """How to bin one variable; the ways of `xfelred.Bins`.

    Times may be texts such as "-5 ps" or "50 fs" for the delay.
    """

    variable: str | None = None
    edges: list[Quantity] | None = None
    centres: list[Quantity] | None = None
    start: Quantity | None = None
    stop: Quantity | None = None
    step: Quantity | None = None
    n: int | None = None
    range: tuple[Quantity, Quantity] | None = None
    unique: bool = False
    tolerance: Quantity = 0.0
    quantiles: int | list[float] | None = None

    def bins(self, name: str) -> Bins:
        """Return the bins; KeyedValueError for a wrong value, or a ConfigError."""
        unit = default_unit(self.variable or name)
        given: dict[str, Any] = {}
        for key in ("edges", "centres", "range", "start", "stop", "step", "tolerance"):
            value = getattr(self, key)
            if value is None:
                continue
            try:
                if isinstance(value, (list, tuple)):
                    given[key] = [number_of(v, unit) for v in value]
                else:
                    given[key] = number_of(value, unit)
            except ValueError as error:
                raise wrong_value(key, str(error)) from None
        self.check_order(given)
        if given.get("step", 1) <= 0:
            raise wrong_value(
                "step", f"a step of {self.step} makes no bins; it must be above 0"
            )
        return Bins(n=self.n, unique=self.unique, quantiles=self.quantiles, **given)

    def check_order(self, given: dict[str, Any]) -> None:
        start, stop = given.get("start"), given.get("stop")
        if start is None or stop is None or stop > start:
            return
        text = f"{self.stop} is before start {self.start}."
        if isinstance(self.stop, str) and isinstance(self.start, str):
            number = self.stop.split()[0]
            unit = self.start.split()[-1]
            text += (
                " Probably the unit of `stop` is wrong; did you mean stop:"
                f' "{number} {unit}"?'
            )
        raise wrong_value("stop", text)


class DelaySpec(Strict):
    """How the delay is made; see `xfelred.ops.delay`."""

    nominal: str | tuple[str, str] = "auto"
    use_tt: bool = True
    correction: str = "auto"
    add_lxt: bool = False


class FramesSpec(Strict):
    """Frames in another run."""

    source: str
    detector: str | None = None
    key: str | None = None


class CommonModeSpec(Strict):
    """Arguments of `xfelred.ops.subtract_common_mode`."""

    groups: list[str] = Field(default=["bank", "row", "column"])
    segment: str
    estimator: Literal["median", "mean"] = "median"
    max_correction: float | None = None
    min_pixels: int = 10
    apply_to: Literal["good", "all"] = "good"

    @field_validator("groups")
    @classmethod
    def known_groups(cls, value: list[str]) -> list[str]:
        if not value:
            raise ArgumentError("name at least one group of pixels")
        for i, name in enumerate(value):
            if name not in GROUPS:
                raise wrong_value(str(i), no_such("groups", name, GROUPS))
        return value

    @field_validator("segment")
    @classmethod
    def known_segment(cls, value: str) -> str:
        segment_of(value)
        return value


class ThresholdSpec(Strict):
    """Pixels below or above become 0."""

    low: float | None = None
    high: float | None = None
    noise: float | None = None

    @model_validator(mode="after")
    def one_way(self) -> ThresholdSpec:
        if (self.noise is None) == (self.low is None and self.high is None):
            raise ArgumentError("give noise, or low and high")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ArgumentError(f"low {self.low:g} is not below high {self.high:g}")
        return self


class PhotonsSpec(Strict):
    """Arguments of `xfelred.ops.count_photons`."""

    adu_per_photon: Annotated[float, Field(gt=0)] | None = None
    fraction: Annotated[float, Field(ge=0.5, le=2)] = 0.9
    threshold: float | None = None


def photon_rule(value: object) -> object:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"fraction": value} if number else value


class CubeFunction(FunctionSpec):
    """A function of the frames of every shot, or of the result of every bin."""

    on: Literal["sum", "mean", "shot"] = "sum"

    @property
    def called(self) -> str:
        return self.name or {"azimuthal": "azav"}.get(self.function, self.function)


class SourceSpec(Strict):
    """Where the frames of a detector are, and how they are corrected."""

    key: str | None = None
    frames: FramesSpec | None = None
    calibrate: str | None = None
    common_mode: CommonModeSpec | int | list[float] | None = None
    bad_pixels: Literal["apply", "keep"] = "apply"
    threshold: float | ThresholdSpec | None = None
    photons: Annotated[PhotonsSpec | None, BeforeValidator(photon_rule)] = None

    @field_validator("calibrate")
    @classmethod
    def known_kind(cls, value: str | None) -> str | None:
        if value is not None:
            kind_of(value)
        return value


class DetectorSpec(SourceSpec):
    """What is done to the frames of one detector before they are binned."""

    image: bool = False
    skipna: bool = True
    max_shots_per_bin: Annotated[int, Field(ge=1)] | None = None
    det_proc: list[CubeFunction] = Field(default=[])

    @field_validator("det_proc")
    @classmethod
    def different_names(cls, value: list[CubeFunction]) -> list[CubeFunction]:
        names = [p.called for p in value]
        for name in names:
            if names.count(name) > 1:
                raise ArgumentError(f"the name {name!r} is there twice")
        return value


class PulseSpec(Strict):
    """Which pulses the values of a vector are of: IDs, or the positions of frames."""

    ids: list[Annotated[int, Field(ge=0)]] | None = None
    start: Annotated[int, Field(ge=0)] | None = None
    step: Annotated[int, Field(ge=1)] | None = None
    by: Literal["position"] | None = None
    n: Annotated[int, Field(ge=0)] | str | None = None

    @model_validator(mode="after")
    def one_way(self) -> PulseSpec:
        grid = self.start is not None or self.step is not None
        if [self.ids is not None, grid, self.by is not None].count(True) != 1:
            raise ArgumentError("give one of ids, start and step, or by: position")
        if grid and (self.start is None or self.step is None):
            raise ArgumentError("give both start and step")
        if self.ids is None and self.n is None:
            raise ArgumentError("n is missing: how many values of a train are pulses")
        if self.ids is not None and len(set(self.ids)) < len(self.ids):
            raise ArgumentError("a pulse ID is there twice")
        return self

    def pulse_ids(self, n: int) -> list[int]:
        if self.ids is not None:
            return self.ids[:n]
        start, step = self.start or 0, self.step or 1
        return list(range(start, start + n * step, step))


def listed_pulses(value: object) -> object:
    return {"ids": value} if isinstance(value, list) else value


Pulses = Annotated[PulseSpec, BeforeValidator(listed_pulses)]


def all_different(value: list[Any]) -> list[Any]:
    for i, one in enumerate(value):
        if one in value[:i]:
            raise wrong_value(str(i), f"{one!r} is there twice")
    return value


class ExecutionSpec(Strict):
    """How a cube is worked off."""

    block_trains: Annotated[int, Field(ge=1)] = 200


class OutputSpec(Strict):
    """What is written."""

    formats: Annotated[
        list[Formats], Field(min_length=1), AfterValidator(all_different)
    ] = Field(default=["zarr"])
    report: bool = True
    compat: bool = False


class CubeModel(Strict):
    """A cube: frames and scalars of shots, binned."""

    schema_version: Literal[1]
    kind: Literal["cube"]
    bins: dict[str, BinSpec] = Field(default={})
    delay: DelaySpec = DelaySpec()
    laser: Annotated[
        Literal["split", "on", "off", "all"], BeforeValidator(laser_mode)
    ] = "all"
    laser_variable: str = "lightStatus/laser"
    filters: dict[str, list[str | tuple[str, Limit, Limit]]] = Field(default={})
    require_detectors: bool = True
    variables: list[str] = Field(default=[])
    pulse_values: dict[str, Pulses] = Field({})
    detectors: dict[str, DetectorSpec] = Field(default={})
    quantities: Annotated[list[Quantities], Field(min_length=1)] = Field(
        default=["sum", "count", "mean", "var", "sem"]
    )
    histograms: dict[str, tuple[float, float, int] | None] = Field(default={})
    execution: ExecutionSpec = ExecutionSpec()
    output: OutputSpec = OutputSpec()

    @model_validator(mode="before")
    @classmethod
    def defaults_of_the_peer(cls, values: Mapping[str, object]) -> object:
        """Fill in what smalldata_tools does with bad pixels, if compat asks for it."""
        output = values.get("output") if isinstance(values, dict) else None
        if not isinstance(output, dict) or output.get("compat") is not True:
            return values
        detectors = values.get("detectors")
        if not isinstance(detectors, dict):
            return values
        filled = {
            name: PEER | spec if isinstance(spec, dict) else spec
            for name, spec in detectors.items()
        }
        return {**values, "detectors": filled}

    @field_validator("filters")
    @classmethod
    def in_the_grammar(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, cuts in value.items():
            if name == EVERY_FILTER or not FILTER_NAME.fullmatch(name):
                raise wrong_value(
                    name,
                    f"{name!r} cannot name a filter, as it becomes part of file names:"
                    " use up to 100 letters, digits, _ . + -, and not the word all",
                )
            for i, cut in enumerate(cuts):
                try:
                    parse_cut(cut)
                except ValueError as error:
                    raise wrong_value((name, str(i)), str(error)) from None
        return value

    @field_validator("histograms")
    @classmethod
    def rising_limits(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, limits in value.items():
            if limits is not None and (limits[0] >= limits[1] or limits[2] < 1):
                raise wrong_value(
                    name, f"[low, high, n] needs low < high and n >= 1, got {limits}"
                )
        return value
