"""A European XFEL run: sources, trains, selections, and the arrays made from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentTypeError, warn
from xfelred.readers.euxfel import finding, sizes, summary, tables
from xfelred.readers.euxfel.access import ScriptAccess
from xfelred.readers.euxfel.extra_data.run_names import RunNames
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.euxfel.joining import joined_entries, same_run
from xfelred.readers.euxfel.matching import chosen, unknown_source, without
from xfelred.readers.euxfel.source_data import SourceData
from xfelred.readers.left_out import LeftOut
from xfelred.readers.planning import Planning
from xfelred.readers.selection import TrainIDs, select_train_ids, split_evenly

DETECTOR_SOURCE = re.compile(r"(.+/(?:DET|CORR))/(\d+)CH")


@dataclass(frozen=True, eq=False)
class Run(RunNames, ScriptAccess, Planning):
    """Data of one run (or of several joined), for the selected sources and trains.

    Nothing but indexes has been read. Selecting gives a new object.

    Attributes
    ----------
    entries : dict of str to SourceData
        Present name of each source and its data.
    all_files : tuple of FileIndex
        All files of the run, also those without a selected source or train.
    ids : uint64 (n,)
        Selected train IDs, sorted.
    single : bool
        Whether all data come from one run.
    inc_suspect_trains : bool
        Whether trains count that a file regards as suspect.
    default : bool
        Whether corrected data were looked for first, then raw ones.
    shown : frozenset of str or None
        Names of sources, present and old ones, that were selected; None: all.
    left_out : tuple of (file, reason)
        Files that could not be used.
    """

    entries: dict[str, SourceData]
    all_files: tuple[FileIndex, ...]
    ids: TrainIDs
    single: bool = True
    inc_suspect_trains: bool = True
    default: bool = False
    shown: frozenset[str] | None = None
    left_out: tuple[LeftOut, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

    facility = "euxfel"

    @property
    def run_id(self) -> str:
        """Proposal and run, such as ``p700000 r0102``; empty if unknown."""
        return summary.run_id(self)

    @property
    def train_ids(self) -> list[int]:
        """Sorted train IDs."""
        return [int(t) for t in self.ids]

    @property
    def is_single_run(self) -> bool:
        """Whether all data come from one run."""
        return self.single

    @property
    def control_sources(self) -> frozenset[str]:
        """Sources with one row per train."""
        return frozenset(s for s, e in self.entries.items() if e.is_control)

    @property
    def instrument_sources(self) -> frozenset[str]:
        """Sources with any number of rows per train, legacy names included."""
        present = {s for s, e in self.entries.items() if e.is_instrument}
        names = frozenset(present | set(self.legacy_sources))
        return names if self.shown is None else names & self.shown

    @property
    def all_sources(self) -> frozenset[str]:
        """All source names."""
        return self.control_sources | self.instrument_sources

    @property
    def sources(self) -> list[str]:
        """All source names, sorted."""
        return sorted(self.all_sources)

    @cached_property
    def legacy_sources(self) -> dict[str, str]:
        """Old names of sources and the present ones."""
        found = {k: v for f in self.all_files for k, v in f.legacy.items()}
        # A real source of an old name wins.
        return {
            old: new
            for old, new in found.items()
            if new in self.entries and old not in self.entries
            and (self.shown is None or old in self.shown)
        }  # fmt: skip

    @property
    def detector_sources(self) -> frozenset[str]:
        """Instrument sources that are modules of AGIPD, LPD or DSSC."""
        return frozenset(
            s for s, e in self.entries.items()
            if e.is_instrument and DETECTOR_SOURCE.match(s)
        )  # fmt: skip

    @property
    def detectors(self) -> dict[str, str]:
        """Names of multi-module detectors and their kinds (class names)."""
        found = finding.identify_multimod_detectors(self)
        return {name: cls.__name__ for name, cls in sorted(found, key=lambda f: f[0])}

    @entry
    def keys(self, source: str) -> list[str]:
        """Return the keys of a source, sorted; control keys without ``.value``."""
        return sorted(self.source(source).keys(inc_timestamps=False))

    def source(self, name: str) -> SourceData:
        """Return the data of a source; a legacy name warns.

        Raises
        ------
        SourceNameError
            If the run has no such source.
        """
        if name in self.entries:
            return self.entries[name]
        if name in self.legacy_sources:
            new = self.legacy_sources[name]
            warn(
                f"{name} is an old name of {new}; use the new one",
                kind=DeprecationWarning,
            )
            return replace(self.entries[new], source=name, present_name=new)
        raise unknown_source(name, self.all_sources)

    def __getitem__(self, item: Any) -> Any:
        """Return ``run[source]``, ``run[source, key]`` or ``run[trains]``."""
        if isinstance(item, str):
            return self.source(item)
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            if not isinstance(item[1], str):
                raise ArgumentTypeError(
                    f"run[source, key] takes the name of a key, not {item[1]!r}; for"
                    f" trains of a source: run[{item[0]!r}].select_trains({item[1]!r})"
                )
            return self.source(item[0]).key_data(item[1])
        return self.select_trains(item)

    def __contains__(self, item: object) -> bool:
        if isinstance(item, tuple) and len(item) == 2:
            source, key = item
            present = self.legacy_sources.get(str(source), str(source))
            return present in self.entries and key in self.entries[present]
        return isinstance(item, str) and item in self.all_sources

    __iter__ = None  # run[0] selects a train, so a loop would be misleading

    def with_ids(self, ids: TrainIDs) -> Run:
        """Return the run for some of its trains."""
        entries = {
            s: e.with_ids(e.ids[np.isin(e.ids, ids)]) for s, e in self.entries.items()
        } if any(e.ids is not self.ids for e in self.entries.values()) else {
            s: e.with_ids(ids) for s, e in self.entries.items()
        }  # fmt: skip
        return replace(self, entries=entries, ids=ids, memo={})

    def select_trains(self, trains: Any) -> Run:
        """Return the run for a selection of its trains.

        Parameters
        ----------
        trains : slice, int, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions unless it is ``by_id``.
        """
        return self.with_ids(select_train_ids(self.ids, trains))

    @entry
    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[Run]:
        """Yield the run in even pieces of its trains."""
        for piece in split_evenly(len(self.ids), parts, trains_per_part):
            yield self.with_ids(self.ids[piece])

    @entry
    def select(
        self,
        sources: Any,
        key_glob: str = "*",
        require_all: bool = False,
        require_any: bool = False,
        *,
        warn_drop_trains_frac: float = 1.0,
    ) -> Run:
        """Return the run with some of its sources and keys.

        Parameters
        ----------
        sources : str, list, dict or run
            A glob of source names; a list of globs or (source glob, key glob) pairs; a
            dict {source: keys}, None standing for all; or what another run holds.
        key_glob : str, optional
            Goes with a single glob.
        require_all, require_any : bool, optional
            Keep only trains in which all, or any, of the selected sources have data.
        warn_drop_trains_frac : float, optional
            Warn if one source makes `require_all` drop at least this part of them.

        Raises
        ------
        ValueError
            If nothing matches.
        SourceNameError, PropertyNameError
            If a dict names what does not exist.
        """
        run = self.with_sources(chosen(self.with_legacy(), sources, key_glob))
        if not (require_all or require_any):
            return run
        return run.with_ids(
            tables.trains_with_data(run, require_all, warn_drop_trains_frac)
        )

    def with_legacy(self) -> dict[str, SourceData]:
        """Return the sources under their present and their old names."""
        old = {k: self.entries[v] for k, v in self.legacy_sources.items()}
        return {**self.entries, **old}

    def with_sources(self, chosen: dict[str, frozenset[str] | None]) -> Run:
        """Return the run with the chosen sources and keys."""
        entries: dict[str, SourceData] = {}
        for name, keys in chosen.items():
            present = self.legacy_sources.get(name, name)
            old = entries.get(present)
            if old is not None and (old.selected_keys is None or keys is None):
                keys = None
            elif old is not None and keys is not None:
                keys = keys | (old.selected_keys or frozenset())
            entries[present] = replace(self.entries[present], selected_keys=keys)
        return replace(self, entries=entries, shown=frozenset(chosen), memo={})

    @entry
    def deselect(self, sources: Any, key_glob: str = "*") -> Run:
        """Return the run without some of its sources or keys; arguments of `select`."""
        removed = chosen(self.with_legacy(), sources, key_glob)
        # An old name alone does not remove the source that it stands for.
        removed = {s: k for s, k in removed.items() if s in self.entries}
        left = without(self.entries, removed)
        old = {k: left[v] for k, v in self.legacy_sources.items() if v in left}
        return self.with_sources({**left, **old})

    @entry
    def union(self, *others: Run) -> Run:
        """Return the data of several selections or runs together.

        Raises
        ------
        InconsistentDataError
            If a source has the same train twice.
        """
        runs = (self, *others)
        ids = np.unique(np.concatenate([r.ids for r in runs]))
        files = tuple({f.path: f for r in runs for f in r.all_files}.values())
        suspects = all(r.inc_suspect_trains for r in runs)
        shown = None
        if any(r.shown is not None for r in runs):
            names = (r.with_legacy() if r.shown is None else r.shown for r in runs)
            shown = frozenset[str]().union(*names)
        left_out = tuple(dict.fromkeys(f for r in runs for f in r.left_out))
        return Run(
            joined_entries(runs, ids), files, ids, same_run(runs), suspects,
            shown=shown, left_out=left_out,
        )  # fmt: skip

    def __or__(self, other: Run) -> Run:
        return self.union(other)

    @entry
    def detector(self, name: str | None = None, **options: Any) -> Any:
        """Return a multi-module detector; without a name the run must have just one.

        Options are those of its class: ``modules, min_modules, raw``, ``parallel_gain``
        (LPD), ``n_modules, first_modno`` (JUNGFRAU).
        """
        return finding.find_detector(self, name, **options)

    @entry
    def frames(
        self,
        detector: str | None = None,
        key: str | None = None,
        *,
        pulses: Any = np.s_[:],
        layout: Literal["train", "frame"] = "train",
        modules: Any = None,
        roi: Any = (),
        fill_value: Any = None,
        astype: Any = None,
        bad_pixels: Literal["apply", "keep"] | None = "apply",
        chunk_size: str | float = "128MiB",
        missing: Literal["fill", "drop", "raise"] = "fill",
        **detector_options: Any,
    ) -> xr.DataArray:
        """Return pixels as a lazy array (train, pulse, module, slow_scan, fast_scan).

        Parameters
        ----------
        detector : str, optional
            Name of the detector; not needed if the run has exactly one.
        key : str, optional
            By default the pixel data.
        pulses, layout, modules, roi, fill_value, astype, bad_pixels, missing, ...
            See `xfelred.readers.euxfel.frames.frames`, which also tells what comes back
            and which errors there are.
        **detector_options
            See `detector`.

        Returns
        -------
        DataArray
        """
        # Modules that are not asked for need not agree with those that are.
        found = finding.find_detector(
            self, detector, checked=modules is None, **detector_options
        )
        return found.frames(
            key,
            pulses=pulses,
            layout=layout,
            modules=modules,
            roi=roi,
            fill_value=fill_value,
            astype=astype,
            bad_pixels=bad_pixels,
            chunk_size=chunk_size,
            missing=missing,
        )

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
        raise finding.no_constants(self, detector)

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return bytes of a value, and of all values, of a dataset; see `sizes`."""
        return sizes.stored(self, path, dataset)

    def __repr__(self) -> str:
        return summary.text(self)

    def _repr_html_(self) -> str:
        return summary.html(self)
