"""Values of shots at the frames of an array, joined by train (and pulse) ID."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import split_element
from xfelred.errors import PropertyNameError, did_you_mean, listing
from xfelred.names import FRAME, PULSE, TRAIN

SHOT_DIMS = (TRAIN, PULSE, FRAME)


def shot_dims(data: xr.DataArray | xr.Dataset) -> tuple[str, ...]:
    """Return the dims that tell shots from each other, in their order."""
    return tuple(str(d) for d in data.dims if d in SHOT_DIMS)


def shot_value(source: xr.DataArray | xr.Dataset, name: str) -> xr.DataArray:
    """Return values per shot by name, or one of several: ``"ipm2/channels[3]"``.

    Parameters
    ----------
    source : Dataset, or DataArray with coordinates
    name : str
        Of a variable or coordinate, perhaps with a position in it.

    Returns
    -------
    DataArray
        Axes of length 1 beside those of shots are left out: a table with one column is
        a column.

    Raises
    ------
    PropertyNameError
        If it is not there, or has no such position.
    """
    known = [str(c) for c in source.coords]
    if isinstance(source, xr.Dataset):
        known = [*map(str, source.data_vars), *known]
    base, position = (name, ()) if name in known else split_element(name)
    if base not in known:
        raise PropertyNameError(
            f"no value {name!r}.{did_you_mean(base, known)} There are: {listing(known)}"
        )
    return element_of(source[base], position, name).rename(name)


def element_of(
    values: xr.DataArray, position: tuple[int, ...], name: str
) -> xr.DataArray:
    """Return one of the values of every shot; without a position all that differ."""
    inner = [d for d in values.dims if d not in SHOT_DIMS]
    if not position or (not inner and position == (0,)):
        return values.isel({d: 0 for d in inner if values.sizes[d] == 1}, drop=True)
    sizes = tuple(values.sizes[d] for d in inner)
    if len(position) != len(inner) or any(
        i >= n for i, n in zip(position, sizes, strict=True)
    ):
        has = f"positions below {sizes}" if inner else "one value per shot"
        raise PropertyNameError(
            f"{name!r} asks for position {listing(position)}, but there are {has}"
        )
    return values.isel(dict(zip(inner, position, strict=True)), drop=True)


def at_shots(values: xr.DataArray, data: xr.DataArray, name: str) -> xr.DataArray:
    """Return values at the shots of an array.

    Parameters
    ----------
    values : DataArray
        On train, pulse or both, or on the frames of `data`; in memory.
    data : DataArray
        On train [and pulse], or on ``frame`` with coordinates of these names.
    name : str
        What the values are, for messages.

    Returns
    -------
    DataArray
        On dims of `data`, without coordinates; NaN (False) for a shot that `values`
        do not have.

    Raises
    ------
    ValueError
        If `values` have other dims, repeated IDs, or no IDs and another length.
    """
    values = element_of(values, (), name)
    odd = [d for d in values.dims if d not in SHOT_DIMS]
    if odd or not values.dims:
        raise ValueError(
            f"{name} is on {listing(values.dims)}; it needs one value per shot, on"
            " train and perhaps pulse"
        )
    found = values
    for dim in values.dims:
        found = along(found, str(dim), data, name)
    return found.reset_coords(drop=True).drop_vars(list(found.coords), errors="ignore")


def along(
    values: xr.DataArray, dim: str, data: xr.DataArray, name: str
) -> xr.DataArray:
    """Return values at the labels of one dim of an array."""
    if dim in values.indexes and not values.indexes[dim].is_unique:
        index = values.indexes[dim]
        twice = index[index.duplicated()].unique()
        raise ValueError(f"{name} has {dim} {listing(twice)} twice")
    if dim not in data.dims and FRAME in data.dims and dim in data.coords:
        if dim not in values.indexes:
            raise ValueError(f"{name} has no {dim} IDs, by which frames are joined")
        return picked(values, dim, data[dim].values, FRAME)
    if dim not in data.dims:
        raise ValueError(f"{name} is on {dim!r}, the data on {listing(data.dims)}")
    if dim in values.indexes and dim in data.indexes:
        if values.indexes[dim].equals(data.indexes[dim]):
            return values
        return picked(values, dim, data.indexes[dim].values, dim)
    if values.sizes[dim] != data.sizes[dim]:
        raise ValueError(
            f"{name} has {values.sizes[dim]} values along {dim!r}, the data"
            f" {data.sizes[dim]}; give both their IDs"
        )
    return values


def picked(
    values: xr.DataArray, dim: str, wanted: NDArray[Any], new: str
) -> xr.DataArray:
    """Return the values of wanted labels on a new dim; NaN (False) for unknown ones."""
    at = pd.Index(values.indexes[dim]).get_indexer(wanted)
    lone = values.drop_vars([c for c in values.coords if dim in values[c].dims])
    taken = lone.isel({dim: xr.DataArray(np.maximum(at, 0), dims=new)})
    there = xr.DataArray(at >= 0, dims=new)
    if values.dtype == bool:
        return (taken & there).transpose(..., new)
    return taken.astype(np.float64).where(there)


def in_memory(values: xr.DataArray) -> xr.DataArray:
    """Return values as numbers: scalars are small, and bins are made from them."""
    if values.chunks is None:
        return values
    return values.copy(data=values.data.compute(scheduler="synchronous"))
