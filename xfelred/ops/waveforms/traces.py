"""Integrals and hits of traces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, not_nan
from xfelred.kernels.waveforms import traces as kernel
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, SAMPLE, UNITS
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

HIT = "hit"
Window = Sequence[int | None]


@entry
def waveform_integrate(
    wf: xr.DataArray,
    signal: Window = (None, None),
    background: Window | None = None,
    *,
    negative: bool = False,
) -> xr.Dataset:
    """Add up the samples of a window of every trace.

    Parameters
    ----------
    wf : DataArray, any real dtype (..., sample)
        Traces, in memory or lazy.
    signal : (start, stop)
        Samples to add up, half open; None is the end, and negative ones count from it.
    background : (start, stop), optional
        Samples whose median is subtracted first.
    negative : bool
        Pulses go down: the sum times -1.

    Returns
    -------
    Dataset (...)
        Lazy: ``integral``, float64.

    Raises
    ------
    GeometryMismatchError
        If `wf` has no dim ``sample``, or a window has no sample.

    Notes
    -----
    WfIntegration of the LCLS smalldata_tools.

    Examples
    --------
    >>> wf = xr.DataArray([1, 1, 4, 5, 1], dims="sample")
    >>> float(waveform_integrate(wf, (2, 4), (0, 2))["integral"])
    7.0
    """
    chosen = window_of(wf, "signal", signal)
    other = None if background is None else window_of(wf, "background", background)
    found = map_frames(
        kernel.integrate,
        numbers(wf),
        core_dims=(SAMPLE,),
        out_core={},
        dtype=np.float64,
        signal=chosen,
        background=other,
        sign=-1.0 if negative else 1.0,
    )
    out = variables(wf, integral=(found, unit_of(wf), "sum of samples"))
    return record(
        out,
        "waveform_integrate",
        wf,
        signal=list(chosen),
        background=other and list(other),
        negative=negative,
    )


@entry
def waveform_baseline(
    wf: xr.DataArray,
    background: Window = (None, None),
    *,
    window: Window = (None, None),
    period: int = 1,
) -> xr.DataArray:
    """Subtract the baseline of every trace, and cut out a window of it.

    Parameters
    ----------
    wf : DataArray, any real dtype (..., sample)
        Traces, in memory or lazy, such as raw ones of a digitizer; of channels that
        follow each other (hsd), a window is one of them.
    background : (start, stop)
        Samples of the whole trace whose median is the baseline, half open; None is the
        end, and negative ones count from it. By default all, which peaks that are
        short do not move.
    window : (start, stop)
        Samples of the whole trace that are returned.
    period : int
        Interleaved converters have baselines of their own: every so many-th sample has
        the same.

    Returns
    -------
    DataArray (..., sample)
        Lazy, float64; NaN where the background of a trace has one.

    Raises
    ------
    GeometryMismatchError
        If `wf` has no dim ``sample``, or a window has no sample.
    ArgumentError
        If the background is shorter than the period.

    Notes
    -----
    What hsdROIFunc and getCMPeak of the LCLS smalldata_tools begin with.

    Examples
    --------
    >>> wf = xr.DataArray([1, 2, 1, 2, 4, 7, 1, 2], dims="sample")
    >>> waveform_baseline(wf, (0, 4), window=(3, 7), period=2).values
    array([0., 3., 5., 0.])
    """
    first, last = window_of(wf, "background", background)
    start, stop = window_of(wf, "window", window)
    if not 1 <= period <= last - first:
        raise ArgumentError(
            f"period={period}; wanted 1 to {last - first}, the samples of background"
        )
    found = map_frames(
        kernel.without_baseline,
        numbers(wf),
        core_dims=(SAMPLE,),
        out_core={SAMPLE: stop - start},
        dtype=np.float64,
        background=(first, last),
        window=(start, stop),
        period=int(period),
    )
    if SAMPLE in wf.coords:
        kept = wf[SAMPLE].variable.isel({SAMPLE: slice(start, stop)})
        found = found.assign_coords({SAMPLE: kept})
    found.attrs = {**wf.attrs, UNITS: unit_of(wf), LONG_NAME: "trace over its baseline"}
    return record(
        found.rename("wf"),
        "waveform_baseline",
        wf,
        background=[first, last],
        window=[start, stop],
        period=period,
    )


@entry
def waveform_hits(
    wf: xr.DataArray,
    threshold: float,
    *,
    threshold_max: float | None = None,
    background: Window | None = None,
    noise: bool = False,
) -> xr.Dataset:
    """Mark the samples of every trace that are above a threshold.

    Parameters
    ----------
    wf : DataArray, any real dtype (..., sample)
        Traces, in memory or lazy.
    threshold : float
        In units of `wf`; with `noise` the mean plus so many standard deviations.
    threshold_max : float, optional
        What is above this is no hit.
    background : (start, stop), optional
        With `noise`: samples that mean and deviation are of; by default all.
    noise : bool

    Returns
    -------
    Dataset (..., sample)
        Lazy: ``hits``, uint8, 1 where there is one.

    Raises
    ------
    GeometryMismatchError
        If `wf` has no dim ``sample``, or a window has no sample.
    ArgumentError
        If `background` comes without `noise`, or no value can be a hit.

    Notes
    -----
    SimpleHitFinder of the LCLS smalldata_tools.

    Examples
    --------
    >>> wf = xr.DataArray([1, 1, 4, 9, 1], dims="sample")
    >>> waveform_hits(wf, 3, threshold_max=8)["hits"].values
    array([0, 0, 1, 0, 0], dtype=uint8)
    """
    not_nan(threshold=threshold, threshold_max=threshold_max)
    if background is not None and not noise:
        raise ArgumentError("background= is used with noise=True only")
    if not noise and threshold_max is not None and threshold_max <= threshold:
        raise ArgumentError(
            f"threshold_max={threshold_max} is not above threshold={threshold}"
        )
    other = None if background is None else window_of(wf, "background", background)
    found = map_frames(
        kernel.hits,
        numbers(wf),
        core_dims=(SAMPLE,),
        dtype=np.uint8,
        threshold=float(threshold),
        highest=np.inf if threshold_max is None else float(threshold_max),
        background=other,
        in_noise=bool(noise),
    )
    return record(
        variables(wf, hits=(found, "1", "1 where a sample is above the threshold")),
        "waveform_hits",
        wf,
        threshold=threshold,
        threshold_max=threshold_max,
        background=other and list(other),
        noise=noise,
    )


@entry
def waveform_cfd(
    wf: xr.DataArray,
    *,
    sample_interval: float = 1.0,
    threshold: float = 4.0,
    filter_length: int = 35,
    offset: int = 25,
    fraction: float = 0.75,
    max_hits: int = 100,
) -> xr.Dataset:
    """Find when peaks reach a constant fraction of their height.

    Parameters
    ----------
    wf : DataArray, any real dtype (..., sample)
        Traces, in memory or lazy; peaks go up or down, whichever is larger.
    sample_interval : float
        Time of a sample.
    threshold : float
        Peaks are where the trace is above so many of its standard deviations.
    filter_length : int, samples
        Of a Gaussian that the trace is smoothed with, 3 sigma on either side.
    offset : int, samples
        Distance of the two points of a rise that are compared.
    fraction : float
        The first of them has this share of the second one.
    max_hits : int
        Room for so many; further ones are only counted.

    Returns
    -------
    Dataset
        Lazy: ``n_hits`` (...), int64, all that were found; ``hit_index`` and
        ``hit_time`` (..., hit), float64, in samples, between which it is interpolated,
        and times `sample_interval`; NaN behind the last.

    Raises
    ------
    GeometryMismatchError
        If `wf` has no dim ``sample``.
    ArgumentError
        If a length or a fraction makes no sense.

    Notes
    -----
    hitFinderCFD of the LCLS smalldata_tools, whose positions are whole samples.

    Examples
    --------
    >>> peak = 100 * np.exp(-(((np.arange(400) - 200) / 30) ** 2))
    >>> found = waveform_cfd(xr.DataArray(peak, dims="sample"), threshold=2)
    >>> int(found.n_hits), bool(170 < found.hit_index[0] < 200)
    (1, True)
    """
    for name, value in {
        "filter_length": filter_length, "offset": offset, "max_hits": max_hits,
    }.items():  # fmt: skip
        if value < 1:
            raise ArgumentError(f"{name}={value} must be at least 1")
    not_nan(threshold=threshold, sample_interval=sample_interval)
    if not 0 < fraction < 1:
        raise ArgumentError(f"fraction={fraction} must be between 0 and 1")
    packed = map_frames(
        kernel.cfd,
        numbers(wf),
        core_dims=(SAMPLE,),
        out_core={HIT: 1 + max_hits},
        dtype=np.float64,
        threshold=float(threshold),
        filter_length=int(filter_length),
        offset=int(offset),
        fraction=float(fraction),
        max_hits=int(max_hits),
    )
    hits = {HIT: slice(1, None)}
    return record(
        variables(
            wf,
            n_hits=(packed.isel({HIT: 0}).astype(np.int64), "1", "number of hits"),
            hit_index=(packed.isel(hits), "1", "position of a hit in samples"),
            # Not of the other one, which dask.compute of the Dataset would lose.
            hit_time=((packed * sample_interval).isel(hits), "", "time of a hit"),
        ),
        "waveform_cfd",
        wf,
        sample_interval=sample_interval,
        threshold=threshold,
        filter_length=filter_length,
        offset=offset,
        fraction=fraction,
        max_hits=max_hits,
    )


def numbers(wf: xr.DataArray) -> xr.DataArray:
    """Return traces as numbers; an error where there are none."""
    if SAMPLE not in wf.dims:
        raise GeometryMismatchError(
            f"traces need a dim {SAMPLE!r}; got {wf.dims}: rename theirs"
        )
    if wf.dtype.kind not in "iufb":
        raise ArgumentError(f"traces of dtype {wf.dtype} are no numbers")
    return wf


def window_of(wf: xr.DataArray, name: str, given: Window) -> tuple[int, int]:
    """Return the first and the last sample of a window, which is not empty."""
    n = numbers(wf).sizes[SAMPLE]
    if len(given) != 2:
        raise ArgumentError(f"{name}={given!r}; wanted (start, stop)")
    start, stop, _ = slice(*given).indices(n)
    if stop <= start:
        raise GeometryMismatchError(
            f"{name}={tuple(given)} has no sample: there are 0 to {n - 1}"
        )
    return start, stop
