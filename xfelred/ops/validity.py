"""What is valid: pixels that are bad, frames that were not recorded, and NaN."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.kernels.image.masking import not_a_number
from xfelred.lazy import map_frames
from xfelred.names import (
    AVAILABLE,
    BAD_PIXELS,
    FAST,
    PIXEL_DIMS,
    RECORDED,
    SLOW,
)
from xfelred.ops.companions import on_pixels
from xfelred.shots import recorded_marks, shot_dims


def unrecorded(da: xr.DataArray) -> list[xr.DataArray]:
    """Return masks of the frames that were not recorded, whatever their fill value."""
    masks = []
    known = [da.coords.get(AVAILABLE), da.coords.get(RECORDED), recorded_marks(da)]
    for there in known:
        if there is None or not set(there.dims) <= set(da.dims):
            continue
        # Most often nothing is missing, and no mask is carried along.
        marks = plain_marks(there)
        if not marks.all():
            ids = {d: da[d].variable for d in there.dims if d in da.indexes}
            gone = ~marks.variable
            masks.append(xr.DataArray(gone, ids, name=BAD_PIXELS))
    return masks


def plain_marks(there: xr.DataArray) -> xr.DataArray:
    """Return which frames were recorded, bool, in memory and without coordinates.

    Also where `.chunk` has put the coordinate into blocks: as tasks of dask the marks
    would be fused otherwise in every graph that has them.
    """
    return xr.DataArray(there.values.astype(bool), dims=there.dims)


def masks_of(
    da: xr.DataArray,
    bad_pixels: xr.DataArray | ArrayLike | None,
    dims: Sequence[Hashable] | None = None,
) -> list[xr.DataArray]:
    """Return the masks that apply to an array, non-zero where it is not valid.

    Parameters
    ----------
    da : DataArray
    bad_pixels : DataArray or array, optional
        On dims of `da`, looked up by labels.
    dims : sequence of str, optional
        Dims of a plain array of bad pixels; by default those of pixels.
    """
    masks = unrecorded(da)
    return masks if bad_pixels is None else [*masks, on_pixels(bad_pixels, da, dims)]


def frame_pixels(da: xr.DataArray, what: str) -> tuple[str, ...]:
    """Return the pixel dims of frames, in order; an error where there are none."""
    dims = tuple(d for d in PIXEL_DIMS if d in da.dims)
    if SLOW not in dims or FAST not in dims:
        raise GeometryMismatchError(f"{what} need {SLOW} and {FAST}; got {da.dims}")
    return dims


def recorded_frames(da: xr.DataArray, dims: tuple[str, ...]) -> dict[str, xr.Variable]:
    """Return the coordinate that says which frames are there, if some are not.

    A count of 0 does not tell a dark frame from one without any module.
    """
    gone = [g.all([d for d in g.dims if d in dims]).variable for g in unrecorded(da)]
    if not gone:
        return {}
    missing = xr.DataArray(gone[0])
    for more in gone[1:]:
        missing = missing | xr.DataArray(more)
    return {RECORDED: (~missing).variable}


def without_gaps(
    value: xr.DataArray, gaps: Sequence[xr.DataArray], dims: Sequence[Hashable]
) -> xr.DataArray:
    """Return floats with NaN for frames of which no module was recorded.

    gaps: as of `unrecorded`. dims: of the pixels, which `value` may lack.
    """
    if value.dtype.kind == "f":
        for gone in gaps:
            # Without any module there is no frame, not one with nothing on it.
            value = value.where(~gone.all([d for d in gone.dims if d in dims]))
    return value


def numbers_of(da: xr.DataArray) -> xr.DataArray:
    """Return an array of numbers; ArgumentError where there is no number in it."""
    if da.dtype.kind not in "iufb":
        raise ArgumentError(f"frames of dtype {da.dtype} cannot be averaged")
    return da.astype(np.uint8) if da.dtype == bool else da


def without(da: xr.DataArray, masks: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return an array with NaN where a mask says that it is not valid."""
    if not masks:
        return da
    kind = np.result_type(da.dtype.newbyteorder("="), np.float32)
    return map_frames(not_a_number, da, *masks, dtype=kind)


def recorded_shots(
    array: xr.DataArray, labels: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Leave out what was not recorded: whole shots by label, modules as NaN."""
    here = array.coords.get(AVAILABLE)
    if here is not None and not here.values.all():
        here = plain_marks(here)
        some = here.any([d for d in here.dims if d not in shot_dims(here)])
        labels = labels.where(some, -1).astype(np.int64)
        if not bool((here | ~some).all()):
            array = without(array, [~here])
    for padding in (array.coords.get(RECORDED), recorded_marks(array)):
        if padding is None or bool(padding.all()):
            continue
        labels = labels.where(plain_marks(padding), -1).astype(np.int64)
    order = [d for d in array.dims if d in labels.dims]
    return array, labels.transpose(*order)
