"""Bad samples that go with polar maps."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import GeometryMismatchError, listing
from xfelred.names import PHI, RADIUS
from xfelred.ops.companions import on_pixels


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
