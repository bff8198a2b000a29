"""TIFF images and stacks, page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import dask.array
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, require_extra
from xfelred.lazy.in_flight import results_of
from xfelred.products.blocks import all_threads

# Larger files need the 64-bit variant of the format; the rest is room for its tables.
CLASSIC_LIMIT = 2**32 - 2**25


def write_tiff(ds: xr.Dataset, path: Path) -> None:
    """Write the only variable of a prepared Dataset; axes go in the description."""
    if find_spec("tifffile") is None:
        raise require_extra("tifffile", "io")
    from tifffile import imwrite

    da = only_image(ds)
    dtype = np.dtype("uint8") if da.dtype == bool else da.dtype
    imwrite(
        path,
        pages(da, dtype),
        shape=da.shape,
        dtype=dtype,
        bigtiff=da.size * dtype.itemsize > CLASSIC_LIMIT,
        photometric="minisblack",
        metadata=None,
        description=description(da, ds),
        software=f"xfelred {ds.attrs['xfelred_version']}",
    )


def only_image(ds: xr.Dataset) -> xr.DataArray:
    if len(ds.data_vars) != 1:
        raise ArgumentError(
            f"a TIFF file holds one variable, got {', '.join(map(str, ds.data_vars))};"
            " choose one: xf.write(ds['mean'], 'mean.tif')"
        )
    da = next(iter(ds.data_vars.values()))
    if da.ndim not in (2, 3) or not da.size or da.dtype.kind not in "biuf":
        raise ArgumentError(
            "a TIFF file holds numbers on two or three axes, got"
            f" {da.dtype} {dict(da.sizes)}; select or average first,"
            " or assemble modules: ops.assemble(da, geometry)"
        )
    return da


def pages(da: xr.DataArray, dtype: np.dtype) -> Iterator[NDArray[np.generic]]:
    """Yield one image after the other; of a lazy array, a block is held at a time.

    Workers of a cluster are some blocks ahead.
    """
    stack = da if da.ndim == 3 else da.expand_dims("page")
    if stack.chunks is None:
        yield from stack.values.astype(dtype)
        return
    array: dask.array.Array = stack.data
    ends = np.cumsum(array.chunks[0]).tolist()
    lazy = ([(b, array[a:b])] for a, b in pairwise([0, *ends]))
    with results_of(lazy, 2 * all_threads(), in_order=True) as found:
        for (_, block), *_ in found:
            yield from block.astype(dtype)


def description(da: xr.DataArray, ds: xr.Dataset) -> str:
    # TIFF takes plain ASCII, which JSON is.
    axes = {
        str(dim): da[dim].values.astype(str).tolist() if dim in da.coords else None
        for dim in da.dims[: da.ndim - 2]
    }
    content = {"name": str(da.name), "dims": [str(d) for d in da.dims], "axes": axes}
    return json.dumps({**content, "attrs": da.attrs, "provenance": ds.attrs})
