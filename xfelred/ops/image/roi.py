"""A region of interest of every frame: its sum, mean, maximum and centre."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, DTypeLike

from xfelred.entries import check, entry
from xfelred.errors import ArgumentError, GeometryMismatchError, not_nan
from xfelred.kernels.image import roi as kernel
from xfelred.lazy import map_frames
from xfelred.names import FAST, LONG_NAME, MODULE, PIXEL_DIMS, QUANTITY, SLOW, UNITS
from xfelred.ops.reductions.statistics import as_whole
from xfelred.ops.validity import frame_pixels, masks_of, unrecorded, without_gaps
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record
from xfelred.reductions.moments import sum_dtype

COM_AXIS = "com_axis"
Bounds = Sequence[Sequence[int | None]]
Threshold = float | tuple[float | None, float | None]


@entry(own=("bounds",))
def roi(
    da: xr.DataArray,
    bounds: Bounds | None = None,
    *,
    write_area: bool = False,
    threshold: Threshold | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    saturation: float | None = None,
) -> xr.Dataset:
    """Reduce a region of every frame to its sum, mean, maximum and centre.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    bounds : sequence of (low, high), optional
        Of slow_scan and fast_scan, then for every module; or of module, slow_scan and
        fast_scan. Positions, half open, clipped to the frame; None is its end, and a
        negative lower one is 0. By default all pixels.
    write_area : bool
        Also return the pixels of the region.
    threshold : float or (low, high), optional
        Values below `low`, or above `high`, become 0.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims of the whole frame, or with frame
        dims as well.
    saturation : float, optional
        Also count the good pixels that are not below this before the threshold.

    Returns
    -------
    Dataset (...)
        Lazy, on frame dims, over the modules of the region together: ``sum`` (int64 of
        integers, else float64), ``mean`` (float64, over all pixels; bad ones count as
        0), ``max`` (NaN if all are bad), ``com`` (..., com_axis): centre along
        slow_scan and fast_scan, positions inside the region, bad pixels excluded, NaN
        if the sum is 0; ``nsat``, if `saturation`; ``area`` (..., [module,] slow_scan,
        fast_scan), if `write_area`: threshold applied, bad pixels not.

    Raises
    ------
    GeometryMismatchError
        If the region has no pixel, or does not fit the dims of `da`.
    ValueError
        If a bound or the threshold is not understood.

    Notes
    -----
    ROIFunc of the LCLS smalldata_tools.

    Examples
    --------
    >>> frame = xr.DataArray(np.eye(4), dims=("slow_scan", "fast_scan"))
    >>> float(roi(frame, [(1, 3), (1, 9)])["sum"])
    2.0
    """
    dims = frame_pixels(da, "regions")
    low, high = limits(threshold)
    check("ops.roi", "bounds", bounds, Iterable | None)
    region = window(da, dims, bounds)
    gaps = unrecorded(da)
    masks = masks_of(da, bad_pixels, dims)
    # Before anything is computed: the rest of the frames is not needed.
    cut = da.isel(region)
    masks = [m.isel({d: s for d, s in region.items() if d in m.dims}) for m in masks]
    packed = map_frames(
        kernel.roi,
        cut.astype(np.uint8) if da.dtype == bool else cut,
        *masks,
        core_dims=dims,
        out_core={QUANTITY: kernel.N_QUANTITIES},
        dtype=np.float64,
        n_core=len(dims),
        low=-np.inf if low is None else low,
        high=np.inf if high is None else high,
        saturation=np.inf if saturation is None else float(saturation),
    )
    out = region_variables(packed, da, saturation is not None)
    for name in ("sum", "mean"):
        out[name] = without_gaps(out[name], masks[: len(gaps)], dims)
    if write_area:
        area = map_frames(kernel.limited, cut, name="roi_area", low=low, high=high)
        area.attrs = {UNITS: unit_of(da), LONG_NAME: "pixels of the region"}
        out["area"] = area.rename("area")
    chosen = [[s.start, s.stop] for s in region.values()]
    return record(
        out,
        "roi",
        da,
        bounds=chosen,
        write_area=write_area,
        threshold=[low, high],
        bad_pixels=bad_pixels,
        saturation=saturation,
    )


def limits(threshold: Threshold | None) -> tuple[float | None, float | None]:
    """Return the lowest and the highest value that stays; None: no limit."""
    if threshold is None:
        return None, None
    given: Any = threshold
    if np.ndim(given) == 0:
        not_nan(threshold=float(given))
        return float(given), None
    values = list(given)
    if len(values) != 2:
        raise ArgumentError(f"threshold={threshold!r}; wanted a number or (low, high)")
    low, high = (None if v is None else float(v) for v in values)
    not_nan(threshold=low, threshold_high=high)
    if low is not None and high is not None and low > high:
        raise ArgumentError(f"threshold={threshold!r}; low is above high")
    return low, high


def window(
    da: xr.DataArray, dims: tuple[str, ...], bounds: Bounds | None
) -> dict[str, slice]:
    if bounds is None:
        return {d: slice(0, da.sizes[d]) for d in dims}
    pairs = [bound(b) for b in bounds]
    named = dict(zip(PIXEL_DIMS[3 - len(pairs) :], pairs, strict=False))
    if len(pairs) not in (2, 3) or not set(named) <= set(dims):
        raise GeometryMismatchError(
            f"bounds={[list(p) for p in pairs]} has {len(pairs)} pairs; wanted those of"
            f" slow_scan and fast_scan{', or of module too' if MODULE in dims else ''}"
        )
    region = {}
    for d in dims:
        low, high = named.get(d, (None, None))
        n = da.sizes[d]
        start = min(max(0, low or 0), n)
        stop = n if high is None else min(high, n)
        if stop <= start:
            raise GeometryMismatchError(
                f"bounds {low}:{high} of {d} hold no pixel: there are 0 to {n - 1}"
            )
        region[d] = slice(start, stop)
    return region


def bound(pair: Any) -> tuple[int | None, int | None]:
    values = list(pair) if np.ndim(pair) == 1 else []
    if len(values) != 2 or not all(v is None or float(v).is_integer() for v in values):
        raise ArgumentError(
            f"bounds are pairs of whole numbers (low, high); got {pair!r}"
        )
    low, high = (None if v is None else int(v) for v in values)
    return low, high


def region_variables(
    packed: xr.DataArray, da: xr.DataArray, saturated: bool
) -> xr.Dataset:
    unit = unit_of(da)

    def one(i: int | slice, dtype: DTypeLike = np.float64) -> xr.DataArray:
        value = packed.isel({QUANTITY: i})
        return as_whole(value) if dtype == np.int64 else value.astype(dtype)

    com = one(slice(kernel.COM_SLOW, kernel.COM_FAST + 1))
    com = com.rename({QUANTITY: COM_AXIS}).assign_coords({COM_AXIS: [SLOW, FAST]})
    total, most = (
        one(kernel.SUM, sum_dtype(da.dtype)),
        one(kernel.MAX, highest(da.dtype)),
    )
    found = {
        "sum": (total, unit, "sum of the region"),
        "mean": (one(kernel.MEAN), unit, "mean of the region, bad as 0"),
        "max": (most, unit, "highest pixel of the region"),
        "com": (com, "pixel", "centre of the region, positions inside it"),
    }
    if saturated:
        number = one(kernel.N_SATURATED, np.int64)
        found["nsat"] = (number, "1", "number of saturated good pixels")
    return variables(da, **found)


def highest(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of a maximum: that of floats, else float64 (NaN: none)."""
    return dtype if dtype.kind == "f" else np.dtype(np.float64)
