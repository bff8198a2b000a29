"""Values per event, joined by ID."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import split_element
from xfelred.errors import (
    InconsistentDataError,
    PropertyNameError,
    did_you_mean,
    listing,
)
from xfelred.names import LONG_NAME, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.readers.lcls_smalldata.columns import (
    APART,
    DAMAGE,
    IMAGE_KEYS,
    INTG,
    LENGTH,
    Column,
    units_of,
)
from xfelred.readers.lcls_smalldata.ids import MISSING, flat, wrapped_code
from xfelred.readers.lcls_smalldata.run_data import RunData
from xfelred.readers.left_out import as_attrs, as_params
from xfelred.readers.selection import check_position, listed_keys

MANY = 16  # values of an event that are never by chance one and the same
WHERE = {"Sums": "run.sums", "UserDataCfg": "run.constants(detector)"}


def scalars(
    run: RunData,
    keys: str | Iterable[str],
    stream: str,
    missing: str = "nan",
    missing_keys: str = "raise",
    *,
    use_damage: bool = False,
) -> xr.Dataset:
    """Return values per event; see `Run.scalars`."""
    asked = [keys] if isinstance(keys, str) else [str(k) for k in listed_keys(keys)]
    known = run.per_event(stream)
    names = chosen_names(run, asked, stream, missing_keys)
    found = {}
    for name in names:
        base, position = name_and_position(name, known)
        column = run.column(base, stream)
        values = run.read(column, stream)
        if use_damage:
            values = without_absent(run, values, base, stream)
        if missing == "nan":
            values = with_nan(values)
        if position:
            where: tuple[Any, ...] = (slice(None), *position)
            values = values[where]
        found[name] = on_events(name, values)
    out = xr.Dataset(found, coords=event_coordinates(run, stream))
    out.attrs |= as_attrs(run.left_out)
    return record(
        out, "scalars", keys=asked, missing=missing, run=run.run_id, stream=stream,
        use_damage=use_damage, **as_params(run.left_out),
    )  # fmt: skip


def name_and_position(
    name: str, known: dict[str, Column]
) -> tuple[str, tuple[int, ...]]:
    """Return the column of a name, and the position in it if the name has one."""
    base, position = split_element(name)
    if name in known or base not in known:
        return name, ()
    shape = known[base].shape[1:]
    if not shape and position == (0,):
        return base, ()
    check_position(name, position, shape)
    return base, position


def event_coordinates(run: RunData, stream: str = "event") -> dict[str, Any]:
    """Return ``train`` and what else tells events, with units and long names."""
    train = (TRAIN, run.stream_ids(stream), {UNITS: "1", LONG_NAME: run.flavour.train})
    return {TRAIN: train, **run.shot_coordinates(stream)}


def chosen_names(
    run: RunData, asked: list[str], stream: str, missing_keys: str
) -> list[str]:
    """Return the columns that names and globs choose, each once."""
    known = run.per_event(stream)
    found: dict[str, None] = {}
    for key in asked:
        here = [key] if name_and_position(key, known)[0] in known else []
        if not here and any(c in key for c in "*?["):
            here = [n for n, c in known.items() if fnmatchcase(n, key) and small(c)]
        lengths = stream == "event" and key in run.columns and LENGTH.fullmatch(key)
        if not here and lengths:  # those of a table, which are not per event to it
            here = [key]
        if not here and missing_keys == "raise":
            raise no_column(run, key, stream, known)
        found |= dict.fromkeys(here)
    return list(found)


def small(column: Column) -> bool:
    """Return whether a glob may choose a column: whole images would fill the memory."""
    is_image = len(column.shape) >= 3
    return not (is_image and column.name.rpartition("/")[2] in IMAGE_KEYS)


def no_column(
    run: RunData, key: str, stream: str, known: dict[str, Column]
) -> PropertyNameError | InconsistentDataError:
    column = run.columns.get(f"{INTG}/{key}" if stream == INTG else key)
    n_rows = sum(run.stream_events(stream).n_rows)
    if column is None:
        return PropertyNameError(
            f"no {key!r} among the values per event of {run.run_id}."
            f"{did_you_mean(key, known)} There are {listing(known, 12)}; globs such as"
            " 'ipm2/*' work too. missing_keys='ignore' leaves out what is not there"
        )
    if column.is_table:
        table = key.rpartition("/")[0] if "/var_" in key else key
        return PropertyNameError(
            f"{key!r} has several entries per event; read it with run.table({table!r})"
        )
    if column.source == INTG:
        return PropertyNameError(
            f"{key!r} has one row per shot of the slow detector; read it with"
            f" run.scalars({key.removeprefix('intg/')!r}, stream='intg')"
        )
    if column.source in APART or column.name in run.flavour.names:
        how = WHERE.get(column.source, "h5py")
        what = "the coordinate 'train'" if column.name in run.flavour.names else how
        return PropertyNameError(f"{key!r} is not per event; it is in {what}")
    paths = listing((f.path for f in run.files), 3)
    return InconsistentDataError(
        f"{key} has shape {column.shape}, but there are {n_rows} rows of events in"
        f" {paths}: it has no row for every event"
    )


def with_nan(values: NDArray[Any]) -> NDArray[Any]:
    """Return integers that hold -99999 as float64 with NaN, floats with NaN for it.

    Unsigned ones hold what is left of it in their bits. 8 and 16 bits are few: there
    only events all of whose values are this count as missing, if these are many.
    """
    if values.dtype.kind == "f":
        return np.where(values == MISSING, values.dtype.type(np.nan), values)
    if values.dtype.kind not in "iu" or not values.size:
        return values
    gone = values == wrapped_code(values.dtype)
    if values.dtype.itemsize <= 2:
        inner = tuple(range(1, gone.ndim))
        gone &= values[0].size >= MANY and gone.all(axis=inner, keepdims=True)
    if not gone.any():
        return values
    out = values.astype(np.float64)
    out[gone] = np.nan
    return out


def without_absent(
    run: RunData, values: NDArray[Any], name: str, stream: str
) -> NDArray[Any]:
    """Return values with NaN where the column ``damage`` says there were no data."""
    source = name.partition("/")[0]
    absent = run.absent(source) if stream == "event" and source != DAMAGE else None
    if absent is None or not absent.any() or values.dtype.kind not in "iufb":
        return values
    out = values if values.dtype.kind == "f" else with_nan(values).astype(np.float64)
    out = out.copy()
    out[absent] = np.nan
    return out


def on_events(name: str, values: NDArray[Any]) -> xr.Variable:
    """Return values per event with names for their axes; one column is no axis."""
    values = flat(values)
    extra = [f"{name}_dim{i}" for i in range(values.ndim - 1)]
    attrs = {UNITS: units_of(name), LONG_NAME: name.replace("/", " ")}
    return xr.Variable((TRAIN, *extra), values, attrs)
