"""Frames put into groups by a coordinate, such as the step of a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.errors import ArgumentError, listing, no_such
from xfelred.lazy import reduce_frames
from xfelred.names import GROUP, PIXEL_DIMS
from xfelred.ops.validity import masks_of, numbers_of, without
from xfelred.reductions.regression import Regression
from xfelred.shots import at_shots, in_memory


@dataclass(frozen=True)
class Grouping:
    """The group of every frame.

    `values` (group,), sorted, are what the frames of each group have in common: the
    dim `name` of results, with `attrs`. `labels` on frame dims are positions in them,
    -1 where a frame has none.
    """

    name: str
    values: NDArray[Any]
    labels: xr.DataArray
    attrs: dict[str, Any]

    @property
    def n(self) -> int:
        return len(self.values)

    def first(self, result: xr.DataArray, group_dim: str) -> xr.DataArray:
        """Return a result with its group axis, now the last, first and labelled."""
        out = result.rename({group_dim: self.name})
        out = out.transpose(self.name, ...)
        coord = xr.Variable(self.name, self.values, self.attrs)
        return out.assign_coords({self.name: coord})


def grouping(
    da: xr.DataArray, by: str | xr.DataArray | None, dims: tuple[str, ...]
) -> Grouping | None:
    """Return the groups of the frames of an array; None if all are one.

    `by` is a coordinate of `da`, or an array with a name whose dims are dims of `da`,
    which is looked up by labels such as train IDs where both have them: one value per
    group; frames with NaN are in none. Its dims must be among `dims`, which are
    reduced.
    """
    if by is None:
        return None
    coord = coordinate(da, by)
    if coord.name in da.dims and coord.name not in dims:
        raise ArgumentError(
            f"by={coord.name!r} is a dim that stays; leave it out of dim"
        )
    outside = [d for d in coord.dims if d not in dims]
    if outside or not coord.dims:
        raise ArgumentError(
            f"by={coord.name!r} is on {coord.dims}, the frames that are reduced on"
            f" {dims}; it needs one value for each frame"
        )
    flat = coord.values
    missing = np.isnan(flat) if flat.dtype.kind == "f" else np.zeros(flat.shape, bool)
    # NaN is no group: its frames are in none.
    values, found = np.unique(flat[~missing], return_inverse=True)
    labels = np.full(flat.shape, -1, np.int64)
    labels[~missing] = found.ravel()
    if not len(values):
        raise ArgumentError(f"by={coord.name!r} has no value for any frame")
    return Grouping(
        str(coord.name), values, xr.DataArray(labels, dims=coord.dims),
        dict(coord.attrs),
    )  # fmt: skip


def coordinate(da: xr.DataArray, by: str | xr.DataArray) -> xr.DataArray:
    """Return the coordinate that groups frames, at the labels of the data."""
    if isinstance(by, xr.DataArray):
        if by.name is None:
            raise ArgumentError(
                "by= has no name; give it one, such as by.rename('delay'): it becomes"
                " a dim of the result"
            )
        return at_shots(in_memory(by), da, str(by.name))
    if by not in da.coords:
        raise ArgumentError(
            no_such("coordinate", by, map(str, da.coords), " to group by", 20)
            + "; a DataArray with its values will do too"
        )
    return in_memory(da[by].reset_coords(drop=True))


def frame_dims(da: xr.DataArray, pixels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the dims that are not pixel dims; an error if there is none."""
    dims = tuple(str(d) for d in da.dims if d not in pixels)
    if not dims:
        raise ArgumentError(
            f"there is one frame only, with dims {listing(da.dims)}; wanted several,"
            " on train or frame"
        )
    return dims


def good_pixels(
    da: xr.DataArray, bad_pixels: xr.DataArray | ArrayLike | None
) -> xr.DataArray:
    """Return frames with NaN where pixels are bad or were not recorded."""
    return without(numbers_of(da), masks_of(da, bad_pixels))


def against(
    da: xr.DataArray,
    values: xr.DataArray,
    results: Mapping[str, Any],
    *,
    by: str | xr.DataArray | None,
) -> dict[str, xr.DataArray]:
    """Return results of pixels against one value per frame, over all frame dims.

    `da` is without bad pixels, `values` at its labels, and `results` maps names to
    dtypes.
    """
    dims = frame_dims(da, PIXEL_DIMS)
    groups = grouping(da, by, dims)
    values = values.drop_vars(list(values.coords))
    # One group, so that with and without `by` the sums are made in one way.
    labels = xr.DataArray(np.zeros(da.sizes[dims[0]], np.int64), dims=dims[:1])
    found = reduce_frames(
        Regression(groups.n if groups else 1), da, values,
        groups.labels if groups else labels,
        dims=dims, results=results, new_dims={GROUP: groups.n if groups else 1},
    )  # fmt: skip
    if groups is None:
        return {k: v.isel({GROUP: 0}) for k, v in found.items()}
    return {k: groups.first(v, GROUP) for k, v in found.items()}
