"""Droplets, photons, clusters and peaks of many frames as one list."""

from __future__ import annotations

from math import prod

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, listing
from xfelred.names import (
    CLUSTER,
    DROPLET,
    ENTRY,
    LONG_NAME,
    PEAK,
    PHOTON,
    PIXEL,
    PIXEL_DIMS,
    PULSE,
    TRAIN,
    UNITS,
)
from xfelred.provenance import record

# What is listed along each of the dims that are padded.
COUNTS = {
    DROPLET: "n_droplets",
    PHOTON: "n_photons",
    CLUSTER: "n_clusters",
    PEAK: "n_peaks",
    PIXEL: "n_pixels",
}


@entry
def to_table(ds: xr.Dataset) -> xr.Dataset:
    """Return what was found in all frames as a list without padding.

    Parameters
    ----------
    ds : Dataset (..., droplet | photon | cluster | peak | pixel)
        Of `find_droplets`, `droplets_to_photons`, `find_clusters`, `find_peaks` or
        `sparsify`, which is computed.

    Returns
    -------
    Dataset (entry)
        In memory: the variables along that dim, frame by frame, with the coordinates
        of their frames, such as ``train`` and ``pulse``.

    Raises
    ------
    ArgumentError
        If `ds` has none of these dims, or several, or not the numbers of what is
        listed.

    Examples
    --------
    >>> from xfelred import ops
    >>> frames = np.zeros((2, 5, 6))
    >>> frames[0, 1, 1], frames[1, 2, 2:4], frames[1, 4, 5] = 6, 8, 9
    >>> dims = ("train", "slow_scan", "fast_scan")
    >>> da = xr.DataArray(frames, {"train": [7, 9]}, dims)
    >>> table = to_table(ops.find_droplets(da, max_droplets=10))
    >>> table.train.values, table.adu.values
    (array([7, 9, 9]), array([ 6., 16.,  9.]))
    """
    dims = [d for d in COUNTS if d in ds.dims]
    if len(dims) != 1 or COUNTS[dims[0]] not in ds:
        raise ArgumentError(
            f"a table is made of one of {listing(COUNTS)} and its number; got a dataset"
            f" with {listing(map(str, ds.dims)) or 'no dims'}"
        )
    (dim,) = dims
    names = [n for n in ds.data_vars if dim in ds[n].dims]
    found = ds[[*names, COUNTS[dim]]].compute()
    count = found[COUNTS[dim]]
    frame_dims = [d for d in count.dims if d not in PIXEL_DIMS]
    count = count.transpose(*frame_dims)
    room = ds.sizes[dim]
    n = np.minimum(count.values.reshape(-1), room)
    keep = np.arange(room) < n[:, np.newaxis]
    columns = {
        str(name): (
            ENTRY,
            found[name].transpose(*frame_dims, dim).values.reshape(-1, room)[keep],
            found[name].attrs,
        )
        for name in names
    }
    frame = np.repeat(np.arange(len(n)), n)
    labels = {
        str(name): (
            ENTRY,
            coord.broadcast_like(count)
            .transpose(*frame_dims)
            .values.reshape(-1)[frame],
            coord.attrs,
        )
        for name, coord in count.coords.items()
    }
    out = xr.Dataset(columns, labels, attrs=dict(ds.attrs))
    return record(out, "to_table", ds)


@entry
def from_table(
    table: xr.Dataset,
    dim: str,
    *,
    train: xr.DataArray | ArrayLike | None = None,
    pulse: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Return a list of all frames frame by frame: the way back from `to_table`.

    Parameters
    ----------
    table : Dataset (entry)
        Of `to_table` or ``run.table``, with the coordinate ``train`` and perhaps
        ``pulse`` of each entry; in memory.
    dim : str
        Name of the new axis: ``droplet``, ``photon``, ``pixel``, or ``sample`` for
        traces of many lengths.
    train, pulse : DataArray or array of int, optional
        IDs of all trains, and of all pulses, in their order, as those without an entry
        are not in the list. By default those that are.

    Returns
    -------
    Dataset (train, [pulse,] dim)
        In memory, float64: the variables, entries in the order of the list, NaN behind
        the last; and their number, int64, ``n_droplets`` and the like.

    Raises
    ------
    ArgumentError
        If entries have no train, or one that `train` does not have, and so of pulses.

    Examples
    --------
    >>> table = xr.Dataset({"adu": ("entry", [6.0, 8, 9])},
    ...                    {"train": ("entry", [7, 9, 9])})
    >>> found = from_table(table, "droplet", train=[7, 8, 9])
    >>> found["adu"].values, found["n_droplets"].values
    (array([[ 6., nan],
           [nan, nan],
           [ 8.,  9.]]), array([1, 0, 2]))
    """
    if TRAIN not in table.coords or ENTRY not in table.dims:
        raise ArgumentError(
            f"a list has the dim {ENTRY!r}, and the coordinate {TRAIN!r} of each; got"
            f" {listing(map(str, table.dims)) or 'no dims'}"
        )
    if pulse is not None and PULSE not in table.coords:
        raise ArgumentError("pulse= was given, but entries of this list have no pulse")
    indexes = {TRAIN: ids_of(table[TRAIN], train)}
    if PULSE in table.coords:
        indexes[PULSE] = ids_of(table[PULSE], pulse)
    at = [ids.get_indexer(pd.Index(table[d].values)) for d, ids in indexes.items()]
    lost = np.any([place < 0 for place in at], axis=0)
    if lost.any():
        raise ArgumentError(
            f"{lost.sum()} entries are of trains that train=, or pulses that pulse=,"
            " lacks"
        )
    shape = tuple(len(ids) for ids in indexes.values())
    frame = np.ravel_multi_index(tuple(at), shape)
    count = np.bincount(frame, minlength=prod(shape))
    order = np.argsort(frame, kind="stable")
    rank = np.arange(len(frame)) - (np.cumsum(count) - count)[frame[order]]
    room = max(1, int(count.max(initial=0)))
    out = xr.Dataset(coords=indexes, attrs=table.attrs)
    for name, column in table.data_vars.items():
        values = np.full((count.size, room), np.nan)
        values[frame[order], rank] = column.values[order]
        dims = (*indexes, dim)
        out[name] = (dims, values.reshape(*shape, room), column.attrs)
    number = COUNTS.get(dim, f"n_{dim}s")
    attrs = {UNITS: "1", LONG_NAME: f"number of each {dim}"}
    out[number] = (tuple(indexes), count.reshape(shape), attrs)
    return record(out, "from_table", table, dim=dim)


def ids_of(column: xr.DataArray, given: xr.DataArray | ArrayLike | None) -> pd.Index:
    """Return all trains, or pulses: those that were given, or those in a list."""
    ids = np.unique(column.values) if given is None else np.asarray(given)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or len(np.unique(ids)) < len(ids):
        raise ArgumentError(
            f"{column.name} has shape {ids.shape} and dtype {ids.dtype}; wanted a list"
            f" of different {column.name} IDs"
        )
    return pd.Index(ids)
