"""How many pixels of a frame are lit, and which frames are hits."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.hits import lit_pixels as kernel
from xfelred.lazy import map_frames
from xfelred.names import FAST, MODULE, QUANTITY, SLOW
from xfelred.ops.validity import (
    frame_pixels,
    masks_of,
    numbers_of,
    recorded_frames,
    unrecorded,
)
from xfelred.ops.variables import variables
from xfelred.provenance import record


@entry
def lit_pixels(
    da: xr.DataArray,
    threshold: float,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Count the pixels of every frame that are lit, module by module.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    threshold : float
        A pixel that is not below this, in units of `da`, is lit.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    Dataset (...)
        Lazy: ``n_lit`` and ``n_good`` (..., [module]), int64, lit and good pixels;
        ``score`` (...), float64, the share of all good pixels of the frame that are
        lit; NaN without any.

    Raises
    ------
    ArgumentError
        If the threshold is not finite.
    GeometryMismatchError
        If `da` has no pixels, or `bad_pixels` does not fit.

    Examples
    --------
    >>> frame = xr.DataArray([[1, 9], [8, np.nan]], dims=("slow_scan", "fast_scan"))
    >>> found = lit_pixels(frame, 8)
    >>> int(found["n_lit"]), round(float(found["score"]), 3)
    (2, 0.667)
    """
    dims = frame_pixels(da, "lit pixels")
    if not np.isfinite(threshold):
        raise ArgumentError(f"threshold={threshold}; wanted a number")
    packed = map_frames(
        kernel.lit_pixels,
        numbers_of(da),
        *masks_of(da, bad_pixels, dims),
        core_dims=(SLOW, FAST),
        n_core=2,
        out_core={QUANTITY: kernel.N_COUNTS},
        dtype=np.int64,
        threshold=float(threshold),
    )
    whole = packed.sum(MODULE) if MODULE in packed.dims else packed
    n_lit, n_good = (whole.isel({QUANTITY: k}) for k in (kernel.LIT, kernel.GOOD))
    found = {
        "n_lit": (packed.isel({QUANTITY: kernel.LIT}), "1", "number of lit pixels"),
        "n_good": (packed.isel({QUANTITY: kernel.GOOD}), "1", "number of good pixels"),
        "score": (n_lit / n_good.where(n_good > 0), "1", "share of lit pixels"),
    }
    out = variables(da, **found).assign_coords(recorded_frames(da, dims))
    return record(out, "lit_pixels", da, threshold=threshold, bad_pixels=bad_pixels)


@entry
def find_hits(score: xr.DataArray, threshold: float) -> xr.Dataset:
    """Tell which frames are hits, and how often there is one.

    Parameters
    ----------
    score : DataArray, any real dtype (train[, pulse]) or (frame)
        Of every frame, such as ``n_peaks`` of `ops.find_peaks` or ``score`` of
        `ops.lit_pixels`; in memory or lazy.
    threshold : float
        A frame whose score is not below this is a hit.

    Returns
    -------
    Dataset
        Lazy: ``is_hit``, bool, on the dims of `score`; ``n_hits``, int64, and
        ``hit_rate``, float64, of the frames that were recorded. A list of frames is
        ``series[series].index`` of ``series = found.is_hit.to_series()``, and
        ``xfelred.write_hits(frames, peaks, path, is_hit=found.is_hit)`` makes a CXI
        file of the hits.

    Raises
    ------
    ArgumentError
        If the threshold is not finite, or scores are no numbers.

    Examples
    --------
    >>> found = find_hits(xr.DataArray([3, 20, 0, 31], dims="train"), 15)
    >>> found["is_hit"].values, float(found["hit_rate"])
    (array([False,  True, False,  True]), 0.5)
    """
    if not np.isfinite(threshold):
        raise ArgumentError(f"threshold={threshold}; wanted a number")
    if score.dtype.kind not in "iufb" or not score.ndim:
        raise ArgumentError(
            f"score has dtype {score.dtype} and dims {score.dims}; wanted a number for"
            " every frame"
        )
    there = score.notnull()
    for gone in unrecorded(score):
        there = there & ~xr.DataArray(gone.variable)
    hit = (score >= threshold) & there
    n, n_there = hit.sum(), there.sum()
    rate = n / n_there.where(n_there > 0)
    out = variables(
        score,
        is_hit=(hit, "1", "the frame is a hit"),
        n_hits=(n, "1", "number of hits"),
        hit_rate=(rate, "1", "share of the recorded frames that are hits"),
    )
    return record(out, "find_hits", score, threshold=threshold)
