"""Sums, counts, means and variances of frames in bins of per-shot quantities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import xarray as xr

from xfelred.entries import check, entry
from xfelred.errors import ArgumentError, ConfigError, did_you_mean
from xfelred.kernels.arrays import read_only
from xfelred.kernels.reductions.bin_moments import FEW, number_of_each
from xfelred.lazy import reduce_bins
from xfelred.lazy.array import PlannedArray
from xfelred.names import BIN, LONG_NAME, UNITS
from xfelred.ops.reductions.bin_labels import Labels, bin_labels
from xfelred.ops.reductions.bins import Bins
from xfelred.ops.reductions.statistics import as_whole
from xfelred.ops.validity import numbers_of, recorded_shots
from xfelred.provenance import record
from xfelred.reductions.bins import BinStatistics
from xfelred.reductions.moments import sum_dtype
from xfelred.shots import shot_dims

QUANTITIES = ("sum", "count", "mean", "var", "sem")


@dataclass(frozen=True)
class Options:
    quantities: tuple[str, ...]
    skipna: bool
    ddof: int
    compat: bool

    def __post_init__(self) -> None:
        for name in self.quantities:
            if name not in QUANTITIES:
                raise ArgumentError(
                    f"unknown quantity {name!r}.{did_you_mean(name, QUANTITIES)} There"
                    f" are: {', '.join(QUANTITIES)}"
                )
        if not self.quantities:
            raise ArgumentError(f"no quantities; choose from {', '.join(QUANTITIES)}")


@entry(own=("by", "where"))
def bin_frames(
    data: xr.DataArray | xr.Dataset,
    by: Mapping[str, Bins],
    *,
    where: xr.DataArray | None = None,
    quantities: Sequence[str] = QUANTITIES,
    skipna: bool = True,
    ddof: int = 0,
    compat: bool = False,
) -> xr.Dataset:
    """Bin frames, or any per-shot values, by one or more per-shot quantities.

    Parameters
    ----------
    data : DataArray or Dataset (train[, pulse], ...) or (frame, ...)
        What is binned; its shot dims are reduced, all others stay.
    by : mapping of str to Bins
        One axis of the result per entry, in this order. The name is a coordinate of
        `data` on its shots, or a variable of the Dataset, unless the bins have values
        of their own, which are joined by train (and pulse) ID. An empty mapping gives
        one bin with all shots, on a dim ``all``.
    where : DataArray (train[, pulse]), bool, optional
        Shots to take, joined by ID; an ID that is absent is not taken.
    quantities : sequence of {"sum", "count", "mean", "var", "sem"}, optional
    skipna : bool, optional
        Leave out NaN elements, and count each element. False: an element that is NaN
        in any frame of a bin is NaN there, and ``count`` counts frames.
    ddof : int, optional
        ``var`` divides by count - ddof.
    compat : bool, optional
        As the cubes of smalldata_tools: a value on the first edge is in no bin, empty
        bins are NaN in everything, bins of distinct values get the outlier bin
        ``[u_0 - d, u_0)`` first, where d is the distance of the first two.

    Returns
    -------
    Dataset (<name of each axis>, ...)
        ``<v>_sum``, ``<v>_count``, ``<v>_mean``, ``<v>_var``, ``<v>_sem`` for each
        variable v (a DataArray: its name, else "frames"), lazy if `data` is, and
        ``n_shots`` always. Sums, means and variances are float64 for floats; sums of
        integers are int64; counts int64. ``sem`` is the sample standard deviation (ddof
        1) over the root of the count. In an empty bin counts are 0 and the rest NaN
        (sums of integers 0). ``/`` in a name becomes ``__``.
        Coordinates: centres of bins (bins of distinct values: the value), and
        ``<name>_edges`` on ``<name>_edge``. ``attrs["n_outside"]``: shots that pass
        `where` but are in no bin.

    Raises
    ------
    ConfigError
        If a name is unknown, or values cannot be binned.
    ValueError
        If `where` or values of bins do not fit the shots, or a quantity is unknown.

    Notes
    -----
    Memory holds the result and the blocks in flight: a partial result has only the bins
    that occur in its shots, and partial results are put together in a tree of fixed
    order, so that the result has the same bits on any scheduler.
    """
    check("ops.bin_frames", "by", by, Mapping)
    options = Options(tuple(quantities), bool(skipna), int(ddof), bool(compat))
    arrays = variables_of(data, by)
    # The variable with most shot dims: labels of trains can be spread over pulses.
    reference = max(arrays.values(), key=lambda a: len(shot_dims(a)))
    labels = bin_labels(data, reference, by, where, compat)
    out: dict[str, xr.DataArray] = {}
    for name, array in arrays.items():
        out |= binned(name.replace("/", "__"), array, labels, options)
    out["n_shots"] = counted(labels, options)
    result = xr.Dataset(out, coords=labels.coords())
    names = map(str, {**result.coords, **result.sizes})
    result = result.rename({n: n.replace("/", "__") for n in names if "/" in n})
    result.attrs = {**data.attrs, "n_outside": labels.n_outside}
    # What shots are binned by has a history of its own.
    histories = [b.values for b in by.values() if isinstance(b.values, xr.DataArray)]
    return record(
        result, "bin_frames", data, *histories, by=list(by), where=where,
        ddof=options.ddof, quantities=list(options.quantities), skipna=skipna,
        compat=compat,
    )  # fmt: skip


def variables_of(
    data: xr.DataArray | xr.Dataset, by: Mapping[str, Bins]
) -> dict[str, xr.DataArray]:
    """Return what is binned, by name; ConfigError if there is nothing on shots."""
    if isinstance(data, xr.DataArray):
        named = {str(data.name or "frames"): data}
    else:
        named = {str(k): v for k, v in data.data_vars.items()}
    found = {k: v for k, v in named.items() if shot_dims(v) and v.dtype.kind in "biuf"}
    if not found:
        raise ConfigError(
            f"nothing to bin by {', '.join(by)}: none of {', '.join(named) or 'no'}"
            " data is on train, pulse or frame, and a number"
        )
    return found


def binned(
    name: str, array: xr.DataArray, labels: Labels, options: Options
) -> dict[str, xr.DataArray]:
    array, mine = prepared(array, labels)
    # As many numbers are added up sooner than a graph is made.
    if array.chunks is None and array.size // max(mine.size, 1) < FEW:
        found = at_once(array, mine, labels.n, options)
    else:
        found = reduce_bins(
            reduction_of(array, labels.n, options), array, mine, dims=shot_dims(array),
            results=needed(options), new_dim=(BIN, labels.n), together=labels.behind,
        )  # fmt: skip
    frames = n_frames(array, mine, labels.n)
    return quantities_of(name, array, found, frames, labels, options)


def reduction_of(array: xr.DataArray, n_bins: int, options: Options) -> BinStatistics:
    whole = array.dtype.kind in "biu"
    nothing = 0.0 if whole and not options.compat else np.nan
    # Integers have no NaN to leave out.
    complete = whole or not options.skipna
    return BinStatistics(n_bins, options.ddof, complete, nothing)


def at_once(
    array: xr.DataArray, mine: xr.DataArray, n_bins: int, options: Options
) -> dict[str, xr.DataArray]:
    """Return the statistics of a few numbers per shot, in memory; tasks take longer."""
    shots = shot_dims(array)
    kept = [str(d) for d in array.dims if d not in shots]
    # The labels have the shot dims in the order of the array.
    shape = [mine.sizes.get(d, 1) for d in array.dims]
    label = mine.values.reshape(shape)
    reduction, results = reduction_of(array, n_bins, options), needed(options)
    axes = tuple(i for i, d in enumerate(array.dims) if d in shots)
    state = reduction.partial(None, [array.values, label], axes, frozenset(results))
    coords = {k: c.variable for k, c in array.coords.items() if {*c.dims} <= {*kept}}
    return {
        name: xr.DataArray(reduction.finish(state, name), coords, (*kept, BIN), name)
        for name in results
    }


def prepared(array: xr.DataArray, labels: Labels) -> tuple[xr.DataArray, xr.DataArray]:
    """Return what is added up, and the bin of each of its shots."""
    array, mine = recorded_shots(numbers_of(array), labels.on(array))
    return taken_only(array, mine)


def taken_only(
    array: xr.DataArray, mine: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Leave out shots in no bin where that saves reading them."""
    # Blocks of other arrays are computed whole, whatever is taken of them.
    if not isinstance(array.data, PlannedArray):
        return array, mine
    first = mine.dims[0]
    some = (mine >= 0).any([d for d in mine.dims if d != first]).values
    if some.all():
        return array, mine
    at = np.flatnonzero(some)
    return array.isel({first: at}), mine.isel({first: at})


