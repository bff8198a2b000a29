"""The mean over rings one pixel wide."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, shown
from xfelred.kernels.azimuthal.integrate import Integration
from xfelred.names import LONG_NAME, MODULE, RADIUS, UNITS
from xfelred.ops.azimuthal.integrate_azimuthally import curves, integrated
from xfelred.ops.polar.setup import checked_centre, core_dims, unpacked
from xfelred.ops.validity import masks_of
from xfelred.provenance import record


@entry
def radial_profile(
    da: xr.DataArray,
    centre: Any,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    n_radii: int | None = None,
) -> xr.Dataset:
    """Average every frame over rings one pixel wide.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan) or (..., y, x)
        Flat frames; NaN pixels are left out, frame by frame.
    centre : (x, y), pixels, or RingFit
        x along fast_scan, y along slow_scan; an integer is the centre of a pixel.
    bad_pixels : DataArray or array, bool or integer, optional
        Non-zero: left out. On pixel dims, or with frame dims as well.
    n_radii : int, optional
        Number of rings; by default as many as reach the farthest corner, whatever is
        bad.

    Returns
    -------
    Dataset
        On (..., radius), lazy: `intensity`, the mean of the good pixels whose distance
        from the centre is i to i + 1 pixels, NaN where there is none; `count` of
        pixels. The coordinate `radius` is i + 0.5.

    Raises
    ------
    GeometryMismatchError
        If there are several modules, or `bad_pixels` does not fit.
    ValueError
        If the centre is not two numbers, or `n_radii` not above 0.
    """
    dims = core_dims(da)
    if MODULE in dims and da.sizes[MODULE] != 1:
        raise GeometryMismatchError(
            f"there are {da.sizes[MODULE]} modules; for these use geometry.locate and"
            " ops.integrate_azimuthally, or ops.assemble first"
        )
    x, y = fixed_centre(centre)
    rows, columns = (np.arange(da.sizes[d], dtype=np.float64) for d in dims[-2:])
    # Not hypot: a radius that is a whole number must round as loki's does.
    radius = np.sqrt((columns - x) ** 2 + (rows[:, None] - y) ** 2)
    bins = np.floor(radius).astype(np.int32)
    n = int(bins.max(initial=-1)) + 1 if n_radii is None else int(n_radii)
    if n < 1:
        raise ArgumentError(f"n_radii={n}; wanted 1 or more")
    # Outside all rings.
    bins[bins >= n] = -1
    masks = masks_of(da, bad_pixels, dims)
    shape = tuple(da.sizes[d] for d in dims)
    maps = [np.ones(shape), bins.reshape(shape)]
    companions = [*(xr.DataArray(m, dims=dims) for m in maps), *masks]
    setup = Integration((n,), mean=True, n_masks=len(masks))
    found = integrated(da, companions, dims, {RADIUS: n}, setup)
    result = curves(found, da, whole_counts=True)[["intensity", "count"]]
    attrs = {UNITS: "pixel", LONG_NAME: "distance from the centre"}
    result = result.assign_coords({RADIUS: (RADIUS, np.arange(n) + 0.5, attrs)})
    return record(
        result,
        "radial_profile",
        da,
        centre=[x, y],
        bad_pixels=masks[-1] if bad_pixels is not None else None,
        n_radii=n,
    )


def fixed_centre(centre: object) -> tuple[float, float]:
    found = unpacked(centre)
    if len(found) not in (2, 3) or any(np.ndim(v) for v in found[:2]):
        raise ArgumentError(
            f"centre={shown(centre)}; wanted two numbers (x, y) in pixels"
        )
    return float(checked_centre(found[0])), float(checked_centre(found[1]))
