"""A run of LCLS small data: events by ID, and the arrays made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentTypeError, InconsistentDataError, SelectionEmptyError
from xfelred.names import LONG_NAME, UNITS
from xfelred.readers.lcls_smalldata import (
    constants,
    images,
    scalars,
    summary,
    tables,
)
from xfelred.readers.lcls_smalldata.columns import CONSTANTS, INTG, Column, units_of
from xfelred.readers.lcls_smalldata.run_data import RunData
from xfelred.readers.shot_frames import Coordinates
from xfelred.readers.shot_run import ShotKey


@dataclass(frozen=True, eq=False, repr=False)
class Run(RunData):
    """Data of one run for the selected events; nothing but the IDs has been read.

    Attributes are those of `RunData`.
    """

    @entry
    def key_data(self, source: str, key: str) -> KeyData:
        """Return one key of a source."""
        return KeyData(self, source, key)

    def align(self, other: Run) -> tuple[Run, Run]:
        """Return this run and another one with the events that both have.

        Parameters
        ----------
        other : Run
            Another file of the run, or what another program made of it.

        Returns
        -------
        tuple of Run
            With equal ``ids``.

        Raises
        ------
        SelectionEmptyError
            If they share none.
        InconsistentDataError
            If one is of LCLS1 and the other of LCLS2.

        Notes
        -----
        Events are the same if their timestamps are (LCLS2), or event_time and fiducials
        both (LCLS1). ``xr.align`` and joins by ``train`` look at the times alone.
        """
        if not isinstance(other, Run):
            raise ArgumentTypeError(
                f"align takes another LCLS run, not {type(other).__name__}"
            )
        mine, theirs = self.flavour.name, other.flavour.name
        if mine != theirs:
            raise InconsistentDataError(
                f"{self.run_id} has {mine} IDs and {other.run_id} has {theirs} IDs:"
                " they cannot be joined"
            )
        common = np.intersect1d(self.ids, other.ids)
        first, second = fiducials(self, common), fiducials(other, common)
        if first is not None and second is not None:
            common = common[first == second]
        if not len(common):
            raise SelectionEmptyError(
                f"{self.run_id} ({span(self)}) and {other.run_id} ({span(other)}) share"
                " no event: they are of different runs, or one was written with another"
                " epoch"
            )
        return self.with_ids(common), other.with_ids(common)

    # -- arrays ----------------------------------------------------------------------

    @entry(own=("keys",))
    def scalars(
        self,
        keys: str | Iterable[str],
        *,
        stream: str = "event",
        missing: Literal["nan", "keep"] = "nan",
        missing_keys: Literal["raise", "ignore"] = "raise",
        use_damage: bool = False,
    ) -> xr.Dataset:
        """Return values per event, joined by ID.

        Parameters
        ----------
        keys : str or iterable of str
            Names as in the file (``"ipm2/sum"``), perhaps with the position of one of
            several values (``"timing/eventcodes[272]"``), or globs (``"ipm2/*"``).
            Globs leave out whole images (``calib``, ``full_area``, ``full``, ``raw``).
        stream : {"event", "intg"}, optional
            "intg": rows of the slow detectors, names without ``intg/``.
        missing : {"nan", "keep"}, optional
            "nan": integer columns that hold -99999, which stands for nothing, come as
            float64 with NaN; "keep": as they are.
        missing_keys : {"raise", "ignore"}, optional
            What to do with names that are not there.
        use_damage : bool, optional
            NaN where ``damage/<source>`` is 0, data were absent. The LCLS2 writer fills
            the events before the first one with data with 0, which looks like a value.

        Returns
        -------
        Dataset (train)
            One variable per column, named like it; further axes are
            ``<name>_dim0``, ...; one of length 1 is none. Coordinates ``time`` (UTC)
            and ``fiducials`` (LCLS1).

        Raises
        ------
        PropertyNameError
            If there is no such column, or it does not have one row per event.
        InconsistentDataError
            If it has another number of rows.
        """
        return scalars.scalars(
            self, keys, stream, missing, missing_keys, use_damage=use_damage
        )

    @entry
    def table(self, name: str) -> xr.Dataset:
        """Return a table with several entries per event.

        Parameters
        ----------
        name : str
            Such as ``"epix_2/var_droplet_sparse"``, or ``"epix_2/ragged_droplet_data"``
            whose only field is the last part of its name, ``data``.

        Returns
        -------
        Dataset (entry)
            One variable per field; coordinates ``train`` and ``pulse`` tell the event
            of each entry. Only entries of selected events, in the order of these.

        Raises
        ------
        PropertyNameError
            If there is no such table.
        InconsistentDataError
            If it has fewer entries than its lengths say.
        """
        return tables.table(self, name)

    @property
    def tables(self) -> list[str]:
        """Names for `table`."""
        return tables.tables(self)

    @property
    def sums(self) -> xr.Dataset:
        """Sums over all events of the run that the writer made (``Sums/*``)."""
        return constants.sums(self)

    @entry
    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Return what the file says about the pixels of a detector.

        Returns
        -------
        Dataset ([gain_range,] module, slow_scan, fast_scan)
            Those of ``pedestal, noise, offset`` (adu), ``gain`` (adu/keV, divides), or
            ``gain_factor`` (multiplies: detectors of LCLS1 with one gain),
            ``local_gain``, ``x, y, z`` (m), ``ix, iy``, and ``bad_pixels`` (True is
            bad) that the file has. ``gain_range`` only for detectors that switch their
            gain. attrs: ``common_mode``, ...

        Raises
        ------
        MissingConstantError
            If the file has none.
        SourceNameError
            If there is no such detector.
        """
        names = {n.split("/")[1] for n in self.columns if n.startswith(f"{CONSTANTS}/")}
        known = names | {n.partition("/")[0] for n in self.columns if "/" in n}
        name = detector if detector in known else self.detector_named(detector)
        return constants.constants(self, str(name))

    def detector_named(self, name: str | None) -> str:
        """Return the name of a detector; of one without frames too."""
        if name is not None and any(n.startswith(f"{name}/") for n in self.columns):
            return name  # asking it for frames tells what is missing
        return super().detector_named(name)

    default_key = images.default_key
    images_of = images.images_of
    texts_of = images.texts_of

    def coordinates_of(self, detector: str) -> Coordinates:
        """Return the time, and the fiducials, of the events of a detector."""
        return self.shot_coordinates(images.stream_of(detector))

    # -- description -----------------------------------------------------------------

    facts = summary.facts
    stored = summary.stored


def fiducials(run: RunData, ids: NDArray[Any]) -> NDArray[Any] | None:
    second = run.flavour.second
    if second is None or second not in run.columns:
        return None
    return run.with_ids(ids).read(run.columns[second], "event")


def span(run: RunData) -> str:
    n = len(run.ids)
    return f"{n} events" + (f" {run.ids[0]} to {run.ids[-1]}" if n else "")


@dataclass(frozen=True, eq=False)
class KeyData(ShotKey):
    """One dataset of a file, for the selected events if it has one row for each."""

    run: RunData

    @property
    def column(self) -> Column:
        return self.run.columns[f"{self.source}/{self.key}"]

    @property
    def stream(self) -> str | None:
        """The stream that it has a row for every event of; None: it has not."""
        for stream in self.run.streams:
            if self.column in self.run.per_event(stream).values():
                return stream
        return None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        stream = self.stream
        if stream is None:
            return self.column.shape
        return (len(self.run.stream_ids(stream)), *self.column.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in the file."""
        return self.column.dtype

    @property
    def units(self) -> str:
        """Unit, as far as the name tells."""
        return units_of(self.column.name)

    def xarray(self) -> xr.DataArray:
        """Return the values: on ``train`` if there is one per event."""
        stream, name = self.stream, self.column.name
        if stream is not None:
            name = name.removeprefix(f"{INTG}/") if stream == INTG else name
            return scalars.scalars(self.run, [name], stream, missing="keep")[name]
        values = constants.read_first(self.run, name)
        attrs = {UNITS: self.units, LONG_NAME: name.replace("/", " ")}
        dims = [f"{self.key}_dim{i}" for i in range(values.ndim)]
        return xr.DataArray(values, dims=dims, name=name, attrs=attrs)
