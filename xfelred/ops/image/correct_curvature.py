"""Lines that a spectrometer bends, made straight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, must_be_one_of
from xfelred.kernels.image import masking as kernel
from xfelred.lazy import map_frames
from xfelred.names import FAST, SLOW
from xfelred.ops.validity import frame_pixels
from xfelred.provenance import record


@entry
def correct_curvature(
    da: xr.DataArray, coefficients: Sequence[float], axis: str = FAST
) -> xr.DataArray:
    """Shift the rows, or columns, of every module by a polynomial of their number.

    Parameters
    ----------
    da : DataArray, any dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy; a mask of bad pixels must be shifted likewise.
    coefficients : sequence of float
        Of the polynomial, the highest power first: the shift in pixels, which is
        rounded, towards lower positions; its least value is no shift.
    axis : {"fast_scan", "slow_scan"}
        Along which pixels are shifted: rows along fast_scan, columns along slow_scan.
        They wrap round.

    Returns
    -------
    DataArray, as `da`

    Raises
    ------
    ArgumentError
        If the coefficients are no numbers, or the axis another one.

    Notes
    -----
    PolynomialCurveCorrection of the LCLS smalldata_tools (its method "roll", where axis
    0 is ``fast_scan``); another of its methods shifts the other way.

    Examples
    --------
    >>> frame = xr.DataArray([[1, 2, 3], [3, 1, 2]], dims=("slow_scan", "fast_scan"))
    >>> correct_curvature(frame, [1, 0]).values
    array([[1, 2, 3],
           [1, 2, 3]])
    """
    frame_pixels(da, "curved lines")
    must_be_one_of("axis", axis, (FAST, SLOW))
    powers = np.asarray(coefficients, np.float64)
    if powers.ndim != 1 or not len(powers) or not np.isfinite(powers).all():
        raise ArgumentError(f"coefficients={coefficients!r}; wanted some numbers")
    lines = da.sizes[SLOW if axis == FAST else FAST]
    shift = np.polyval(powers, np.arange(lines))
    steps = np.round(shift - shift.min(initial=np.inf)).astype(np.int64)
    out = map_frames(
        kernel.shifted,
        da,
        core_dims=(SLOW, FAST),
        steps=tuple(steps.tolist()),
        along_rows=axis == FAST,
    )
    return record(out, "correct_curvature", da, coefficients=powers.tolist(), axis=axis)
