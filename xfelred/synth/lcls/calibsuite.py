"""Simulated files of the LCLS calibration suite."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, ArgumentTypeError
from xfelred.small_files import writing

Nesting = Literal["nested", "by_detector", "at_root", "flat"]
PEDESTAL, NOISE = 3000.0, 6.0  # adu
SIGNAL = 40.0  # adu for each unit of the step's value, in the middle of a module
EPOCH = 1727740800.0  # the date below, in seconds since 1970


@dataclass(frozen=True, kw_only=True)
class SuiteConfig:
    """What a simulated calibration-suite file should look like.

    Parameters
    ----------
    layout : {"nested", "by_detector", "at_root", "flat"}
        ``detectorData/step0/epixM``; ``detectorData/epixM/step0``; ``epixM/step0``; or
        ``frames`` (step, event, module, row, column), for which all steps must have the
        same number of events.
    n_events : tuple of int
        Of each step.
    shape : (modules, rows, columns)
    detectors : tuple of str
    channels : int
        Of the secondary detector ``wave8``; 0: none.
    step_name : str
        Such as ``step{}`` or ``{}``.
    first_step, step_stride : int
        Numbers of the steps.
    per_event : collection of int
        Positions of the steps whose value is written for each event.
    script_type, ancillary : str
        Kind of run, and what its steps are; empty: left out.
    value_step : float
        Difference of the values of neighbouring steps.
    chunks : bool
        Frames are stored in compressed chunks of one event.
    seed : int
    """

    layout: Nesting = "nested"
    n_events: tuple[int, ...] = (5, 9, 3, 7)
    shape: tuple[int, int, int] = (2, 12, 16)
    detectors: tuple[str, ...] = ("epixM",)
    channels: int = 8
    step_name: str = "step{}"
    first_step: int = 0
    step_stride: int = 1
    per_event: Collection[int] = ()
    script_type: str = "delayScan"
    ancillary: str = "delay"
    value_step: float = 1.5
    chunks: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.layout == "flat" and len(set(self.n_events)) != 1:
            raise ArgumentError(
                f"a flat file has as many events in all steps, not {self.n_events}"
            )
        if not self.n_events:
            raise ArgumentError("there must be one step at least")

    @property
    def steps(self) -> list[int]:
        """Numbers of the steps."""
        n = len(self.n_events)
        return [self.first_step + self.step_stride * i for i in range(n)]

    @property
    def values(self) -> list[float]:
        """Value of each step."""
        return [self.value_step * i for i in range(len(self.n_events))]


@dataclass(frozen=True)
class SuiteTruth:
    """What is in a simulated file."""

    path: Path
    config: SuiteConfig
    # uint16 (event, module, row, column) of each detector and step.
    frames: dict[str, list[NDArray[np.uint16]]]
    timestamps: list[NDArray[np.float64]]  # (event,)
    flux: list[NDArray[np.float64]]  # (event, channel), of the secondary detector


def write_suite(
    path: str | Path, config: SuiteConfig | None = None, **options: Any
) -> SuiteTruth:
    """Write a simulated calibration-suite file and return what is in it.

    Parameters
    ----------
    path : path
        A file that does not exist yet.
    config : SuiteConfig, optional
        Or its fields as `options`.

    Returns
    -------
    SuiteTruth

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     truth = write_suite(f"{place}/run.h5", n_events=(2, 3))
    ...     [f.shape for f in truth.frames["epixM"]]
    [(2, 2, 12, 16), (3, 2, 12, 16)]
    """
    if config is None:
        config = SuiteConfig(**options)
    elif options:
        raise ArgumentTypeError("pass a SuiteConfig or its fields, not both")
    truth = draw(Path(path), config)
    with writing(path), h5py.File(truth.path, "x") as file:
        if config.layout == "flat":
            write_flat(file, truth)
        else:
            write_nested(file, truth)
    return truth


def draw(path: Path, config: SuiteConfig) -> SuiteTruth:
    """Return frames whose signal grows with the value of the step and the flux."""
    rng = np.random.default_rng(config.seed)
    modules, rows, columns = config.shape
    y, x = np.mgrid[:rows, :columns]
    spot = np.exp(-((y - rows / 2) ** 2 + (x - columns / 2) ** 2) / (rows + columns))
    frames: dict[str, list[NDArray[np.uint16]]] = {d: [] for d in config.detectors}
    flux, times = [], []
    for i, (n, value) in enumerate(zip(config.n_events, config.values, strict=True)):
        shots = rng.normal(100 + 50 * value, 3, (n, max(1, config.channels)))
        flux.append(np.round(shots, 3))
        times.append(EPOCH + 100 * i + np.arange(n) / 120)  # shots at 120 Hz
        for name in config.detectors:
            noise = rng.normal(PEDESTAL, NOISE, (n, modules, rows, columns))
            strength = SIGNAL * value * shots[:, :1, None, None] / 100
            image = noise + strength * spot
            frames[name].append(np.clip(np.rint(image), 0, 65535).astype(np.uint16))
    return SuiteTruth(path, config, frames, times, flux)


def places(config: SuiteConfig, name: str) -> Iterator[str]:
    """Yield where the values of each step of an array are."""
    for number in config.steps:
        step = config.step_name.format(number)
        yield {
            "nested": f"detectorData/{step}/{name}",
            "by_detector": f"detectorData/{name}/{step}",
        }.get(config.layout, f"{name}/{step}")


def write_nested(file: h5py.File, truth: SuiteTruth) -> None:
    config = truth.config
    arrays: dict[str, list[Any]] = {**truth.frames, "timestamp": truth.timestamps}
    if config.channels:
        arrays["wave8"] = truth.flux
    for name, of_steps in arrays.items():
        for place, values in zip(places(config, name), of_steps, strict=True):
            write_array(file, place, values, config)
    header: dict[str, Any] = {
        "scriptType": config.script_type,
        "ancillaryDataType": config.ancillary,
        "acquisitionScript": "simulated",
        "commandLine": "simulated -n 1",
        "version": "v1",
        "date": "2024-10-01",
        "location": "Bldg84",
        "run": int(EPOCH),
    }
    for name, value in header.items():
        if value:
            file[f"ancillaryData/{name}"] = value
    for i, (number, value) in enumerate(zip(config.steps, config.values, strict=True)):
        if config.ancillary:
            place = (
                f"ancillaryData/{config.ancillary}/{config.step_name.format(number)}"
            )
            n = config.n_events[i]
            file[place] = np.full(n, value) if i in config.per_event else value


def write_array(
    file: h5py.File, place: str, values: NDArray[Any], config: SuiteConfig
) -> None:
    if config.chunks and values.ndim > 2 and len(values):
        shape = (1, *values.shape[1:])
        file.create_dataset(
            place, data=values, chunks=shape, compression="gzip", shuffle=True
        )
    else:
        file[place] = values


def write_flat(file: h5py.File, truth: SuiteTruth) -> None:
    config = truth.config
    frames = np.stack(truth.frames[config.detectors[0]])
    options: dict[str, Any] = {}
    if config.chunks:
        options = {"chunks": (1, 1, *config.shape), "compression": "gzip"}
    file.create_dataset("frames", data=frames, **options)
    if config.ancillary:
        file["step_value"] = np.array(config.values)
        file["step"] = np.array(config.steps)
    if config.script_type:
        file["scriptType"] = config.script_type
