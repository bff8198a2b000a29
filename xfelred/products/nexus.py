"""NeXus files: HDF5 that says what to plot, with units, axes, errors and history."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import dask.array
import h5py
import numpy as np
import xarray as xr

from xfelred import __version__
from xfelred.names import LONG_NAME, UNITS
from xfelred.products.blocks import hdf5_storage, store
from xfelred.products.prepare import CREATED
from xfelred.products.sink import checked_sink
from xfelred.provenance import history_of

# Where a Dataset holds the standard error of a variable (users.md, design.md 4).
ERROR_NAMES = {"intensity": "sigma", "mean": "sem", "correlation": "sem"}
ONLY_DIMENSION = "This is a netCDF dimension but not a netCDF variable."
# Moments and durations are integers; xarray and NeXus readers know these units.
TIME_UNITS = {
    "M": {UNITS: "nanoseconds since 1970-01-01", "start": "1970-01-01T00:00:00Z"},
    "m": {UNITS: "ns"},
}


def write_nexus(ds: xr.Dataset, path: Path, at_root: Collection[str] = ()) -> None:
    """Write a prepared Dataset as NXroot / NXentry / NXdata, block by block.

    The group ``/entry/data`` holds all variables and coordinates; those that `at_root`
    names are found under their bare names, too.
    """
    signal = main_signal(ds)
    with checked_sink(path) as sink, h5py.File(sink, "w") as file:
        entry = write_entry(file, ds)
        data = new_group(entry, "data", "NXdata")
        entry.attrs["default"] = "data"
        lazy: dict[str, dask.array.Array] = {}
        for name, variable in ds.variables.items():
            write_field(data, str(name), variable, lazy)
        data.attrs.update({str(k): attribute(v) for k, v in ds.attrs.items()})
        # What xarray needs to tell coordinates from variables.
        data.attrs["coordinates"] = " ".join(str(n) for n in ds.coords)
        link_errors(data, ds)
        if signal is not None:
            describe_plot(data, ds, signal)
            add_plots(entry, data, ds, signal)
        attach_scales(data, ds)
        # With their axes, so that programs find these beside them.
        for name in {*at_root, *map(str, ds.coords), *map(str, ds.sizes)}:
            if at_root:
                file[name] = h5py.SoftLink(f"/entry/data/{name}")
        store(lazy, {n: data[n] for n in lazy}, sink)


def main_signal(ds: xr.Dataset) -> str | None:
    # What a viewer shows first: of the variables with most axes the first.
    names = [str(n) for n, v in ds.data_vars.items() if v.dtype.kind in "biuf"]
    return max(names, key=lambda n: ds[n].ndim, default=None)


def write_entry(file: h5py.File, ds: xr.Dataset) -> h5py.Group:
    file.attrs.update(
        NX_class="NXroot",
        default="entry",
        creator="xfelred",
        creator_version=__version__,
        file_time=ds.attrs[CREATED],
        HDF5_Version=h5py.version.hdf5_version,
        h5py_version=h5py.version.version,
    )
    entry = new_group(file, "entry", "NXentry")
    entry["title"] = ", ".join(str(n) for n in ds.data_vars)
    process = new_group(entry, "process", "NXprocess")
    process["program"] = "xfelred"
    process["version"] = __version__
    process["date"] = ds.attrs[CREATED]
    process["history"] = history_of(ds.attrs)
    return entry


def new_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def write_field(
    data: h5py.Group,
    name: str,
    variable: xr.Variable,
    lazy: dict[str, dask.array.Array],
) -> None:
    values, extra = encoded(variable)
    options = hdf5_storage(values)
    if isinstance(values, dask.array.Array):
        data.create_dataset(name, values.shape, values.dtype, **options)
        lazy[name] = values
    elif values.dtype.kind == "U":
        data.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())
    else:
        data.create_dataset(name, data=values, **options)
    attrs = {LONG_NAME: name, **extra, **variable.attrs}
    for key, value in attrs.items():
        data[name].attrs[key] = attribute(value)


def encoded(variable: xr.Variable) -> tuple[Any, dict[str, str]]:
    if variable.dtype.kind in "Mm":
        values = variable.data.astype(variable.dtype.str.split("[")[0] + "[ns]")
        units = TIME_UNITS[variable.dtype.kind]
        return values.astype("int64"), units
    if variable.dtype.kind == "U":
        return variable.data, {}
    data = variable.data if variable.chunks is not None else variable.values
    return data, {UNITS: "1"}


def attribute(value: object) -> Any:
    # numpy would make fixed-width unicode of a list, which HDF5 does not have.
    if isinstance(value, list) and value and isinstance(value[0], str):
        return np.array(value, dtype=object)
    return value


def link_errors(data: h5py.Group, ds: xr.Dataset) -> None:
    for name in map(str, ds.data_vars):
        stem = name.removesuffix("_mean")
        candidates = (ERROR_NAMES.get(name), f"{stem}_sem" if stem != name else None)
        for error in candidates:
            free = f"{name}_errors" not in data
            if error in ds.data_vars and ds[error].dims == ds[name].dims and free:
                data[f"{name}_errors"] = h5py.SoftLink(f"/entry/data/{error}")


def describe_plot(group: h5py.Group, ds: xr.Dataset, signal: str) -> None:
    dims = [str(d) for d in ds[signal].dims]
    group.attrs["signal"] = signal
    if dims:
        axes = [d if d in ds.coords else "." for d in dims]
        group.attrs["axes"] = np.array(axes, dtype=object)
    for name, coord in ds.coords.items():
        if coord.dims and set(coord.dims) <= set(dims):
            indices = [dims.index(str(d)) for d in coord.dims]
            group.attrs[f"{name}_indices"] = np.array(indices)
    others = [str(n) for n, v in ds.data_vars.items() if v.dims == ds[signal].dims]
    others = [n for n in others if n != signal and ds[n].dtype.kind in "biuf"]
    if others:
        group.attrs["auxiliary_signals"] = np.array(others, dtype=object)


def add_plots(entry: h5py.Group, data: h5py.Group, ds: xr.Dataset, signal: str) -> None:
    # Variables on other axes than the plotted one: a viewer shows one group at a time.
    seen = {ds[signal].dims, ()}
    for name, variable in ds.data_vars.items():
        if variable.dims in seen or variable.dtype.kind not in "biuf":
            continue
        seen.add(variable.dims)
        members = {
            str(n): v
            for n, v in ds.variables.items()
            if (v.dims == variable.dims if n in ds.data_vars else v.dims)
            and set(v.dims) <= set(variable.dims)
        }
        group_name = str(name) if str(name) not in entry else f"data_{name}"
        group = new_group(entry, group_name, "NXdata")
        for member in members:
            group[member] = data[member]
        describe_plot(group, ds[list(members)], str(name))


def attach_scales(data: h5py.Group, ds: xr.Dataset) -> None:
    # HDF5's own names of axes: by them xarray can open the group.
    for dim, size in ds.sizes.items():
        if dim in ds.coords:
            data[str(dim)].make_scale(str(dim))
        else:
            # An axis without labels is an empty field with this text in netCDF-4.
            data.create_dataset(str(dim), (size,), "f4")
            data[str(dim)].make_scale(f"{ONLY_DIMENSION} {size:10d}")
    for name, variable in ds.variables.items():
        for axis, dim in enumerate(variable.dims):
            if dim != name:
                data[str(name)].dims[axis].attach_scale(data[str(dim)])
