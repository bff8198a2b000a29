"""The detectors, events and steps of a psana2 run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import NoDataError, PropertyNameError, did_you_mean, listing
from xfelred.names import LONG_NAME, STEP, STEP_VALUE, TIME, TRAIN, UNITS
from xfelred.readers.frames import FrameTexts
from xfelred.readers.lcls_psana.address import Address
from xfelred.readers.lcls_psana.events import IN_CHUNKS, Name, ReadEvents, values
from xfelred.readers.lcls_psana.session import LOCK
from xfelred.readers.lcls_psana.survey import Stream, Survey
from xfelred.readers.lcls_times import LCLS2_EPOCH, event_time
from xfelred.readers.paths import fingerprint
from xfelred.readers.shot_frames import ShotImages, of_psana_key
from xfelred.readers.shot_run import ShotRun

TRIED = 16  # events that are asked for a first image
PREFERRED = ("raw", "calib")
NOT_IMAGES = {"config", "image"}  # "image" is assembled, and needs a geometry


@dataclass(frozen=True, eq=False, repr=False)
class RunData(ShotRun):
    """Events of one psana2 run; nothing but timestamps and steps has been read.

    Attributes
    ----------
    address : Address
    survey : Survey
    ids : uint64 (n,)
        Timestamps of the selected events: seconds since 1990 in the upper 32 bits,
        nanoseconds in the lower.
    given : dict of str to Dataset
        Constants of detectors, which go before those of psana2.
    memo : dict
        Shapes of images that were looked at.
    """

    address: Address
    survey: Survey
    ids: NDArray[np.uint64]
    given: dict[str, xr.Dataset] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)

    facility = "lcls"

    @property
    def run_id(self) -> str:
        """Such as ``xpptut15_Run0014``."""
        return f"{self.survey.exp}_Run{self.survey.number:04d}"

    # -- detectors -------------------------------------------------------------------

    @cached_property
    def methods(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """What can be read of each detector and interface."""
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for stream in self.survey.streams:
            found |= stream.methods
        return found

    @property
    def detectors(self) -> dict[str, str]:
        """Names of what has images by the names of its methods, and their kind."""
        return {
            name: "xtc2"
            for (name, part), methods in self.methods.items()
            if part == "raw" and set(methods) & set(PREFERRED)
        }

    @property
    def sources(self) -> list[str]:
        """Detectors as ``name/interface``, and ``scan`` and ``epics`` where present."""
        return [
            *(f"{name}/{part}" for name, part in self.methods),
            *(["scan"] if self.scan_names else []),
            *(["epics"] if self.epics_names else []),
        ]

    @property
    def scan_names(self) -> list[str]:
        return sorted({n for step in self.survey.steps for n in step.values})

    @property
    def epics_names(self) -> list[str]:
        return sorted({n for s in self.survey.streams for n in s.epics})

    @entry
    def keys(self, source: str) -> list[str]:
        """Return what can be read of a source, sorted."""
        if source == "scan":
            return self.scan_names
        if source == "epics":
            return self.epics_names
        name, _, part = source.partition("/")
        if (name, part or "raw") not in self.methods:
            raise self.no_source(source)
        return list(self.methods[name, part or "raw"])

    def streams_of(self, detector: str) -> list[Stream]:
        return [s for s in self.survey.streams if detector in s.segments]

    def segments_of(self, detector: str) -> list[int]:
        streams = self.streams_of(detector)
        return sorted({n for s in streams for n in s.segments[detector]})

    def events_with(self, detector: str) -> NDArray[np.uint64]:
        """Return the selected timestamps at which every stream has the detector.

        psana2 gives no image where one of the segments is missing.
        """
        here = self.ids
        for stream in self.streams_of(detector):
            here = np.intersect1d(here, stream.ids)
        return here

    def default_key(self, detector: str) -> str:
        """Return "raw" if a detector has it, else "calib"."""
        return next(k for k in PREFERRED if k in self.methods[detector, "raw"])

    def name_of(self, detector: str, key: str) -> Name:
        """Return the method that a key names: "raw", or "interface/method"."""
        part, _, method = key.rpartition("/")
        known = self.methods.get((detector, part or "raw"), ())
        if method not in known or method == "config":
            raise PropertyNameError(
                f"{detector} of {self.run_id} has no {key!r}."
                f"{did_you_mean(method, known)} There are:"
                f" {listing(k for k in known if k not in NOT_IMAGES)}"
            )
        return Name(detector, part or "raw", method)

    def values(self, name: Name, ids: NDArray[np.uint64]) -> list[Any]:
        """Return what a method gives at sorted timestamps, None for nothing."""
        with LOCK:
            return list(values(self.address, self.survey.in_chunks, name, ids))

    def first_image(self, name: Name) -> NDArray[Any]:
        """Return zeros of the shape and dtype of the images of a detector."""
        if str(name) not in self.memo:
            tried = self.events_with(name.detector)[:TRIED]
            if not len(tried):
                whole = self.with_ids(self.survey.ids)
                tried = whole.events_with(name.detector)[:TRIED]
            with LOCK:
                every = values(self.address, self.survey.in_chunks, name, tried)
                image = next((v for v in every if v is not None), None)
            if image is None or image.ndim not in (2, 3):
                what = "nothing" if image is None else f"shape {image.shape}"
                raise NoDataError(
                    f"{name} of {self.run_id} gives {what} at its first {len(tried)}"
                    " events: no images; single values are in run.scalars"
                )
            self.memo[str(name)] = image.shape, image.dtype
        shape, dtype = self.memo[str(name)]
        return np.broadcast_to(np.zeros((), dtype), shape)

    def images_of(self, detector: str, key: str) -> ShotImages:
        """Return where the images of a detector are."""
        name = self.name_of(detector, key)
        image = self.first_image(name)
        shape = (1,) * (3 - image.ndim) + image.shape
        numbers = self.segments_of(detector)
        modules = tuple(numbers if len(numbers) == shape[0] else range(shape[0]))
        here = np.isin(self.ids, self.events_with(detector))
        path = (IN_CHUNKS if self.survey.in_chunks else "") + self.address.text()
        fill = np.nan if image.dtype.kind == "f" else 0
        return ShotImages(
            name=detector,
            ids=self.ids,
            targets=((path, str(name)),),
            target=np.where(here, 0, -1).astype(np.int32),
            row=self.ids.astype(np.int64),  # `ReadEvents` reads by timestamp
            shape=shape,
            dtype=image.dtype,
            modules=modules,
            token=str(self.survey.files),
            chunk=(1, *shape),
            reader=ReadEvents(shape, fill),
        )

    def texts_of(self, detector: str, key: str) -> FrameTexts:
        """Return what frames of a detector say about themselves."""
        return FrameTexts(
            self.facility,
            self.run_id,
            fingerprint(self.survey.files),
            data_kind=of_psana_key(key),
            attrs={"experiment": self.survey.exp},
            long_names={TRAIN: "timestamp"},
        )

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return bytes of a value, and of all images of a detector; for `plan`."""
        known = self.memo.get(dataset)
        if known is None:
            return None
        shape, dtype = known
        n = len(self.events_with(Name.parse(dataset).detector))
        return dtype.itemsize, n * prod(shape) * dtype.itemsize

    # -- steps and single values -----------------------------------------------------

    def step_numbers(self) -> NDArray[np.int64]:
        """Return the step of each selected event; -1 before the first one."""
        starts = np.array([s.start for s in self.survey.steps], np.uint64)
        return np.searchsorted(starts, self.ids, side="right").astype(np.int64) - 1

    def step_values(self, name: str) -> NDArray[Any]:
        """Return a scan variable at each step."""
        found = [step.values.get(name) for step in self.survey.steps]
        numbers = (int, float, np.number)
        if all(isinstance(v, numbers) or v is None for v in found):
            return np.array([np.nan if v is None else v for v in found], float)
        return np.array([str(v) for v in found])

    @property
    def step_variable(self) -> str | None:
        """The scan variable that stands for the step: step_value, else the first."""
        names = self.scan_names
        return STEP_VALUE if STEP_VALUE in names else next(iter(names), None)

    def coordinates_of(self, detector: str = "") -> dict[str, xr.Variable]:
        """Return time, step and step value of the selected events."""
        out = {TIME: event_time(self.ids, LCLS2_EPOCH)}
        at = self.step_numbers()
        if len(self.survey.steps):
            attrs = {UNITS: "1", LONG_NAME: "step of the scan"}
            out[STEP] = xr.Variable(TRAIN, at, attrs)
        if self.step_variable is not None:
            each = self.step_values(self.step_variable)[np.maximum(at, 0)]
            if each.dtype.kind == "f":
                each = np.where(at >= 0, each, np.nan)
            attrs = {UNITS: "1", LONG_NAME: f"scan variable {self.step_variable}"}
            out[STEP_VALUE] = xr.Variable(TRAIN, each, attrs)
        return out

    @property
    def steps(self) -> xr.Dataset:
        """Steps of the scan: n_events of those selected, and each scan variable."""
        at = self.step_numbers()
        n = len(self.survey.steps)
        counts = np.bincount(at[at >= 0], minlength=n)
        data = {
            "n_events": (STEP, counts, {UNITS: "1", LONG_NAME: "events of the step"})
        }
        for name in self.scan_names:
            attrs = {UNITS: "1", LONG_NAME: f"scan variable {name}"}
            data[name] = (STEP, self.step_values(name), attrs)
        if self.step_variable is not None:
            data[STEP_VALUE] = data[self.step_variable]
        return xr.Dataset(data, coords={STEP: np.arange(n)})
