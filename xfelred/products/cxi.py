"""CXI files of detector frames, for CrystFEL and other programs for single shots."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import __version__
from xfelred.names import (
    BAD_PIXELS,
    CELL,
    FAST,
    FRAME,
    HISTORY,
    MODULE,
    PIXEL_DIMS,
    PULSE,
    RECORDED,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.products.blocks import hdf5_storage, store
from xfelred.products.sink import CheckedTarget, checked_sink

CXI_VERSION = 150
# One chunk is one image of one module, as the programs read it.
CHUNK_BYTES = 2**22
AXES = "experiment_identifier:module_identifier:y:x"


def write_cxi(ds: xr.Dataset, path: Path) -> None:
    """Write the detector frames of a prepared Dataset as a list of images.

    Frames that a ragged train does not have (coordinate ``recorded``) are left
    out. The coordinate ``bad_pixels`` becomes the mask, non-zero = bad.
    """
    da = only_frames(ds)
    labels = frame_labels(da)
    keep = np.flatnonzero(labels.pop(RECORDED, np.ones(n_frames(da), bool)))
    lazy: dict[str, dask.array.Array] = {}
    with checked_sink(path) as sink, h5py.File(sink, "w") as file:
        file["cxi_version"] = CXI_VERSION
        entry = file.create_group("entry_1")
        entry.attrs["creator"] = f"xfelred {__version__}"
        entry.attrs[HISTORY] = ds.attrs.get(HISTORY, "")
        write_labels(entry, {name: values[keep] for name, values in labels.items()})
        detector = entry.create_group("instrument_1/detector_1")
        detector["module_identifier"] = da[MODULE].values
        detector["experiment_identifier"] = h5py.SoftLink(
            "/entry_1/experiment_identifier"
        )
        entry["data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        lazy["data"] = flat_frames(da, keep)
        if BAD_PIXELS in da.coords:
            lazy["mask"] = bad_pixels(da, keep)
        for name, array in lazy.items():
            make_images(detector, name, array)
        detector["data"].attrs[UNITS] = da.attrs.get(UNITS, "1")
        store(lazy, {n: CheckedTarget(detector[n], sink.check) for n in lazy})


def only_frames(ds: xr.Dataset) -> xr.DataArray:
    """Return the variable with detector frames, frame dims first."""
    names = [n for n, v in ds.data_vars.items() if set(PIXEL_DIMS) <= set(v.dims)]
    if len(names) != 1:
        raise ValueError(
            f"a CXI file holds one variable on {', '.join(PIXEL_DIMS)}, got"
            f" {', '.join(map(str, names)) or 'none'}; choose one:"
            " xf.write(ds['mean'], 'mean.cxi'), or write .nxs or .zarr"
        )
    da = ds[names[0]].transpose(..., *PIXEL_DIMS)
    if extra := [str(d) for d in da.dims[:-3] if d not in (TRAIN, PULSE, FRAME)]:
        raise ValueError(
            f"a CXI file holds a list of frames, but {da.name!r} has the axis"
            f" {extra[0]!r} too; choose one: da.isel({extra[0]}=0)"
        )
    return (
        da if MODULE in da.coords else da.assign_coords({MODULE: range(da.shape[-3])})
    )


def n_frames(da: xr.DataArray) -> int:
    """Return the number of frames in all leading axes."""
    return prod(da.shape[:-3])


def frame_labels(da: xr.DataArray) -> dict[str, NDArray[Any]]:
    """Return train, pulse, cell and recorded of every frame, as far as known."""
    dims = da.dims[:-3]
    template = xr.DataArray(np.zeros(da.shape[:-3], bool), dims=dims)
    labels = {}
    for name in (TRAIN, PULSE, CELL, RECORDED):
        if name in da.coords and set(da[name].dims) <= set(dims):
            values = da[name].reset_coords(drop=True).broadcast_like(template)
            labels[name] = values.transpose(*dims).values.ravel()
    return labels


def write_labels(entry: h5py.Group, labels: dict[str, NDArray[Any]]) -> None:
    """Write IDs of the frames under the names that other programs look for."""
    names = {TRAIN: "trainId", PULSE: "pulseId", CELL: "cellId"}
    for name, values in labels.items():
        entry[names[name]] = values
    parts = [labels[n].astype(str) for n in (TRAIN, PULSE) if n in labels]
    if parts:
        identifiers = [":".join(p) for p in zip(*parts, strict=True)]
        entry.create_dataset(
            "experiment_identifier",
            data=np.array(identifiers, dtype=object),
            dtype=h5py.string_dtype(),
        )


def flat_frames(da: xr.DataArray, keep: NDArray[np.intp]) -> dask.array.Array:
    """Return (frame, module, slow_scan, fast_scan) with only the frames to keep."""
    array = da.data if da.chunks is not None else dask.array.from_array(da.values)
    flat = array.reshape((n_frames(da), *da.shape[-3:]))
    return flat if len(keep) == n_frames(da) else flat[keep]


def bad_pixels(da: xr.DataArray, keep: NDArray[np.intp]) -> dask.array.Array:
    """Return the bad-pixel bits: of every frame, or once if they are static."""
    bad = da[BAD_PIXELS].reset_coords(drop=True)
    if set(bad.dims) <= {MODULE, SLOW, FAST}:
        static = bad.broadcast_like(
            xr.DataArray(np.zeros(da.shape[-3:]), dims=PIXEL_DIMS)
        )
        array = static.transpose(*PIXEL_DIMS).astype("uint32").data
        return dask.array.asarray(array)
    bad = bad.broadcast_like(da).transpose(*da.dims).astype("uint32")
    return flat_frames(bad, keep)


def make_images(group: h5py.Group, name: str, array: dask.array.Array) -> None:
    """Make room for images, chunked so that one of them can be read alone."""
    options = hdf5_storage(array, CHUNK_BYTES)
    data = group.create_dataset(name, array.shape, array.dtype, **options)
    data.attrs["axes"] = AXES if array.ndim == 4 else AXES.split(":", 1)[1]
