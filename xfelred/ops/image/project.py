"""Pixels of every frame added up along axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, must_be_one_of, not_nan
from xfelred.kernels.image import lines as kernel
from xfelred.lazy import map_frames
from xfelred.ops.companions import matching, with_dims
from xfelred.ops.image.roi import Threshold, limits
from xfelred.ops.reductions.statistics import as_whole
from xfelred.ops.validity import (
    frame_pixels,
    masks_of,
    numbers_of,
    unrecorded,
    without_gaps,
)
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

NOISE_SIGMA = 3.0  # where noise is given, and not how many times it


@entry
def project(
    da: xr.DataArray,
    axis: str | Sequence[str] | None = None,
    *,
    threshold: Threshold | None = None,
    mean: bool = False,
    single_photon: bool = False,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    noise: xr.DataArray | ArrayLike | None = None,
    noise_sigma: float | None = None,
) -> xr.Dataset:
    """Add up the good pixels of every frame along some of its axes.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    axis : str or sequence of str, optional
        Dims to add up: some of module, slow_scan, fast_scan; by default all.
    threshold : float or (low, high), optional
        Values below `low`, or above `high`, become 0.
    mean : bool
        The mean of the good pixels instead of their sum.
    single_photon : bool
        What is above 0 then counts as 1.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.
    noise : DataArray or array, optional
        Of every pixel, in units of `da`: values below `noise_sigma` (by default 3)
        times this become 0, too.
    noise_sigma : float, optional

    Returns
    -------
    Dataset (..., the other pixel dims)
        Lazy: ``data``; int64 for sums of integers, else float64. A line without any
        good pixel has sum 0 and mean NaN; a frame that was not recorded has NaN, where
        it can.

    Raises
    ------
    ArgumentError
        If `axis` is no pixel dim of `da`, or `noise_sigma` comes without `noise`.
    GeometryMismatchError
        If `da` has no pixels, or a companion does not fit.

    Notes
    -----
    projectionFunc of the LCLS smalldata_tools; its threshold in units of the noise,
    which never took effect there, is here.

    Examples
    --------
    >>> frame = xr.DataArray([[1, 2], [3, 4]], dims=("slow_scan", "fast_scan"))
    >>> project(frame, "slow_scan")["data"].values
    array([4, 6])
    >>> float(project(frame, mean=True)["data"])
    2.5
    """
    dims = frame_pixels(da, "projections")
    given = dims if axis is None else (axis,) if isinstance(axis, str) else tuple(axis)
    for name in given:
        must_be_one_of("axis", name, dims)
    low, high = limits(threshold)
    not_nan(noise_sigma=noise_sigma)
    companions = noise_of(da, noise, noise_sigma, dims)
    numbers = numbers_of(da)
    gaps, masks = unrecorded(da), masks_of(da, bad_pixels, dims)
    whole = numbers.dtype.kind in "iu" and not mean
    stays = tuple(d for d in dims if d not in given)
    data = map_frames(
        kernel.project,
        numbers,
        *masks,
        *companions,
        core_dims=dims,
        out_core={d: da.sizes[d] for d in stays},
        dtype=np.float64,
        n_core=len(dims),
        n_masks=len(masks),
        away=tuple(dims.index(d) for d in dims if d in given),
        cut=(
            -np.inf if low is None else low,
            np.inf if high is None else high,
            bool(single_photon),
            bool(mean),
        ),
        noise_sigma=float(NOISE_SIGMA if noise_sigma is None else noise_sigma),
    )
    if whole:
        data = as_whole(data)
    ids = {d: da[d].variable for d in stays if d in da.coords}
    data = without_gaps(data, gaps, given).assign_coords(ids)
    unit = "1" if single_photon else unit_of(da)
    kind = "mean" if mean else "number of photons" if single_photon else "sum"
    return record(
        variables(da, data=(data, unit, f"{kind} of pixels along {', '.join(given)}")),
        "project",
        da,
        axis=list(given),
        threshold=[low, high],
        mean=mean,
        single_photon=single_photon,
        bad_pixels=bad_pixels,
        noise=noise,
        noise_sigma=noise_sigma,
    )


def noise_of(
    da: xr.DataArray,
    noise: xr.DataArray | ArrayLike | None,
    noise_sigma: float | None,
    dims: tuple[str, ...],
) -> list[xr.DataArray]:
    """Return the noise at the labels of the frames, or nothing."""
    if noise is None:
        if noise_sigma is not None:
            raise ArgumentError(f"noise_sigma={noise_sigma} needs noise=, too")
        return []
    return [matching(with_dims(noise, da, "noise", dims), da, "noise")]
