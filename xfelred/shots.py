"""Values of shots, joined by train (and pulse) ID and never by position.

The one rule: what has no IDs is refused; IDs of which none is known are an error that
shows both ranges; where some are unknown, one warning counts them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.column_names import split_element
from xfelred.entries import entry
from xfelred.errors import (
    InconsistentDataError,
    PropertyNameError,
    did_you_mean,
    listing,
    warn,
)
from xfelred.names import FRAME, PULSE, RECORDED_BY, TRAIN, recorded_name
from xfelred.provenance import record

SHOT_DIMS = (TRAIN, PULSE, FRAME)
# How other tools and facilities call the axes of shots, in pandas indexes and xarray.
FOREIGN = {
    "trainId": TRAIN, "train_id": TRAIN, "tag": TRAIN, "timestamp": TRAIN,
    "event_time": TRAIN, "pulseId": PULSE, "pulse_id": PULSE,
}  # fmt: skip


def shot_dims(data: xr.DataArray | xr.Dataset) -> tuple[str, ...]:
    """Return the dims that tell shots from each other, in their order."""
    return tuple(str(d) for d in data.dims if d in SHOT_DIMS)


def shot_value(source: xr.DataArray | xr.Dataset, name: str) -> xr.DataArray:
    """Return values per shot by name, or one of several: ``"ipm2/channels[3]"``.

    Axes of length 1 beside those of shots are left out: a table with one column is a
    column. PropertyNameError if there is no such variable, coordinate or position.
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
    if position and not inner and PULSE in values.dims and PULSE not in values.coords:
        # A vector per train of the European XFEL; whether of pulses nobody tells.
        inner = [PULSE]
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


@entry
def label_by_position(values: ArrayLike, frames: xr.DataArray) -> xr.DataArray:
    """Say that values without IDs belong to the shots of `frames` in their order.

    Nothing else in this package aligns by position. Use it where there is nothing but
    the position, after a look at whether something is missing or out of order.

    Parameters
    ----------
    values : array (train,) or (train, pulse)
        As many as `frames` has along its dims train, pulse or frame; also a DataArray
        or a pandas object, whose own labels are then ignored.
    frames : DataArray
        Frames, or anything else with the IDs of the same shots.

    Returns
    -------
    DataArray
        With the IDs of `frames`. Its history, which results made with it take over,
        tells that they were given by position.

    Raises
    ------
    InconsistentDataError
        If the shapes do not fit.

    Examples
    --------
    >>> frames = xr.DataArray(np.ones((2, 3)), {"train": [10, 12]}, ("train", "x"))
    >>> label_by_position([0.5, 0.7], frames).train.values
    array([10, 12])
    """
    dims = shot_dims(frames)
    array = np.asarray(values)
    sizes = tuple(frames.sizes[d] for d in dims)
    fits = [n for n in range(1, len(dims) + 1) if array.shape == sizes[:n]]
    if not fits:
        raise InconsistentDataError(
            f"values of shape {array.shape} cannot be given to shots on"
            f" {dict(zip(dims, sizes, strict=True))} one by one"
        )
    taken = dims[: fits[0]]
    out = xr.DataArray(array, dims=taken, name=getattr(values, "name", None))
    known = {k: c.variable for k, c in frames.coords.items() if k in (TRAIN, PULSE)}
    ids = {k: v for k, v in known.items() if v.dims and set(v.dims) <= set(taken)}
    if not ids:
        raise InconsistentDataError(
            f"the frames have no IDs on {listing(taken)} that could be given"
        )
    out.attrs = dict(getattr(values, "attrs", {}))
    return record(out.assign_coords(ids), "label_by_position", dims=list(taken))


