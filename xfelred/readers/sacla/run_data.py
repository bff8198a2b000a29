"""The sources, tags and shots of a SACLA run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import SourceNameError, listing
from xfelred.names import SHUTTER_OPEN
from xfelred.readers.left_out import LeftOut
from xfelred.readers.sacla.detectors import DetectorSpec, first_tag
from xfelred.readers.sacla.events import Table
from xfelred.readers.sacla.files import EVENTS, SaclaFile, Tags, number
from xfelred.readers.sacla.images import ModuleImages
from xfelred.readers.sacla.shots import ShotKinds, read_shots, with_darks
from xfelred.readers.selection import ById, glob_pairs, select_train_ids
from xfelred.readers.shot_run import ShotRun

HERTZ = 60  # at which tags count up


@dataclass(frozen=True, eq=False, repr=False)
class RunData(ShotRun):
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
    events : Table
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
    events: Table
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
    def called(self) -> str:
        """What messages call the run."""
        return f"{self.run_id} of {listing(f.path for f in self.files)}"

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
        return sorted(first_tag(self.spec(source)) or ())

    def spec(self, name: str | None) -> DetectorSpec:
        """Return which groups make up a detector, named itself or by one of these."""
        if name == EVENTS:
            raise SourceNameError(f"{EVENTS} is no detector; see {self.run_id}.scalars")
        for spec in () if name in self.specs else self.specs.values():
            if name in {group.name for group in spec.groups}:
                return spec
        return self.specs[self.detector_named(name)]

    def modules(self, spec: DetectorSpec) -> ModuleImages:
        return ModuleImages(spec, self.memo)

    # -- selecting -------------------------------------------------------------------

    def with_ids(self, ids: Tags) -> Self:
        """Return the run for some of its tags."""
        if len(ids) == len(self.ids):
            return self
        return replace(self, ids=ids, event_ids=np.intersect1d(self.event_ids, ids))

    def select_trains(self, trains: object) -> Self:
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
    def select(self, sources: object, key_glob: str = "*") -> Self:
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
        pairs = glob_pairs(sources, key_glob)
        specs: dict[str, DetectorSpec] = {}
        columns: set[str] = set()
        for source, keys in pairs:
            here = {n: s for n, s in self.specs.items() if fnmatchcase(n, source)}
            found = set()
            if fnmatchcase(EVENTS, source):
                found = {c for c in self.columns if fnmatchcase(c, keys)}
            if not here and not found:
                raise self.no_source(source if keys == "*" else f"{source} with {keys}")
            specs |= here
            columns |= found
        ordered = {n: s for n, s in self.specs.items() if n in specs}
        kept = tuple(c for c in self.columns if c in columns)
        return replace(self, specs=ordered, columns=kept)

    # -- shots -----------------------------------------------------------------------

    @cached_property
    def shots(self) -> ShotKinds:
        """Dark, lit and pumped shots, and photon energies, of the whole run."""
        found = read_shots(self.events, self.number, self.config, self.dark_first)
        if SHUTTER_OPEN in found.values:
            return found
        if self.dark_below is not None:
            return with_darks(self.modules(self.spec(None)), found, self.dark_below)
        if self.dark_first is not None:  # no event table: count images
            groups = [g.tags for s in self.specs.values() for g in s.groups]
            tags = np.unique(np.concatenate(groups))
            lit = np.arange(len(tags)) >= self.dark_first
            known, told_by = np.ones(len(tags), bool), f"dark_first={self.dark_first}"
            return found.with_shutter(tags, lit, known, told_by)
        return found

    @property
    def tag_step(self) -> int:
        """Tags between shots: 2 at 30 Hz, 1 at 60 Hz.

        The usual difference of neighbouring tags; where there are fewer than two,
        60 / repetition rate.
        """
        tags = self.events.tags if len(self.events.tags) > 1 else self.ids
        if len(tags) > 1:
            return int(np.median(np.diff(tags)))
        rate = number(self.config.get("repetition_rate"))
        return max(1, round(HERTZ / rate)) if rate > 0 else 1
