"""One number per shot in bins of another."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.reductions.profile import profile as kernel
from xfelred.lazy import reduce_frames
from xfelred.names import LONG_NAME, UNITS
from xfelred.ops.reductions.grouping import coordinate
from xfelred.ops.variables import variables
from xfelred.provenance import record
from xfelred.reductions.gathered import Gathered
from xfelred.shots import at_shots

BIN = "bin"


@entry(own=("x",))
def profile(
    da: xr.DataArray,
    x: str | xr.DataArray,
    *,
    bins: int = 50,
    range: tuple[float, float] | None = None,
) -> xr.Dataset:
    """Return mean and median of a number in bins of another one.

    Parameters
    ----------
    da : DataArray (...)
        One number per shot, such as the mean of `ops.roi`, or a few; lazy or not.
    x : str or DataArray
        A coordinate of `da`, or an array such as a flux, joined by labels; shots
        without a value are left out.
    bins : int
        Number of bins of equal width.
    range : (low, high), optional
        What they span, the end included; by default all values.

    Returns
    -------
    Dataset (bin)
        Lazy: ``x``, centres of the bins; ``mean``, ``median``, ``std`` (ddof 0),
        ``error`` = std / root of the count; NaN in empty bins; ``count``.

    Raises
    ------
    ValueError
        If there is no bin, or `x` does not belong to `da`.

    Notes
    -----
    The values of all shots are held in memory: 16 bytes each.
    """
    if int(bins) != bins or bins < 1:
        raise ArgumentError(f"bins={bins!r}; wanted a number of bins, 1 or more")
    limits = checked_range(range)
    name = x if isinstance(x, str) else str(getattr(x, "name", None) or "x")
    values = coordinate(da, x) if isinstance(x, str) else at_shots(x, da, name)
    names = ("x", "mean", "median", "std", "error", "count")
    # A median needs all values at once, so they are gathered.
    found = reduce_frames(
        Gathered(kernel, {"n_bins": int(bins), "limits": limits}), da,
        values.astype(np.float64),
        dims=tuple(map(str, da.dims)), new_dims={BIN: int(bins)},
        results={n: np.int64 if n == "count" else np.float64 for n in names},
    )  # fmt: skip
    unit = str(da.attrs.get(UNITS, "1"))
    what = da.attrs.get(LONG_NAME) or da.name or "value"
    labels = {
        "x": (str(values.attrs.get(UNITS, "1")), f"{name}, centre of the bin"),
        "count": ("1", "number of shots"),
    }
    out = variables(
        da,
        **{
            key: (value, *labels.get(key, (unit, f"{key} of {what}")))
            for key, value in found.items()
        },
    )
    return record(
        out, "profile", da, x=x if isinstance(x, str) else values, bins=int(bins),
        range=limits,
    )  # fmt: skip


def checked_range(limits: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return limits as floats; ValueError unless they increase."""
    if limits is None:
        return None
    low, high = (float(v) for v in limits)
    if not low < high:
        raise ArgumentError(f"range={limits!r}; wanted (low, high) with low below high")
    return low, high
