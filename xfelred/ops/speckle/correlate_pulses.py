"""Correlations of the pulses of a train, over the pixels of rings."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.kernels.arrays import Ints
from xfelred.kernels.speckle import pulses as kernel
from xfelred.lazy import map_frames
from xfelred.names import (
    FAST,
    LAG,
    LONG_NAME,
    MODULE,
    PULSE,
    QUANTITY,
    SLOW,
    TRAIN,
    UNITS,
)
from xfelred.ops.reductions.statistics import statistics
from xfelred.ops.speckle.rings import QBins, RingMap, ring_map
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.ops.variables import variables
from xfelred.provenance import record

OTHER_PULSE = "other_pulse"
SYMMETRIC = "symmetric"
Normalization = Literal["symmetric", "standard"]


@entry(own=("q_bins",))
def two_time(
    da: xr.DataArray,
    q_bins: QBins,
    *,
    normalization: Normalization = "symmetric",
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.DataArray:
    """Correlate each two pulses of every train over the pixels of rings.

    Parameters
    ----------
    da : DataArray, any real dtype ([train,] pulse, [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel. For one train:
        ``da.sel(train=...)``.
    q_bins : int, sequence of float, or DataArray
        As for `ops.photon_statistics`.
    normalization : {"symmetric", "standard"}
        Divide by the product of the means of the two pulses, or by the square of the
        mean of the train.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    DataArray ([train,] q or ring, pulse, other_pulse)
        Lazy, float64. NaN where a pulse was not recorded or has the mean 0. The
        diagonal, a pulse with itself, holds the noise of counting photons.

    Raises
    ------
    GeometryMismatchError
        If `da` has no pixels, or no dim ``pulse``, or a companion does not fit.
    ArgumentError
        If `q_bins` are no bins.
    MissingConstantError
        If `da` has no coordinate ``q`` and `q_bins` is no map.

    Notes
    -----
    C(t1, t2) = <I(t1) I(t2)> / (<I(t1)> <I(t2)>), over the pixels of a ring that are
    good in both (Bikondoa 2017, doi:10.1107/S1600576717000577); "standard":
    <I(t1) I(t2)> / <I>^2, which intensities that differ between pulses change.

    Examples
    --------
    >>> frames = xr.DataArray([[[1.0, 3]], [[3, 1]]],
    ...                       dims=("pulse", "slow_scan", "fast_scan"))
    >>> two_time(frames, xr.zeros_like(frames[0], int)).values
    array([[[1.25, 0.75],
            [0.75, 1.25]]])
    """
    sums, rings = sums_of_pairs(da, q_bins, bad_pixels)
    n = da.sizes[PULSE]
    out = map_frames(
        kernel.correlations,
        sums,
        core_dims=(QUANTITY, PULSE, OTHER_PULSE),
        out_core={PULSE: n, OTHER_PULSE: n},
        dtype=np.float64,
        symmetric=normalization == SYMMETRIC,
    )
    ids = pulse_ids(da)
    # Edges of rings have a dim that only a Dataset can have.
    place = {rings.dim: rings.coords[rings.dim]}
    out = out.assign_coords(
        {**place, PULSE: (PULSE, ids), OTHER_PULSE: (OTHER_PULSE, ids)}
    ).rename("two_time")
    out.attrs = {UNITS: "1", LONG_NAME: "correlation of two pulses"}
    return record(
        out,
        "two_time",
        da,
        q_bins=q_bins,
        normalization=normalization,
        bad_pixels=bad_pixels,
    )


@entry(own=("q_bins",))
def correlate_pulses(
    da: xr.DataArray,
    q_bins: QBins,
    *,
    max_lag: int | None = None,
    normalization: Normalization = "symmetric",
    reduce: Literal["mean"] | None = "mean",
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Correlate pulses of a train by their distance: g2 of every ring.

    Parameters
    ----------
    da : DataArray, any real dtype (train, pulse, [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    q_bins : int, sequence of float, or DataArray
        As for `ops.photon_statistics`.
    max_lag : int, optional
        Largest difference of pulse IDs; by default all.
    normalization : {"symmetric", "standard"}
        As for `ops.two_time`: of every pair by its two means, or of all by the mean of
        the train.
    reduce : {"mean", None}
        Mean over trains, or g2 of every train.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    Dataset ([train,] q or ring, lag)
        Lazy, float64: ``g2``, the mean over pairs of pulses whose IDs differ by
        ``lag``, from 1 on; with the mean over trains its standard error ``sem`` and
        ``n_trains``, else ``n_pairs``, both int64. What has no pair is NaN. Trains
        count alike.

    Raises
    ------
    GeometryMismatchError
        If `da` has no pixels, or no dims ``train`` and ``pulse``, or a companion does
        not fit.
    ArgumentError
        If `q_bins` are no bins, or there is no lag.
    MissingConstantError
        If `da` has no coordinate ``q`` and `q_bins` is no map.

    Notes
    -----
    g2(lag) is the mean of C(t1, t2) of `ops.two_time` along t2 - t1 = lag. Intensities
    that differ between pulses leave the symmetric one alone. With M modes it starts at
    1 + 1 / M, whatever the number of photons.

    Examples
    --------
    >>> frames = xr.DataArray([[[[1.0, 3]], [[3, 1]], [[1, 3]]]],
    ...                       dims=("train", "pulse", "slow_scan", "fast_scan"))
    >>> found = correlate_pulses(frames, xr.zeros_like(frames[0, 0], int))
    >>> found["g2"].values, found["lag"].values
    (array([[0.75, 1.25]]), array([1, 2]))
    """
    if TRAIN not in da.dims:
        raise GeometryMismatchError(
            f"correlations of pulses need {TRAIN} and {PULSE}; got {da.dims}: use"
            " layout='train', or da.expand_dims('train')"
        )
    sums, rings = sums_of_pairs(da, q_bins, bad_pixels)
    ids = tuple(pulse_ids(da).tolist())
    farthest = max(ids, default=0) - min(ids, default=0) if max_lag is None else max_lag
    steps, _ = kernel.lags_of(ids, farthest)
    if not len(steps):
        raise ArgumentError(
            f"max_lag={max_lag}: no two of {len(ids)} pulses are so near; pulse IDs are"
            f" {list(ids[:8])}"
        )
    packed = map_frames(
        kernel.lag_means,
        sums,
        core_dims=(QUANTITY, PULSE, OTHER_PULSE),
        out_core={QUANTITY: 2, LAG: len(steps)},
        dtype=np.float64,
        symmetric=normalization == SYMMETRIC,
        ids=ids,
        max_lag=int(farthest),
    )
    attrs = {UNITS: "1", LONG_NAME: "difference of pulse IDs"}
    g2, pairs = (packed.isel({QUANTITY: k}) for k in range(2))
    found = {"g2": g2, "n_pairs": pairs.astype(np.int64)}
    if reduce == "mean":
        means = statistics(g2, TRAIN, which=("mean", "sem", "count"))
        found = {"g2": means["mean"], "sem": means["sem"], "n_trains": means["count"]}
    texts = {
        "g2": "correlation of pulses",
        "sem": "standard error of g2",
        "n_trains": "number of trains",
        "n_pairs": "number of pairs of pulses",
    }
    out = variables(da, **{k: (v, "1", texts[k]) for k, v in found.items()})
    out = out.assign_coords({**rings.coords, LAG: (LAG, steps, attrs)})
    return record(
        out,
        "correlate_pulses",
        da,
        q_bins=q_bins,
        max_lag=max_lag,
        normalization=normalization,
        reduce=reduce,
        bad_pixels=bad_pixels,
    )


def sums_of_pairs(
    da: xr.DataArray, q_bins: QBins, bad_pixels: xr.DataArray | ArrayLike | None
) -> tuple[xr.DataArray, RingMap]:
    """Return the sums of all pairs of pulses, over all modules, and the rings."""
    dims = frame_pixels(da, "correlations of pulses")
    if PULSE not in da.dims:
        raise GeometryMismatchError(
            f"correlations of pulses need a dim {PULSE}; got {da.dims}: use"
            " layout='train'"
        )
    rings = ring_map(da, q_bins, dims)
    n = da.sizes[PULSE]
    # Modules apart: a train of all of them is more than a task should hold.
    sums = map_frames(
        kernel.pair_sums,
        numbers_of(da),
        rings.labels,
        *masks_of(da, bad_pixels, dims),
        core_dims=(PULSE, SLOW, FAST),
        out_core={
            rings.dim: rings.n,
            QUANTITY: kernel.N_SUMS,
            PULSE: n,
            OTHER_PULSE: n,
        },
        dtype=np.float64,
        n_rings=rings.n,
    )
    gone = {rings.dim, PULSE, *(c for c in sums.coords if MODULE in sums[c].dims)}
    sums = sums.drop_vars(gone, errors="ignore")
    if MODULE in sums.dims:
        # One by one, in their order; a sum along the axis would copy all of it first.
        each = (sums.isel({MODULE: i}) for i in range(sums.sizes[MODULE]))
        sums = reduce(add, each)
    return sums, rings


def pulse_ids(da: xr.DataArray) -> Ints:
    """Return the IDs of pulses, or their positions where they have none."""
    return np.asarray(da[PULSE].values).astype(np.int64)
