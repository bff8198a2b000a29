"""A European XFEL run: sources, trains, selections, and the arrays made from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import xarray as xr

from xfelred.entries import entry
from xfelred.errors import (
    BrokenFileError,
    InconsistentDataError,
    MissingConstantError,
)
from xfelred.readers.description import as_html
from xfelred.readers.euxfel import summary, tables
from xfelred.readers.euxfel.extra_data.finding import find_detector
from xfelred.readers.euxfel.extra_data.run_names import RunNames
from xfelred.readers.euxfel.frames import frames
from xfelred.readers.euxfel.identify import kinds
from xfelred.readers.every_run import EveryRun
from xfelred.readers.request import FramesRequest

# JUNGFRAU modules, one row a train, are no detector sources to EXtra-data.
DETECTOR_SOURCE = re.compile(r"(.+/(?:DET|CORR))/(\d+)CH")


@dataclass(frozen=True, eq=False, repr=False)
class Run(RunNames, EveryRun):
    """Data of one run (or of several joined), for the selected sources and trains.

    Nothing but indexes has been read. Selecting gives a new object.
    """

    facility = "euxfel"

    @property
    def detector_sources(self) -> frozenset[str]:
        """Instrument sources that are modules of AGIPD, LPD or DSSC."""
        modules = {s for s in self.entries if DETECTOR_SOURCE.match(s)}
        return frozenset(s for s in modules if self.entries[s].is_instrument)

    @property
    def detectors(self) -> dict[str, str]:
        """Names of multi-module detectors and their kinds (class names)."""
        return kinds(self)

    @entry
    def keys(self, source: str) -> list[str]:
        """Return the keys of a source, sorted; control keys without ``.value``."""
        return sorted(self.source(source).keys(inc_timestamps=False))

    def __getitem__(self, item: object) -> Any:
        """Return ``run[source]``, ``run[source, key]`` or ``run[trains]``."""
        if isinstance(item, str):
            return self.source(item)
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            return self.key_data(*item)
        return self.select_trains(item)

    @entry
    def detector(self, name: str | None = None, **options: Any) -> Any:
        """Return a multi-module detector; without a name the run must have just one.

        Options are those of its class: ``modules, min_modules, raw``, ``parallel_gain``
        (LPD), ``n_modules, first_modno`` (JUNGFRAU).
        """
        return find_detector(self, name, **options)

    def frames_of(
        self, detector: str | None, request: FramesRequest, **options: Any
    ) -> xr.DataArray:
        """Return the frames that were asked for."""
        # Modules that are not asked for need not agree with those that are.
        options["checked"] = request.modules is None
        return frames(find_detector(self, detector, **options), request)

    @entry(own=("keys",))
    def scalars(
        self, keys: Sequence[Any], *, missing_keys: Literal["raise", "ignore"] = "raise"
    ) -> xr.Dataset:
        """Return per-train (and per-pulse) values of several sources, joined by train.

        Parameters
        ----------
        keys : sequence of (source, key) or "source.key"
            A value per train, or a vector of pulses per train.
        missing_keys : {"raise", "ignore"}
            "ignore" leaves out what the run does not have.

        Returns
        -------
        Dataset (train[, pulse])
            One variable per key over the union of trains, NaN where a source has none.
            Integers of 64 bits that no float holds (times, identifiers, bit fields)
            stay integers, 0 there; the coordinate ``<variable>_recorded`` tells where.
        """
        return tables.scalars(self, keys, missing_keys)

    @entry
    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Return calibration constants that the files hold.

        Raises
        ------
        MissingConstantError
            Always: European XFEL runs keep their constants in a database.
        """
        which = detector or ", ".join(self.detectors) or "any detector"
        raise MissingConstantError(
            f"European XFEL files hold no calibration constants ({which}); make them"
            " from a dark run with ops.dark_statistics, or read corrected data"
        )

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return the bytes of a value in the file, and of all the run has of a dataset.

        None if `dataset` of one of the files, such as
        ``INSTRUMENT/<source>/image/data``, is not of this run, or cannot be looked up.
        """
        _, _, rest = dataset.lstrip("/").partition("/")
        for name, source in self.entries.items():
            files = {f.path for f in source.all_files}
            if rest.startswith(f"{name}/") and path in files:
                try:
                    data = source.key_data(rest[len(name) + 1 :].replace("/", "."))
                    return data.dtype.itemsize, data.nbytes
                except (BrokenFileError, InconsistentDataError, KeyError):
                    return None
        return None

    def __repr__(self) -> str:
        return summary.text(self)

    def _repr_html_(self) -> str:
        return as_html(self.run_id, summary.facts(self), "sources", self.sources)
