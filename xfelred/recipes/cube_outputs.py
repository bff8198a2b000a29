"""Images of detectors: each pixel in the row and column that the run knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import MissingConstantError
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, PIXEL_DIMS, UNITS, X, Y
from xfelred.ops.companions import matching

IMAGE_INDEX = ("ix", "iy")


def assembled(array: xr.DataArray, constants: xr.Dataset) -> xr.DataArray:
    """Return images (..., y, x) in which each pixel is in row ix and column iy."""
    if not set(IMAGE_INDEX) <= set(constants):
        raise MissingConstantError("image: the run has no ix and iy of the pixels")
    row, column = (matching(constants[k], array, k) for k in IMAGE_INDEX)
    n_rows, n_columns = (int(constants[k].max()) + 1 for k in IMAGE_INDEX)
    place = (row.astype(np.int64) * n_columns + column).transpose(*PIXEL_DIMS)
    image = map_frames(
        scattered,
        array,
        place,
        core_dims=PIXEL_DIMS,
        out_core={Y: n_rows, X: n_columns},
        dtype=np.float64,
        n_rows=n_rows,
        n_columns=n_columns,
    )
    image.attrs = {
        UNITS: array.attrs.get(UNITS, "1"),
        LONG_NAME: array.attrs.get(LONG_NAME, "image"),
    }
    return image


def scattered(
    x: NDArray[Any], place: NDArray[np.int64], *, n_rows: int, n_columns: int
) -> NDArray[np.float64]:
    at = place.reshape(-1)
    size = n_rows * n_columns
    hits = np.bincount(at, minlength=size).astype(float)
    hits[hits == 0] = np.nan  # places without any pixel; several in one are averaged
    lead = x.shape[: -len(PIXEL_DIMS)]
    out = np.empty((int(np.prod(lead)), size))
    for i, frame in enumerate(x.reshape(len(out), -1)):
        out[i] = np.bincount(at, frame, minlength=size) / hits
    return out.reshape((*lead, n_rows, n_columns))
