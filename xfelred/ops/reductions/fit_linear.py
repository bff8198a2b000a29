"""A straight line through every pixel, against a value per frame."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.names import UNITS
from xfelred.ops.reductions.grouping import against, coordinate, good_pixels
from xfelred.ops.variables import variables
from xfelred.provenance import record
from xfelred.shots import at_shots


@entry(own=("x",))
def fit_linear(
    da: xr.DataArray,
    x: str | xr.DataArray,
    *,
    by: str | xr.DataArray | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Fit ``pixel = intercept + slope * x`` over frames, in one pass.

    Parameters
    ----------
    da : DataArray, any real dtype (...[, module, slow_scan, fast_scan])
        Frames, or one number per frame, such as the mean of `ops.roi`; in memory or
        lazy. NaN is left out.
    x : str or DataArray
        A coordinate of `da`, such as "step_value", or an array with one value per frame
        or per shot, such as a flux: joined by labels, NaN and absent ones left out.
    by : str or DataArray, optional
        Fit the frames of each value of this coordinate apart.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel must be left out.

    Returns
    -------
    Dataset ([by,] [module, slow_scan, fast_scan])
        Lazy: ``slope``, ``intercept``, ``r2`` (share of the variance that the line
        explains) float64, and ``count``. NaN where `x` does not vary; r2 is NaN where
        the pixel does not.

    Raises
    ------
    ValueError
        If `x` or `by` do not belong to the frames.

    Notes
    -----
    Least squares with equal weights, as `numpy.polyfit` of degree 1; sums are of
    deviations from the first frame.
    """
    name = x if isinstance(x, str) else str(getattr(x, "name", None) or "x")
    values = coordinate(da, x) if isinstance(x, str) else at_shots(x, da, name)
    if values.dtype.kind not in "iufb":
        raise ArgumentError(f"x={name!r} has dtype {values.dtype}; wanted numbers")
    kinds = dict.fromkeys(("slope", "intercept", "r2"), np.float64)
    found = against(
        good_pixels(da, bad_pixels), values, {**kinds, "count": np.int64}, by=by,
    )  # fmt: skip
    unit, per = str(da.attrs.get(UNITS, "1")), str(values.attrs.get(UNITS, "1"))
    labels = {
        "slope": (unit if per == "1" else f"{unit}/({per})", f"slope against {name}"),
        "intercept": (unit, f"value at {name} = 0"),
        "r2": ("1", "share of the variance that the line explains"),
        "count": ("1", "number of frames in the fit"),
    }
    out = variables(da, **{k: (v, *labels[k]) for k, v in found.items()})
    # The history names a group by its coordinate, not by its values.
    group = by if by is None or isinstance(by, str) else by.name
    return record(
        out, "fit_linear", da, x=x if isinstance(x, str) else values, by=group,
        bad_pixels=bad_pixels,
    )  # fmt: skip
