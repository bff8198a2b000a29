"""NetCDF-4 files, through xarray."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, require_extra
from xfelred.lazy.scheduler import client, this_machine
from xfelred.products.sink import Sink, checked_sink


def write_netcdf(ds: xr.Dataset, path: Path) -> None:
    if find_spec("h5netcdf") is None:
        raise require_extra("h5netcdf", "io")
    complex_names = [n for n, v in ds.variables.items() if v.dtype.kind == "c"]
    if complex_names:
        raise ArgumentError(
            f"netCDF has no complex numbers, but {complex_names[0]!r} is complex;"
            " write its .real and .imag, or a .zarr or .nxs file"
        )
    ds = ds.copy(deep=False)
    ds.attrs = without_booleans(ds.attrs)
    for variable in ds.variables.values():
        variable.attrs = without_booleans(variable.attrs)
    options: Any = {"engine": "h5netcdf", "format": "NETCDF4"}
    if client():
        # Workers elsewhere open the file themselves.
        ds.to_netcdf(path, **options)
        return
    with checked_sink(path) as sink, this_machine():
        stop_on_error(ds, sink).to_netcdf(cast(Any, sink), **options)


def stop_on_error(ds: xr.Dataset, sink: Sink) -> xr.Dataset:
    """Return `ds` with lazy blocks that fail once the disk is full."""

    def passed_on(block: NDArray[Any]) -> NDArray[Any]:
        sink.check()
        return block

    out = ds.copy(deep=False)
    for name, variable in ds.variables.items():
        if variable.chunks is not None:
            empty = np.empty((0,) * variable.ndim, variable.dtype)
            checked = variable.data.map_blocks(passed_on, meta=empty)
            out[name] = variable.copy(data=checked)
    return out


def without_booleans(attrs: dict[Any, Any]) -> dict[Any, Any]:  # netCDF has none
    return {key: as_number(value) for key, value in attrs.items()}


def as_number(value: object) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return [as_number(item) for item in value]
    return value
