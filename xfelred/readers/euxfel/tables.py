"""Values of several sources together: train by train, as tables, joined by train ID."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    InconsistentDataError,
    PropertyNameError,
    SourceNameError,
    listing,
    shown,
    warn,
)
from xfelred.names import LONG_NAME, PULSE, RECORDED_BY, TRAIN, UNITS, recorded_name
from xfelred.provenance import record
from xfelred.readers.euxfel.ahead import SourceValues
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.run_data import RunData
from xfelred.readers.euxfel.when_asked import WhenAsked
from xfelred.readers.left_out import as_attrs, as_params
from xfelred.readers.missing import fits_float, with_gaps
from xfelred.readers.selection import TrainIDs, check_missing_keys, listed_keys


def trains_with_data(run: RunData, require_all: bool, warn_fraction: float) -> TrainIDs:
    """Return the trains in which all (else: any) selected sources have data.

    Every index group of a source that has a selected key counts.
    """
    keep = np.full(len(run.ids), require_all)
    for name, source in run.entries.items():
        keys = source.keys()
        groups = {""} if source.is_control else {k.partition(".")[0] for k in keys}
        for group in sorted(groups):
            counts = source.with_ids(run.ids).located(group).count > 0
            if not require_all:
                keep |= counts
                continue
            dropped = 1 - np.count_nonzero(counts) / max(len(counts), 1)
            if dropped >= warn_fraction and len(counts):
                warn(
                    f"require_all: {np.count_nonzero(~counts)}/{len(counts)}"
                    f" ({dropped:.0%}) trains dropped, in which source {name!r} has no"
                    " data"
                )
            keep &= counts
    return run.ids[keep]


def key_list(run: RunData) -> list[KeyData]:
    return [
        source.key_data(key)
        for _, source in sorted(run.entries.items())
        for key in sorted(source.keys())
    ]


def trains(
    run: RunData, require_all: bool, flat_keys: bool, keep_dims: bool
) -> Iterator[tuple[int, dict[Any, Any]]]:
    """Yield (train ID, data) for every train; see `Run.trains`."""
    if require_all:
        run = run.with_ids(trains_with_data(run, True, 1.0))
    sources = {name: SourceValues(run, e) for name, e in sorted(run.entries.items())}
    names = [(name, name) for name in run.entries] + [*run.legacy_sources.items()]
    shown = run.all_sources
    names = [pair for pair in names if pair[0] in shown]
    for i, tid in enumerate(run.ids):
        found: dict[Any, Any] = {}
        # What has an old name, too, is read once for both.
        twice = {
            name: cache(partial(sources[name].of, i, tid, keep_dims))
            for name in run.legacy_sources.values()
        }
        for name, present in names:
            look = twice.get(present) or partial(sources[present].of, i, tid, keep_dims)
            if flat_keys:
                found |= {(name, key): value for key, value in look().items()}
            else:
                about = {"source": name, "timestamp.tid": int(tid)}
                found[name] = WhenAsked({"metadata": about}, look)
        yield int(tid), found


def dataframe(run: RunData, timestamps: bool) -> pd.DataFrame:
    """Return all one-dimensional keys as columns ``source/key``, joined by train ID."""
    columns = []
    for key in key_list(run):
        if not timestamps and key.key.endswith(".timestamp"):
            continue
        if key.ndim == 1 and key.dtype != object:
            columns += columns_of(key)
    if not columns:
        return pd.DataFrame(index=pd.Index(run.ids, name="trainId"))
    if any(not c.index.equals(columns[0].index) for c in columns):
        several = [c.name for c in columns if c.index.has_duplicates]
        if several:
            raise ArgumentError(
                f"{listing(several)} have several values in a train and cannot be"
                " joined with others; name the fields to read: get_dataframe([(source,"
                " key), ...])"
            )
        columns = [joinable(c) for c in columns]
    return pd.concat(columns, axis=1, join="outer")


def columns_of(key: KeyData) -> list[pd.Series]:
    """Return a key as columns: one, or one for each field of structured data."""
    if not key.dtype.names:
        return [key.series()]
    table: Any = key.xarray()
    flat = [f for f in table if table[f].ndim == 1 and table[f].dtype.kind in "biuf"]
    return [
        table[f].to_series().rename(f"{key.source}/{key.short_key}.{f}") for f in flat
    ]


def joinable(column: pd.Series) -> pd.Series:
    """Return a column that stays exact if other columns have more trains.

    pandas would make floats of all integers then; of those that no float holds it
    keeps integers if they may be missing (``pd.NA``).
    """
    if fits_float(column.to_numpy()):
        return column
    return column.astype("UInt64" if column.dtype.kind == "u" else "Int64")


def scalars(
    run: RunData, keys: Sequence[Any], missing_keys: str = "raise"
) -> xr.Dataset:
    """Return values per train, or per train and pulse; see `Run.scalars`."""
    keys = listed_keys(keys)
    check_missing_keys(missing_keys)
    found: dict[str, xr.DataArray] = {}
    for item in keys:
        try:
            key = named_key(run, item)
        except (SourceNameError, PropertyNameError):
            if missing_keys == "raise":
                raise
            continue
        found |= scalar(key, run.ids)
    lengths = {k: v.sizes[PULSE] for k, v in found.items() if PULSE in v.dims}
    if len(set(lengths.values())) > 1:
        raise InconsistentDataError(
            f"vectors of different lengths cannot share the axis {PULSE!r}: {lengths};"
            " ask for them in separate calls"
        )
    out = xr.Dataset(found, coords={TRAIN: run.ids})
    out[TRAIN].attrs = {UNITS: "1", LONG_NAME: "train ID"}
    out.attrs |= as_attrs(run.left_out)
    return record(out, "scalars", keys=sorted(found), **as_params(run.left_out))


def named_key(run: RunData, item: object) -> KeyData:
    """Return the key that a pair or a text ``source.key`` names."""
    if not isinstance(item, str):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            raise ArgumentTypeError(
                f"scalars takes (source, key) or 'source.key', not {shown(item)}"
            )
        return run.key_data(*item)
    # The longest first: a source may begin with the name of another.
    for name in sorted(run.all_sources, key=len, reverse=True):
        for separator in (".", "/"):  # as in columns of `get_dataframe`
            if item.startswith(name + separator):
                return run.key_data(name, item[len(name) + 1 :])
    if item in run:
        known = sorted(run.source(item).keys(inc_timestamps=False))
        raise PropertyNameError(
            f"{item!r} is a source; name one of its keys: {known[:10]}"
        )
    return run.key_data(item, "")


def scalar(key: KeyData, ids: TrainIDs) -> dict[str, xr.DataArray]:
    """Return one value, or one vector of pulses, per train, by the name of the key.

    Structured data give one for each field, ``key.field``.
    """
    if len(key.entry_shape) > 1:
        raise ArgumentError(
            f"{key.source}.{key.key} has entries of shape {key.entry_shape}; scalars"
            " are single values or vectors of pulses. Use run[source, key].xarray()"
        )
    counts = key.location.count
    if counts.max(initial=0) > 1:
        raise InconsistentDataError(
            f"{key.source}.{key.key} has up to {counts.max()} entries in a train;"
            " scalars need one per train. Use run[source, key].xarray()"
        )
    values = key.in_train_order()
    here = np.isin(ids, key.ids[counts > 0])
    long_name = f"{key.source} {key.short_key}"
    attrs: dict[str, Any] = {UNITS: key.units or "1", LONG_NAME: long_name}
    name = f"{key.source}.{key.short_key}"
    if not values.dtype.names:
        return {name: on_trains(name, values, here, attrs)}
    parts = {f"{name}.{f}": values[f] for f in values.dtype.names}
    deep = [n for n, v in parts.items() if v.ndim > 2 or v.dtype.names]
    if deep:
        raise ArgumentError(
            f"{deep[0]} is no single value nor a vector of pulses; use"
            " run[source, key].xarray()"
        )
    return {n: on_trains(n, v, here, attrs) for n, v in parts.items()}


def on_trains(
    name: str, values: NDArray[Any], here: NDArray[np.bool_], attrs: dict[str, Any]
) -> xr.DataArray:
    """Return values on all trains, of which some have none."""
    dims = (TRAIN, PULSE)[: values.ndim]
    full = with_gaps(values, here)
    # Integers that no float holds stay what they are, so another value marks gaps.
    marked = full.dtype.kind in "iu" and not here.all()
    told = recorded_name(name)
    coords = {told: (TRAIN, here)} if marked else {}
    attrs = {**attrs, RECORDED_BY: told} if marked else attrs
    return xr.DataArray(full, coords, dims, attrs=attrs)
