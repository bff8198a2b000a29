"""The photons of droplets."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image import photons as kernel
from xfelred.lazy import map_frames
from xfelred.names import MODULE, PHOTON, QUANTITY
from xfelred.ops.image.find_clusters import numbers
from xfelred.ops.image.find_droplets import checked
from xfelred.ops.image.project import noise_of
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.ops.variables import variables
from xfelred.provenance import record

PROB = "prob"


@entry
def droplets_to_photons(
    da: xr.DataArray,
    *,
    adu_per_photon: float,
    threshold: float = 5.0,
    threshold_low: float | None = None,
    noise: xr.DataArray | ArrayLike | None = None,
    min_adu: float | None = None,
    max_pixel: float | None = None,
    relabel: bool = True,
    max_photons: int = 50000,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Find droplets, and where in them the photons are that made them.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), adu
        Pedestal-subtracted frames, in memory or lazy. NaN counts as a bad pixel.
    adu_per_photon : float, adu
        A droplet has as many photons as this, rounded, is contained in its sum.
    threshold, threshold_low, noise, min_adu, max_pixel, relabel, bad_pixels
        As for `find_droplets`.
    max_photons : int
        Room for so many in each frame; further ones are only counted, and so are those
        of a droplet that has more than this.

    Returns
    -------
    Dataset (..., photon)
        Lazy, droplet by droplet: ``row`` and ``col``, float64, NaN behind the last;
        ``module``, its number, int64, -1 behind the last; ``n_photons`` (...), int64;
        ``prob`` (..., prob), float64: shares of good pixels with 0 to 10 photons, then
        the number of photons per good pixel.

    Raises
    ------
    ArgumentError
        If a threshold or `adu_per_photon` makes no sense, or there is no room.
    GeometryMismatchError
        If `da` has no pixels, or a companion does not fit.

    Notes
    -----
    droplet2Photons of the LCLS smalldata_tools. One photon is at the centre of its
    droplet. Of several, whole ones stay in their pixels; each further one is at the
    pixel with the largest rest, moved towards the neighbour with the most by what that
    rest lacks, which is taken from there ("greedy guess").

    Examples
    --------
    >>> frame = np.zeros((4, 5))
    >>> frame[1, 1:4] = 100, 90, 10
    >>> da = xr.DataArray(frame, dims=("slow_scan", "fast_scan"))
    >>> found = droplets_to_photons(da, adu_per_photon=100)
    >>> int(found.n_photons), found.col.values[:2]
    (2, array([1. , 2.1]))
    """
    dims = frame_pixels(da, "photons")
    limits = checked(threshold, threshold_low, min_adu, max_pixel, relabel)
    adu = positive("adu_per_photon", adu_per_photon)
    if max_photons < 1:
        raise ArgumentError(f"max_photons={max_photons}; wanted 1 or more")
    masks = masks_of(da, bad_pixels, dims)
    room = max(int(max_photons), kernel.LEAST_ROOM)
    packed = map_frames(
        kernel.droplets_to_photons,
        numbers_of(da),
        *masks,
        *noise_of(da, noise, None, dims),
        core_dims=dims,
        out_core={QUANTITY: kernel.N_QUANTITIES, PHOTON: room},
        dtype=np.float64,
        n_core=len(dims),
        n_masks=len(masks),
        limits=limits,
        adu_per_photon=adu,
        numbers=numbers(da),
        room=room,
    )
    return record(
        photon_variables(packed, da, int(max_photons)),
        "droplets_to_photons",
        da,
        adu_per_photon=adu,
        threshold=threshold,
        threshold_low=threshold_low,
        noise=noise,
        min_adu=min_adu,
        max_pixel=max_pixel,
        relabel=relabel,
        max_photons=max_photons,
        bad_pixels=bad_pixels,
    )


def positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ArgumentError(f"{name}={value} must be a number above 0")
    return float(value)


def photon_variables(packed: xr.DataArray, da: xr.DataArray, room: int) -> xr.Dataset:
    # The coordinate would have the name of a variable.
    packed = packed.drop_vars(MODULE, errors="ignore")
    listed = packed.isel({PHOTON: slice(room)})
    counts = packed.isel({QUANTITY: kernel.COUNTS})
    first = kernel.FIRST_SHARE
    prob = counts.isel({PHOTON: slice(first, kernel.LEAST_ROOM)}).rename({PHOTON: PROB})
    module = listed.isel({QUANTITY: kernel.MODULE}).fillna(-1).astype(np.int64)
    found = {
        "row": (listed.isel({QUANTITY: kernel.ROW}), "pixel", "photon along slow_scan"),
        "col": (
            listed.isel({QUANTITY: kernel.COLUMN}), "pixel", "photon along fast_scan",
        ),
        "module": (module, "1", "module number of a photon"),
        "n_photons": (
            counts.isel({PHOTON: kernel.N_PHOTONS}).astype(np.int64),
            "1", "number of photons",
        ),
        PROB: (prob, "1", "share of pixels with 0 to 10 photons; photons per pixel"),
    }  # fmt: skip
    return variables(da, **found)
