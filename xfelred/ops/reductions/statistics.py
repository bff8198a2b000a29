"""Mean, spread, count and extremes of pixels over any frame dims, in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.lazy import map_frames, reduce_bins, reduce_frames
from xfelred.names import GROUP, LONG_NAME, OF_DATA, TRAIN, UNITS
from xfelred.ops.reductions.grouping import Grouping, grouping
from xfelred.ops.validity import masks_of, numbers_of, without
from xfelred.provenance import record
from xfelred.reductions import moments
from xfelred.reductions.bins import BinStatistics

Statistic = Literal["mean", "std", "var", "sem", "count", "sum", "min", "max", "rms"]
STD = "std"


@entry
def statistics(
    da: xr.DataArray,
    dim: str | Sequence[str] = TRAIN,
    *,
    which: Sequence[Statistic] = ("mean", "std", "count"),
    by: str | xr.DataArray | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    ddof: int = 0,
) -> xr.Dataset:
    """Reduce frames to statistics of every pixel, without bad pixels and NaN.

    One pass over the data in constant memory. The result has the same bits on any
    scheduler and for any number of workers; other chunks agree to float64 rounding.

    Parameters
    ----------
    da : DataArray, any real dtype (...)
        Frames, in memory or lazy.
    dim : str or sequence of str, optional
        Dims to reduce; any of those of `da`.
    which : sequence of str, optional
        Any of ``mean, std, var, sem, count, sum, min, max``. ``rms`` is ``std`` with
        ddof 0, as the calibration suite calls it.
    by : str or DataArray, optional
        Statistics of groups of frames, one for each value of this coordinate on the
        reduced dims, such as ``"step"``; frames with NaN are left out.
    bad_pixels : DataArray or array, bool or integer, optional
        Non-zero where a pixel must be left out; dims among those of `da`. Where both
        have a coordinate for a dim, such as module numbers, it is looked up by it.
    ddof : int, optional
        Divisor of ``var`` and ``std`` is ``count - ddof``. ``sem`` is the sample
        standard deviation (ddof 1) over the root of the count.

    Returns
    -------
    Dataset
        One lazy variable per name over the dims that stay, behind the dim of `by` with
        its values in increasing order: float64, but ``count`` is
        int64, ``sum`` of integers is int64 (uint64: float64), and extremes of float
        data keep their dtype (half precision becomes float32). Pixels without a
        value are NaN with count 0 and sum 0. Computing one variable does only the work
        that it needs.

    Raises
    ------
    ValueError
        If a dim or a statistic is unknown or `bad_pixels` does not fit.
    SumOverflowError
        When computing, if a sum of integers does not fit int64.

    Notes
    -----
    Deviations from a pivot are summed in float64 and states are combined pairwise
    (Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115). Frames that were
    not recorded (coordinates `available`, `recorded`) are left out whatever their fill
    value. Integers are exact up to 2**53, sums of int64 to the last digit.
    """
    dims = checked_dims(da, dim, which)
    groups = grouping(da, by, dims)
    companions = masks_of(da, bad_pixels)
    integer = moments.sum_dtype(da.dtype).kind == "i"
    array = numbers_of(da)
    single = np.result_type(array.dtype.newbyteorder("="), np.float32)
    extreme = single if array.dtype.kind == "f" else np.float64
    kinds: dict[str, Any] = {"count": np.int64, "min": extreme, "max": extreme}
    if integer:
        kinds["sum"] = np.int64
    results: dict[str, Any] = {name: kinds.get(name, np.float64) for name in which}
    if "rms" in results and ddof:
        raise ArgumentError("rms has ddof 0; ask for std with ddof instead")
    wanted = {STD if n == "rms" else n: kind for n, kind in results.items()}
    if groups is None:
        # Those that are the same for all frames are not applied to each.
        companions.sort(key=lambda mask: {*dims}.isdisjoint(mask.dims))
        fixed = sum({*dims}.isdisjoint(mask.dims) for mask in companions)
        reduction = moments.Statistics(int(ddof), integer, fixed=fixed)
        # float64 does not hold all digits of int64.
        if wide := "sum" in wanted and array.dtype == np.int64:
            del wanted["sum"]
        found = reduce_frames(reduction, array, *companions, dims=dims, results=wanted)
        if wide:
            found["sum"] = exact_sum(reduction, array, companions, dims)
    else:
        found = in_groups(
            array, companions, groups, dims=dims, results=wanted, ddof=int(ddof)
        )
    found = {name: found[STD if name == "rms" else name] for name in results}
    out = xr.Dataset({name: labelled(v, name, da) for name, v in found.items()})
    out.attrs = dict(da.attrs)
    params: dict[str, Any] = {"dim": list(dims), "which": list(which), "ddof": ddof}
    if groups is not None:
        params["by"] = groups.name
    return record(out, "statistics", **params, bad_pixels=bad_pixels)


def checked_dims(
    da: xr.DataArray, dim: str | Sequence[str], which: Sequence[str]
) -> tuple[str, ...]:
    """Return the dims to reduce as a tuple; raise ValueError for unknown words."""
    dims = (dim,) if isinstance(dim, str) else tuple(dim)
    for d in dims:
        if d not in da.dims:
            raise ArgumentError(f"no dim {d!r} to reduce; the array has {da.dims}")
    if not which or da.dtype.kind not in "iufb":
        raise ArgumentError(f"which={which!r} of dtype {da.dtype} cannot be computed")
    return dims


def in_groups(
    array: xr.DataArray,
    companions: list[xr.DataArray],
    groups: Grouping,
    *,
    dims: tuple[str, ...],
    results: dict[str, Any],
    ddof: int,
) -> dict[str, xr.DataArray]:
    integer = moments.sum_dtype(array.dtype).kind == "i"
    array = without(array, companions)
    found = reduce_bins(
        BinStatistics(groups.n, ddof), array, groups.labels, dims=dims,
        results={n: np.float64 if n == "sum" else k for n, k in results.items()},
        new_dim=(GROUP, groups.n),
    )  # fmt: skip
    if "sum" in found and integer:
        found["sum"] = as_whole(found["sum"])
    return {name: groups.first(value, GROUP) for name, value in found.items()}


def exact_sum(
    reduction: moments.Statistics,
    array: xr.DataArray,
    companions: list[xr.DataArray],
    dims: tuple[str, ...],
) -> xr.DataArray:
    """Return the sum of int64, whose digits float64 does not hold, as two halves."""
    halves = [
        reduce_frames(
            reduction, map_frames(half_of, array, part=part, dtype=np.int64),
            *companions, dims=dims, results={"sum": np.int64},
        )["sum"]
        for part in ("high", "low")
    ]  # fmt: skip
    return map_frames(joined_halves, *halves, name="exact_sum", dtype=np.int64)


def half_of(x: NDArray[np.int64], *, part: str) -> NDArray[np.int64]:
    """Return the upper or the lower 32 bits of numbers: ``high * 2**32 + low``."""
    return x >> 32 if part == "high" else x & 0xFFFFFFFF


def joined_halves(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``high * 2**32 + low``; SumOverflowError if int64 does not hold it."""
    moments.whole_sums(high * np.float64(2**32) + low)
    return (high << 32) + low


def as_whole(sums: xr.DataArray) -> xr.DataArray:
    """Return sums of integers as int64; an error where one does not fit."""
    if sums.chunks is None:
        return sums.copy(data=moments.whole_sums(sums.values))
    return map_frames(moments.whole_sums, sums, dtype=np.int64)


def labelled(value: xr.DataArray, name: str, da: xr.DataArray) -> xr.DataArray:
    """Return a result with units, a long name, and what says whose data it is."""
    unit = str(da.attrs.get(UNITS, ""))
    unit = {"count": "1", "var": f"({unit})**2" if unit else ""}.get(name, unit)
    what: Hashable = da.attrs.get(LONG_NAME) or da.name or "value"
    long_name = (
        f"number of values of {what}" if name == "count" else f"{name} of {what}"
    )
    kept = {k: da.attrs[k] for k in OF_DATA if k in da.attrs}
    value.attrs = {UNITS: unit or "1", LONG_NAME: long_name, **kept}
    return value
