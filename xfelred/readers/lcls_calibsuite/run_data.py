"""The selected events and sources of a calibration-suite run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import PurePath
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import SourceNameError, listing, shown
from xfelred.names import EVENT, LONG_NAME, STEP, STEP_VALUE, TRAIN, UNITS
from xfelred.readers.frames import FrameTexts
from xfelred.readers.lcls_calibsuite import values
from xfelred.readers.lcls_calibsuite.contents import Contents, Events, events_of
from xfelred.readers.paths import fingerprint
from xfelred.readers.selection import ById, ByIndex, glob_pairs, matches
from xfelred.readers.shot_run import ShotRun

KEY, VALUE = "frames", "value"


def plain_number(text: str) -> dict[str, str]:
    """Return the attributes of what has no unit."""
    return {UNITS: "1", LONG_NAME: text}


@dataclass(frozen=True, eq=False, repr=False)
class RunData(ShotRun):
    """Data of one file for the selected events; nothing but shapes has been read.

    Attributes
    ----------
    contents : Contents
        Of the whole file.
    ids : int64 (event,)
        Running numbers of the selected events, sorted.
    step_numbers : int64 (step,)
        Selected steps, sorted; also those without an event.
    names : tuple of str
        Selected sources.
    """

    contents: Contents
    ids: NDArray[np.int64]
    step_numbers: NDArray[np.int64]
    names: tuple[str, ...]

    facility = "lcls"

    @property
    def run_id(self) -> str:
        """Stem of the name of the file."""
        return PurePath(self.contents.path).stem

    @property
    def detectors(self) -> dict[str, str]:
        """Names of the detectors and their kind."""
        known = self.contents.detectors
        return {n: "calibration suite" for n in known if n in self.names}

    @property
    def series(self) -> list[str]:
        """Names of the values per event or per step."""
        return [n for n in self.contents.series if n in self.names]

    @property
    def sources(self) -> list[str]:
        """Names of the detectors and of the values."""
        return list(self.names)

    streams = ("event",)

    @entry
    def keys(self, source: str) -> list[str]:
        """Return the keys of a source: "frames" of a detector, "value" of others.

        Raises
        ------
        SourceNameError
            If there is no such source.
        """
        if source not in self.names:
            raise self.no_source(source)
        return [KEY if source in self.contents.detectors else VALUE]

    @cached_property
    def events(self) -> Events:
        """The selected events, and the step of each."""
        return events_of(self.contents, self.ids)

    @cached_property
    def step_values(self) -> NDArray[Any]:
        """Value of every step of the file."""
        return values.step_values(self.contents)

    @property
    def value_attrs(self) -> dict[str, str]:
        """Unit and long name of the value of a step."""
        name = self.contents.value_name or ""
        known = name not in ("", STEP_VALUE)
        return plain_number(name if known else "value of the step")

    def texts_of(self, detector: str, key: str) -> FrameTexts:
        """Return what frames say about themselves."""
        return FrameTexts(
            facility=self.facility,
            run_id=self.run_id,
            fingerprint=fingerprint([self.contents.identity]),
            attrs={"script_type": self.contents.kind} if self.contents.kind else {},
            long_names={TRAIN: "running event number"},
        )

    def coordinates_of(self, detector: str = "") -> dict[str, xr.Variable]:
        """Return the coordinates ``step``, ``event``, ``step_value`` on train."""
        events, each = self.events, self.step_values
        each = each[events.position] if len(each) else self.ids * np.nan
        found = (
            (STEP, events.step, plain_number("number of the step")),
            (EVENT, events.event, plain_number("number within the step")),
            (STEP_VALUE, each, self.value_attrs),
        )
        return {k: xr.Variable(TRAIN, v, attrs) for k, v, attrs in found}

    # -- selecting -------------------------------------------------------------------

    @entry
    def select(self, sources: object, key_glob: str = "*") -> Self:
        """Return the run with the sources that a glob, or one of several, matches.

        Raises
        ------
        SourceNameError
            If nothing matches.
        """
        pairs = glob_pairs(sources, key_glob)
        known = [(n, self.keys(n)[0]) for n in self.names]
        names = tuple(
            n
            for n, key in known
            if any(fnmatchcase(n, g) and fnmatchcase(key, k) for g, k in pairs)
        )
        if not names:
            raise SourceNameError(
                f"no source of {self.run_id} matches {shown(pairs)}; there are"
                f" {listing(self.names)}"
            )
        return replace(self, names=names)

    def select_steps(self, steps: object) -> Self:
        """Return the run for some of its steps.

        Parameters
        ----------
        steps : int, slice, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions among the steps, or their numbers with ``by_id``.
        """
        value: Any = steps.value if isinstance(steps, (ById, ByIndex)) else steps
        if isinstance(steps, ById):
            keep = matches(self.step_numbers, value)
        else:
            one = np.ndim(value) == 0 and not isinstance(value, slice)
            keep = np.zeros(len(self.step_numbers), bool)
            keep[[value] if one else value] = True
        numbers = self.step_numbers[keep]
        keep = np.isin(self.events.step, numbers)
        return replace(self, ids=self.ids[keep], step_numbers=numbers)
