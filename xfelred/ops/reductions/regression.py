"""What `correlate_pixel`, `fit_linear` and `mean_per_flux` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.lazy import reduce_frames
from xfelred.names import GROUP, PIXEL_DIMS
from xfelred.ops.reductions.grouping import frame_dims, grouping
from xfelred.ops.validity import masks_of, numbers_of, without
from xfelred.reductions.regression import Regression


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