def as_labelled(values: object, name: str) -> xr.DataArray:
    """Return values of shots as a DataArray that names its dims as ours.

    A Series is labelled by its index, of train IDs or of train and pulse IDs;
    InconsistentDataError, which says `name`, for what has no labels.
    """
    if isinstance(values, pd.Series):
        names = [FOREIGN.get(str(n), n) for n in values.index.names]
        if isinstance(values.index, pd.RangeIndex) or (
            len(names) == 1 and names[0] not in (None, TRAIN)
        ):
            raise InconsistentDataError(
                f"the index of {name} is {values.index.names[0] or 'a mere count'}, no"
                " train IDs; set it, such as series.set_axis(run.train_ids)"
            )
        single = len(names) == 1
        series = values.rename_axis([TRAIN] if single else names)
        values = xr.DataArray.from_series(series)
    if not isinstance(values, xr.DataArray):
        raise InconsistentDataError(
            f"{name} is a {type(values).__name__} without train IDs; pass a DataArray"
            " on train with the coordinate train, a pandas Series with train IDs as its"
            " index, or say ops.label_by_position(values, frames)"
        )
    foreign = {d: FOREIGN[str(d)] for d in values.dims if d in FOREIGN}
    return values.rename(foreign) if foreign else values


def at_shots(
    values: object, data: xr.DataArray, name: str, *, own: bool = False
) -> xr.DataArray:
    """Return values at the shots of an array: on its dims, without coordinates.

    NaN (False) for a shot that `values` do not have, of which there is a warning.

    Parameters
    ----------
    values : DataArray or pandas.Series
        On train, pulse or both, or on the frames of `data`, or on other dims of it;
        in memory.
    data : DataArray
        On train [and pulse], or on ``frame`` with coordinates of these names.
    name : str
        What the values are, for messages.
    own : bool
        The values come with the data, as a coordinate or from the same Dataset, so that
        a dim without IDs is the same one.

    Raises
    ------
    InconsistentDataError
        If `values` have other dims, repeated IDs, no IDs, or none of those of `data`.
    """
    values = recorded_only(as_labelled(values, name))
    alone = [d for d in values.dims if d not in (*SHOT_DIMS, *data.dims)]
    values = values.isel({d: 0 for d in alone if values.sizes[d] == 1}, drop=True)
    odd = [d for d in values.dims if d not in SHOT_DIMS and d not in data.dims]
    if odd or not values.dims:
        raise InconsistentDataError(
            f"{name} is on {listing(values.dims)}; it needs one value per shot, on"
            " train and perhaps pulse"
        )
    found = values
    for dim in values.dims:
        if own and dim in data.dims and dim not in values.indexes:
            continue
        found = along(found, str(dim), data, name)
    return found.reset_coords(drop=True).drop_vars(list(found.coords), errors="ignore")


def recorded_only(values: xr.DataArray) -> xr.DataArray:
    """Return values with NaN where their coordinate says that nothing was recorded.

    Integers that no float holds have another value there.
    """
    marks = recorded_marks(values)
    if marks is None:
        return values
    return values & marks if values.dtype == bool else values.where(marks)


def recorded_marks(values: xr.DataArray) -> xr.DataArray | None:
    """Return the coordinate that tells which integers were recorded, if there is one.

    The values name it, as they may have another name by now.
    """
    name = values.attrs.get(RECORDED_BY, recorded_name(str(values.name)))
    marks = values.coords.get(name)
    return None if marks is None else marks.reset_coords(drop=True)


def along(
    values: xr.DataArray, dim: str, data: xr.DataArray, name: str
) -> xr.DataArray:
    if dim in values.indexes and not values.indexes[dim].is_unique:
        index = values.indexes[dim]
        twice = index[index.duplicated()].unique()
        raise InconsistentDataError(f"{name} has {dim} {listing(twice)} twice")
    if dim == FRAME and dim in data.dims:
        return same_frames(values, data, name)
    if dim not in data.dims and FRAME in data.dims and dim in data.coords:
        if dim not in values.indexes:
            raise without_ids(name, dim)
        return picked(values, dim, data[dim].values, FRAME, name)
    if dim not in data.dims:
        raise InconsistentDataError(
            f"{name} is on {dim!r}, the data on {listing(data.dims)}"
        )
    if dim in values.indexes and dim in data.indexes:
        if values.indexes[dim].equals(data.indexes[dim]):
            return values
        return picked(values, dim, data.indexes[dim].values, dim, name)
    if dim in values.indexes or dim in data.indexes or dim not in SHOT_DIMS:
        if dim in SHOT_DIMS:
            raise without_ids(name if dim in data.indexes else "the array", dim)
        same_length(values, dim, data, name)
        return values
    same_length(values, dim, data, name)
    warn(
        f"neither {name} nor the frames have {dim} IDs: they are taken in their order;"
        " give both the coordinate, or say ops.label_by_position(values, frames)"
    )
    return values


