"""Common mode of LCLS detectors, by the numbers that their users know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import xarray as xr

from xfelred.detectors import Detector, Segment
from xfelred.detectors.lcls import DARK_COLUMNS
from xfelred.entries import check, entry
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.kernels.common_mode.segments import Stage
from xfelred.kernels.per_frame import without_ghosts
from xfelred.lazy import map_frames
from xfelred.names import FAST, FRAME, SLOW, TRAIN
from xfelred.ops.common_mode.lcls_stages import dark_region, stages_of
from xfelred.ops.common_mode.subtract_common_mode import (
    check_pixels,
    companions_of,
    corrected,
)
from xfelred.ops.companions import Mask
from xfelred.ops.lcls_common_modes import cmpars_of, detector_of

Region = tuple[tuple[int, int], tuple[int, int]]
Ghost = tuple[xr.DataArray | float, xr.DataArray | float]


@overload
def subtract_common_mode_lcls(
    da: xr.DataArray, number: int | None = ..., *, detector: str,
    cmpars: Sequence[Any] | None = ..., bad_pixels: Mask | None = ...,
    noise: xr.DataArray | None = ..., gain_range: xr.DataArray | None = ...,
    dark_roi: Region | None = ..., ghost: Ghost | None = ...,
    previous: xr.DataArray | None = ..., lcls2: bool = ..., full: Literal[False] = ...,
) -> xr.DataArray: ...  # fmt: skip


@overload
def subtract_common_mode_lcls(
    da: xr.DataArray, number: int | None = ..., *, detector: str,
    cmpars: Sequence[Any] | None = ..., bad_pixels: Mask | None = ...,
    noise: xr.DataArray | None = ..., gain_range: xr.DataArray | None = ...,
    dark_roi: Region | None = ..., ghost: Ghost | None = ...,
    previous: xr.DataArray | None = ..., lcls2: bool = ..., full: Literal[True],
) -> xr.Dataset: ...  # fmt: skip


@entry(own=("noise", "gain_range", "previous", "dark_roi", "ghost"))
def subtract_common_mode_lcls(
    da: xr.DataArray,
    number: int | None = None,
    *,
    detector: str,
    cmpars: Sequence[Any] | None = None,
    bad_pixels: Mask | None = None,
    noise: xr.DataArray | None = None,
    gain_range: xr.DataArray | None = None,
    dark_roi: Region | None = None,
    ghost: Ghost | None = None,
    previous: xr.DataArray | None = None,
    lcls2: bool = False,
    full: bool = False,
) -> xr.DataArray | xr.Dataset:
    """Subtract the common mode that a number, or cmpars, stands for at LCLS.

    Parameters
    ----------
    da : DataArray, real (..., slow_scan, fast_scan), adu
        Pedestal-subtracted frames, before any gain factor. NaN pixels take no part.
    number : int, optional
        As in `DetObject`; by default that of the detector. No number applies a gain.
    detector : str
        jungfrau, epix10ka, epix100, epixhr, cspad, cspad2x2 (185 x 388 modules), pnccd,
        uxi, icarus, andor3d, princeton or camera, or a name such as "epix10k2M".
    cmpars : sequence, optional
        Instead of a number: (1, mean_max, sigma_max, n_threshold, use_unbonded),
        (2 or 3, threshold, max_correction, length), (4, bits, half_range,
        max_correction), (5, max_correction), (6, max_correction, histogram_range,
        colrow, min_fraction, norm_all), (7 or 0, mode, max_correction, min_pixels),
        (8, mode, max_correction, min_pixels), or ("uxi", photon_threshold,
        max_correction, min_fraction, mask_neighbours).
    bad_pixels : DataArray or array, optional
        Non-zero: takes no part. Algorithms 7 and 8 also leave bad pixels unchanged.
    noise : DataArray, optional, adu
        Standard deviation of every pixel: for algorithm 6 and the numbers that use it.
    gain_range : DataArray, optional, integer
        Of every pixel: only range 0 (epix10ka: index 0, 1, 3, 4) takes part and is
        corrected.
    dark_roi : ((first row, end), (first column, end)), optional
        uxi and icarus: the median of these pixels is subtracted first.
    ghost : (p0, p1), optional
        epix10ka, numbers above 100: p0 + p1 * previous frame is subtracted, too.
    previous : DataArray, optional
        The frames before those of `da`; by default its own neighbours. Before the
        first there is none, and only p0 is subtracted.
    lcls2 : bool
        The parameters that LCLS2 gives the numbers of epix10ka.
    full : bool
        Also return the offsets.

    Returns
    -------
    DataArray (...), adu
        Lazy; dtype as of `subtract_common_mode`. Where no offset is found, or it is
        not believed, pixels stay as they are.
    Dataset
        If `full`: `corrected`, `offset` and `n_used`, as of `subtract_common_mode`.
        Number 98 of icarus only notes its offset.

    Raises
    ------
    ValueError
        If the detector, number or algorithm does not exist, or parameters do not fit.
    MissingConstantError
        If the noise or the dark region is needed.
    GeometryMismatchError
        If the pixels are not those of the detector, or a companion does not fit.

    Notes
    -----
    Behaviour of psana and smalldata_tools, without their faults: all pixels lose the
    mean of `norm_all`, photons as well; the smallest fraction of uxi is one of its
    groups. The peers use no mask for Jungfrau, Epix100 and CsPad unless told to.
    """
    found = detector_of(detector)
    check("ops.subtract_common_mode_lcls", "cmpars", cmpars, list | tuple | None)
    check("ops.subtract_common_mode_lcls", "gain_range", gain_range, Mask | None)
    pars = cmpars_of(found, number, lcls2=lcls2) if cmpars is None else tuple(cmpars)
    segment = segment_for(found, da)
    check_pixels(da, segment)
    ranges = found.gain.used_ranges if found.gain.switches else ()
    if gain_range is not None and not ranges:
        raise ArgumentError(
            f"gain_range: {found.kind} does not switch its gain; leave it out"
        )
    masked = bad_pixels is not None or gain_range is not None
    stages = all_stages(found, number, pars, segment, dark_roi, masked)
    per_noise = any(getattr(stage, "per_noise", False) for stage in stages)
    if per_noise and noise is None:
        raise MissingConstantError(
            f"common mode {number if cmpars is None else pars} of {found.kind} leaves"
            " out pixels above 10 times their noise; pass noise= (adu, for every pixel)"
        )
    given: dict[str, Mask | None] = {"bad_pixels": bad_pixels, "gain_range": gain_range}
    # The noise that no stage looks at need not fit.
    companions = companions_of(da, {**given, "noise": noise if per_noise else None})
    params = {
        **given,
        "number": number,
        "detector": detector,
        "noise": noise,
        "lcls2": lcls2,
        "cmpars": None if cmpars is None else pars,
        "dark_roi": dark_roi,
        "ghost": ghost,
        "previous": previous,
    }
    out = corrected(
        da,
        stages,
        companions,
        "subtract_common_mode_lcls",
        params,
        full=full,
        gain_ranges=ranges,
    )
    if not wants_ghost(found, number, ghost):
        return out
    before = shifted(da) if previous is None else previous
    if isinstance(out, xr.DataArray):
        return less_ghost(out, before, ghost)
    return out.assign(corrected=less_ghost(out["corrected"], before, ghost))


def all_stages(
    detector: Detector,
    number: int | None,
    pars: tuple[Any, ...],
    segment: Segment,
    dark_roi: Region | None,
    masked: bool,
) -> tuple[Stage, ...]:
    has_dark = detector.modes is not None and detector.modes.dark_region
    if dark_roi is not None and not has_dark:
        raise ArgumentError(f"dark_roi is for uxi and icarus, not for {detector.kind}")
    if pars[:1] == ("dark_columns",):
        region = ((0, segment.shape[0]), DARK_COLUMNS)
        dark = dark_region("dark_columns", region, segment, apply=bool(pars[1]))
        return (dark,)
    first: tuple[Stage, ...] = ()
    if dark_roi is not None:
        first = (dark_region("dark_roi", dark_roi, segment),)
    elif number in (80, 81) and has_dark:
        raise MissingConstantError(
            f"common mode {number} of {detector.kind} needs a region without light;"
            " pass dark_roi=((first row, end), (first column, end))"
        )
    if pars[:1] == ("dark_roi",):
        return first
    # Rows of an Andor are its runs.
    pars = tuple(segment.shape[1] if p == "columns" else p for p in pars)
    return (*first, *stages_of(pars, segment, masked))


def segment_for(detector: Detector, da: xr.DataArray) -> Segment:
    """Return how a module is divided; that of a camera is its whole frame."""
    if detector.segment is not None:
        return detector.segment
    if SLOW not in da.dims or FAST not in da.dims:
        raise ArgumentError(f"the data have dims {da.dims}; wanted {SLOW} and {FAST}")
    return Segment((da.sizes[SLOW], da.sizes[FAST]))


def wants_ghost(detector: Detector, number: int | None, ghost: Ghost | None) -> bool:
    """Tell whether ghosts are subtracted; raise if that cannot be."""
    if ghost is not None and not (detector.modes and detector.modes.ghosts):
        raise ArgumentError(f"ghost is for epix10ka, not for {detector.kind}")
    if ghost is None and number is not None and number > 100:
        raise MissingConstantError(
            f"common mode {number} subtracts p0 + p1 * previous frame; pass ghost="
            f"(p0, p1), or {number % 100} for the common mode alone"
        )
    return ghost is not None


def less_ghost(
    out: xr.DataArray, previous: xr.DataArray, ghost: Ghost | None
) -> xr.DataArray:
    """Return frames without what is left of the ones before."""
    p0, p1 = (
        p if isinstance(p, xr.DataArray) else xr.DataArray(float(p))
        for p in ghost or (0.0, 0.0)
    )
    companions = companions_of(out, {"previous": previous, "p0": p0, "p1": p1})
    return map_frames(without_ghosts, out, *companions.values(), name="subtract_ghosts")


def shifted(da: xr.DataArray) -> xr.DataArray:
    """Return the frame before each, zeros before the first."""
    dim = next((d for d in (TRAIN, FRAME) if d in da.dims), None)
    if dim is None:
        raise ArgumentError(
            f"ghost: the data have dims {da.dims}, and none is {TRAIN!r} or {FRAME!r};"
            " pass previous="
        )
    # Zeros before the first: of the ghost only p0 is left.
    return da.shift({dim: 1}, fill_value=0)
