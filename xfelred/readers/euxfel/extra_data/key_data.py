"""The data of one key of one source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, ArgumentTypeError, TrainIDError, listing
from xfelred.hdf5 import as_text
from xfelred.hdf5.rows import read_entries
from xfelred.lazy import Source, block_chunks, load, planned
from xfelred.names import UNITS
from xfelred.readers.entry import entry_positions
from xfelred.readers.euxfel.extra_data.single_value import single_value
from xfelred.readers.euxfel.key_facts import KeyFacts
from xfelred.readers.euxfel.metadata import check_single, run_value
from xfelred.readers.selection import TrainIDs, checked_position

BLOCK = 128 << 20  # bytes of a block of a lazy array


@dataclass(frozen=True, eq=False)
class KeyData(KeyFacts):
    """The data of one key for the selected trains; nothing is read until asked."""

    def __repr__(self) -> str:
        return (
            f"<xfelred KeyData source={self.source!r} key={self.key!r}"
            f" for {len(self.ids)} trains>"
        )

    def __getitem__(self, trains: object) -> KeyData:
        return self.select_trains(trains)

    @property
    def size_mb(self) -> float:
        """Megabytes in memory."""
        return self.nbytes / 1e6

    @property
    def size_gb(self) -> float:
        """Gigabytes in memory."""
        return self.nbytes / 1e9

    @property
    def units_name(self) -> str | None:
        """Name of the unit with its metric prefix, None if unknown."""
        attrs = self.attrs
        name = attrs.get("unitName")
        if name is None:
            return None
        return as_text(attrs.get("metricPrefixName", "")) + as_text(name)

    def attributes(self) -> dict[str, Any]:
        """Return the HDF5 attributes of the key, text as str."""
        found = self.attrs.items()
        return {k: as_text(v) if isinstance(v, bytes) else v for k, v in found}

    def run_value(self, allow_multi_run: bool = False) -> Any:
        """Return the value of the key at the start of the run.

        Raises
        ------
        NoDataError
            If the source has no such values, as instrument sources.
        PropertyNameError
            If the source has none of this key.
        MultiRunError
            If the source comes from several runs, unless `allow_multi_run`.
        """
        check_single(self.all_files, self.source, self.single or allow_multi_run)
        return run_value(self.all_files, self.canonical_name, self.key)

    def drop_empty_trains(self) -> KeyData:
        """Return the key for the trains that have data."""
        return self.with_ids(self.ids[self.location.count > 0])

    def train_id_coordinates(self) -> NDArray[np.uint64]:
        """Return the train ID of every entry."""
        return self.location.per_row(self.ids)

    @entry
    def data_counts(self, labelled: bool = True) -> Any:
        """Return the number of entries in each selected train, 0 where absent.

        Labelled: a pandas Series over train IDs; else an array.
        """
        count = self.location.count
        return pd.Series(count, index=self.ids) if labelled else count

    @entry
    def train_index_bounds(self, labelled: bool = False) -> Any:
        """Return first and one past the last entry of each train in `ndarray`.

        Two arrays; labelled: a pandas DataFrame over train IDs.
        """
        count, order = self.location.count, self.location.order
        start, stop = np.zeros_like(count), np.zeros_like(count)
        stop[order] = np.cumsum(count[order])
        start[order] = stop[order] - count[order]
        if not labelled:
            return start, stop
        return pd.DataFrame({"start": start, "stop": stop}, index=self.ids)

    @entry
    def ndarray(
        self, roi: object = (), out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Read the data.

        Parameters
        ----------
        roi : slice, int, list, tuple of these or ``by_index[...]``, optional
            What to read of each entry; an int drops its axis, and lists of increasing
            positions or of booleans are taken axis by axis.
        out : array, optional
            Where to read to; it must have the shape of the result.

        Returns
        -------
        array (entries, ...)
            Text comes as an object array of str.

        Raises
        ------
        ValueError
            If `out` has another shape.
        BrokenFileError
            If a file cannot be read.
        """
        if out is None:
            return self.read(roi)
        plan, dropped = self.plan(roi)
        lengths = (plan.shape[0], *plan.shape[2:])
        shape = tuple(n for i, n in enumerate(lengths) if i not in dropped)
        if out.shape != shape:
            raise ArgumentError(f"out has shape {out.shape}, but the data have {shape}")
        if out.dtype == plan.dtype and out.flags.c_contiguous:
            load(plan, out.reshape(plan.shape))
        else:
            out[...] = self.read(roi)
        return out

    @entry
    def xarray(
        self,
        extra_dims: list[str] | None = None,
        roi: object = (),
        name: str | None = None,
        extra_coords: Mapping[str, Any] | bool | None = None,
    ) -> xr.DataArray | xr.Dataset:
        """Read the data as a labelled array.

        Parameters
        ----------
        extra_dims : list of str, optional
            Names of the axes after the first; by default ``dim_0, dim_1, ...``. With
            them come the positions of the pixels that `roi` takes.
        roi, name
            As in `ndarray`; name of the result, by default ``source.key``.
        extra_coords : dict or bool, optional
            Coordinates instead of these positions; True: the positions, also without
            names; False: none.

        Returns
        -------
        DataArray (trainId, ...)
            A Dataset with one variable per field for structured data.
        """
        data = self.ndarray(roi)
        names, found = entry_axes(self.entry_shape, roi, extra_dims, extra_coords)
        dims = ["trainId", *names]
        coords = {"trainId": self.train_id_coordinates(), **found}
        name = name or f"{self.source}.{self.short_key}"
        attrs = {UNITS: self.units} if self.units else {}
        if data.dtype.names:
            fields: dict[str, Any] = {}
            for field in data.dtype.names:
                more = [f"{field}_{i}" for i in range(data[field].ndim - data.ndim)]
                fields[field] = ([*dims, *more], data[field], attrs)
            return xr.Dataset(fields, coords=coords)
        return xr.DataArray(data, dims=dims, coords=coords, name=name, attrs=attrs)

    @property
    def short_key(self) -> str:
        """The key without ``.value`` if it is control data."""
        return self.key.removesuffix(".value") if self.is_control else self.key

    def series(self) -> pd.Series:
        """Read one-dimensional data as a pandas Series over ``trainId``.

        Raises
        ------
        TypeError
            If an entry is not a single value.
        """
        if self.ndim > 1 or self.dtype.names:
            fields = f" of {len(self.dtype.names)} fields" if self.dtype.names else ""
            raise ArgumentTypeError(
                f"a pandas Series holds one value per entry, but {self.key!r} has"
                f" entries{fields} of shape {self.entry_shape}; use .xarray()"
            )
        index = pd.Index(self.train_id_coordinates(), name="trainId")
        name = f"{self.source}/{self.short_key}"
        return pd.Series(self.ndarray(), name=name, index=index)

    @entry
    def dask_array(self, labelled: bool = False) -> Any:
        """Return the data as a lazy array, as a DataArray if `labelled`."""
        plan, _ = self.plan()
        inner = [f"dim_{i}" for i in range(len(self.entry_shape))]
        node = Source(plan, ("trainId", "module", *inner))
        data = planned(node, block_chunks(node, BLOCK))[:, 0]
        if not labelled:
            return data
        name = f"{self.source}.{self.short_key}"
        coords = {"trainId": self.train_id_coordinates()}
        attrs = {UNITS: self.units} if self.units else {}
        return xr.DataArray(data, coords, ["trainId", *inner], name=name, attrs=attrs)

    @entry
    def as_single_value(
        self,
        rtol: float = 1e-5,
        atol: float = 0.0,
        reduce_by: str | Callable[..., Any] | None = None,
    ) -> Any:
        """Return the one value that all entries have within a tolerance.

        Parameters
        ----------
        rtol, atol : float, optional
            As in `numpy.allclose`.
        reduce_by : str or callable, optional
            How the value is found: name of a numpy function, ``"first"`` or a
            function of the data; by default the median over entries.

        Raises
        ------
        ValueError
            If the data vary more.
        NoDataError
            If there are no data.
        TypeError
            If `reduce_by` is given for text.
        """
        data = self.ndarray()
        return single_value(data, f"{self.source}/{self.key}", rtol, atol, reduce_by)

    @entry
    def trains(
        self, keep_dims: bool = False, include_empty: bool = False
    ) -> Iterator[tuple[int, NDArray[Any] | None]]:
        """Yield (train ID, data); one entry loses its first axis unless `keep_dims`.

        Trains without data are left out, or with `include_empty` come with None (with
        no entries if `keep_dims`).
        """
        for tid in self.ids:
            data = self.train_values(tid)
            if len(data):
                yield int(tid), data if len(data) != 1 or keep_dims else data[0]
            elif include_empty:
                yield int(tid), data if keep_dims else None

    def train_values(self, tid: np.uint64) -> NDArray[Any]:
        """Return the entries of one train, none if it is not selected."""
        i = int(np.searchsorted(self.ids, tid))
        here = i < len(self.ids) and self.ids[i] == tid
        n = int(self.location.count[i]) if here else 0
        if n == 0:
            one = next(iter(self.headers.values()))  # trains differ: any kind will do
            return np.empty((0, *one.shape), one.dtype)
        path = self.all_files[int(self.location.file[i])].path
        return read_entries(path, self.hdf5_data_path, int(self.location.first[i]), n)

    @entry
    def train_from_id(
        self, tid: int, keep_dims: bool = False
    ) -> tuple[int, NDArray[Any]]:
        """Return (train ID, data) of one train; TrainIDError if it is not selected."""
        check_train(self.ids, tid)
        data = self.train_values(np.uint64(tid))
        return int(tid), data if len(data) != 1 or keep_dims else data[0]

    @entry
    def train_from_index(
        self, i: int, keep_dims: bool = False
    ) -> tuple[int, NDArray[Any]]:
        """Return (train ID, data) of the train at a position."""
        at = checked_position(int(i), len(self.ids))
        return self.train_from_id(int(self.ids[at]), keep_dims)


