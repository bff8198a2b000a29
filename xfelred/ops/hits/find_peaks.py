"""Bragg peaks of every frame."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.geometry.rings import pixel_coord
from xfelred.kernels.hits import peaks as kernel
from xfelred.lazy import map_frames
from xfelred.names import PEAK, QUANTITY, TWO_THETA
from xfelred.ops.companions import matching, on_all_pixels, with_dims
from xfelred.ops.image.find_clusters import Row, listed_variables, numbers
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of, recorded_frames
from xfelred.provenance import record

FARTHEST = 1_000_000  # pixels from the beam
VARIABLES: dict[str, Row] = {
    "intensity": (kernel.INTENSITY, np.float64, "", "sum of a peak above background"),
    "max_intensity": (kernel.HIGHEST, np.float64, "", "maximum above background"),
    "row": (kernel.ROW, np.float64, "pixel", "centre of a peak along slow_scan"),
    "col": (kernel.COLUMN, np.float64, "pixel", "centre of a peak along fast_scan"),
    "module": (kernel.MODULE, np.int64, "1", "module number of a peak"),
    "n_pixels": (kernel.N_PIXELS, np.int64, "1", "number of pixels of a peak"),
    "snr": (kernel.SNR, np.float64, "1", "intensity over spread of background"),
    "background": (kernel.BACKGROUND, np.float64, "", "mean around a peak"),
    "sigma": (kernel.SIGMA, np.float64, "", "spread of a pixel around a peak"),
}


@entry
def find_peaks(
    da: xr.DataArray,
    *,
    adc_threshold: float,
    minimum_snr: float = 5.0,
    min_pixel_count: int = 2,
    max_pixel_count: int = 200,
    local_bg_radius: int = 3,
    max_n_peaks: int = 2048,
    min_res: float = 0.0,
    max_res: float | None = None,
    radius: xr.DataArray | ArrayLike | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Find Bragg peaks in every frame, as peakfinder8 does.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), adu
        Calibrated frames, in memory or lazy. NaN counts as a bad pixel.
    adc_threshold : float, adu
        No pixel of a peak is below.
    minimum_snr : float
        Pixels of a peak are so many standard deviations above the mean at their
        distance from the beam; and a peak's sum so many above its background.
    min_pixel_count, max_pixel_count : int
        Of a peak.
    local_bg_radius : int, pixels
        The background of a peak is of the pixels in twice this radius.
    max_n_peaks : int
        Room for so many in each frame; further ones are only counted.
    min_res, max_res : float, pixels
        Distances from the beam between which there are peaks.
    radius : DataArray or array, pixels, optional
        Distance of every pixel from the beam, on pixel dims. By default from the
        coordinate ``two_theta`` (see `geometry.locate`), in pixels of the mean size.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must take no part. On pixel dims, or with frame dims as
        well.

    Returns
    -------
    Dataset (..., peak)
        Lazy, in the order of modules, then of rows: ``intensity``, above the
        background; ``max_intensity``; ``row`` and ``col``, centre weighted by value;
        ``snr``; ``background`` and ``sigma`` of a pixel around it; NaN behind the last
        peak. ``n_pixels``, 0 there, and ``module``, its number, -1 there. ``n_peaks``
        (...) that have room, ``n_peaks_all`` that were found.

    Raises
    ------
    ArgumentError
        If limits are not finite, or not in order.
    MissingConstantError
        If there is neither `radius` nor ``two_theta``.
    GeometryMismatchError
        If `da` has no pixels, or a companion does not fit.

    Notes
    -----
    Mean and spread at each distance, in steps of a pixel and over all modules, are of
    what is within `minimum_snr` spreads, found in five rounds. Pixels above their
    threshold that touch, corners too, are one peak, which does not begin in the outer
    rows and columns of its module. Barty et al. 2014, doi:10.1107/S1600576714007626;
    parameters have the names of the peakfinder8 of OnDA and Cheetah.

    Examples
    --------
    >>> image = np.arange(400.0).reshape(20, 20) % 3
    >>> image[8, 5:7] = 40, 20
    >>> frame = xr.DataArray(image, dims=("slow_scan", "fast_scan"))
    >>> found = find_peaks(frame, adc_threshold=10, radius=np.zeros((20, 20)))
    >>> int(found["n_peaks"]), found["row"].values[0], found["n_pixels"].values[0]
    (1, np.float64(8.0), np.int64(2))
    """
    dims = frame_pixels(da, "peaks")
    limits = checked_limits(
        adc_threshold, minimum_snr, min_pixel_count, max_pixel_count, local_bg_radius
    )
    if max_n_peaks < 1:
        raise ArgumentError(f"max_n_peaks={max_n_peaks}; wanted 1 or more")
    bins = radial_bins(da, radius, (min_res, max_res), dims)
    packed = map_frames(
        kernel.find_peaks,
        numbers_of(da),
        bins,
        *masks_of(da, bad_pixels, dims),
        core_dims=dims,
        out_core={QUANTITY: kernel.N_QUANTITIES, PEAK: max_n_peaks},
        dtype=np.float64,
        n_core=len(dims),
        n_bins=int(bins.max()) + 1 if bins.size else 1,
        limits=limits,
        numbers=numbers(da),
        max_n_peaks=max_n_peaks,
    )
    out = listed_variables(da, packed, VARIABLES, kernel.COUNT, PEAK)
    out = out.assign_coords(recorded_frames(da, dims))
    return record(
        out,
        "find_peaks",
        da,
        adc_threshold=adc_threshold,
        minimum_snr=minimum_snr,
        min_pixel_count=min_pixel_count,
        max_pixel_count=max_pixel_count,
        local_bg_radius=local_bg_radius,
        max_n_peaks=max_n_peaks,
        min_res=min_res,
        max_res=max_res,
        radius=radius,
        bad_pixels=bad_pixels,
    )


