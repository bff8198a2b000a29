"""Droplets, photons, clusters and peaks of many frames as one list."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, listing
from xfelred.names import CLUSTER, DROPLET, ENTRY, PEAK, PHOTON, PIXEL, PIXEL_DIMS
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
