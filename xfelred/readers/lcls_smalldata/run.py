"""A run of LCLS small data: events by ID, and the arrays made from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.readers.description import Facts
from xfelred.readers.lcls_smalldata import (
    align,
    constants,
    images,
    scalars,
    summary,
    tables,
)
from xfelred.readers.lcls_smalldata.columns import (
    APART,
    INTG,
    Column,
    SmallDataFile,
    check_rows,
    list_columns,
)
from xfelred.readers.lcls_smalldata.ids import Events, Flavour, Ids
from xfelred.readers.lcls_smalldata.keys import KeyData
from xfelred.readers.lcls_smalldata.rows import EventReader
from xfelred.readers.left_out import LeftOut
from xfelred.readers.selection import glob_pairs
from xfelred.readers.shot_frames import Labels, ShotImages
from xfelred.readers.shot_run import ShotRun


@dataclass(frozen=True, eq=False, repr=False)
class Run(ShotRun):
    """Data of one run for the selected events; nothing but the IDs has been read.

    Attributes
    ----------
    files : tuple of SmallDataFile
        One, or the parts of the run.
    run_id : str
        Such as ``xpptest01_Run0047``.
    flavour : Flavour
        How the files name their events.
    events : Events
        All events of the run.
    slow : Events or None
        Rows of slow detectors (``intg``).
    ids : uint64 (n,)
        Selected events, sorted: event_time or timestamp, as in the file.
    chosen : tuple of str, optional
        Names of the selected datasets; None: all.
    left_out : tuple of (file, reason)
        Parts that could not be used.
    """

    files: tuple[SmallDataFile, ...]
    run_id: str
    flavour: Flavour
    events: Events
    slow: Events | None
    ids: Ids
    chosen: tuple[str, ...] | None = None
    left_out: tuple[LeftOut, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict)

    facility = "lcls"

    # -- what there is ---------------------------------------------------------------

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every selected dataset by name."""
        if "columns" not in self.memo:
            found = list_columns(self.files)
            check_rows(found, self.flavour, self.events.n_rows, self.files[0].path)
            self.memo["columns"] = found
        everything: dict[str, Column] = self.memo["columns"]
        if self.chosen is None:
            return everything
        kept = {*self.chosen, *self.flavour.names}
        return {k: v for k, v in everything.items() if k in kept}

    @property
    def streams(self) -> tuple[str, ...]:
        """``("event",)``, or ``("event", "intg")`` if there are slow detectors."""
        return ("event",) if self.slow is None else ("event", INTG)

    @cached_property
    def detectors(self) -> dict[str, str]:
        """Names of the detectors and their kinds."""
        return images.detectors(self)

    @property
    def sources(self) -> list[str]:
        """First parts of the names of datasets, sorted."""
        ids = self.flavour.names
        found = {c.source for n, c in self.columns.items() if "/" in n and n not in ids}
        return sorted(found)

    @entry
    def keys(self, source: str) -> list[str]:
        """Return the keys of a source, sorted.

        Raises
        ------
        SourceNameError
            If there is no such source.
        """
        found = [n for n in self.columns if n.startswith(f"{source}/")]
        if not found:
            raise self.no_source(source)
        return [n.removeprefix(f"{source}/") for n in found]

    @entry
    def key_data(self, source: str, key: str) -> KeyData:
        """Return one key of a source."""
        return KeyData(self, source, key)

    @entry
    def select(self, sources: Any, key_glob: str = "*") -> Run:
        """Return the run with some of its sources and keys.

        Parameters
        ----------
        sources : str, list of str, or list of (source glob, key glob)
            Globs of sources, such as ``ipm*``. Constants, sums and ``damage`` of the
            sources stay.
        key_glob : str, optional
            Keys of sources that are given without.

        Raises
        ------
        SourceNameError
            If nothing matches.
        """
        pairs = glob_pairs(sources, key_glob)
        found: set[str] = set()
        for source, keys in pairs:
            here = {
                n
                for n, c in self.columns.items()
                if fnmatchcase(c.source, source)
                and fnmatchcase(n.partition("/")[2], keys)
            }
            if not here:
                raise self.no_source(source if keys == "*" else f"{source} with {keys}")
            found |= here
        kept = {n.partition("/")[0] for n in found} - {*APART}
        along = (
            n for n, c in self.columns.items()
            if c.source in (*APART[:2], "damage")
            and any(n.split("/")[1].startswith(s) for s in kept if "/" in n)
        )  # fmt: skip
        return replace(self, chosen=tuple(sorted({*found, *along})))

    # -- events ----------------------------------------------------------------------

    def stream_events(self, stream: str) -> Events:
        """Return all events of a stream."""
        if stream == INTG and self.slow is not None:
            return self.slow
        return self.events

    def stream_ids(self, stream: str) -> Ids:
        """Return the selected events of a stream.

        A row of a slow detector belongs to the event of its timestamp.
        """
        if stream != INTG or self.slow is None:
            return self.ids
        if len(self.ids) == len(self.events.ids):
            return self.slow.ids
        return self.slow.ids[np.isin(self.slow.ids, self.ids)]

    @cached_property
    def readers(self) -> dict[str, EventReader]:
        """What reads columns of each stream at the selected events."""
        paths = tuple(f.path for f in self.files)
        return {
            s: EventReader(paths, self.stream_events(s).at(self.stream_ids(s)))
            for s in self.streams
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again from the fields."""
        made = ("readers", "columns", "detectors")
        return {k: v for k, v in self.__dict__.items() if k not in made}

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
        return align.align(self, other)

    # -- arrays ----------------------------------------------------------------------

    def per_event(self, stream: str = "event") -> dict[str, Column]:
        """Return the columns that `scalars` takes, by name."""
        return scalars.per_event(self, stream)

    def column(self, name: str, stream: str = "event") -> Column:
        """Return a column of a stream."""
        return self.columns[f"{INTG}/{name}" if stream == INTG else name]

    def read(self, column: Column, stream: str) -> NDArray[Any]:
        """Return a column at the selected events, as in the file."""
        lacking = tuple(n < 0 for n in column.rows)
        tail = column.shape[1:]
        return self.readers[stream].read(column.name, column.dtype, tail, lacking)

    def absent(self, source: str) -> NDArray[np.bool_] | None:
        """Return where ``damage`` says that a source has no data; None if unknown."""
        found: NDArray[np.bool_] | None = images.absent(self, source)
        return found

    def shot_coordinates(self, stream: str = "event") -> dict[str, xr.Variable]:
        """Return ``time`` and ``fiducials`` of the selected events."""
        return images.shot_coordinates(self, stream)

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
        return scalars.scalars(self, keys, stream, missing, missing_keys, use_damage)

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
        names = {n.split("/")[1] for n in self.columns if n.startswith(f"{APART[1]}/")}
        known = names | {n.partition("/")[0] for n in self.columns if "/" in n}
        name = detector if detector in known else self.detector_named(detector)
        return constants.constants(self, str(name))

    def detector_named(self, name: str | None) -> str:
        """Return the name of a detector; of one without frames too."""
        if name is not None and any(n.startswith(f"{name}/") for n in self.columns):
            return name  # asking it for frames tells what is missing
        return super().detector_named(name)

    def default_key(self, name: str) -> str:
        """Return which images of a detector are its frames: calib, full_area, ..."""
        return images.default_key(self, name)

    def images_of(self, name: str, key: str) -> ShotImages:
        """Return where the images of a detector are."""
        return images.images_of(self, name, key)

    def labels_of(self, name: str, key: str) -> Labels:
        """Return what frames say about themselves."""
        return images.labels_of(self, name, key)

    # -- description -----------------------------------------------------------------

    def facts(self) -> Facts:
        """Return (what, value) lines that describe the run."""
        return summary.facts(self)

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return bytes of a value, and of a whole dataset as selected; for `plan`."""
        return summary.stored(self, path, dataset)
