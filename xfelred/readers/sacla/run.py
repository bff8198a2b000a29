"""A SACLA run: shots by tag, and the arrays made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import SourceNameError, listing
from xfelred.readers.left_out import LeftOut
from xfelred.readers.sacla import intensity, scalars, summary
from xfelred.readers.sacla.detector import Detector
from xfelred.readers.sacla.detectors import DetectorSpec, choose
from xfelred.readers.sacla.events import EventTable
from xfelred.readers.sacla.files import EVENTS, SaclaFile, Tags
from xfelred.readers.sacla.keys import KeyData, image_keys
from xfelred.readers.sacla.shots import Shots, read_shots
from xfelred.readers.sacla.sources import chosen_sources
from xfelred.readers.selection import ById, select_train_ids
from xfelred.readers.shot_run import ShotRun


@dataclass(frozen=True, eq=False, repr=False)
class Run(ShotRun):
    """Data of one run for the selected sources and tags.

    Nothing but names and the list of tags has been read. Selecting gives a new object.

    Attributes
    ----------
    file : SaclaFile
        The first, if there are several.
    number : int
        Of the run.
    ids : int64 (n,)
        Selected tags with an image of any detector, sorted.
    event_ids : int64 (m,)
        Selected tags of the event table.
    events : EventTable
        Of the whole run.
    specs : dict of str to DetectorSpec
        Selected detectors.
    columns : tuple of str
        Selected columns of the event table.
    config, notes : dict
        ``run_info/sacla_config``, and other small values of the run.
    dark_first : int or None
        Shots at the head of the run that are dark if the event table does not tell.
    dark_below : float or None
        Mean intensity below which a shot is dark if nothing else tells.
    others : tuple of SaclaFile
        The other files of the run.
    left_out : tuple of (file, reason)
        Files that could not be used.
    memo : dict
        What was found out about images; shared by all selections.
    """

    file: SaclaFile
    number: int
    ids: Tags
    event_ids: Tags
    events: EventTable
    specs: dict[str, DetectorSpec]
    columns: tuple[str, ...]
    config: dict[str, Any]
    notes: dict[str, Any]
    dark_first: int | None = None
    dark_below: float | None = None
    others: tuple[SaclaFile, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

    facility = "sacla"

    @property
    def run_id(self) -> str:
        """Such as ``run_178884``."""
        return f"run_{self.number}"

    @property
    def files(self) -> tuple[SaclaFile, ...]:
        """All files of the run."""
        return (self.file, *self.others)

    @property
    def detectors(self) -> dict[str, str]:
        """Names of the detectors and their kinds."""
        return {name: spec.kind for name, spec in self.specs.items()}

    @property
    def sources(self) -> list[str]:
        """Names of the detectors, and ``event_info`` if the run has a table."""
        return [*self.specs, *([EVENTS] if self.columns else [])]

    @entry
    def keys(self, source: str) -> list[str]:
        """Return the keys of a source, sorted.

        Raises
        ------
        SourceNameError
            If there is no such source.
        """
        if source == EVENTS and self.columns:
            return list(self.columns)
        return image_keys(self.spec(source))

    def spec(self, name: str | None) -> DetectorSpec:
        """Return which groups make up a detector."""
        if name == EVENTS:
            raise SourceNameError(f"{EVENTS} is no detector; see {self.run_id}.scalars")
        where = listing(f.path for f in self.files)
        return choose(self.specs, name, f"{self.run_id} of {where}")

    def key_data(self, source: str, key: str) -> KeyData:
        """Return one key of a source."""
        return KeyData(self, source, key)

    # -- selecting -------------------------------------------------------------------

    def with_ids(self, ids: Tags) -> Run:
        """Return the run for some of its tags."""
        if len(ids) == len(self.ids):
            return self
        return replace(self, ids=ids, event_ids=np.intersect1d(self.event_ids, ids))

    def select_trains(self, trains: Any) -> Run:
        """Return the run for a selection of its tags.

        Parameters
        ----------
        trains : slice, int, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions among the tags with an image unless it is ``by_id`` or an array
            with a coordinate ``train``; these also select rows of the event table.
        """
        if isinstance(trains, (ById, xr.DataArray, pd.Series)):
            union: Tags = np.union1d(self.ids, self.event_ids).astype(np.int64)
            wanted = select_train_ids(union, trains, self.ids)
            return replace(
                self,
                ids=np.intersect1d(self.ids, wanted),
                event_ids=np.intersect1d(self.event_ids, wanted),
            )
        return self.with_ids(select_train_ids(self.ids, trains))

    @entry
    def select(self, sources: Any, key_glob: str = "*") -> Run:
        """Return the run with some of its sources and keys.

        Parameters
        ----------
        sources : str, list of str, or list of (source glob, key glob)
            Globs of detector names, or ``event_info``.
        key_glob : str, optional
            Columns of the event table; goes with a single glob.

        Raises
        ------
        SourceNameError
            If nothing matches.
        """
        specs, columns = chosen_sources(self, sources, key_glob)
        return replace(self, specs=specs, columns=columns)

    # -- shots -----------------------------------------------------------------------

    @cached_property
    def shots(self) -> Shots:
        """Dark, lit and pumped shots, and photon energies, of the whole run."""
        found = read_shots(self.events, self.number, self.config, self.dark_first)
        if found.shutter_open is not None:
            return found
        if self.dark_below is not None:
            return intensity.with_darks(self, found, self.dark_below)
        if self.dark_first is not None:  # no event table: count images
            tags = np.unique(np.concatenate([
                g.tags for s in self.specs.values() for g in s.groups
            ]))  # fmt: skip
            return found.with_shutter(
                tags, np.arange(len(tags)) >= self.dark_first,
                np.ones(len(tags), bool), f"dark_first={self.dark_first}",
            )  # fmt: skip
        return found

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
    def tag_step(self) -> int:
        """Tags between shots: 2 at 30 Hz, 1 at 60 Hz.

        The usual difference of neighbouring tags; where there are fewer than two,
        60 / repetition rate.
        """
        return summary.tag_step(self)

    @property
    def photon_energy(self) -> float:
        """Usual photon energy of the run in eV, NaN if unknown; see `Shots`."""
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
    def detector(self, name: str | None = None, *, modules: Any = None) -> Detector:
        """Return a detector; without a name the run must have just one.

        Parameters
        ----------
        name : str, optional
            A name of `detectors`, or of one of its groups (``detector_2d_1``).
        modules : int or sequence of int, optional
            Some of its modules.
        """
        return self.detector_of(self.spec(name)).with_modules(modules)

    def detector_of(self, spec: DetectorSpec) -> Detector:
        """Return the detector of a specification."""
        return Detector(self, spec, self.memo)

    @entry
    def frames(
        self,
        detector: str | None = None,
        key: str | None = None,
        *,
        modules: Any = None,
        **options: Any,
    ) -> xr.DataArray:
        """Return images as a lazy array (train, pulse, module, slow_scan, fast_scan).

        Parameters
        ----------
        detector : str, optional
            Name of the detector; not needed if the run has exactly one.
        key, modules
            See `xfelred.readers.sacla.frames.frames`, which also tells what comes back
            and which errors there are.
        **options
            ``pulses, layout, roi, fill_value, astype, bad_pixels, chunk_size, missing,
            require``: see there.

        Returns
        -------
        DataArray
        """
        return self.detector(detector).frames(key, modules=modules, **options)

    @entry
    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Return gains, pixel sizes and places of the modules; see `constants`."""
        return self.detector(detector).constants()

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return bytes of a value, and of all images of a group; for `plan`."""
        return summary.stored(self, path, dataset)

    def info(self, details_for_sources: Any = ()) -> None:
        """Print what the run holds, with the columns of sources that match globs."""
        summary.print_info(self, details_for_sources)

    def __repr__(self) -> str:
        return summary.text(self)

    def _repr_html_(self) -> str:
        return summary.html(self)
