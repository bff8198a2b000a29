"""Correlation of the modules of every frame with themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import check, entry
from xfelred.errors import GeometryMismatchError
from xfelred.kernels.correlation import images as kernel
from xfelred.lazy import map_frames
from xfelred.names import FAST, LONG_NAME, SLOW, UNITS
from xfelred.ops.companions import matching
from xfelred.ops.image.roi import Threshold, limits, window
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.provenance import record

SHIFTS = {SLOW: "shift_slow", FAST: "shift_fast"}


@entry
def autocorrelate(
    da: xr.DataArray,
    *,
    other: xr.DataArray | None = None,
    roi: Sequence[Sequence[int | None]] | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    threshold: Threshold | None = None,
) -> xr.DataArray:
    """Correlate every module of every frame with itself, or with another frame.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    other : DataArray, optional
        Frames to correlate with, at the labels of `da`; `da` leads.
    roi : sequence of (low, high), optional
        Of slow_scan and fast_scan: pixels to use. By default the box around the good
        pixels of all modules, if `bad_pixels` are in memory and the same for all
        frames, else the whole frame.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad; what is good may have any shape, such as a round
        region (`masks.circle`). On pixel dims, or with frame dims as well.
    threshold : float or (low, high), optional
        Values below `low`, or above `high`, become 0.

    Returns
    -------
    DataArray (..., [module,] shift_slow, shift_fast)
        Lazy, float64: the mean product of pixels at a distance over the product of
        their means, over pairs of good pixels; 0 where there is no pair. Coordinates
        are the shifts in pixels, 0 in the middle. The box is periodic: shifts wrap
        round, for which bad pixels round about leave room.

    Raises
    ------
    GeometryMismatchError
        If the region has no pixel, or a companion does not fit.

    Notes
    -----
    Autocorrelation of the LCLS smalldata_tools; lengths that are odd are kept. With F
    and M the transforms of pixels and mask and A = F1 F2*, B = F1 M*, C = M F2*, N = M
    M*: A N / (B C), each transformed back. Images without a bad pixel have their level
    removed before, and those of float32 and of 16 bits are transformed in single
    precision then: to 1e-7 of the mean square.

    Examples
    --------
    >>> stripes = np.tile([3.0, 1.0], (4, 2))
    >>> frame = xr.DataArray(stripes, dims=("slow_scan", "fast_scan"))
    >>> autocorrelate(frame).sel(shift_slow=0).values
    array([1.25, 0.75, 1.25, 0.75])
    """
    dims = frame_pixels(da, "correlations of images")
    check("ops.autocorrelate", "roi", roi, Iterable | None)
    low, high = limits(threshold)
    masks = masks_of(da, bad_pixels, dims)
    region = {d: s for d, s in window(da, dims, roi).items() if d in SHIFTS}
    if roi is None:
        region = box(masks, da) or region
    if not all(s.stop > s.start for s in region.values()):
        raise GeometryMismatchError("no pixel is good: there is nothing to correlate")
    others = [] if other is None else [matching(numbers_of(other), da, "other")]
    cut = [
        m.isel({d: s for d, s in region.items() if d in m.dims})
        for m in (numbers_of(da), *others, *masks)
    ]
    length = {d: s.stop - s.start for d, s in region.items()}
    found = map_frames(
        kernel.correlate_images,
        *cut,
        core_dims=(SLOW, FAST),
        out_core={SHIFTS[d]: n for d, n in length.items()},
        dtype=np.float64,
        n_others=len(others),
        low=low,
        high=high,
    )
    found = found.assign_coords(
        {
            SHIFTS[d]: (SHIFTS[d], np.arange(n) - n // 2, {UNITS: "pixel"})
            for d, n in length.items()
        }
    ).rename("correlation")
    found.attrs = {**da.attrs, UNITS: "1", LONG_NAME: "correlation of images"}
    return record(
        found,
        "autocorrelate",
        da,
        other=other,
        roi=[[s.start, s.stop] for s in region.values()],
        bad_pixels=bad_pixels,
        threshold=[low, high],
    )


def box(masks: list[xr.DataArray], da: xr.DataArray) -> dict[str, slice] | None:
    """Return the box around pixels that are good in any module; None if not known."""
    static = [m for m in masks if {SLOW, FAST} <= set(m.dims)]
    static = [m for m in static if m.chunks is None]
    frame_dims = set(da.dims) - set(frame_pixels(da, "frames"))
    static = [m for m in static if not frame_dims & set(m.dims)]
    if not static:
        return None
    bad = sum((m != 0 for m in static[1:]), start=static[0] != 0)
    good = ~bad.astype(bool)
    region = {}
    for d in (SLOW, FAST):
        at = np.flatnonzero(good.any([x for x in good.dims if x != d]).values)
        region[d] = slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)
    return region
