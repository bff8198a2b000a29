"""Shots and pairs that stand out."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry, must_hold
from xfelred.errors import ArgumentError, GeometryMismatchError, listing
from xfelred.kernels.correlation import outliers
from xfelred.lazy import map_frames
from xfelred.names import LAG, LONG_NAME, PHI, RADIUS, UNITS
from xfelred.ops.correlation.ring_correlation import with_masks
from xfelred.ops.variables import variables
from xfelred.provenance import record

THRESHOLD = 3.5  # Iglewicz & Hoaglin 1993


@entry
def modified_z(da: xr.DataArray, dim: str | None = None) -> xr.DataArray:
    """Return how far values lie from their median, in robust standard deviations.

    Parameters
    ----------
    da : DataArray, any real dtype
        One value for each shot or pair: a mean, the position of a peak, the distance of
        a pair. NaN is left out.
    dim : str, optional
        Along which dim; by default the only one.

    Returns
    -------
    DataArray, float64
        Lazy, dims of `da`: 0.6745 (x - median) / MAD, MAD the median absolute
        deviation. Where that is 0, the mean absolute deviation takes its place; where
        all values are equal, 0. NaN where `da` is not finite.

    Raises
    ------
    GeometryMismatchError
        If there is no such dim, or `dim` is needed.

    Notes
    -----
    Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers, ASQC Quality Press.
    """
    along = only_dim(da, dim)
    array = da if da.chunks is None else da.chunk({along: -1})
    out = map_frames(outliers.modified_z, array, core_dims=(along,), dtype=np.float64)
    out.attrs = {UNITS: "1", LONG_NAME: "modified z score"}
    return record(out.rename("modified_z"), "modified_z", da, dim=along)


@entry
def flag_outliers(
    da: xr.DataArray,
    dim: str | None = None,
    *,
    threshold: float = THRESHOLD,
    side: Literal["both", "high", "low"] = "both",
) -> xr.DataArray:
    """Tell which shots or pairs have values that stand out.

    Parameters
    ----------
    da, dim
        See `modified_z`.
    threshold : float
        Of the modified z score.
    side : {"both", "high", "low"}
        Which values count as outliers.

    Returns
    -------
    DataArray, bool
        Lazy, dims of `da`: True for an outlier, and where `da` is not finite. Keep the
        others with ``polar.isel(train=~flags.values)``.
    """
    if not threshold > 0:
        raise ArgumentError(f"threshold={threshold}; wanted more than 0")
    score = modified_z(da, dim)
    size = {"both": abs(score), "high": score, "low": -score}[side]
    # NaN is not below the threshold.
    out = ~(size <= threshold)
    return flagged(out, da, "flag_outliers", threshold=threshold, side=side, dim=dim)


@entry
def flag_strong_correlations(
    result: xr.Dataset,
    *,
    window: float = 0.05,
    threshold: float = THRESHOLD,
) -> xr.DataArray:
    """Tell which shots or pairs correlate far more strongly than the others.

    Streaks, spots and ice do; their correlations would dominate the mean.

    Parameters
    ----------
    result : Dataset (shot or pair, radius, lag)
        Correlations of single shots or pairs, from `correlate_angular` or
        `difference_correlation` with ``reduce=None``.
    window : float
        Part of the circle around lag 0, on either side, that does not count.
    threshold : float
        Of the modified z score of the strongest correlation of a ring.

    Returns
    -------
    DataArray, bool (shot or pair,)
        Lazy: True where any ring is an outlier, or no ring has a correlation.

    Raises
    ------
    ValueError
        If `window` is not between 0 and 1/2.
    GeometryMismatchError
        If `result` has no dim of shots, or several.
    """
    if not 0 <= window < 1 / 2:
        raise ArgumentError(
            f"window={window}; wanted a part of the circle from 0 to below 0.5"
        )
    must_hold("ops.flag_strong_correlations", "result", result, "correlation")
    values = result["correlation"].transpose(..., LAG)
    along = only_dim(values.isel({RADIUS: 0, LAG: 0}, drop=True), None)
    if values.chunks is not None:
        values = values.chunk({LAG: -1})
    # At lag 0 every ring is like itself.
    skip = max(1, int(np.ceil(window * values.sizes[LAG])))
    strength = map_frames(
        outliers.strongest, values, core_dims=(LAG,), out_core={}, skip=skip
    )
    score = modified_z(strength, along)
    out = (score > threshold).any(RADIUS) | strength.isnull().all(RADIUS)
    return flagged(
        out, result, "flag_strong_correlations", window=window, threshold=threshold
    )


@entry
def shot_features(
    polar: xr.DataArray, *, bad_pixels: xr.DataArray | ArrayLike | None = None
) -> xr.Dataset:
    """Return what shots are told apart by: their mean, and the position of their ring.

    Parameters
    ----------
    polar : DataArray, any real dtype (..., radius, phi)
        Polar maps, not normalised. NaN is bad.
    bad_pixels : DataArray or array, bool or integer (radius, phi), optional
        Non-zero: left out.

    Returns
    -------
    Dataset
        Lazy, on frame dims: `mean` over all good samples; `peak`, the radius of the
        brightest ring in units of the coordinate `radius` (position, if there is none),
        refined by a parabola through its neighbours; and `profile` (..., radius), the
        mean over good azimuths, for `pairs.similar`.

    Raises
    ------
    GeometryMismatchError
        If `polar` is no polar map, or `bad_pixels` does not fit.
    """
    array = with_masks(polar, bad_pixels)
    n = array.sizes[RADIUS]
    packed = map_frames(
        outliers.ring_features,
        array,
        core_dims=(RADIUS, PHI),
        out_core={"feature": n + 2},
        dtype=np.float64,
        name="shot_features",
    )
    # Between rings: in units of their numbers until the radius is looked up.
    position = packed.isel(feature=1)
    units = str(polar.attrs.get(UNITS, "1"))
    peak_units = "1"
    if RADIUS in polar.coords:
        radius = polar[RADIUS].values.astype(np.float64)
        position = map_frames(
            outliers.at_positions, position, dtype=np.float64, table=tuple(radius)
        )
        peak_units = str(polar[RADIUS].attrs.get(UNITS, "pixel"))
    profile = packed.isel(feature=slice(2, None)).rename(feature=RADIUS)
    out = variables(
        polar,
        mean=(packed.isel(feature=0), units, "mean of all good samples"),
        peak=(position, peak_units, "position of the brightest ring"),
        profile=(profile, units, "mean over good azimuths"),
    )
    rings = {k: c.variable for k, c in polar.coords.items() if c.dims == (RADIUS,)}
    return record(
        out.assign_coords(rings), "shot_features", polar, bad_pixels=bad_pixels
    )


def only_dim(da: xr.DataArray, dim: str | None) -> str:
    if dim is None and da.ndim == 1:
        return str(da.dims[0])
    if dim is None or dim not in da.dims:
        raise GeometryMismatchError(
            f"dim={dim!r}, but the array has dims {listing(da.dims)}; name the one that"
            " shots or pairs lie along"
        )
    return dim


def flagged(
    out: xr.DataArray, parent: xr.DataArray | xr.Dataset, op: str, **params: object
) -> xr.DataArray:
    out = out.rename("outlier")
    out.attrs = {UNITS: "1", LONG_NAME: "outlier"}
    return record(out, op, parent, **params)
