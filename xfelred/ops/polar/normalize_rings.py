"""Rings of polar maps brought to a common scale."""

from __future__ import annotations

from typing import Literal

import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.polar import ring_norm
from xfelred.kernels.polar.remap import result_dtype
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, PHI, RADIUS, UNITS
from xfelred.ops.companions import check_polar, polar_masks
from xfelred.provenance import record

LONG_NAMES = {
    "mean": "intensity / mean of the ring",
    "subtract": "intensity - mean of the ring",
    "contrast": "(intensity - mean of the ring) / mean of the ring",
    "zscore": "(intensity - mean of the ring) / standard deviation of the ring",
    "shot": "intensity / mean of the shot",
}


@entry
def normalize_rings(
    polar: xr.DataArray,
    *,
    how: Literal["mean", "subtract", "contrast", "zscore", "shot"] = "mean",
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    eps: float = 1e-6,
) -> xr.DataArray:
    """Bring every ring of every shot to a common scale.

    Parameters
    ----------
    polar : DataArray, any real dtype (..., radius, phi)
        As from `remap_polar`; NaN is bad.
    how : {"mean", "subtract", "contrast", "zscore", "shot"}
        Divide by the mean over the good azimuths of the ring; subtract it; subtract
        it, then divide by it; subtract it, then divide by the standard deviation; or
        divide by the mean over all good samples of the shot.
    bad_pixels : DataArray or array, bool or integer (radius, phi), optional
        Non-zero: left out, and NaN in the result. May have frame dims as well.
    eps : float
        A mean, or standard deviation, of less than this part of the root mean square
        counts as 0.

    Returns
    -------
    DataArray, float32, float64 for float64 (..., radius, phi)
        Lazy. A ring without a good sample, or divided by 0, is NaN. Negative values
        stay what they are.

    Raises
    ------
    ValueError
        If `how` does not exist or `eps` is negative.
    GeometryMismatchError
        If `polar` has no radius and phi, or `bad_pixels` does not fit.
    """
    if not eps >= 0:
        raise ArgumentError(f"eps={eps}; wanted 0 or more")
    check_polar(polar)
    masks = polar_masks(bad_pixels, polar)
    out = map_frames(
        ring_norm.normalize_rings,
        polar,
        *masks,
        core_dims=(RADIUS, PHI),
        dtype=result_dtype(polar.dtype),
        how=how,
        eps=float(eps),
    )
    # Only a difference keeps the unit.
    units = str(polar.attrs.get(UNITS, "1")) if how == "subtract" else "1"
    out.attrs = {**polar.attrs, UNITS: units, LONG_NAME: LONG_NAMES[how]}
    return record(
        out.rename("polar"),
        "normalize_rings",
        polar,
        how=how,
        bad_pixels=masks[0] if masks else None,
        eps=eps,
    )
