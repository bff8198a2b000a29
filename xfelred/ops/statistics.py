"""Mean, spread, count and extremes of pixels over any frame dims, in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from xfelred.kernels.masking import not_a_number
from xfelred.lazy import BinStatistics, Statistics, map_frames, reduce_frames
from xfelred.names import AVAILABLE, GROUP, LONG_NAME, OF_DATA, RECORDED, TRAIN, UNITS
from xfelred.ops.companions import checked_bad_pixels, matching
from xfelred.ops.grouping import Grouping, grouping
from xfelred.provenance import record

Statistic = Literal["mean", "std", "var", "sem", "count", "sum", "min", "max", "rms"]
KNOWN = ("mean", "std", "var", "sem", "count", "sum", "min", "max", "rms")
STD = "std"


def statistics(
    da: xr.DataArray,
    dim: str | Sequence[str] = TRAIN,
    *,
    which: Sequence[Statistic] = ("mean", "std", "count"),
    by: str | xr.DataArray | None = None,
    bad_pixels: xr.DataArray | None = None,
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
    bad_pixels : DataArray, bool or integer, optional
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
        int64, ``sum`` of integers is int64, and extremes of float data keep their dtype
        (half precision becomes float32). Pixels without a value are NaN with count 0
        and sum 0. Computing one variable does only the work that it needs.

    Raises
    ------
    ValueError
        If a dim or a statistic is unknown or `bad_pixels` does not fit.

    Notes
    -----
    Deviations from a pivot are summed in float64 and states are combined pairwise
    (Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115). Frames that were
    not recorded (coordinates `available`, `recorded`) are left out whatever their fill
    value. Integers are exact up to 2**53.
    """
    dims = checked_dims(da, dim, which)
    groups = grouping(da, by, dims)
    companions, senses = masks(da, bad_pixels)
    integer = da.dtype.kind in "iub"
    array = da.astype(np.uint8) if da.dtype == bool else da
    single = np.result_type(array.dtype.newbyteorder("="), np.float32)
    extreme = single if array.dtype.kind == "f" else np.float64
    kinds: dict[str, Any] = {"count": np.int64, "min": extreme, "max": extreme}
    if integer:
        kinds["sum"] = np.int64
    results: dict[str, Any] = {name: kinds.get(name, np.float64) for name in which}
    if "rms" in results and ddof:
        raise ValueError("rms has ddof 0; ask for std with ddof instead")
    wanted = {STD if n == "rms" else n: kind for n, kind in results.items()}
    if groups is None:
        reduction = Statistics(senses, int(ddof), integer)
        found = reduce_frames(reduction, array, *companions, dims=dims, results=wanted)
    else:
        found = in_groups(
            array, companions, senses, groups, dims=dims, results=wanted, ddof=int(ddof)
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
            raise ValueError(f"no dim {d!r} to reduce; the array has {da.dims}")
    for name in which:
        if name not in KNOWN:
            raise ValueError(
                f"unknown statistic {name!r}; choose from {', '.join(KNOWN)}"
            )
    if not which or da.dtype.kind not in "iufb":
        raise ValueError(f"which={which!r} of dtype {da.dtype} cannot be computed")
    return dims


def masks(
    da: xr.DataArray, bad_pixels: xr.DataArray | None
) -> tuple[list[xr.DataArray], tuple[Literal["bad", "good"], ...]]:
    """Return the masks that apply to an array and the sense of each."""
    companions: list[xr.DataArray] = []
    senses: list[Literal["bad", "good"]] = []
    if bad_pixels is not None:
        companions.append(matching(checked_bad_pixels(bad_pixels), da))
        senses.append("bad")
    for name in (AVAILABLE, RECORDED):
        good = da.coords.get(name)
        if (
            good is not None
            and set(good.dims) <= set(da.dims)
            and not good.values.all()
        ):
            companions.append(good.reset_coords(drop=True))
            senses.append("good")
    return companions, tuple(senses)


def in_groups(
    array: xr.DataArray,
    companions: list[xr.DataArray],
    senses: tuple[Literal["bad", "good"], ...],
    groups: Grouping,
    *,
    dims: tuple[str, ...],
    results: dict[str, Any],
    ddof: int,
) -> dict[str, xr.DataArray]:
    """Return statistics of every group of frames."""
    integer = array.dtype.kind in "iub"
    if companions:
        kind = np.result_type(array.dtype.newbyteorder("="), np.float32)
        array = map_frames(not_a_number, array, *companions, senses=senses, dtype=kind)
    found = reduce_frames(
        BinStatistics(groups.n, ddof), array, groups.labels, dims=dims,
        results={n: np.float64 if n == "sum" else k for n, k in results.items()},
        new_dims={GROUP: groups.n},
    )  # fmt: skip
    if "sum" in found and integer:
        found["sum"] = found["sum"].round().astype(np.int64)
    return {name: groups.first(value, GROUP) for name, value in found.items()}


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