def check_train(ids: TrainIDs, train_id: int) -> None:
    """Raise TrainIDError if a train is not selected."""
    if train_id < 0 or train_id not in ids:
        span = f" ({ids[0]} to {ids[-1]})" if len(ids) else ""
        raise TrainIDError(
            f"train {train_id} is not among the {len(ids)} selected trains{span}"
        )


def entry_axes(
    shape: tuple[int, ...],
    roi: object,
    names: Sequence[str] | None,
    coords: Mapping[str, Any] | bool | None,
) -> tuple[list[str], dict[str, Any]]:
    """Return names of the axes that `roi` leaves of an entry, and their coordinates.

    See `KeyData.xarray`; coordinates are single numbers for axes that `roi` drops.
    """
    at = entry_positions(roi, shape)
    kept = [i for i, where in enumerate(at) if not isinstance(where, int)]
    if names is not None and len(names) not in (len(shape), len(kept)):
        raise ArgumentError(
            f"extra_dims names {len(names)} axes ({listing(names)}), but an entry of"
            f" shape {shape} has {len(shape)}"
            + (f", of which roi leaves {len(kept)}" if len(kept) < len(shape) else "")
        )
    every = names is None or len(names) == len(shape)
    positions = coords is True or (coords is None and names is not None)
    given = {} if coords is None or isinstance(coords, bool) else dict(coords)
    if names is None and not positions:
        return [f"dim_{i}" for i in range(len(kept))], given
    all_names = list(names or (f"dim_{i}" for i in range(len(shape))))
    dims = [all_names[i] for i in kept] if every else all_names
    if not positions:
        return dims, given
    if every:
        return dims, dict(zip(all_names, at, strict=True))
    return dims, {d: at[i] for d, i in zip(dims, kept, strict=True)}
