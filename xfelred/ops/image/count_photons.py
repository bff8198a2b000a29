"""Photons in every pixel, where charge is shared with a neighbour."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, not_nan
from xfelred.kernels.image import shared_charge as kernel
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, UNITS
from xfelred.ops.image.droplets_to_photons import positive
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.provenance import record


@entry
def count_photons(
    da: xr.DataArray,
    *,
    adu_per_photon: float,
    fraction: float = 0.9,
    threshold: float | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Count the photons in every pixel; two neighbours may share one.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), adu
        Pedestal-subtracted frames, in memory or lazy. NaN counts as a bad pixel.
    adu_per_photon : float, adu
    fraction : float
        Of a photon, that a pixel and its neighbour must have together beyond whole
        ones, at least half of it in one of them.
    threshold : float, optional, adu
        Pixels below count as 0.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad: no photon, and no share of one. On pixel dims,
        or with frame dims as well.

    Returns
    -------
    DataArray, uint16, as `da`
        Lazy. 65535 is that many or more.

    Raises
    ------
    ArgumentError
        If `adu_per_photon` or `fraction` makes no sense.
    GeometryMismatchError
        If `da` has no pixels, or `bad_pixels` does not fit.

    Notes
    -----
    The photon counter of psana (its ``photons`` method), module by module: whole
    photons stay; of the rests, a local maximum of its row and of its column is joined
    with its largest neighbour that is left, inner pixels first.

    Examples
    --------
    >>> frame = xr.DataArray([[0, 80, 15, 230.0]], dims=("slow_scan", "fast_scan"))
    >>> count_photons(frame, adu_per_photon=100).values
    array([[0, 0, 0, 2]], dtype=uint16)
    >>> frame = frame.pad(slow_scan=(1, 1), constant_values=0)
    >>> count_photons(frame, adu_per_photon=100).values[1]
    array([0, 1, 0, 2], dtype=uint16)
    """
    dims = frame_pixels(da, "photons")
    adu = positive("adu_per_photon", adu_per_photon)
    not_nan(threshold=threshold)
    if not 0.5 <= fraction <= 2:
        raise ArgumentError(f"fraction={fraction}; wanted 0.5 to 2 photons")
    out = map_frames(
        kernel.count_photons,
        numbers_of(da),
        *masks_of(da, bad_pixels, dims),
        core_dims=dims,
        dtype=np.uint16,
        n_core=len(dims),
        adu_per_photon=adu,
        fraction=float(fraction),
        least=-np.inf if threshold is None else float(threshold),
    )
    out.attrs = {**da.attrs, UNITS: "photon", LONG_NAME: "number of photons"}
    return record(
        out,
        "count_photons",
        da,
        adu_per_photon=adu,
        fraction=fraction,
        threshold=threshold,
        bad_pixels=bad_pixels,
    )