def same_length(values: xr.DataArray, dim: str, data: xr.DataArray, name: str) -> None:
    if values.sizes[dim] != data.sizes[dim]:
        raise InconsistentDataError(
            f"{name} has {values.sizes[dim]} values along {dim!r}, the data"
            f" {data.sizes[dim]}; give both their IDs"
        )


def without_ids(name: str, dim: str) -> InconsistentDataError:
    return InconsistentDataError(
        f"{name} has no {dim} IDs, by which values and frames are joined; give it the"
        f" coordinate {dim!r}, or say ops.label_by_position(values, frames) where the"
        " order is all that is known"
    )


def same_frames(values: xr.DataArray, data: xr.DataArray, name: str) -> xr.DataArray:
    """Return values on the frames of the data, which both know by train and pulse."""
    keys = [k for k in (TRAIN, PULSE) if k in values.coords and k in data.coords]
    if not keys:
        raise without_ids(name, TRAIN)
    mine = pd.MultiIndex.from_arrays([values[k].values for k in keys])
    wanted = pd.MultiIndex.from_arrays([data[k].values for k in keys])
    if mine.equals(wanted):
        return values
    if not mine.is_unique:
        raise InconsistentDataError(
            f"{name} has several values for one {' and '.join(keys)}"
        )
    return taken(values, FRAME, mine.get_indexer(wanted), FRAME, (mine, wanted), name)


def picked(
    values: xr.DataArray, dim: str, wanted: NDArray[Any], new: str, name: str
) -> xr.DataArray:
    """Return the values of wanted labels on a new dim; NaN (False) for unknown ones."""
    index = pd.Index(values.indexes[dim])
    asked = pd.Index(wanted)
    return taken(values, dim, index.get_indexer(asked), new, (index, asked), name)


def taken(
    values: xr.DataArray,
    dim: str,
    at: NDArray[np.intp],
    new: str,
    ids: tuple[pd.Index, pd.Index],
    name: str,
) -> xr.DataArray:
    """Return the values at positions (-1: none) along a dim, which becomes another."""
    check_overlap(at >= 0, *ids, dim=dim, name=name)
    lone = values.drop_vars([c for c in values.coords if dim in values[c].dims])
    if not lone.sizes[dim]:
        shape = {**lone.sizes, dim: 1}
        lone = xr.DataArray(np.zeros(tuple(shape.values()), lone.dtype), dims=lone.dims)
    out = lone.isel({dim: xr.DataArray(np.maximum(at, 0), dims=new)})
    if (at >= 0).all():
        return out
    there = xr.DataArray(at >= 0, dims=new)
    if values.dtype == bool:
        return out & there
    if values.dtype.kind in "iu":
        out = out.astype(np.float64)
    return out.where(there)


def check_overlap(
    found: NDArray[np.bool_], have: pd.Index, wanted: pd.Index, *, dim: str, name: str
) -> None:
    """Say how many `wanted` labels are not among those that the values `have`.

    `found` is bool (wanted,). InconsistentDataError if there are labels on both sides,
    and none in common.
    """
    if found.all():
        return
    gone = len(found) - np.count_nonzero(found)
    if len(have) and not found.any():
        raise InconsistentDataError(
            f"{name} and the data have no {dim} ID in common: {span(have)} in {name},"
            f" {span(wanted)} in the data. Do they belong to one run?"
        )
    warn(
        f"{name}: no value for {gone} of {len(found)} {dim} IDs of the data"
        f" ({span(wanted[~found])}); these shots are left out"
    )


def span(ids: pd.Index) -> str:
    """Return how many IDs there are (at least one), and their range, in words."""
    low, high = ids.min(), ids.max()
    if isinstance(ids, pd.MultiIndex):
        low, high = tuple(map(int, low)), tuple(map(int, high))
    return f"{len(ids)} from {low} to {high}"


def in_memory(values: xr.DataArray) -> xr.DataArray:
    # They are small, and bins are made from them.
    if getattr(values, "chunks", None) is None:
        return values
    return values.copy(data=values.data.compute(scheduler="synchronous"))
