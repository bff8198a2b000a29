"""One flat image, or a stack of them, from what the user gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import GeometryMismatchError, listing
from xfelred.kernels.arrays import Array, Bools
from xfelred.names import FAST, FRAME, MODULE, SLOW, TRAIN
from xfelred.ops.polar.setup import core_dims
from xfelred.ops.validity import masks_of


@dataclass(frozen=True)
class Image:
    """One image in memory."""

    values: Array  # number (row, column)
    good: Bools  # (row, column)

    @property
    def size(self) -> str:
        """Text such as ``512 x 1024 pixels``."""
        return " x ".join(map(str, self.values.shape)) + " pixels"


@dataclass(frozen=True)
class Stack:
    """Images along frame dims, lazy or not, and what is bad in them."""

    frames: xr.DataArray
    dims: tuple[str, ...]
    masks: tuple[xr.DataArray, ...]


def image_or_stack(
    image: xr.DataArray | ArrayLike, bad_pixels: xr.DataArray | ArrayLike | None
) -> Image | Stack:
    """Return the image, computed, if there are no frame dims; else the stack."""
    da = with_image_dims(image)
    dims = core_dims(da)
    if da.sizes.get(MODULE, 1) != 1 and MODULE in dims:
        raise GeometryMismatchError(
            f"the image has {da.sizes[MODULE]} modules; select one, or"
            " put them together with ops.assemble"
        )
    masks = masks_of(da, bad_pixels, dims)
    frame_dims = [d for d in da.dims if d not in dims]
    # One train or frame is a stack of one, whose result keeps the dim.
    single = all(da.sizes[d] == 1 and d not in (TRAIN, FRAME) for d in frame_dims)
    if not single:
        return Stack(da, dims, tuple(masks))
    # One image is fitted at once, so it is computed here, unlike a stack.
    values = da.transpose(*frame_dims, *dims).values.reshape(
        da.sizes[dims[-2]], da.sizes[dims[-1]]
    )
    good = np.ones(values.shape, dtype=bool)
    for mask in masks:
        whole = mask.broadcast_like(
            xr.DataArray(np.empty(da.shape, bool), dims=da.dims)
        )
        good &= whole.transpose(*frame_dims, *dims).values.reshape(good.shape) == 0
    return Image(values, good)


def with_image_dims(image: xr.DataArray | ArrayLike) -> xr.DataArray:
    """Return an array with dims: (slow_scan, fast_scan), or frames of them."""
    if isinstance(image, xr.DataArray):
        return image
    values = np.asarray(image)
    if values.ndim not in (2, 3):
        raise GeometryMismatchError(
            f"the image has shape {values.shape}; wanted (rows, columns), or a"
            f" DataArray with dims {listing((SLOW, FAST))}"
        )
    return xr.DataArray(values, dims=(FRAME, SLOW, FAST)[-values.ndim :])
