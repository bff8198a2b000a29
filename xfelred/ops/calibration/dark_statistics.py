"""Pedestal, noise and bad pixels from dark frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, warn
from xfelred.kernels.calibration.dark import dark_flags
from xfelred.lazy import map_frames
from xfelred.names import (
    CELL,
    DATA_GAIN,
    DATA_KIND,
    FAST,
    GAIN,
    GAIN_RANGE,
    MODULE,
    PULSE,
    SHUTTER_OPEN,
    SLOW,
)
from xfelred.ops.calibration.dark_gains import (
    checked_ranges,
    in_ranges,
    joined,
    of_one_range,
    with_thresholds,
)
from xfelred.ops.companions import Mask
from xfelred.ops.reductions.statistics import statistics
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

# Dims over which frames are never averaged.
STAY = (MODULE, GAIN, DATA_GAIN, GAIN_RANGE, SLOW, FAST)
Limits = tuple[float, float]


@entry
def dark_statistics(
    da: xr.DataArray | Mapping[int, xr.DataArray],
    *,
    by: str | Sequence[str] | None = None,
    kind: str | None = None,
    gain_index: xr.DataArray | None = None,
    noise_sigma: float = 5.0,
    offset_sigma: float | None = None,
    noise_limits: Limits | None = None,
    offset_limits: Limits | None = None,
    min_frames: int = 2,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Return pedestal, noise and bad pixels of dark frames.

    Parameters
    ----------
    da : DataArray, any real dtype (train, pulse, module, slow_scan, fast_scan)
        Dark frames, or ``(frame, module, ...)``; also with gain axes. Or a dict of the
        frames of one run for each gain range, ``{0: high, 1: medium, 2: low}``.
    by : str or sequence of str, optional
        Frame dims to keep, such as ``"pulse"``; or one coordinate on frame dims, such
        as ``"cell"`` or ``"step"``, each value of which has constants of its own. By
        default all frames together.
    kind : str, optional
        Of `ops.calibrate`, for raw frames with gain bits: these are masked out, and
        every pixel of every frame counts for the gain range it was in. agipd with a
        dict: the thresholds of the gain voltage are found as well.
    gain_index : DataArray, integer, optional
        As of `ops.calibrate`, in place of gain bits.
    noise_sigma, offset_sigma : float, optional
        A pixel is bad if its noise, or its pedestal, is further than this from the
        median of its module, in robust sigma (1.4826 times the median absolute
        deviation). `offset_sigma` is `noise_sigma` by default.
    noise_limits, offset_limits : (lowest, highest), optional, adu
        A pixel with its noise, or its pedestal, outside is bad, too.
    min_frames : int, optional
        Pixels with fewer frames are bad.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must be left out.

    Returns
    -------
    Dataset
        Lazy: ``pedestal`` (mean) and ``noise`` (sample standard deviation, ddof 1),
        float64 in the unit of `da`; ``n_frames`` int64; ``bad_pixels`` uint32 with the
        bits of `masks.names`: OFFSET_OUT_OF_THRESHOLD, NOISE_OUT_OF_THRESHOLD,
        OFFSET_NOISE_EVAL_ERROR, NO_DARK_DATA, DATA_STD_IS_ZERO. With ``gain_range``
        first where the gain switches: as `ops.calibrate` takes it.

    Raises
    ------
    ValueError
        If `by` is not a frame dim or coordinate, cells differ between trains in a dim
        that is kept, or an option is wrong.
    MissingConstantError
        If nothing tells the gain range.
    GeometryMismatchError
        If the runs of a dict differ in modules, pixels or cells.
    """
    options: dict[str, Any] = {
        "by": by,
        "noise_sigma": float(noise_sigma),
        "noise_limits": noise_limits,
        "offset_sigma": float(noise_sigma if offset_sigma is None else offset_sigma),
        "offset_limits": offset_limits,
        "min_frames": int(min_frames),
        "bad_pixels": bad_pixels,
    }
    check_limits(noise_limits=noise_limits, offset_limits=offset_limits)
    warn_unless_dark(list(da.values()) if isinstance(da, Mapping) else [da])
    if isinstance(da, Mapping):
        n_ranges = checked_ranges(da, kind)
        found = {
            int(k): of_all(of_one_range(one, int(k), kind, gain_index), **options)
            for k, one in da.items()
        }
        out = joined(found, n_ranges)
        if kind is not None and DATA_GAIN in out.dims:
            out = with_thresholds(out)
        parents = tuple(da.values())
    else:
        frames = da if kind is None else in_ranges(da, kind, gain_index)
        out = of_all(frames, **options)
        # As `ops.calibrate` takes constants.
        if GAIN_RANGE in out.dims:
            out = out.transpose(GAIN_RANGE, ...)
        parents = (da,)
    params = {k: v for k, v in options.items() if v is not None}
    return record(out, "dark_statistics", *parents, kind=kind, **params)