def checked_limits(
    threshold: float, snr: float, fewest: int, most: int, radius: int
) -> kernel.Limits:
    for name, value in (("adc_threshold", threshold), ("minimum_snr", snr)):
        if not np.isfinite(value):
            raise ArgumentError(f"{name}={value}; wanted a number")
    if not 1 <= fewest <= most:
        raise ArgumentError(
            f"min_pixel_count={fewest}, max_pixel_count={most}: no peak is between"
        )
    if not 1 <= radius <= 1000:
        raise ArgumentError(f"local_bg_radius={radius}; wanted 1 to 1000")
    return float(threshold), float(snr), int(fewest), int(most), int(radius)


def radial_bins(
    da: xr.DataArray,
    radius: xr.DataArray | ArrayLike | None,
    between: tuple[float, float | None],
    dims: tuple[str, ...],
) -> xr.DataArray:
    """Return distances from the beam in whole pixels; -1: takes no part."""
    if radius is None:
        found = distances(pixel_coord(da, TWO_THETA).transpose(*dims))
    else:
        given = with_dims(radius, da, "radius", dims)
        if given.dtype.kind not in "iuf":
            raise ArgumentError(f"radius has dtype {given.dtype}; wanted pixels")
        found = matching(given, da, "radius").compute(scheduler="synchronous")
        found = on_all_pixels(found, da, dims, "radius")
    low, high = between
    top = np.inf if high is None else high
    if not low < top:
        raise ArgumentError(f"min_res={low} and max_res={high}: no pixel is between")
    values = found.values.astype(np.float64)
    if np.nanmax(values, initial=0) > FARTHEST:
        raise ArgumentError(f"radius is up to {np.nanmax(values):g}; wanted pixels")
    inside = (values >= low) & (values < top) & (values >= 0)
    whole = np.where(inside, np.rint(np.where(inside, values, 0)), -1)
    return xr.DataArray(whole.astype(np.int32), dims=dims)


def distances(two_theta: xr.DataArray) -> xr.DataArray:
    """Return the distance of every pixel from the beam, in pixels."""
    tangent = np.tan(two_theta.values.astype(np.float64))
    # On a plane it is a parabola, whose curvature is that of one pixel everywhere.
    curved = np.diff(tangent**2, 2, axis=-1)
    pixel = np.sqrt(np.nanmedian(curved) / 2) if curved.size else np.nan
    if not pixel > 0:
        raise ArgumentError(
            "radius: the size of a pixel does not follow from two_theta; give radius=,"
            " the distance of pixels from the beam in pixels"
        )
    return two_theta.copy(data=tangent / pixel)
