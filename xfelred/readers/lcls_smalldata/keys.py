"""One key of one source: what it is, without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xfelred.names import LONG_NAME, UNITS
from xfelred.readers.lcls_smalldata.columns import INTG, Column, units_of
from xfelred.readers.lcls_smalldata.constants import read_first
from xfelred.readers.lcls_smalldata.run_data import RunData
from xfelred.readers.lcls_smalldata.scalars import scalars
from xfelred.readers.shot_run import ShotKey


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
            return scalars(self.run, [name], stream, missing="keep")[name]
        values = read_first(self.run, name)
        attrs = {UNITS: self.units, LONG_NAME: name.replace("/", " ")}
        dims = [f"{self.key}_dim{i}" for i in range(values.ndim)]
        return xr.DataArray(values, dims=dims, name=name, attrs=attrs)
