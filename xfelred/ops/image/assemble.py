"""Frames of modules assembled to images, and images taken apart again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.geometry import Geometry
from xfelred.geometry.constructors import IMAGE_AXES, LABORATORY_AXES
from xfelred.geometry.given import as_geometry
from xfelred.geometry.grid import Grid, snapped
from xfelred.geometry.locate import fit, pixel_index
from xfelred.kernels.image import assemble as kernels
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, MODULE, PIXEL_DIMS, UNITS, X, Y
from xfelred.provenance import record

DISPLAY = "display"
SNAP = "snap_distance"
# matplotlib's imshow; without these an image appears mirrored.
HOW_TO_SHOW = {
    IMAGE_AXES: "origin='upper'",
    LABORATORY_AXES: "origin='lower' and x axis inverted: seen along the beam",
}


@entry(own=("geometry",))
def assemble(
    da: xr.DataArray,
    geometry: Geometry | xr.Dataset,
    *,
    fill_value: float | None = None,
) -> xr.DataArray:
    """Put every pixel in its place in an image, without interpolation.

    Parameters
    ----------
    da : DataArray (..., [module,] slow_scan, fast_scan)
        Frames, lazy or not; of some modules or all.
    geometry : Geometry, or Dataset
        Where the pixels are; the distance does not matter. Or constants with their
        positions ``x`` and ``y`` (m), such as ``run.constants(detector)``.
    fill_value : float, optional
        In gaps and for absent modules: by default NaN, and 0 for integers.

    Returns
    -------
    DataArray (..., y, x)
        Lazy, of the dtype of `da`; the image is that of the whole geometry. The
        coordinates `y` and `x` are in metres; the attributes `display` and
        `snap_distance` say how to show it, and how far (in pixels) a pixel may be from
        its true position.

    Raises
    ------
    GeometryMismatchError
        If modules or pixels of the data are not in the geometry.
    MissingConstantError
        If constants do not tell where the pixels are.
    """
    geometry = as_geometry(geometry, placed=False)
    fitted = fit(da, geometry)
    index, dims = pixel_index(da, fitted)
    grid = snapped(fitted)
    image = map_frames(
        kernels.assemble,
        da,
        xr.DataArray(grid.target[index], dims=dims),
        core_dims=dims,
        out_core={Y: grid.shape[0], X: grid.shape[1]},
        n_core=len(dims),
        shape=grid.shape,
        fill=checked_fill(da.dtype, fill_value),
    )
    out = image.assign_coords(axes(grid))
    out.attrs |= {
        "handedness": geometry.handedness,
        DISPLAY: HOW_TO_SHOW.get(geometry.handedness, "rows grow with y"),
        SNAP: grid.error,
    }
    return record(
        out, "assemble", geometry=tokenize(geometry)[:8], fill_value=fill_value
    )


@entry(own=("geometry",))
def unassemble(
    image: xr.DataArray,
    geometry: Geometry | xr.Dataset,
    *,
    modules: Iterable[int] | None = None,
    fill_value: float | None = None,
) -> xr.DataArray:
    """Take an assembled image apart, for example a mask that was drawn on it.

    Parameters
    ----------
    image : DataArray (..., y, x)
        Of the shape that `assemble` gives for `geometry`.
    geometry : Geometry, or Dataset
        As for `assemble`.
    modules : iterable of int, optional
        Those wanted; by default all of the geometry.
    fill_value : float, optional
        For pixels without a place in the image: by default NaN, and 0 for integers.

    Returns
    -------
    DataArray (..., module, slow_scan, fast_scan)
        Lazy, of the dtype of `image`.
    """
    geometry = as_geometry(geometry, placed=False)
    grid = snapped(geometry)
    found = tuple(image.sizes.get(d, 0) for d in (Y, X))
    if found != grid.shape:
        raise GeometryMismatchError(
            f"the image has dims {dict(image.sizes)}; the geometry makes images with"
            f" y={grid.shape[0]}, x={grid.shape[1]}"
        )
    chosen = geometry if modules is None else geometry.select_modules(modules)
    numbers = geometry.modules or range(geometry.known_shape[0])
    wanted = numbers if modules is None else (chosen.modules or list(modules))
    target = grid.target[[list(numbers).index(m) for m in wanted]]
    # Where each pixel of the image goes: the inverse of `target`.
    source = np.full(grid.shape[0] * grid.shape[1], -1, dtype=np.int32)
    used = target.ravel() >= 0
    source[target.ravel()[used]] = np.flatnonzero(used)
    shape = target.shape
    out = map_frames(
        kernels.assemble,
        image,
        xr.DataArray(source.reshape(grid.shape), dims=(Y, X)),
        core_dims=(Y, X),
        out_core=dict(zip(PIXEL_DIMS, shape, strict=True)),
        n_core=2,
        shape=shape,
        fill=checked_fill(image.dtype, fill_value),
        name="unassemble",
    )
    if chosen.modules is not None:
        out = out.assign_coords({MODULE: list(chosen.modules)})
    out.attrs = {k: v for k, v in out.attrs.items() if k not in {DISPLAY, SNAP}}
    return record(out, "unassemble", geometry=tokenize(geometry)[:8])


def axes(grid: Grid) -> dict[str, xr.Variable]:
    return {
        name: xr.Variable(
            name, values, {UNITS: "m", LONG_NAME: f"position along {name}"}
        )
        for name, values in ((Y, grid.y), (X, grid.x))
    }


def checked_fill(dtype: np.dtype[Any], fill_value: float | None) -> float:
    """Return what gaps are filled with; raise ValueError if `dtype` cannot hold it."""
    if fill_value is None:
        return float("nan") if dtype.kind == "f" else 0
    if dtype.kind in "iub" and (not np.isfinite(fill_value) or fill_value % 1):
        raise ArgumentError(
            f"fill_value={fill_value} does not fit pixels of type {dtype}"
        )
    return fill_value
