"""A run of xtc2 files read through psana2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from xfelred.entries import entry
from xfelred.errors import listing
from xfelred.readers.description import Facts
from xfelred.readers.lcls_psana import constants, scalars
from xfelred.readers.lcls_psana.run_data import RunData


@dataclass(frozen=True, eq=False, repr=False)
class Run(RunData):
    """Events of one psana2 run; nothing but timestamps and steps has been read.

    Attributes are those of `RunData`.
    """

    @entry
    def key_data(self, source: str, key: str) -> xr.DataArray:
        """Return the values of ``run[source, key]`` at the selected events."""
        return scalars.scalars(self, f"{source}/{key}")[f"{source}/{key}"]

    @entry(own=("keys",))
    def scalars(
        self,
        keys: str | Sequence[str],
        *,
        missing_keys: Literal["raise", "ignore"] = "raise",
    ) -> xr.Dataset:
        """Return values per event, joined by timestamp; this reads them.

        Parameters
        ----------
        keys : str or sequence of str
            Scan variables (``scan/motor1`` or ``motor1``), slow values
            (``epics/NAME``), and methods of detectors (``ebeam/raw/energy``); globs of
            the first two. One of several values: ``timing/raw/eventcodes[272]``.
        missing_keys : {"raise", "ignore"}, optional
            What to do with a name that the run does not have.

        Returns
        -------
        Dataset (train)
            Variables named as asked for; NaN, or an empty text, where an event has no
            value; further axes are ``<name>_dim0``, ... Coordinates ``time``,
            ``step``, ``step_value``.

        Raises
        ------
        PropertyNameError
            If there is no such name.
        """
        return scalars.scalars(self, keys, missing_keys)

    @entry
    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Return pedestal, noise, gain, bad pixels and positions of a detector.

        Those given to `open_run` go before those that psana2 fetches.

        Raises
        ------
        MissingConstantError
            If psana2 has none, as with ``offline=True``.
        """
        name = self.detector_named(detector)
        if name in self.given:
            return self.given[name]
        return constants.constants(self, name)

    def facts(self) -> Facts:
        """Return (what, value) lines that describe the run."""
        where = self.address.dir or self.address
        out = [
            ("facility", f"LCLS, xtc2 of {self.survey.exp}, run {self.survey.number}"),
            ("files", f"{len(self.survey.files)} in {where}"),
            ("events", f"{len(self.ids)} in {len(self.survey.streams)} streams"),
        ]
        if self.survey.steps:
            names = listing(self.scan_names)
            out.append(("steps", f"{len(self.survey.steps)}, scan variables {names}"))
        for name in self.detectors:
            segments, n = listing(self.segments_of(name)), len(self.events_with(name))
            out.append(("detector", f"{name}: segments {segments}, {n} events"))
        return out