def warn_unless_dark(runs: Sequence[xr.DataArray]) -> None:
    for da in runs:
        kind = da.attrs.get(DATA_KIND, "raw")
        if kind != "raw":
            warn(
                f"these frames of {da.attrs.get('run', 'the run')} are {kind} already;"
                " dark constants are made from raw ones, such as"
                " xf.open_run(..., data='raw')"
            )
        lit = da.coords.get(SHUTTER_OPEN)
        if lit is not None and bool(lit.any()):
            warn(
                f"{int(lit.sum())} of {lit.size} shots of {da.attrs.get('run')} were"
                " taken with the shutter open, so they are not dark; select those that"
                " are: run.select_trains(run.darks)"
            )


def of_all(
    da: xr.DataArray,
    *,
    by: str | Sequence[str] | None,
    bad_pixels: Mask | None,
    **limits: Any,
) -> xr.Dataset:
    """Return the constants of dark frames, in one gain range or with a gain axis."""
    wanted = (by,) if isinstance(by, str) else tuple(by or ())
    da, kept, grouped = by_what(da, wanted)
    if SLOW not in da.dims or FAST not in da.dims:
        raise ArgumentError(f"dark frames need {SLOW} and {FAST}; got {da.dims}")
    dims = [str(d) for d in da.dims if d not in (*STAY, *kept)]
    found = statistics(
        da,
        dims,
        which=("mean", "std", "count"),
        bad_pixels=bad_pixels,
        ddof=1,
        by=grouped,
    )
    mean, std, count = (found[name] for name in ("mean", "std", "count"))
    flags = map_frames(
        dark_flags,
        mean,
        std,
        count,
        core_dims=(SLOW, FAST),
        dtype=np.uint32,
        **limits,
    )
    return variables(
        da,
        pedestal=(mean, unit_of(da), "mean of dark frames"),
        noise=(std, unit_of(da), "standard deviation of dark frames"),
        n_frames=(count, "1", "number of dark frames"),
        bad_pixels=(flags, "1", "bad-pixel bits, 0 is good"),
    )


def check_limits(**limits: Limits | None) -> None:
    for name, given in limits.items():
        if given is not None and not (len(given) == 2 and given[0] < given[1]):
            raise ArgumentError(f"{name}={given}; wanted (lowest, highest), or None")


def by_what(
    da: xr.DataArray, wanted: tuple[str, ...]
) -> tuple[xr.DataArray, tuple[str, ...], str | None]:
    """Return (frames, dims to keep, coordinate to group by).

    Raises ValueError if a name is neither, or there are two coordinates.
    """
    frame_dims = [str(d) for d in da.dims if d not in STAY]
    if CELL in wanted and CELL not in da.coords:
        raise ArgumentError(
            "by='cell' needs the memory cell of every frame, the coordinate 'cell',"
            " which the frames do not have; use by='pulse'"
        )
    if CELL in wanted and CELL not in da.dims and da[CELL].dims == (PULSE,):
        # The same in every train: a dim that is kept needs no sorting into groups.
        da = da.swap_dims({PULSE: CELL})
        frame_dims = [str(d) for d in da.dims if d not in STAY]
    grouped = [d for d in wanted if d not in frame_dims]
    for d in grouped:
        on = set(da.coords[d].dims) if d in da.coords else set()
        if not on or not on <= set(frame_dims):
            raise ArgumentError(
                f"by={d!r} is not a frame dim, nor a coordinate on one; the frames have"
                f" {frame_dims}"
            )
    if len(grouped) > 1:
        raise ArgumentError(
            f"by={wanted}: {grouped} are coordinates, of which one can group frames"
        )
    return (
        da,
        tuple(d for d in wanted if d not in grouped),
        grouped[0] if grouped else None,
    )
