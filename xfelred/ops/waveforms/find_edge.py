"""The edge that a time tool shows, in every shot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    SelectionEmptyError,
    must_be_one_of,
)
from xfelred.kernels.waveforms import edges as kernel
from xfelred.lazy import map_frames
from xfelred.names import FAST, PIXEL_DIMS, QUANTITY, SAMPLE, SLOW
from xfelred.ops.companions import matching
from xfelred.ops.image.project import project
from xfelred.ops.reductions.statistics import statistics
from xfelred.ops.variables import variables
from xfelred.ops.waveforms.traces import Window, numbers, window_of
from xfelred.provenance import record
from xfelred.shots import at_shots, in_memory, shot_dims

Background = xr.DataArray | ArrayLike


@entry(own=("roi", "step"))
def find_edge(
    da: xr.DataArray,
    *,
    roi: Window | Sequence[Window] | None = None,
    background: Background | None = None,
    dark: Background | None = None,
    step: int | Sequence[float] = 50,
    falling: bool = True,
    along: str = FAST,
) -> xr.Dataset:
    """Find the edge in the trace, or the camera, of a time tool.

    Parameters
    ----------
    da : DataArray, any real dtype
        Traces (..., sample), or frames (..., [module,] slow_scan, fast_scan) that are
        averaged to traces first; in memory or lazy.
    roi : (start, stop), or two of them, optional
        Samples; or the (low, high) of slow_scan and fast_scan of a camera.
    background : DataArray or array, optional
        Trace, or frame, of shots without X-rays, such as their mean: the signal is
        divided by it. As `da`, without frame dims or with those of `da`, of which each
        shot gets its own. Or bool (train[, pulse]), joined by ID: which shots are such,
        whose mean is taken.
    dark : DataArray or array, optional
        Without any light, or which shots have none: subtracted from both.
    step : int or sequence of float
        Samples on either side of the edge whose means are compared; or the weights of
        a filter of your own, to be summed with the samples.
    falling : bool
        The signal is lower behind the edge. Weights of your own are used as they are.
    along : {"fast_scan", "slow_scan"}
        The axis of a camera that is the time.

    Returns
    -------
    Dataset (...)
        Lazy, float64: ``position``, in samples of the whole trace; a step between
        samples 4 and 5 is at 4.5. ``amplitude``, by how much the signal changes;
        ``fwhm`` in samples; ``next_amplitude`` of the next maximum beside it. Position
        and width are NaN where the largest change is at an end of the trace; all are
        where a sample is NaN, or the background is not above the dark.

    Raises
    ------
    GeometryMismatchError
        If `da` has no samples or pixels, a region holds none, or a background does not
        fit.
    SelectionEmptyError
        If no shot is one of those of the background.
    ArgumentError
        If the filter is longer than the trace, or is none.

    Notes
    -----
    FLTPOS, AMPL, FLTPOSFWHM and AMPLNXT of the time tool of LCLS: the trace over its
    background is correlated with a step, and a parabola through the highest point and
    its neighbours gives the position.

    Examples
    --------
    >>> trace = xr.DataArray([8.0, 8, 8, 8, 8, 2, 2, 2, 2, 2], dims="sample")
    >>> found = find_edge(trace, step=2, background=np.full(10, 8.0))
    >>> float(found["position"]), float(found["amplitude"])
    (4.5, 0.75)
    """
    must_be_one_of("along", along, (FAST, SLOW))
    camera = SAMPLE not in da.dims and SLOW in da.dims
    cut = cut_of(da, roi, camera, along)
    traces = as_traces(da, cut, along)
    others = [
        mean_of(traces, value, name)
        if isinstance(value, xr.DataArray) and are_flags(value)
        else companion(value, da, name, cut, along)
        for name, value in (("dark", dark), ("background", background))
        if value is not None
    ]
    clean = map_frames(
        kernel.ratio,
        traces,
        *others,
        core_dims=(SAMPLE,),
        dtype=np.float64,
        n_dark=int(dark is not None),
    )
    weights = weights_of(step, falling, traces.sizes[SAMPLE])
    packed = map_frames(
        kernel.find_edge,
        clean,
        core_dims=(SAMPLE,),
        out_core={QUANTITY: kernel.N_QUANTITIES},
        dtype=np.float64,
        weights=weights,
        first=cut[along if camera else SAMPLE].start or 0,
    )
    values = [packed.isel({QUANTITY: k}) for k in range(kernel.N_QUANTITIES)]
    unit = "1" if background is not None else str(da.attrs.get("units", "adu"))
    out = variables(
        da,
        position=(values[kernel.POSITION], "sample", "position of the edge"),
        amplitude=(values[kernel.AMPLITUDE], unit, "change of the signal at the edge"),
        fwhm=(values[kernel.FWHM], "sample", "width of the answer of the filter"),
        next_amplitude=(values[kernel.NEXT], unit, "change at the next best edge"),
    )
    return record(
        out,
        "find_edge",
        da,
        roi=roi,
        background=background,
        dark=dark,
        step=step,
        falling=falling,
        along=along,
    )


def cut_of(
    da: xr.DataArray, roi: Window | Sequence[Window] | None, camera: bool, along: str
) -> dict[str, slice]:
    """Return the region of a trace or a camera, by dims."""
    if not camera:
        numbers(da)
    dims = (SLOW, FAST) if camera else (SAMPLE,)
    given = [(None, None)] * len(dims) if roi is None else roi
    try:
        windows: list[Any] = [*given] if camera or roi is None else [given]
        found = {
            d: slice(*window_of(da.rename({d: SAMPLE}), "roi", w))
            for d, w in zip(dims, windows, strict=True)
        }
    except (TypeError, ValueError) as error:
        if isinstance(error, GeometryMismatchError):
            raise
        raise ArgumentError(
            f"roi: wanted {'two of ' if camera else ''}(start, stop) in whole"
            f" {'pixels' if camera else 'samples'}"
        ) from error
    return found


def as_traces(da: xr.DataArray, cut: dict[str, slice], along: str) -> xr.DataArray:
    """Return the samples of a region, pixels of other axes averaged."""
    part = da.isel(cut)
    if SAMPLE in cut:
        return part
    away = [d for d in PIXEL_DIMS if d in da.dims and d != along]
    traces = project(part, away, mean=True)["data"]
    return traces.drop_vars(along, errors="ignore").rename({along: SAMPLE})


def are_flags(value: xr.DataArray) -> bool:
    of_shots = bool(value.dims) and not {SAMPLE, SLOW, FAST} & set(value.dims)
    if of_shots and value.dtype != bool:
        raise ArgumentError(
            f"{value.name or 'flags'} of shots have dtype {value.dtype}; wanted bool,"
            " such as (light == 0)"
        )
    return of_shots


def mean_of(traces: xr.DataArray, flags: xr.DataArray, name: str) -> xr.DataArray:
    """Return the mean trace of the shots that are flagged; others are not read."""
    kept = in_memory(at_shots(flags, traces, name)).fillna(0) != 0
    if not kept.any():
        raise SelectionEmptyError(
            f"{name}: none of {kept.size} shots is flagged; there is no {name} to take"
        )
    first, *rest = shot_dims(traces)
    rows = np.flatnonzero(kept.any([d for d in rest if d in kept.dims]))
    chosen, mine = (x.isel({first: rows}) for x in (traces, kept))
    if not mine.all():
        chosen = chosen.where(mine)
    return statistics(chosen, [first, *rest], which=("mean",))["mean"]


def companion(
    value: Background, da: xr.DataArray, name: str, cut: dict[str, slice], along: str
) -> xr.DataArray:
    """Return a dark or background as traces that fit those of the data."""
    known: xr.DataArray
    if isinstance(value, xr.DataArray):
        known = value
    else:
        dims = (SLOW, FAST) if SLOW in cut else (SAMPLE,)
        shape = tuple(da.sizes[d] for d in dims)
        if np.shape(value) != shape:
            raise GeometryMismatchError(
                f"{name} has the shape {np.shape(value)}; wanted {shape}, as the data"
            )
        known = xr.DataArray(np.asarray(value), dims=dims)
    if known.dtype.kind not in "iufb":
        raise ArgumentError(f"{name} has dtype {known.dtype}; wanted numbers")
    fitting = matching(known, da, name)
    if lacking := [d for d in cut if d not in fitting.dims]:
        raise GeometryMismatchError(f"{name} lacks the dims {lacking} of the data")
    return as_traces(fitting, cut, along)


def weights_of(
    step: int | Sequence[float], falling: bool, n_samples: int
) -> tuple[float, ...]:
    """Return the weights of the filter."""
    if isinstance(step, int | np.integer) and not isinstance(step, bool):
        half = np.full(max(int(step), 0), 1 / max(int(step), 1))
        weights = np.concatenate([half, -half] if falling else [-half, half])
    else:
        try:
            weights = np.asarray(step, np.float64)
        except (TypeError, ValueError):
            weights = np.array([])
    if weights.ndim != 1 or not np.isfinite(weights).all() or not weights.any():
        raise ArgumentError(
            "step: wanted a number of samples from 1, or the weights of a filter"
        )
    if len(weights) > n_samples:
        raise ArgumentError(
            f"step: a filter of {len(weights)} samples is longer than the trace of"
            f" {n_samples}"
        )
    return tuple(weights.tolist())
