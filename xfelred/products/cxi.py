"""CXI files of detector frames, for CrystFEL and other programs for single shots."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import __version__
from xfelred.entries import entry
from xfelred.errors import ArgumentError, ArgumentTypeError, GeometryMismatchError
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    CELL,
    DATA_KIND,
    FAST,
    FIRST_MODULE,
    FRAME,
    HISTORY,
    MODULE,
    N_MODULES,
    OF_DATA,
    PIXEL_DIMS,
    PULSE,
    RECORDED,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.products.blocks import hdf5_storage, store
from xfelred.products.sink import BlockTarget, checked_sink
from xfelred.provenance import history_of

CXI_VERSION = 150  # of the CXI file format: 1.5
# One chunk is one image of one module, as the programs read it.
CHUNK_BYTES = 2**22
ALL_BITS = 0xFFFFFFFF  # of uint32
IDS = {TRAIN: "trainId", PULSE: "pulseId", CELL: "cellId"}
AXES = "experiment_identifier:module_identifier:y:x"


@dataclass(frozen=True, eq=False)
class Results:
    """What was found in the frames, which goes into the file with them."""

    chosen: NDArray[np.bool_] | None  # frames that are written, all if None
    # By name, (frame, ...) for all frames of the array.
    arrays: dict[str, dask.array.Array]


def write_cxi(ds: xr.Dataset, path: Path, results: Results | None = None) -> None:
    """Write the detector frames of a prepared Dataset as a list of images."""
    da = only_frames(ds)
    labels = frame_labels(da)
    # Frames that a ragged train does not have are left out.
    there = labels.pop(RECORDED, np.ones(n_frames(da), bool))
    if results and results.chosen is not None:
        there = there & results.chosen
    keep = np.flatnonzero(there)
    lazy: dict[str, dask.array.Array] = {}
    place = module_places(da)
    with checked_sink(path) as sink, h5py.File(sink, "w") as file:
        file["cxi_version"] = CXI_VERSION
        entry = file.create_group("entry_1")
        entry.attrs["creator"] = f"xfelred {__version__}"
        entry.attrs[HISTORY] = history_of(ds.attrs)
        write_labels(entry, {name: values[keep] for name, values in labels.items()})
        detector = entry.create_group("instrument_1/detector_1")
        detector["module_identifier"] = place.numbers
        detector["experiment_identifier"] = h5py.SoftLink(
            "/entry_1/experiment_identifier"
        )
        entry["data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        lazy["data"] = flat_frames(da, keep)
        bad = mask_of(da, keep, place)
        if bad is not None:
            lazy["mask"] = bad
        for name, array in lazy.items():
            make_images(detector, name, array, place.n)
        for name, default in ((UNITS, "1"), (DATA_KIND, "unknown")):
            detector["data"].attrs[name] = da.attrs.get(name, default)
        targets = {n: placed(detector[n], place) for n in lazy}
        if results:
            add_slab(entry, [*lazy])
            found = {n: a[keep] for n, a in results.arrays.items()}
            group = entry.create_group("result_1")
            for name, array in found.items():
                options = hdf5_storage(array)
                targets[name] = group.create_dataset(
                    name, array.shape, array.dtype, **options
                )
            lazy |= found
        store(lazy, targets, sink)


def add_slab(
    entry: h5py.Group, names: list[str], frames: NDArray[np.intp] | None = None
) -> None:
    """Show images as one panel of all modules on top of each other, without a copy.

    Programs that read lists of peaks have positions in such a panel. `frames`: only
    those at these positions, which increase.
    """
    group = entry.create_group("data_2")
    for name in names:
        stored = entry["instrument_1/detector_1"][name]
        *lead, n_modules, slow, fast = stored.shape
        some: list[Any] = [slice(None)] * len(lead)
        if frames is not None and lead:
            lead, some = [len(frames)], [frames]
        layout = h5py.VirtualLayout((*lead, n_modules * slow, fast), stored.dtype)
        # The file itself, whatever it is called in the end.
        source = h5py.VirtualSource(".", stored.name, stored.shape, stored.dtype)
        for m in range(n_modules if 0 not in layout.shape else 0):
            layout[..., m * slow : (m + 1) * slow, :] = source[(*some, m)]
        group.create_virtual_dataset(name, layout, fillvalue=stored.fillvalue)


@dataclass(frozen=True)
class ModulePlaces:
    """Numbers of all modules of a detector, and the places of those in an array."""

    numbers: NDArray[np.int64]
    at: NDArray[np.int64]

    @property
    def n(self) -> int:
        return len(self.numbers)


def module_places(da: xr.DataArray) -> ModulePlaces:
    """Return the places of an array's modules among all those of the detector."""
    # CrystFEL and others find a module by its place: each one of the detector has
    # one. What is absent is the fill value and, in the mask, has all bits.
    numbers = np.asarray(da[MODULE].values)
    if numbers.dtype.kind not in "iu" or not numbers.size:
        whole = np.arange(numbers.size)
        return ModulePlaces(whole, whole)
    numbers = numbers.astype(np.int64)
    # Where readers do not say which modules there are they are counted: from 0, or
    # from 1 if the first is 1 and none is missing, up to the last one there is.
    counted = np.array_equal(numbers, np.arange(1, len(numbers) + 1))
    first = int(da.attrs.get(FIRST_MODULE, 1 if counted else 0))
    n = int(da.attrs.get(N_MODULES, numbers.max() + 1 - first))
    at = numbers - first
    if at.min() < 0 or at.max() >= n or len(np.unique(at)) < len(at):
        raise GeometryMismatchError(
            f"modules {numbers.tolist()} have no place among {n} modules from number"
            f" {first}; correct da.attrs[{N_MODULES!r}] and da.attrs[{FIRST_MODULE!r}],"
            " or give each module its number: da.assign_coords(module=[...])"
        )
    return ModulePlaces(np.arange(first, first + n), at)


