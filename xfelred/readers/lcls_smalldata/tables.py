"""Tables with several entries per event: ``var_*`` and ``ragged_*``."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import (
    InconsistentDataError,
    PropertyNameError,
    no_such,
)
from xfelred.hdf5.direct import expanded
from xfelred.lazy import Rows
from xfelred.names import ENTRY, LONG_NAME, PULSE, TRAIN, UNITS
from xfelred.provenance import record
from xfelred.readers.lcls_smalldata.columns import Column
from xfelred.readers.lcls_smalldata.ids import flat, read_column
from xfelred.readers.lcls_smalldata.rows import pick_of, read_picked
from xfelred.readers.lcls_smalldata.run_data import RunData

GAP = 4096  # entries that are read for nothing rather than started anew behind them


def table(run: RunData, name: str) -> xr.Dataset:
    """Return the entries of a table; see `Run.table`."""
    name = name.strip("/")
    fields = [c for c in run.columns.values() if c.name.startswith(f"{name}/")]
    if fields and f"{name}_len" in run.columns:
        found, counts = var_table(run, name, fields)
    elif name in run.columns and run.columns[name].is_table:
        found, counts = ragged_table(run, run.columns[name])
    else:
        known = tables(run)
        raise PropertyNameError(no_such("table", name, known, f" in {run.run_id}"))
    train = np.repeat(run.ids, counts)
    # Where a shot has several, the table tells.
    pulse = found.pop(PULSE, np.zeros(len(train), np.int64))
    coords = {
        TRAIN: (ENTRY, train, {UNITS: "1", LONG_NAME: run.flavour.train}),
        PULSE: (ENTRY, pulse, {UNITS: "1", LONG_NAME: "pulse ID"}),
    }
    variables = {}
    for field, values in found.items():
        dims = (ENTRY, *(f"{field}_dim{i}" for i in range(values.ndim - 1)))
        attrs = {UNITS: "1", LONG_NAME: f"{name.rpartition('/')[2]} {field}"}
        variables[field] = (dims, values, attrs)
    return record(xr.Dataset(variables, coords), "table", name=name, run=run.run_id)


def tables(run: RunData) -> list[str]:
    found = set()
    for name, column in run.columns.items():
        if column.is_table:
            if "/var_" in f"/{name}":
                group = name.rpartition("/")[0]
                is_field = f"{group}_len" in run.columns
                name = group if is_field else name.removesuffix("_len")
            found.add(name)
    return sorted(found)


def var_table(
    run: RunData, name: str, fields: list[Column]
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Return the fields of a ``var_*`` group, and the number of entries per event."""
    events = run.events.at(run.ids)
    counts = np.zeros(len(events.ids), np.int64)
    first = np.zeros(len(events.ids), np.int64)
    for i, file in enumerate(run.files):
        here = events.file == i
        if run.columns[f"{name}_len"].rows[i] < 0:
            continue
        stored = flat(read_column(file.path, f"{name}_len")).astype(np.int64)
        lengths = np.maximum(stored, 0)
        check_lengths(run, name, fields, i, lengths)
        counts[here] = lengths[events.row[here]]
        first[here] = (np.cumsum(lengths) - lengths)[events.row[here]]
    out = {}
    place = np.cumsum(counts) - counts
    for field in fields:
        values = np.empty((int(counts.sum()), *field.shape[1:]), field.dtype)
        for i, file in enumerate(run.files):
            here = (events.file == i) & (counts > 0)
            rows = Rows(first[here], counts[here], place[here])
            read_entries(file.path, field, rows, values)
        out[field.name.removeprefix(f"{name}/")] = values
    return out, counts


def read_entries(path: str, field: Column, rows: Rows, out: NDArray[Any]) -> None:
    """Read entries of many events: neighbours at once, then each to its place."""
    if len(rows.start):
        pick = pick_of(expanded(rows.start, rows.count), GAP)
        values = read_picked(path, field.name, out.dtype, out.shape[1:], pick)
        out[expanded(rows.place, rows.count)] = values


def check_lengths(
    run: RunData, name: str, fields: list[Column], i: int, lengths: NDArray[np.int64]
) -> None:
    """Raise InconsistentDataError if a table has fewer entries than its lengths say."""
    if len(lengths) != run.events.n_rows[i]:
        raise InconsistentDataError(
            f"{name}_len has {len(lengths)} rows, but {run.files[i].path} has"
            f" {run.events.n_rows[i]} rows of events"
        )
    total = int(lengths.sum())
    for field in fields:
        if field.rows[i] < total:
            raise InconsistentDataError(
                f"{field.name} in {run.files[i].path} has {field.rows[i]} entries, but"
                f" {name}_len asks for {total}"
            )


def ragged_table(
    run: RunData, column: Column
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Return the entries of a dataset of arrays of different lengths."""
    rows = run.read(column, "event")
    parts = [np.asarray(r) if np.ndim(r) else np.zeros(0) for r in rows]
    counts = np.array([len(p) for p in parts], np.int64)
    filled = [p for p in parts if len(p)]
    values = np.concatenate(filled) if filled else np.zeros(0)
    # ragged_<function>_<field>
    return {column.name.rpartition("_")[2]: values}, counts
