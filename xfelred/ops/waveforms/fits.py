"""Traces fitted with shapes that are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError, GeometryMismatchError, must_be_one_of
from xfelred.kernels.waveforms import traces as kernel
from xfelred.lazy import map_frames
from xfelred.names import SAMPLE
from xfelred.ops.variables import unit_of, variables
from xfelred.ops.waveforms.traces import Window, numbers, window_of
from xfelred.provenance import record

COEFFICIENT = "coefficient"
WAVEFORM_PULSE = "waveform_pulse"


@entry
def waveform_fit(wf: xr.DataArray, templates: ArrayLike) -> xr.Dataset:
    """Fit every trace with a sum of templates.

    Parameters
    ----------
    wf : DataArray, any real dtype (..., sample)
        Traces, in memory or lazy.
    templates : array (template, sample) or (sample,)
        Shapes, shifted to where they are expected.

    Returns
    -------
    Dataset
        Lazy: ``amplitude`` (..., coefficient), float64, of each template by least
        squares; ``score`` (...), the share of the variance that they explain.

    Raises
    ------
    GeometryMismatchError
        If `wf` has no dim ``sample``, or templates are of another length.

    Examples
    --------
    >>> shape = np.array([0.0, 1, 2, 1])
    >>> found = waveform_fit(xr.DataArray(3 * shape, dims="sample"), shape)
    >>> round(float(found.amplitude[0]), 9), round(float(found.score), 9)
    (3.0, 1.0)
    """
    shapes = shapes_of("templates", templates, numbers(wf).sizes[SAMPLE])
    packed, score = fitted(wf, shapes.T)
    amplitude = packed, unit_of(wf), "amplitude of a template"
    out = variables(wf, amplitude=amplitude, score=score)
    return record(out, "waveform_fit", wf, templates=shapes)


@entry
def waveform_svd(
    wf: xr.DataArray,
    basis: ArrayLike,
    *,
    n_pulses: int = 1,
    delay: float | Sequence[float] = 0.0,
    sampling: float = 1.0,
    roi: Window | None = None,
    background_roi: int | None = None,
    mode: str = "max",
) -> xr.Dataset:
    """Fit every trace with components of the shape of one pulse, for several pulses.

    Parameters
    ----------
    wf : DataArray, any real dtype (..., sample)
        Traces, in memory or lazy.
    basis : array (component, sample)
        Of a pulse alone, as a singular value decomposition of many gives them.
    n_pulses : int
        In a trace.
    delay : float or sequence of float
        Of each pulse behind the first, in units of `sampling`; one number: of each
        behind the last one. Whole samples count; what is shifted beyond an end of the
        basis comes in at the other one.
    sampling : float
        Time of a sample.
    roi : (start, stop), optional
        Samples that are fitted; the basis is of these.
    background_roi : int, optional
        So many samples at the start, of the whole trace, whose mean is subtracted.
    mode : {"max", "norm", "both"}
        Intensity of a pulse: the highest sample of its fit, or the norm of its
        coefficients.

    Returns
    -------
    Dataset
        Lazy: ``intensities`` (..., waveform_pulse), float64, or ``intensities_max`` and
        ``intensities_norm``; ``coefficients`` (..., coefficient); ``score`` (...), the
        share of the variance that is explained.

    Raises
    ------
    GeometryMismatchError
        If `wf` has no dim ``sample``, or the basis is of another length.
    ArgumentError
        If there are not as many delays as pulses.

    Notes
    -----
    svdFit of the LCLS smalldata_tools.

    Examples
    --------
    >>> shape = np.array([0, 0.6, 0.8, 0, 0, 0])
    >>> wf = xr.DataArray([0, 6.0, 8, 0, 3, 4], dims="sample")
    >>> found = waveform_svd(wf, [shape], n_pulses=2, delay=[0, 3])
    >>> found.intensities.values.round(9)
    array([8., 4.])
    """
    must_be_one_of("mode", mode, ("max", "norm", "both"))
    traces = numbers(wf)
    if background_roi is not None:
        first = window_of(wf, "background_roi", (0, background_roi))
        traces = traces - traces.isel({SAMPLE: slice(*first)}).mean(SAMPLE)
    traces = traces.isel({SAMPLE: slice(*window_of(wf, "roi", roi or (None, None)))})
    shapes = shapes_of("basis", basis, traces.sizes[SAMPLE])
    steps = steps_of(n_pulses, delay, sampling)
    if max(map(abs, steps)) >= traces.sizes[SAMPLE]:
        raise ArgumentError(
            f"delay={delay!r} is {max(steps, key=abs)} samples, as long as the"
            f" {traces.sizes[SAMPLE]} that are fitted"
        )
    stacked = np.concatenate([np.roll(shapes.T, s, axis=0) for s in steps], axis=1)
    coefficients, score = fitted(traces, stacked)
    found = {}
    for name in ("max", "norm") if mode == "both" else (mode,):
        values = map_frames(
            kernel.pulse_intensities,
            coefficients,
            core_dims=(COEFFICIENT,),
            out_core={WAVEFORM_PULSE: n_pulses},
            dtype=np.float64,
            basis=stacked,
            n_pulses=int(n_pulses),
            largest=name == "max",
        )
        label = f"intensities_{name}" if mode == "both" else "intensities"
        found[label] = (values, unit_of(wf), "intensity of a pulse")
    out = variables(
        wf,
        **found,
        coefficients=(coefficients, unit_of(wf), "coefficients of the fit"),
        score=score,
    )
    return record(
        out,
        "waveform_svd",
        wf,
        basis=shapes,
        n_pulses=n_pulses,
        delay=list(map(int, steps)),
        sampling=sampling,
        roi=roi and list(roi),
        background_roi=background_roi,
        mode=mode,
    )


def steps_of(
    n_pulses: int, delay: float | Sequence[float], sampling: float
) -> list[int]:
    """Return by how many samples each pulse is behind the first."""
    if n_pulses < 1 or not sampling > 0:
        raise ArgumentError(
            f"n_pulses={n_pulses} and sampling={sampling} must be above 0"
        )
    delays = np.atleast_1d(np.asarray(delay, np.float64)).tolist()
    if np.ndim(delay) == 0:
        delays = [delays[0] * i for i in range(n_pulses)]
    if len(delays) != n_pulses or not np.isfinite(delays).all():
        raise ArgumentError(
            f"delay={delay!r}: wanted one for each of {n_pulses} pulses"
        )
    return [int(d / sampling) for d in delays]


def fitted(
    wf: xr.DataArray, basis: NDArray[np.float64]
) -> tuple[xr.DataArray, tuple[xr.DataArray, str, str]]:
    """Return coefficients, and the score with its unit and name."""
    packed = map_frames(
        kernel.fit,
        wf,
        core_dims=(SAMPLE,),
        out_core={COEFFICIENT: basis.shape[1] + 1},
        dtype=np.float64,
        basis=basis,
        projector=np.linalg.pinv(basis),
        n_out=basis.shape[1] + 1,
    )
    score = packed.isel({COEFFICIENT: -1}), "1", "share of the variance explained"
    return packed.isel({COEFFICIENT: slice(0, -1)}), score


def shapes_of(name: str, given: ArrayLike, n_samples: int) -> NDArray[np.float64]:
    """Return shapes as (shape, sample), or raise where they do not fit the traces."""
    shapes = np.atleast_2d(np.asarray(given, np.float64))
    if shapes.ndim != 2 or shapes.shape[1] != n_samples:
        raise GeometryMismatchError(
            f"{name} have the shape {np.shape(given)}; wanted (n, {n_samples}), as long"
            " as the traces"
        )
    if not np.isfinite(shapes).all() or not shapes.any():
        raise ArgumentError(f"{name} hold NaN or infinity, or only 0")
    return shapes