def n_frames(array: xr.DataArray, mine: xr.DataArray, n_bins: int) -> xr.DataArray:
    inside = number_of_each(read_only(mine.values.ravel()), n_bins)[:-1]
    frames = xr.DataArray(inside, dims=BIN)
    # A label per train counts for each of its pulses.
    return frames * prod(array.sizes[d] for d in shot_dims(array) if d not in mine.dims)


def quantities_of(
    name: str,
    array: xr.DataArray,
    found: dict[str, xr.DataArray],
    frames: xr.DataArray,
    labels: Labels,
    options: Options,
) -> dict[str, xr.DataArray]:
    """Return the quantities of one variable from its statistics in every bin.

    `found` is as `needed` wants it, with dims in any order; NaN where there is no
    value, but counts, and sums of integers unless compat, are 0. `frames` (bin) counts
    frames.
    """
    found = finished(found, frames, options, sum_dtype(array.dtype).kind == "i")
    unit = str(array.attrs.get(UNITS, ""))
    out = {}
    for quantity in options.quantities:
        value = labels.unfold(found[quantity]).rename(f"{name}_{quantity}")
        more = {"ddof": options.ddof} if quantity == "var" else {}
        value.attrs = {**described(name, quantity, unit), **more}
        out[f"{name}_{quantity}"] = value
    return out


