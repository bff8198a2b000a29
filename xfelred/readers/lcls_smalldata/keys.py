"""One key of one source: what it is, without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import PropertyNameError, did_you_mean, listing
from xfelred.names import LONG_NAME, UNITS
from xfelred.readers.lcls_smalldata.columns import INTG, Column, units_of
from xfelred.readers.lcls_smalldata.constants import read_first
from xfelred.readers.lcls_smalldata.run_data import RunData
from xfelred.readers.lcls_smalldata.scalars import scalars


@dataclass(frozen=True, eq=False)
class KeyData:
    """One dataset of a file, for the selected events if it has one row for each.

    Attributes
    ----------
    run : Run
    source, key : str
    """

    run: RunData
    source: str
    key: str

    def __post_init__(self) -> None:
        """Raise an error if the source has no such key."""
        known = self.run.keys(self.source)
        if self.key not in known:
            raise PropertyNameError(
                f"{self.source} has no key {self.key!r}."
                f"{did_you_mean(self.key, known)} There are: {listing(known, 12)}"
            )

    @property
    def column(self) -> Column:
        """The dataset."""
        return self.run.columns[f"{self.source}/{self.key}"]

    @property
    def stream(self) -> str | None:
        """The stream that it has a row for every event of; None: it has not."""
        for stream in self.run.streams:
            name = self.column.name
            name = name.removeprefix(f"{INTG}/") if stream == INTG else name
            if name in self.run.per_event(stream):
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

    def ndarray(self) -> NDArray[Any]:
        """Return the values as a numpy array."""
        return np.asarray(self.xarray().data)
