"""One key of one source: what it is, without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import Dataset
from xfelred.names import LONG_NAME, MODULE, TRAIN, UNITS
from xfelred.readers.sacla.detector import Detector
from xfelred.readers.sacla.detectors import first_tag
from xfelred.readers.sacla.files import EVENTS, IMAGE
from xfelred.readers.sacla.places import units_of
from xfelred.readers.sacla.run_data import RunData
from xfelred.readers.sacla.scalars import event, tag_values
from xfelred.readers.shot_run import ShotKey

TAG_UNITS = {"temperature": "degC", IMAGE: "adu"}


@dataclass(frozen=True, eq=False)
class KeyData(ShotKey):
    """One key: a column of the event table, or a value per tag and module."""

    run: RunData

    @property
    def is_column(self) -> bool:
        return self.source == EVENTS

    @property
    def detector(self) -> Detector:
        return Detector(self.run.spec(self.source), self.run.memo, data=self.run)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis: train[, module], and those of a value."""
        if self.is_column:
            column = self.run.events.dataset(self.key)
            return (len(self.run.event_ids), *column.shape[1:])
        detector = self.detector
        return (len(detector.ids), len(detector.modules), *self.first.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in the file."""
        if self.is_column:
            return self.run.events.dataset(self.key).dtype
        return self.first.dtype

    @property
    def first(self) -> Dataset:
        """The dataset of the first tag."""
        here = first_tag(self.run.spec(self.source))
        found = None if here is None else here.dataset(self.key)
        if found is None:
            raise BrokenFileError(
                f"the first tag of {self.source} in {self.run.called} has no {self.key}"
            )
        return found

    @property
    def units(self) -> str:
        """Unit, as far as the name tells."""
        if self.is_column:
            return units_of(self.key)
        return TAG_UNITS.get(self.key, "1")

    def xarray(self) -> xr.DataArray:
        """Return the values: (train, ...) or (train, module), read at once.

        Images come as lazy frames.
        """
        if self.is_column:
            return event(self.run, self.key, self.key)
        if self.key == IMAGE:
            return self.detector.frames()
        detector = self.detector
        each = [tag_values(g, self.key, detector.ids) for g in detector.groups]
        values = np.stack(each, axis=1)
        attrs = {UNITS: self.units, LONG_NAME: f"{self.source} {self.key}"}
        coords = {TRAIN: detector.ids, MODULE: detector.modules}
        return xr.DataArray(values, coords, (TRAIN, MODULE), name=self.key, attrs=attrs)