def needed(options: Options) -> dict[str, Any]:
    """Return which statistics the quantities are made from, with their dtypes."""
    wanted: dict[str, Any] = dict.fromkeys(options.quantities, np.float64)
    if "count" in wanted:
        wanted["count"] = np.int64
    if not options.skipna:
        wanted.pop("count", None)  # that of frames
    return wanted


def finished(
    found: dict[str, xr.DataArray],
    frames: xr.DataArray,
    options: Options,
    integer: bool,
) -> dict[str, xr.DataArray]:
    """Return the quantities as they are to be for integers, and where frames count."""
    out = dict(found)
    if "sum" in out and integer and not options.compat:
        out["sum"] = as_whole(out["sum"])
    if "count" in options.quantities:
        if not options.skipna:
            out["count"] = frames.astype(np.int64)
        if options.compat:
            # smalldata_tools has NaN there too.
            out["count"] = out["count"].where(frames > 0)
    return out


def counted(labels: Labels, options: Options) -> xr.DataArray:
    values = np.bincount(labels.flat[labels.flat >= 0].ravel(), minlength=labels.n)
    out = xr.DataArray(values.astype(np.int64), dims=BIN)
    if options.compat:
        out = out.where(out > 0)
    out = labels.unfold(out)
    out.attrs = {UNITS: "1", LONG_NAME: "number of shots in the bin"}
    return out


def described(name: str, quantity: str, unit: str) -> dict[str, str]:
    units = {"count": "1", "var": f"({unit})**2" if unit not in ("", "1") else "1"}
    words = {
        "count": "number of values of",
        "var": "variance of",
        "sem": "standard error of the mean of",
    }
    return {
        UNITS: units.get(quantity, unit or "1"),
        LONG_NAME: f"{words.get(quantity, quantity + ' of')} {name}",
    }
