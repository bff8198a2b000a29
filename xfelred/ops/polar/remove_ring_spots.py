"""Spots on rings, such as Bragg peaks of single large crystals."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image.masking import masked
from xfelred.kernels.polar import ring_spots
from xfelred.kernels.polar.remap import result_dtype
from xfelred.lazy import map_frames
from xfelred.names import BAD_PIXELS, LONG_NAME, PHI, RADIUS, UNITS
from xfelred.ops.companions import check_polar, polar_masks
from xfelred.provenance import record


@entry
def find_ring_spots(
    polar: xr.DataArray,
    *,
    threshold: float = 3.5,
    n_harmonics: int = 4,
    grow: int = 1,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Flag samples far from the smooth part of their ring, in every shot.

    Parameters
    ----------
    polar : DataArray, any real dtype (..., radius, phi)
        As from `remap_polar`; NaN is bad.
    threshold : float
        On the modified z score of the distance from the smooth part.
    n_harmonics : int
        The smooth part is a Fourier series of so many harmonics.
    grow : int
        So many samples on either side of a spot are flagged as well; phi is a circle.
    bad_pixels : DataArray or array, bool or integer (radius, phi), optional
        Non-zero: left out. May have frame dims as well.

    Returns
    -------
    DataArray, bool (..., radius, phi)
        Lazy; True is a spot, or bad before: goes to other operations as `bad_pixels`.

    Raises
    ------
    ValueError
        If an option is out of range.
    GeometryMismatchError
        If `polar` has no radius and phi, or `bad_pixels` does not fit.

    Notes
    -----
    Modified z score: 0.6745 (v - median) / MAD, of Iglewicz and Hoaglin (1993), who
    advise 3.5. A ring with fewer good samples than twice the terms of the series is
    left as it is.
    """
    check_options(polar, threshold, n_harmonics, grow)
    masks = polar_masks(bad_pixels, polar)
    out = map_frames(
        ring_spots.find_ring_spots,
        polar,
        *masks,
        core_dims=(RADIUS, PHI),
        dtype=bool,
        threshold=float(threshold),
        n_harmonics=int(n_harmonics),
        grow=int(grow),
    )
    out.attrs = {**polar.attrs, UNITS: "1", LONG_NAME: "spot on the ring, or bad"}
    return record(
        out.rename(BAD_PIXELS),
        "find_ring_spots",
        polar,
        threshold=threshold,
        n_harmonics=n_harmonics,
        grow=grow,
        bad_pixels=masks[0] if masks else None,
    )


@entry
def remove_ring_spots(
    polar: xr.DataArray,
    *,
    threshold: float = 3.5,
    n_harmonics: int = 4,
    grow: int = 1,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Replace spots on rings by NaN; see `find_ring_spots`.

    Returns
    -------
    DataArray, float32, float64 for float64 (..., radius, phi)
        Lazy; NaN where there is a spot, or where it was bad before.
    """
    spots = find_ring_spots(
        polar,
        threshold=threshold,
        n_harmonics=n_harmonics,
        grow=grow,
        bad_pixels=bad_pixels,
    )
    dtype = result_dtype(polar.dtype)
    # NaN needs a float.
    values = polar if polar.dtype == dtype else polar.astype(dtype)
    out = map_frames(
        masked,
        values,
        spots,
        core_dims=(RADIUS, PHI),
        name="remove_ring_spots",
        bits=None,
        value=np.nan,
    )
    out.attrs = {**polar.attrs, UNITS: str(polar.attrs.get(UNITS, "1"))}
    out.attrs.setdefault(LONG_NAME, "intensity on rings")
    return record(
        out.rename("polar"),
        "remove_ring_spots",
        polar,
        threshold=threshold,
        n_harmonics=n_harmonics,
        grow=grow,
        bad_pixels=None if bad_pixels is None else xr.DataArray(bad_pixels),
    )


def check_options(
    polar: xr.DataArray, threshold: float, n_harmonics: int, grow: int
) -> None:
    check_polar(polar)
    if not threshold > 0:
        raise ArgumentError(f"threshold={threshold}; wanted a number above 0")
    for name, value in (("n_harmonics", n_harmonics), ("grow", grow)):
        if value != int(value) or value < 0:
            raise ArgumentError(f"{name}={value}; wanted a whole number, 0 or more")
