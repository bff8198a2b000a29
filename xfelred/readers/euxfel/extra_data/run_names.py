"""Names of EXtra-data for a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd

from xfelred.entries import entry
from xfelred.errors import MultiRunError
from xfelred.hdf5 import NewDataset
from xfelred.readers.description import print_lines
from xfelred.readers.euxfel import summary, tables
from xfelred.readers.euxfel.extra_data.key_data import check_train
from xfelred.readers.euxfel.extra_data.missing_data import plot_missing_data
from xfelred.readers.euxfel.extra_data.virtual_dataset import virtual_dataset
from xfelred.readers.euxfel.matching import chosen, without
from xfelred.readers.euxfel.metadata import run_metadata, train_timestamps
from xfelred.readers.euxfel.run_data import RunData, joined_entries, same_run
from xfelred.readers.selection import checked_position


@dataclass(frozen=True, eq=False, repr=False)
class RunNames(RunData):
    """What scripts ask of a run, besides what all facilities have."""

    @entry
    def select(
        self,
        sources: object,
        key_glob: str = "*",
        require_all: bool = False,
        require_any: bool = False,
        *,
        warn_drop_trains_frac: float = 1.0,
    ) -> Self:
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
        keep = tables.trains_with_data(run, require_all, warn_drop_trains_frac)
        return run.with_ids(keep)

    @entry
    def deselect(self, sources: object, key_glob: str = "*") -> Self:
        """Return the run without some of its sources or keys; arguments of `select`."""
        removed = chosen(self.with_legacy(), sources, key_glob)
        # An old name alone does not remove the source that it stands for.
        removed = {s: k for s, k in removed.items() if s in self.entries}
        left = without(self.entries, removed)
        old = {k: left[v] for k, v in self.legacy_sources.items() if v in left}
        return self.with_sources({**left, **old})

    @entry
    def union(self, *others: RunData) -> Self:
        """Return the data of several selections or runs together.

        Raises
        ------
        InconsistentDataError
            If a source has the same train twice.
        """
        runs: tuple[RunData, ...] = (self, *others)
        ids = np.unique(np.concatenate([r.ids for r in runs]))
        files = tuple({f.path: f for r in runs for f in r.all_files}.values())
        suspects = all(r.inc_suspect_trains for r in runs)
        shown = None
        if any(r.shown is not None for r in runs):
            names = (r.with_legacy() if r.shown is None else r.shown for r in runs)
            shown = frozenset[str]().union(*names)
        left_out = tuple(dict.fromkeys(f for r in runs for f in r.left_out))
        return replace(
            self,
            entries=joined_entries(runs, ids),
            all_files=files,
            ids=ids,
            single=same_run(runs),
            inc_suspect_trains=suspects,
            default=False,
            shown=shown,
            left_out=left_out,
            memo={},
            parent=None,
        )

    def __or__(self, other: RunData) -> Self:
        return self.union(other)

    @property
    def selection(self) -> dict[str, set[str] | None]:
        """Selected keys of every source; None: all."""
        keys = {name: one.selected_keys for name, one in self.entries.items()}
        return {name: None if k is None else set(k) for name, k in keys.items()}

    @entry
    def keys_for_source(self, source: str) -> set[str]:
        """Return the keys of a source as they stand in the files."""
        return self.source(source).keys()

    @entry
    def get_dtype(self, source: str, key: str) -> np.dtype[Any]:
        """Return the dtype of a key."""
        return self.key_data(source, key).dtype

    @entry
    def get_entry_shape(self, source: str, key: str) -> tuple[int, ...]:
        """Return the shape of one entry of a key."""
        return self.key_data(source, key).entry_shape

    def run_metadata(self) -> dict[str, Any]:
        """Return METADATA of the run; MultiRunError if several were joined."""
        if not self.single:
            raise MultiRunError(
                "these data come from several runs, which have no common metadata"
            )
        return run_metadata(self.all_files)

    @entry
    def detector_info(self, source: str) -> dict[str, Any]:
        """Return dims, frames per train and total frames of a detector module."""
        return summary.detector_info(self, source)

    @entry
    def info(
        self,
        details_for_sources: object = (),
        with_aggregators: bool = False,
        *,
        counts: bool = False,
        group_sources: bool = False,
    ) -> None:
        """Print what the run holds.

        Parameters
        ----------
        details_for_sources : str or sequence of str, optional
            Globs of sources of which every key is shown with its dtype and shape.
        with_aggregators : bool, optional
            Show which data aggregator recorded each source, from the file names.
        counts : bool, optional
            Show the number of entries of each instrument source.
        group_sources : bool, optional
            Show the modules of a detector on one line, unless details, aggregators or
            counts are asked for; by default every source has its line.
        """
        details = details_for_sources
        summary.print_info(self, details, with_aggregators, counts, group_sources)

    @entry
    def train_info(self, train_id: int) -> None:
        """Print which sources were recorded in the files of a train.

        Raises
        ------
        TrainIDError
            If it is not selected.
        """
        check_train(self.ids, train_id)
        print_lines(summary.train_text(self, train_id).split("\n"))

    @entry
    def get_virtual_dataset(
        self, source: str, key: str, filename: str | os.PathLike[str] | None = None
    ) -> NewDataset:
        """Return a dataset that shows all entries of a key, in the order of `ndarray`.

        Parameters
        ----------
        source, key : str
        filename : path, optional
            A new run file that holds the dataset, replaced if it exists; by default a
            temporary one, removed when Python ends. Other processes open it by
            ``dataset.file.filename`` and ``dataset.name``, where the files of the run
            are too.

        Raises
        ------
        OutputExistsError
            If `filename` is one of the files of the run.
        """
        return virtual_dataset(self.key_data(source, key), filename)

    @entry
    def plot_missing_data(
        self, min_saved_pct: float = 95, expand_instrument: bool = False
    ) -> Any:
        """Plot for which trains sources have data, if they lack many; matplotlib axes.

        Parameters
        ----------
        min_saved_pct : float, optional
            Sources with data in more than this percentage of the trains are left out.
        expand_instrument : bool, optional
            Show index groups of instrument sources apart.
        """
        return plot_missing_data(self, min_saved_pct, expand_instrument)

    def _ipython_key_completions_(self) -> list[str]:
        return self.sources

    @entry
    def get_array(
        self,
        source: str,
        key: str,
        extra_dims: list[str] | None = None,
        roi: object = (),
        name: str | None = None,
    ) -> Any:
        """Read one key as a labelled array; see `KeyData.xarray`."""
        return self.key_data(source, key).xarray(extra_dims, roi, name)

    @entry
    def get_series(self, source: str, key: str) -> pd.Series:
        """Read one-dimensional data as a pandas Series over trains."""
        return self.key_data(source, key).series()

    @entry
    def get_dask_array(self, source: str, key: str, labelled: bool = False) -> Any:
        """Return one key as a lazy array; see `KeyData.dask_array`."""
        return self.key_data(source, key).dask_array(labelled=labelled)

    @entry
    def get_data_counts(self, source: str, key: str) -> pd.Series:
        """Return the number of entries of each train; see `KeyData.data_counts`."""
        return self.key_data(source, key).data_counts()

    @entry
    def get_dataframe(
        self, fields: object = None, *, timestamps: bool = False
    ) -> pd.DataFrame:
        """Read many one-dimensional keys into a table, joined by train ID."""
        run = self if fields is None else self.select(fields)
        return tables.dataframe(run, timestamps)

    @entry
    def get_run_value(self, source: str, key: str) -> Any:
        """Return the value of a property at the start of the run."""
        return self.source(source).run_value(key)

    @entry
    def get_run_values(self, source: str) -> dict[str, Any]:
        """Return all properties of a device at the start of the run."""
        return self.source(source).run_values()

    @entry
    def trains(
        self,
        devices: object = None,
        train_range: object = None,
        *,
        require_all: bool = False,
        flat_keys: bool = False,
        keep_dims: bool = False,
    ) -> Iterator[tuple[int, dict[Any, Any]]]:
        """Yield (train ID, {source: {key: array}}) for every train.

        The data of a source are read when its dict is first looked into, not before:
        errors of its files are raised there.

        Parameters
        ----------
        devices : as `select`, optional
            Only these sources and keys.
        train_range : as `select_trains`, optional
            Only these trains.
        require_all : bool, optional
            Leave out trains in which a source has no data.
        flat_keys : bool, optional
            Give {(source, key): array} instead.
        keep_dims : bool, optional
            Keep the first axis of data with one entry.
        """
        run = self if devices is None else self.select(devices)
        run = run if train_range is None else run.select_trains(train_range)
        return tables.trains(run, require_all, flat_keys, keep_dims)

    @entry
    def train_from_id(
        self,
        train_id: int,
        devices: object = None,
        *,
        flat_keys: bool = False,
        keep_dims: bool = False,
    ) -> tuple[int, dict[Any, Any]]:
        """Return (train ID, data) of one train; TrainIDError if it is not selected."""
        check_train(self.ids, train_id)
        run = self if devices is None else self.select(devices)
        run = run.with_ids(np.array([train_id], np.uint64))
        return next(tables.trains(run, False, flat_keys, keep_dims))

    @entry
    def train_from_index(
        self, train_index: int, devices: object = None, **options: Any
    ) -> tuple[int, dict[Any, Any]]:
        """Return (train ID, data) of the train at a position."""
        at = checked_position(int(train_index), len(self.ids))
        return self.train_from_id(int(self.ids[at]), devices, **options)

    @entry
    def train_timestamps(
        self,
        labelled: bool = False,
        *,
        pydatetime: bool = False,
        euxfel_local_time: bool = False,
    ) -> Any:
        """Return the time at which each train was recorded.

        Parameters
        ----------
        labelled : bool, optional
            True: a pandas Series over train IDs.
        pydatetime : bool, optional
            True: a list of `datetime` in UTC, None where unknown.
        euxfel_local_time : bool, optional
            True: in the time zone of the facility (Europe/Berlin).

        Returns
        -------
        datetime64[ns] (train,), list or Series
            NaT where no file has a timestamp (format 0.5 has none).

        Raises
        ------
        ConfigError
            If local time is asked for as an array, which has no time zones.
        """
        return train_timestamps(
            self.all_files, self.ids, labelled, pydatetime, euxfel_local_time
        )
