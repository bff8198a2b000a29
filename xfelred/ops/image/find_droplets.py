"""Droplets of charge in every frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, not_nan
from xfelred.kernels.image import droplets as kernel
from xfelred.lazy import map_frames
from xfelred.names import DROPLET, LONG_NAME, MODULE, QUANTITY, UNITS
from xfelred.ops.image.find_clusters import numbers
from xfelred.ops.image.project import noise_of
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of, recorded_frames
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

SENSOR = "sensor"
HIGHEST = float(np.finfo(np.float64).max)  # infinity is no value


@entry
def find_droplets(
    da: xr.DataArray,
    *,
    threshold: float = 5.0,
    threshold_low: float | None = None,
    noise: xr.DataArray | ArrayLike | None = None,
    min_adu: float | None = None,
    max_pixel: float | None = None,
    relabel: bool = True,
    max_droplets: int = 20000,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    labels: bool = False,
) -> xr.Dataset:
    """Find connected pixels above a threshold, in every module of every frame.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), adu
        Pedestal-subtracted frames, in memory or lazy. NaN counts as a bad pixel.
    threshold : float
        A pixel that is not below this begins a droplet, with those like it that share
        an edge with it. In adu, or in units of `noise`.
    threshold_low : float, optional
        Pixels beside these belong to it if they are not below this lower threshold.
    noise : DataArray or array, optional
        Of every pixel, in units of `da`; a pixel without any (0, NaN) is bad.
    min_adu : float, optional
        Droplets whose sum is below are left out.
    max_pixel : float, optional
        Pixels above this are bad.
    relabel : bool
        With `threshold_low`: droplets that touch after they have grown are one.
        Otherwise a pixel between two belongs to the later one.
    max_droplets : int
        Room for so many in each frame; further ones are only counted.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must take no part. On pixel dims, or with frame dims as
        well.
    labels : bool
        Also return which droplet each pixel belongs to.

    Returns
    -------
    Dataset (..., droplet)
        Lazy, in the order of modules, then of their first pixels row by row: ``adu``,
        the sum of the pixels, float64; ``npix``, their number, int64; ``row`` and
        ``col``, their centre weighted by value, float64; ``module``, its number, int64.
        NaN, or -1, behind the last. ``n_droplets`` (...), int64, as many as are not
        below `min_adu`, which may be more than there is room for, and
        ``n_droplets_all``; both are 0 for frames that were not recorded, which the
        coordinate ``recorded`` tells. With `labels`: ``labels`` (..., [sensor,]
        slow_scan, fast_scan), int32, numbers within a module from 1; `sensor` are
        modules.

    Raises
    ------
    ArgumentError
        If a threshold is not above 0, the lower one is the higher one, or there is no
        room.
    GeometryMismatchError
        If `da` has no pixels, or a companion does not fit.

    Notes
    -----
    dropletFunc of the LCLS smalldata_tools.

    Examples
    --------
    >>> frame = np.zeros((5, 6))
    >>> frame[1, 1:3], frame[4, 5] = (6, 2), 9
    >>> da = xr.DataArray(frame, dims=("slow_scan", "fast_scan"))
    >>> found = find_droplets(da, threshold=5, threshold_low=1)
    >>> found.adu.values[:3], found.col.values[:2], int(found.n_droplets)
    (array([ 8.,  9., nan]), array([1.25, 5.  ]), 2)
    """
    dims = frame_pixels(da, "droplets")
    limits = checked(threshold, threshold_low, min_adu, max_pixel, relabel)
    if max_droplets < 1:
        raise ArgumentError(f"max_droplets={max_droplets}; wanted 1 or more")
    frames, masks = numbers_of(da), masks_of(da, bad_pixels, dims)
    companions = [*masks, *noise_of(da, noise, None, dims)]
    room = max(int(max_droplets), kernel.N_FOUND + 1)
    params: dict[str, Any] = {
        "n_core": len(dims),
        "n_masks": len(masks),
        "limits": limits,
        "numbers": numbers(da),
        "max_droplets": room,
    }
    packed = map_frames(
        kernel.find_droplets,
        frames,
        *companions,
        core_dims=dims,
        out_core={QUANTITY: kernel.N_QUANTITIES, DROPLET: room},
        dtype=np.float64,
        labels=False,
        **params,
    )
    out = droplet_variables(packed, da)
    out = out.isel({DROPLET: slice(int(max_droplets))})
    if labels:
        image = map_frames(
            kernel.find_droplets,
            frames,
            *companions,
            core_dims=dims,
            dtype=np.int32,
            name="droplet_labels",
            labels=True,
            **params,
        )
        image.attrs = {UNITS: "1", LONG_NAME: "number of the droplet in its module"}
        # The dim would have the name of a variable.
        image = image.drop_vars(MODULE, errors="ignore")
        if MODULE in image.dims:
            image = image.rename({MODULE: SENSOR}).assign_coords(
                {SENSOR: list(params["numbers"])}
            )
        out["labels"] = image
    out = out.assign_coords(recorded_frames(da, dims))
    return record(
        out,
        "find_droplets",
        da,
        threshold=threshold,
        threshold_low=threshold_low,
        noise=noise,
        min_adu=min_adu,
        max_pixel=max_pixel,
        relabel=relabel,
        max_droplets=max_droplets,
        bad_pixels=bad_pixels,
    )


def checked(
    threshold: float,
    threshold_low: float | None,
    min_adu: float | None,
    max_pixel: float | None,
    relabel: bool,
) -> kernel.Limits:
    """Return the limits as the kernel takes them, or raise where they make no sense."""
    low = threshold if threshold_low is None else threshold_low
    not_nan(min_adu=min_adu, max_pixel=max_pixel)
    for name, value in (("threshold", threshold), ("threshold_low", low)):
        if not (np.isfinite(value) and value > 0):
            raise ArgumentError(f"{name}={value} must be a number above 0")
    if low > threshold:
        raise ArgumentError(
            f"threshold_low={low} is above threshold={threshold}: exchange them"
        )
    return (
        float(threshold),
        float(low),
        HIGHEST if max_pixel is None else float(max_pixel),
        -np.inf if min_adu is None else float(min_adu),
        low != threshold,
        bool(relabel),
    )


def droplet_variables(packed: xr.DataArray, da: xr.DataArray) -> xr.Dataset:
    # The coordinate would have the name of a variable.
    packed = packed.drop_vars(MODULE, errors="ignore")
    rows = {
        "adu": (kernel.ADU, unit_of(da), "sum of the pixels of a droplet"),
        "npix": (kernel.N_PIXELS, "1", "number of pixels of a droplet"),
        "row": (kernel.ROW, "pixel", "centre of a droplet along slow_scan"),
        "col": (kernel.COLUMN, "pixel", "centre of a droplet along fast_scan"),
        "module": (kernel.MODULE, "1", "module number of a droplet"),
    }
    found: dict[str, tuple[xr.DataArray, str, str]] = {}
    for name, (row, unit, text) in rows.items():
        value = packed.isel({QUANTITY: row})
        if name in ("npix", "module"):
            value = value.fillna(-1).astype(np.int64)
        found[name] = value, unit, text
    for name, at, kind in (
        ("n_droplets", kernel.N_KEPT, "not below the lowest sum"),
        ("n_droplets_all", kernel.N_FOUND, "of any sum"),
    ):
        count = packed.isel({QUANTITY: kernel.COUNTS, DROPLET: at}).astype(np.int64)
        found[name] = count, "1", f"number of droplets {kind}"
    return variables(da, **found)
