"""A SACLA run: shots by tag, and the arrays made from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import BrokenFileError
from xfelred.hdf5 import Dataset
from xfelred.names import LONG_NAME, MODULE, TRAIN, UNITS
from xfelred.readers.description import as_html, print_lines
from xfelred.readers.request import FramesRequest
from xfelred.readers.sacla import scalars, summary
from xfelred.readers.sacla.detector import Detector
from xfelred.readers.sacla.detectors import first_tag
from xfelred.readers.sacla.files import EVENTS, IMAGE
from xfelred.readers.sacla.places import units_of
from xfelred.readers.sacla.run_data import RunData
from xfelred.readers.shot_run import ShotKey


@dataclass(frozen=True, eq=False, repr=False)
class Run(RunData):
    """Data of one run for the selected sources and tags.

    Nothing but names and the list of tags has been read. Selecting gives a new object.
    Attributes are those of `RunData`.
    """

    def key_data(self, source: str, key: str) -> KeyData:
        """Return one key of a source."""
        return KeyData(self, source, key)

    # -- shots -----------------------------------------------------------------------

    @property
    def darks(self) -> xr.DataArray:
        """Bool (train,): the shutter was closed; MissingConstantError if unknown."""
        return scalars.flags(self, "darks")

    @property
    def lit(self) -> xr.DataArray:
        """Bool (train,): shutter open, beam there, and the tag in the event table."""
        return scalars.flags(self, "lit")

    @property
    def pumped(self) -> xr.DataArray:
        """Bool (train,): lit, and the pump laser was on."""
        return scalars.flags(self, "pumped")

    @property
    def photon_energy(self) -> float:
        """Usual photon energy of the run in eV, NaN if unknown; see `ShotKinds`."""
        return self.shots.default_energy

    # -- arrays ----------------------------------------------------------------------

    def event(self, column: str) -> xr.DataArray:
        """Return one column of ``event_info`` as it is in the file.

        Parameters
        ----------
        column : str
            Path below ``event_info``, such as ``bl_3/oh_2/photon_energy_in_eV``.

        Returns
        -------
        DataArray (train[, ...])
            On the selected tags of the event table; dtype of the file, text as str.

        Raises
        ------
        PropertyNameError
            If there is no such column.
        InconsistentDataError
            If it does not have one value per row.
        """
        return scalars.event(self, column, column)

    @entry(own=("keys",))
    def scalars(
        self, keys: Sequence[str], *, missing_keys: Literal["raise", "ignore"] = "raise"
    ) -> xr.Dataset:
        """Return values per shot, joined by tag.

        Parameters
        ----------
        keys : sequence of str
            Paths below ``event_info``, names that work in every run (see
            `xfelred.readers.sacla.places.ALIASES`: I0, photon_energy, delay,
            laser_status, shutter_status, ...), globs, or ``detector_2d_1/temperature``.
        missing_keys : {"raise", "ignore"}, optional
            "ignore" leaves out what the run does not have.

        Returns
        -------
        Dataset (train)
            One variable per key and named like it, on the selected tags of the event
            table. ``attrs["column"]`` says where an alias was found.

        Raises
        ------
        PropertyNameError
            If there is no such column.
        """
        return scalars.scalars(self, keys, missing_keys)

    @entry
    def detector(self, name: str | None = None, *, modules: object = None) -> Detector:
        """Return a detector; without a name the run must have just one.

        Parameters
        ----------
        name : str, optional
            A name of `detectors`, or of one of its groups (``detector_2d_1``).
        modules : int or sequence of int, optional
            Some of its modules.
        """
        found = Detector(self.spec(name), self.memo, data=self)
        return found.with_modules(modules)

    def frames_of(
        self, detector: str | None, request: FramesRequest, **options: Any
    ) -> xr.DataArray:
        """Return the frames that were asked for; the option is `require`."""
        return self.detector(detector).frames_of(request, **options)

    @entry
    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Return gains, pixel sizes and places of the modules; see `constants`."""
        return self.detector(detector).constants()

    facts = summary.facts
    stored = summary.stored

    def info(self, details_for_sources: str | Iterable[str] = ()) -> None:
        """Print what the run holds, with the columns of sources that match globs."""
        super().info(details_for_sources)
        if EVENTS in self.sources and not details_for_sources:
            columns = (f"  - {c}" for c in self.columns)
            print_lines(["", f"columns of {EVENTS}:", *columns])

    def _repr_html_(self) -> str:
        return as_html(self.run_id, self.facts(), "columns", self.columns)


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
            return scalars.event(self.run, self.key, self.key)
        if self.key == IMAGE:
            return self.detector.frames()
        detector = self.detector
        each = [scalars.tag_values(g, self.key, detector.ids) for g in detector.groups]
        values = np.stack(each, axis=1)
        attrs = {UNITS: self.units, LONG_NAME: f"{self.source} {self.key}"}
        coords = {TRAIN: detector.ids, MODULE: detector.modules}
        return xr.DataArray(values, coords, (TRAIN, MODULE), name=self.key, attrs=attrs)
