"""The datasets and events of a small-data run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.detectors import told_by
from xfelred.entries import entry
from xfelred.errors import ArgumentError, listing, warn
from xfelred.names import FIDUCIALS, LONG_NAME, TIME, TRAIN, UNITS
from xfelred.readers.lcls_smalldata.columns import (
    APART,
    CONSTANTS,
    DAMAGE,
    INTG,
    SUMS,
    Column,
    check_rows,
    list_columns,
)
from xfelred.readers.lcls_smalldata.ids import MISSING, Events, Flavour, Ids, flat
from xfelred.readers.lcls_smalldata.rows import EventReader
from xfelred.readers.lcls_times import event_time
from xfelred.readers.left_out import LeftOut
from xfelred.readers.paths import StoredFile
from xfelred.readers.selection import glob_pairs
from xfelred.readers.shot_run import ShotRun

PART = re.compile(r"(.+)_part\d+")
IMAGE_AXES = (2, 3)
ALONG = (f"{SUMS}/", f"{CONSTANTS}/", f"{DAMAGE}/")  # what stays with a source
DATA_PRESENT = (0.5, 1.5)  # of damage/<detector>, the limits of smalldata_tools


@dataclass(frozen=True, eq=False, repr=False)
class RunData(ShotRun):
    """Data of one run for the selected events; nothing but the IDs has been read.

    Attributes
    ----------
    files : tuple of StoredFile
        One, or the parts of the run.
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

    files: tuple[StoredFile, ...]
    flavour: Flavour
    events: Events
    slow: Events | None
    ids: Ids
    chosen: tuple[str, ...] | None = None
    left_out: tuple[LeftOut, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict)

    facility = "lcls"

    @property
    def run_id(self) -> str:
        """Such as ``xpptest01_Run0047``."""
        return run_id(self.files[0].path)

    # -- what there is ---------------------------------------------------------------

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Every selected dataset by name."""
        if "columns" not in self.memo:
            found = list_columns([f.path for f in self.files])
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
        """Names of what has images, or pedestals, and the kinds that names tell."""
        pedestal = re.compile(rf"{CONSTANTS}/([^/]+)/ped")
        names = {c.owner for c in self.columns.values() if self.may_be_image(c)}
        known = {m[1] for m in map(pedestal.fullmatch, self.columns) if m}
        # Constants of a slow detector do not say that it is one.
        names |= {n for n in known if f"{INTG}/{n}" not in names}
        return {name: kind_of(name) for name in sorted(names)}

    @property
    def sources(self) -> list[str]:
        """First parts of the names of datasets, sorted."""
        names = [n for n in self.columns if n not in self.flavour.names]
        return sorted({n.partition("/")[0] for n in names if "/" in n})

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
    def select(self, sources: object, key_glob: str = "*") -> Self:
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
            inside = {
                n for n, c in self.columns.items() if fnmatchcase(c.source, source)
            }
            here = {n for n in inside if fnmatchcase(n.partition("/")[2], keys)}
            if not here:
                raise self.no_source(source if keys == "*" else f"{source} with {keys}")
            found |= here
        kept = {n.partition("/")[0] for n in found} - {*APART}
        facts = [n for n in self.columns if n.startswith(ALONG)]
        along = {n for n in facts if n.split("/")[1].startswith(tuple(kept))}
        return replace(self, chosen=tuple(sorted(found | along)))

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

    def per_event(self, stream: str = "event") -> dict[str, Column]:
        """Return the columns of a stream that have a row for every event, by name.

        Raises
        ------
        ValueError
            If there is no such stream.
        """
        if stream not in self.streams:
            raise ArgumentError(
                f"no stream {stream!r} in {self.run_id}; there are"
                f" {listing(self.streams)}"
            )
        n_rows = self.stream_events(stream).n_rows
        found = {}
        for column in self.columns.values():
            inside = column.source == INTG
            if inside != (stream == INTG) or not column.fits(n_rows):
                continue
            name = column.name.removeprefix(f"{INTG}/") if inside else column.name
            no_data = {"timestamp"} if inside else self.flavour.names
            apart = column.is_table or (column.source in APART and not inside)
            if name not in no_data and not apart:
                found[name] = column
        return found

    def column(self, name: str, stream: str = "event") -> Column:
        """Return a column of a stream."""
        return self.columns[f"{INTG}/{name}" if stream == INTG else name]

    def read(self, column: Column, stream: str) -> NDArray[Any]:
        """Return a column at the selected events, as in the file."""
        return self.readers[stream].read(column)

    # -- images and their labels ------------------------------------------------------

    def may_be_image(self, column: Column) -> bool:
        """Return whether a column has two or three axes per event."""
        inside = column.source == INTG and INTG in self.streams
        if (column.source in APART and not inside) or column.is_table:
            return False
        if "/" not in column.name or column.dtype.kind not in "iuf":
            return False
        n_rows = self.stream_events(INTG if inside else "event").n_rows
        return len(column.shape) - 1 in IMAGE_AXES and column.fits(n_rows)

    def image_keys(self, name: str) -> list[str]:
        """Return what a detector has with two or three axes per event."""
        return [
            c.name.removeprefix(f"{name}/")
            for c in self.columns.values()
            if c.name.startswith(f"{name}/") and self.may_be_image(c)
        ]

    def shot_coordinates(self, stream: str = "event") -> dict[str, xr.Variable]:
        """Return the time, and the fiducials, of the events of a stream."""
        ids = self.stream_ids(stream)
        found = {}
        if self.flavour.epoch is not None:
            found[TIME] = event_time(ids, self.flavour.epoch)
        second = self.flavour.second
        if stream == "event" and second is not None and second in self.columns:
            attrs = {UNITS: "1", LONG_NAME: "fiducials of the event"}
            values = flat(self.read(self.columns[second], "event"))
            if values.ndim == 1 and values.dtype.kind in "iuf":
                found[FIDUCIALS] = xr.Variable(TRAIN, values, attrs)
            else:
                warn(
                    f"{second} of {self.run_id} holds {values.dtype} {values.shape}"
                    " instead of one number per event: it is left out"
                )
        return found

    def absent(self, source: str) -> NDArray[np.bool_] | None:
        """Return where ``damage`` does not say that data are there; None if unknown.

        1 says so; 0, or nothing (NaN, -99999), does not.
        """
        column = self.columns.get(f"{DAMAGE}/{source}")
        if column is None or column.shape[1:] not in ((), (1,)):
            return None
        if not column.fits(self.events.n_rows) or column.dtype.kind not in "biuf":
            return None
        values = flat(self.read(column, "event")).astype(float)
        self.say_odd(column, values)
        return ~((values > DATA_PRESENT[0]) & (values < DATA_PRESENT[1]))

    def say_odd(self, column: Column, values: NDArray[np.float64]) -> None:
        """Warn, once, if ``damage/<source>`` holds what no writer puts there."""
        told = np.isin(values, (0, 1))
        nothing = np.isnan(values) | (values == MISSING)
        odd = ~(told | nothing)
        if not odd.any() and (told.any() or not len(values)):
            return
        if not self.memo.setdefault(f"odd {column.name}", False):
            self.memo[f"odd {column.name}"] = True
            n = int(odd.sum()) or len(values)
            warn(
                f"{column.name} of {self.run_id} says of {n} of {len(values)} events"
                " neither that their data are there (1) nor that they are not (0): they"
                " count as lost (available is False)"
            )


def kind_of(name: str) -> str:
    """Return the kind of a detector, as far as its name tells."""
    found = told_by(name)
    return "image" if found is None else found.kind


def run_id(path: str) -> str:
    """Return the name of the file without the number of a part."""
    stem = Path(path).stem
    part = PART.fullmatch(stem)
    return part[1] if part else stem