def placed(target: h5py.Dataset, place: ModulePlaces) -> BlockTarget:
    whole = np.array_equal(place.at, np.arange(place.n))
    return target if whole else Placed(target, place.at)


class Placed:
    """A dataset of all modules, to which an array of some of them is written."""

    def __init__(self, target: h5py.Dataset, at: NDArray[np.int64]) -> None:
        self.target, self.at = target, at

    def __setitem__(self, where: tuple[slice, ...], values: NDArray[Any]) -> None:
        *lead, module, slow, fast = where
        for i, place in enumerate(self.at[module].tolist()):
            self.target[(*lead, place, slow, fast)] = values[..., i, :, :]


@entry
def write_virtual_cxi(
    detector: object,
    path: str | os.PathLike[str],
    *,
    fillvalues: dict[str, Any] | None = None,
) -> Path:
    """Write a CXI file of virtual datasets for a detector of the European XFEL.

    Parameters
    ----------
    detector : Detector
        From ``run.detector()``.
    path : path
        Replaced if it exists.
    fillvalues : dict, optional
        Values for what was not recorded, for "data", "gain" or "mask".

    Returns
    -------
    Path
        Where the file is.

    Raises
    ------
    TypeError
        If `detector` cannot be shown like this.
    """
    write = getattr(detector, "write_virtual_cxi", None)
    if write is None:
        raise ArgumentTypeError(
            f"a virtual CXI file needs a detector, such as run.detector(), not"
            f" {type(detector).__name__}; arrays are written by xfelred.write"
        )
    write(path, fillvalues)
    return Path(path)


def only_frames(ds: xr.Dataset) -> xr.DataArray:
    """Return the variable with detector frames, frame dims first."""
    names = [n for n, v in ds.data_vars.items() if set(PIXEL_DIMS) <= set(v.dims)]
    if len(names) != 1:
        raise ArgumentError(
            f"a CXI file holds one variable on {', '.join(PIXEL_DIMS)}, got"
            f" {', '.join(map(str, names)) or 'none'}; choose one:"
            " xf.write(ds['mean'], 'mean.cxi'), or write .nxs or .zarr"
        )
    da = ds[names[0]].transpose(..., *PIXEL_DIMS)
    if extra := [str(d) for d in da.dims[:-3] if d not in (TRAIN, PULSE, FRAME)]:
        raise ArgumentError(
            f"a CXI file holds a list of frames, but {da.name!r} has the axis"
            f" {extra[0]!r} too; choose one: da.isel({extra[0]}=0)"
        )
    kept = {k: ds.attrs[k] for k in OF_DATA if k in ds.attrs}
    da = da.assign_attrs({**kept, **da.attrs})
    return (
        da if MODULE in da.coords else da.assign_coords({MODULE: range(da.shape[-3])})
    )


def n_frames(da: xr.DataArray) -> int:
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
    for name, values in labels.items():
        entry[IDS[name]] = values
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


def mask_of(
    da: xr.DataArray, keep: NDArray[np.intp], place: ModulePlaces
) -> dask.array.Array | None:
    """Return the bad-pixel bits to write, None if nothing needs a mask."""
    found = bad_pixels(da, keep) if BAD_PIXELS in da.coords else None
    gaps = AVAILABLE in da.coords and not bool(da[AVAILABLE].all())
    if gaps and da.dtype.kind != "f":  # whole numbers have no NaN: the mask says it
        here = da[AVAILABLE].reset_coords(drop=True)
        lazy = xr.zeros_like(da.reset_coords(drop=True), dtype=np.uint32)
        absent = flat_frames(lazy.where(here, np.uint32(ALL_BITS)), keep)
        return absent if found is None else absent | found
    if found is None and place.n > len(place.at):
        return dask.array.zeros(da.shape[-3:], dtype=np.uint32)
    return found


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


def make_images(
    group: h5py.Group, name: str, array: dask.array.Array, n_modules: int
) -> None:
    options = hdf5_storage(array, CHUNK_BYTES)
    # In chunks what is not written takes no room.
    if n_modules > array.shape[-3]:
        options.pop("dcpl", None)
        options.setdefault("chunks", True if array.size else None)
    shape = (*array.shape[:-3], n_modules, *array.shape[-2:])
    fill: Any = ALL_BITS if name == "mask" else None
    if name == "data" and array.dtype.kind == "f":
        fill = np.nan
    data = group.create_dataset(name, shape, array.dtype, fillvalue=fill, **options)
    data.attrs["axes"] = AXES if array.ndim == 4 else AXES.split(":", 1)[1]
