"""Reading of a run under the names that scripts of the facility call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from xfelred.entries import entry
from xfelred.errors import TrainIDError
from xfelred.readers.euxfel import tables
from xfelred.readers.euxfel.metadata import train_timestamps
from xfelred.readers.selection import checked_position


class ScriptAccess:
    """Methods of `Run` that read values at once, train by train or as a table."""

    @entry
    def get_array(
        self: Any,
        source: str,
        key: str,
        extra_dims: Any = None,
        roi: Any = (),
        name: str | None = None,
    ) -> Any:
        """Read one key as a labelled array; see `KeyData.xarray`."""
        return self[source, key].xarray(extra_dims=extra_dims, roi=roi, name=name)

    @entry
    def get_series(self: Any, source: str, key: str) -> pd.Series:
        """Read one-dimensional data as a pandas Series over trains."""
        return self[source, key].series()

    @entry
    def get_dask_array(self: Any, source: str, key: str, labelled: bool = False) -> Any:
        """Return one key as a lazy array; see `KeyData.dask_array`."""
        return self[source, key].dask_array(labelled=labelled)

    @entry
    def get_data_counts(self: Any, source: str, key: str) -> pd.Series:
        """Return the number of entries of each train; see `KeyData.data_counts`."""
        return self[source, key].data_counts()

    @entry
    def get_dataframe(
        self: Any, fields: Any = None, *, timestamps: bool = False
    ) -> pd.DataFrame:
        """Read many one-dimensional keys into a table, joined by train ID."""
        return tables.dataframe(self, fields, timestamps)

    @entry
    def get_run_value(self: Any, source: str, key: str) -> Any:
        """Return the value of a property at the start of the run."""
        return self.source(source).run_value(key)

    @entry
    def get_run_values(self: Any, source: str) -> dict[str, Any]:
        """Return all properties of a device at the start of the run."""
        return self.source(source).run_values()

    @entry
    def trains(
        self: Any,
        devices: Any = None,
        train_range: Any = None,
        *,
        require_all: bool = False,
        flat_keys: bool = False,
        keep_dims: bool = False,
    ) -> Iterator[tuple[int, dict[Any, Any]]]:
        """Yield (train ID, {source: {key: array}}) for every train.

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
        self: Any,
        train_id: int,
        devices: Any = None,
        *,
        flat_keys: bool = False,
        keep_dims: bool = False,
    ) -> tuple[int, dict[Any, Any]]:
        """Return (train ID, data) of one train; TrainIDError if it is not selected."""
        if train_id < 0 or train_id not in self.ids:
            raise TrainIDError(
                f"train {train_id} is not in this run of {len(self.ids)} trains"
                + (f" ({self.ids[0]} to {self.ids[-1]})" if len(self.ids) else "")
            )
        run = self if devices is None else self.select(devices)
        run = run.with_ids(np.array([train_id], np.uint64))
        return next(tables.trains(run, False, flat_keys, keep_dims))

    @entry
    def train_from_index(
        self: Any, train_index: int, devices: Any = None, **options: Any
    ) -> tuple[int, dict[Any, Any]]:
        """Return (train ID, data) of the train at a position."""
        at = checked_position(int(train_index), len(self.ids))
        return self.train_from_id(int(self.ids[at]), devices, **options)

    @entry
    def train_timestamps(
        self: Any,
        labelled: bool = False,
        *,
        pydatetime: bool = False,
        euxfel_local_time: bool = False,
    ) -> Any:
        """Return the time of each train, NaT if unknown; see `metadata`."""
        return train_timestamps(self, labelled, pydatetime, euxfel_local_time)
