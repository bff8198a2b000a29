"""Pedestal, noise and bad pixels from dark frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xfelred.kernels.dark import dark_flags
from xfelred.lazy import map_frames
from xfelred.names import (
    CELL,
    DATA_GAIN,
    FAST,
    FRAME,
    GAIN,
    LONG_NAME,
    MODULE,
    PULSE,
    SLOW,
    UNITS,
)
from xfelred.ops.statistics import statistics
from xfelred.provenance import record

STAY = (MODULE, GAIN, DATA_GAIN, SLOW, FAST)


def dark_statistics(
    da: xr.DataArray,
    *,
    by: str | Sequence[str] | None = None,
    noise_sigma: float = 5.0,
    offset_sigma: float | None = None,
    min_frames: int = 2,
    bad_pixels: xr.DataArray | None = None,
) -> xr.Dataset:
    """Return pedestal, noise and bad pixels of dark frames.

    Parameters
    ----------
    da : DataArray, any real dtype (train, pulse, module, slow_scan, fast_scan)
        Dark frames, or ``(frame, module, ...)``; also with gain axes.
    by : str or sequence of str, optional
        Frame dims to keep, such as ``"pulse"``; or ``"cell"`` for memory cells, if
        every pulse has the same cell in all trains. By default all frames together.
    noise_sigma, offset_sigma : float, optional
        A pixel is bad if its noise, or its pedestal, is further than this from the
        median of its module, in robust sigma (1.4826 times the median absolute
        deviation). `offset_sigma` is `noise_sigma` by default.
    min_frames : int, optional
        Pixels with fewer frames are bad.
    bad_pixels : DataArray, optional
        Non-zero where a pixel must be left out.

    Returns
    -------
    Dataset
        Lazy: ``pedestal`` (mean) and ``noise`` (sample standard deviation, ddof 1),
        float64 in the unit of `da`; ``n_frames`` int64; ``bad_pixels`` uint32 with the
        bits of `masks.names`: OFFSET_OUT_OF_THRESHOLD, NOISE_OUT_OF_THRESHOLD,
        OFFSET_NOISE_EVAL_ERROR, NO_DARK_DATA, DATA_STD_IS_ZERO.

    Raises
    ------
    ValueError
        If `by` is not a frame dim, or cells differ between trains.
    """
    da, kept = by_cell(da, (by,) if isinstance(by, str) else tuple(by or ()))
    frame_dims = [str(d) for d in da.dims if d not in STAY]
    for d in kept:
        if d not in frame_dims:
            raise ValueError(
                f"by={d!r} is not a frame dim; the frames have {frame_dims}"
            )
    if SLOW not in da.dims or FAST not in da.dims:
        raise ValueError(f"dark frames need {SLOW} and {FAST}; got {da.dims}")
    dims = [d for d in frame_dims if d not in kept]
    found = statistics(
        da, dims, which=("mean", "std", "count"), bad_pixels=bad_pixels, ddof=1
    )
    out = xr.Dataset(
        {"pedestal": found["mean"], "noise": found["std"], "n_frames": found["count"]}
    )
    limits: dict[str, Any] = {
        "offset_sigma": float(noise_sigma if offset_sigma is None else offset_sigma),
        "noise_sigma": float(noise_sigma),
        "min_frames": int(min_frames),
    }
    out["bad_pixels"] = map_frames(
        dark_flags, out["pedestal"], out["noise"], out["n_frames"],
        core_dims=(SLOW, FAST), dtype=np.uint32, **limits,
    )  # fmt: skip
    what = {
        "pedestal": "mean of dark frames", "noise": "standard deviation of dark frames",
        "n_frames": "number of dark frames", "bad_pixels": "bad-pixel bits, 0 is good",
    }  # fmt: skip
    unit = str(da.attrs.get(UNITS, "adu"))
    for name, text in what.items():
        one = name in ("n_frames", "bad_pixels")
        out[name].attrs = {UNITS: "1" if one else unit, LONG_NAME: text}
    out.attrs = dict(da.attrs)
    return record(out, "dark_statistics", da, by=list(kept), **limits)


def by_cell(
    da: xr.DataArray, kept: tuple[str, ...]
) -> tuple[xr.DataArray, tuple[str, ...]]:
    """Return the array with ``cell`` in place of ``pulse`` if that is asked for."""
    if CELL not in kept or CELL in da.dims:
        return da, kept
    cell = da.coords.get(CELL)
    if cell is None or cell.dims != (PULSE,):
        where = None if cell is None else cell.dims
        hint = "use layout='train'" if FRAME in da.dims else "use by='pulse'"
        raise ValueError(
            "by='cell' needs one memory cell for each pulse in all trains; the"
            " coordinate"
            f" 'cell' is on {where}; {hint}"
        )
    return da.swap_dims({PULSE: CELL}), kept
