"""Arrays that go with the frames, such as bad pixels, brought to the same labels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import ArgumentError, GeometryMismatchError, listing, warn
from xfelred.geometry.locate import check_ascending
from xfelred.kernels.arrays import Array
from xfelred.names import (
    BAD_PIXELS,
    FAST,
    FRAME,
    MODULE,
    PHI,
    PIXEL_DIMS,
    PULSE,
    RADIUS,
    SLOW,
    TRAIN,
)
from xfelred.shots import SHOT_DIMS, same_frames, without_ids

Mask = xr.DataArray | ArrayLike


def with_dims(
    given: Mask,
    da: xr.DataArray,
    name: str = BAD_PIXELS,
    dims: Sequence[Hashable] | None = None,
) -> xr.DataArray:
    """Return an array with the dims that its shape tells, a labelled one as it is.

    given: a plain array is one for the pixels of all modules, or for these of each
        module, as ``np.load("mask.npy")`` gives it; its modules are those of `da`, in
        order.
    name: what to call the array in errors.
    dims: dims of the pixels, the two of one module last; by default those of `da`.
    Raises GeometryMismatchError if it has another shape.
    """
    if isinstance(given, xr.DataArray):
        return given
    # A lazy array stays lazy.
    values: Any = given if hasattr(given, "__array__") else np.asarray(given)
    shape = tuple(values.shape)
    if not shape and values.dtype.kind in "biufc":
        return xr.DataArray(values)
    known = pixel_dims(da) if dims is None else tuple(dims)
    sizes = tuple(da.sizes[d] for d in known)
    # One module, with its axis.
    if shape == (1, *sizes[-2:]) and MODULE not in known:
        values, shape = values[0], shape[1:]
    stack = (prod(sizes[:-1]), sizes[-1]) if MODULE in known else sizes
    if len(known) < 2 or shape not in (sizes, sizes[-2:], stack):
        raise GeometryMismatchError(
            f"{name} is {type(given).__name__} of shape {shape} without labels; the"
            f" data have {dict(zip(known, sizes, strict=True))} pixels. Give an array"
            f" of the shape {sizes[-2:]} or {sizes}, or say what its axes are:"
            f" xr.DataArray({name}, dims={known})"
        )
    return xr.DataArray(values, dims=known[-len(shape) :])


def pixel_dims(da: xr.DataArray) -> tuple[Hashable, ...]:
    """Return the dims of pixels, or of what stands in their place (y, x)."""
    if {SLOW, FAST} <= {*da.dims}:
        return tuple(d for d in PIXEL_DIMS if d in da.dims)
    return tuple(d for d in da.dims if d not in (TRAIN, PULSE, FRAME))[-2:]


def on_all_pixels(
    given: xr.DataArray, da: xr.DataArray, dims: tuple[str, ...], name: str
) -> xr.DataArray:
    """Return a map on all of the pixel dims `dims`, in their order.

    given: without labels, as of `matching`.
    Raises GeometryMismatchError if it is not of pixels alone.
    """
    if extra := [d for d in given.dims if d not in dims]:
        raise GeometryMismatchError(
            f"{name} is a map of pixels and has the dims {listing(extra)}, too: select"
            " one of them"
        )
    pixels = xr.DataArray(np.empty([da.sizes[d] for d in dims], bool), dims=dims)
    return given.broadcast_like(pixels).transpose(*dims)


def checked_bad_pixels(
    bad_pixels: Mask, da: xr.DataArray, dims: Sequence[Hashable] | None = None
) -> xr.DataArray:
    """Return labelled bad pixels; ValueError unless they are bool or integer.

    Plain arrays get their dims as of `with_dims`.
    """
    out = with_dims(bad_pixels, da, dims=dims)
    if out.dtype.kind not in "biu":
        raise ArgumentError(
            f"bad_pixels must be bool or integer bits, not {out.dtype}; for a"
            " mask in which non-zero is good use masks.from_good"
        )
    return out


def matching(companion: Mask, da: xr.DataArray, name: str = BAD_PIXELS) -> xr.DataArray:
    """Return a companion at the labels of the data, without coordinates.

    companion: of a plain array the shape tells the dims, see `with_dims`. Dims among
        those of `da`. Where both have labels for a dim, such as module numbers, it is
        looked up by them. It may also have a dim of which one element of `da` was
        selected, as in ``da.sel(module=3)``: it takes that one then. Modules that are
        stacked along ``slow_scan``, without labels, are taken apart; a single one,
        without a label, serves data without modules.
    name: what to call the companion in errors.
    Returns dims among those of `da`, with the same lengths.
    Raises GeometryMismatchError if a dim, a label or a length does not fit.
    """
    out = taken_apart(with_dims(companion, da, name), da, name)
    extra = [d for d in out.dims if d not in da.dims and not picked(da, d)]
    if extra:
        raise GeometryMismatchError(
            f"{name} has dims {listing(out.dims)}, the data {listing(da.dims)};"
            f" remove {listing(extra)}"
        )
    indexers: dict[Any, Any] = {}
    for d in out.dims:
        if d not in out.indexes:
            if d not in da.dims:
                raise GeometryMismatchError(
                    f"{name} has no labels for its {out.sizes[d]} {d}, of which"
                    f" {da[d].values} is in the data; give it the coordinate {d!r}"
                )
            if d in SHOT_DIMS and d in da.indexes:
                warn(
                    f"{name} has no {d} IDs; its frames are taken in the order of the"
                    f" data. Give it the coordinate {d!r}"
                )
            if d == FRAME and TRAIN in da.coords:
                out = same_frames(out, da, name)
            continue
        if picked(da, d) or d in da.indexes:
            wanted = da[d].values
            check_labels(out, d, np.atleast_1d(wanted), name)
            if not np.array_equal(out.indexes[d], wanted):
                indexers[d] = wanted
    # Where the labels agree nothing is looked up: a lazy companion keeps its chunks.
    out = out.sel(indexers) if indexers else out
    wrong = [d for d, n in out.sizes.items() if n != da.sizes[d]]
    if wrong:
        raise GeometryMismatchError(
            f"{name} has {dict(out.sizes)}, the data {dict(da.sizes)}; they differ in"
            f" {listing(wrong)}: select the same, or label the modules"
        )
    return out.reset_coords(drop=True).drop_vars(list(out.indexes), errors="ignore")


def taken_apart(companion: xr.DataArray, da: xr.DataArray, name: str) -> xr.DataArray:
    """Return a companion with the modules of the data, if they are stacked in it.

    Raises GeometryMismatchError if the data's modules are not in ascending order: the
        stack has no numbers.
    """
    one = companion.sizes.get(MODULE, 1) == 1 and MODULE not in companion.coords
    if one and MODULE in companion.dims and MODULE not in {*da.dims, *da.coords}:
        return companion.isel({MODULE: 0})
    if not {MODULE, SLOW} <= set(da.dims) or SLOW not in companion.dims:
        return companion
    # Files of geometry and masks may hold all modules as one, along slow_scan.
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


def picked(da: xr.DataArray, dim: Hashable) -> bool:
    """Tell whether one element of a dim was selected and its label is still there."""
    return dim not in da.dims and dim in da.coords and da[dim].ndim == 0


def check_labels(
    companion: xr.DataArray, dim: Hashable, wanted: Array, name: str
) -> None:
    """Raise GeometryMismatchError unless a companion has each label once."""
    index = companion.indexes[dim]
    absent = wanted[~np.isin(wanted, index.values)].tolist()
    if absent:
        raise GeometryMismatchError(
            f"{name} has {dim} {listing(index, 20)}, not {listing(absent)} of the data"
        )
    if not index.is_unique:
        twice = index[index.duplicated()].unique()
        raise GeometryMismatchError(f"{name} has {dim} {listing(twice)} twice")


def on_pixels(
    bad_pixels: xr.DataArray | ArrayLike,
    da: xr.DataArray,
    dims: Sequence[Hashable] | None,
) -> xr.DataArray:
    """Return bad pixels for the modules of the data, without coordinates."""
    given = matching(with_dims(bad_pixels, da, dims=dims), da)
    return checked_bad_pixels(given, da, dims)


def on_frames(values: Mask, da: xr.DataArray, name: str) -> xr.DataArray:
    """Return numbers of pixels, frames or both at the labels of the data.

    Raises GeometryMismatchError if they do not fit; InconsistentDataError if frames of
        the data have IDs and `values` none.
    """
    found = with_dims(values, da, name)
    for d in found.dims:
        if d in SHOT_DIMS and d in da.indexes and d not in found.indexes:
            raise without_ids(name, str(d))
    return matching(found, da, name)


def check_polar(polar: xr.DataArray) -> None:
    if not {RADIUS, PHI} <= set(polar.dims):
        raise GeometryMismatchError(
            f"the array has dims {listing(polar.dims)}; wanted {RADIUS} and {PHI}, as"
            " from ops.remap_polar"
        )


def polar_masks(
    bad_pixels: xr.DataArray | ArrayLike | None, polar: xr.DataArray
) -> list[xr.DataArray]:
    """Return bad samples at the labels of a polar map, in a list of one or none.

    An array without labels has the shape (radius, phi), or that of `polar`.
    """
    if bad_pixels is None:
        return []
    # One mask for all maps, unless it is as large as these.
    whole = np.shape(bad_pixels) == polar.shape
    dims = polar.dims if whole else (RADIUS, PHI)
    return [on_pixels(bad_pixels, polar, dims)]
