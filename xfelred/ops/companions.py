"""Arrays that go with the frames, such as bad pixels, brought to the same labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import GeometryMismatchError, listing
from xfelred.geometry.locate import check_ascending
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    MODULE,
    PIXEL_DIMS,
    RECORDED,
    SLOW,
)


def checked_bad_pixels(bad_pixels: Any) -> xr.DataArray:
    """Return bad pixels; ValueError unless they are labelled and bool or integer."""
    if not isinstance(bad_pixels, xr.DataArray):
        raise ValueError(
            f"bad_pixels must be a DataArray, not {type(bad_pixels).__name__}: name its"
            " dims with xr.DataArray(bad, dims=('module', 'slow_scan', 'fast_scan'))"
        )
    if bad_pixels.dtype.kind not in "biu":
        raise ValueError(
            f"bad_pixels must be bool or integer bits, not {bad_pixels.dtype}; for a"
            " mask in which non-zero is good use masks.from_good"
        )
    return bad_pixels


def matching(
    companion: xr.DataArray, da: xr.DataArray, name: str = BAD_PIXELS
) -> xr.DataArray:
    """Return a companion at the labels of the data, without coordinates.

    Parameters
    ----------
    companion : DataArray
        Dims among those of `da`. Where both have labels for a dim, such as module
        numbers, it is looked up by them. It may also have a dim of which one element
        of `da` was selected, as in ``da.sel(module=3)``: it takes that one then.
        Modules that are stacked along ``slow_scan``, without labels, are taken apart; a
        single one, without a label, serves data without modules.
    da : DataArray
    name : str, optional
        What to call the companion in errors.

    Returns
    -------
    DataArray
        Dims among those of `da`, with the same lengths.

    Raises
    ------
    GeometryMismatchError
        If a dim, a label or a length does not fit.
    """
    companion = taken_apart(companion, da, name)
    extra = [d for d in companion.dims if d not in da.dims and not picked(da, d)]
    if extra:
        raise GeometryMismatchError(
            f"{name} has dims {listing(companion.dims)}, the data {listing(da.dims)};"
            f" remove {listing(extra)}"
        )
    indexers: dict[Any, Any] = {}
    for d in companion.dims:
        if d not in companion.indexes:
            if d not in da.dims:
                raise GeometryMismatchError(
                    f"{name} has no labels for its {companion.sizes[d]} {d}, of which"
                    f" {da[d].values} is in the data; give it the coordinate {d!r}"
                )
            continue
        if picked(da, d) or d in da.indexes:
            wanted = da[d].values
            check_labels(companion, d, np.atleast_1d(wanted), name)
            if not np.array_equal(companion.indexes[d], wanted):
                indexers[d] = wanted
    out = companion.sel(indexers) if indexers else companion
    wrong = [d for d, n in out.sizes.items() if n != da.sizes[d]]
    if wrong:
        raise GeometryMismatchError(
            f"{name} has {dict(out.sizes)}, the data {dict(da.sizes)}; they differ in"
            f" {listing(wrong)}: select the same, or label the modules"
        )
    return out.reset_coords(drop=True).drop_vars(list(out.indexes), errors="ignore")


def taken_apart(companion: xr.DataArray, da: xr.DataArray, name: str) -> xr.DataArray:
    """Return a companion with the modules of the data, if they are stacked in it.

    Files of geometry and masks may hold all modules as one, along ``slow_scan``.

    Raises
    ------
    GeometryMismatchError
        If the data's modules are not in ascending order: the stack has no numbers.
    """
    one = companion.sizes.get(MODULE, 1) == 1 and MODULE not in companion.coords
    if one and MODULE in companion.dims and MODULE not in {*da.dims, *da.coords}:
        return companion.isel({MODULE: 0})
    if not {MODULE, SLOW} <= set(da.dims) or SLOW not in companion.dims:
        return companion
    n_modules, n_slow = da.sizes[MODULE], da.sizes[SLOW]
    stacked = n_modules > 1 and companion.sizes[SLOW] == n_modules * n_slow
    if not one or not stacked or SLOW in companion.coords:
        return companion
    check_ascending(da, name)
    flat = companion.isel({MODULE: 0}) if MODULE in companion.dims else companion
    dims = [d for d in flat.dims if d != SLOW]
    ordered = flat.transpose(SLOW, *dims).variable
    apart = ordered.data.reshape(n_modules, n_slow, *ordered.shape[1:])
    return xr.DataArray(
        apart, {d: flat[d] for d in dims if d in flat.coords}, (MODULE, SLOW, *dims)
    )


def picked(da: xr.DataArray, dim: Any) -> bool:
    """Tell whether one element of a dim was selected and its label is still there."""
    return dim not in da.dims and dim in da.coords and da[dim].ndim == 0


def check_labels(
    companion: xr.DataArray, dim: Any, wanted: np.ndarray[Any, Any], name: str
) -> None:
    """Raise GeometryMismatchError unless a companion has each label once."""
    index = companion.indexes[dim]
    absent = [label for label in wanted.tolist() if label not in index]
    if absent:
        raise GeometryMismatchError(
            f"{name} has {dim} {listing(index, 20)}, not {listing(absent)} of the data"
        )
    if not index.is_unique:
        twice = index[index.duplicated()].unique()
        raise GeometryMismatchError(f"{name} has {dim} {listing(twice)} twice")


def on_pixels(
    bad_pixels: xr.DataArray | ArrayLike, da: xr.DataArray, dims: tuple[str, ...]
) -> xr.DataArray:
    """Return bad pixels for the modules of the data, without coordinates."""
    return checked_bad_pixels(matching(labelled(bad_pixels, da, dims, BAD_PIXELS), da))


def on_frames(
    values: xr.DataArray | ArrayLike, da: xr.DataArray, name: str
) -> xr.DataArray:
    """Return numbers of pixels, frames or both at the labels of the data.

    Raises
    ------
    GeometryMismatchError
        If they do not fit, or frames of the data have labels and `values` none.
    """
    dims = tuple(d for d in PIXEL_DIMS if d in da.dims)
    found = labelled(values, da, dims, name)
    bare = [
        d
        for d in found.dims
        if d not in PIXEL_DIMS and d in da.indexes and d not in found.indexes
    ]
    if bare:
        raise GeometryMismatchError(
            f"{name} has no labels for its {listing(bare)}, which the data have; it is"
            f" matched by them: {name}.assign_coords({bare[0]}=...)"
        )
    return matching(found, da, name)


def labelled(
    values: xr.DataArray | ArrayLike, da: xr.DataArray, dims: tuple[str, ...], name: str
) -> xr.DataArray:
    """Return an array with the dims of the pixels, if it has none."""
    if isinstance(values, xr.DataArray):
        return values
    values = np.asarray(values)
    shape = tuple(da.sizes[d] for d in dims)
    stack = (int(np.prod(shape[:-1])), shape[-1])
    if values.shape not in {shape, shape[-2:], stack if MODULE in dims else shape}:
        raise GeometryMismatchError(
            f"{name} has shape {values.shape}, the data have {shape}; give a"
            f" DataArray with dims {dims}"
        )
    return xr.DataArray(values, dims=dims[-values.ndim :])


def unrecorded(da: xr.DataArray) -> list[xr.DataArray]:
    """Return masks of the frames that were not recorded, whatever their fill value."""
    masks = []
    for name in (AVAILABLE, RECORDED):
        there = da.coords.get(name)
        if there is None or not set(there.dims) <= set(da.dims):
            continue
        if not there.values.all():
            masks.append(~there.variable.astype(bool))
    return [xr.DataArray(m, name=BAD_PIXELS) for m in masks]
