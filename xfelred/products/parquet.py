"""Parquet files: a row for each shot, or each entry of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, listing, require_extra
from xfelred.lazy.in_flight import results_of
from xfelred.products.blocks import all_threads
from xfelred.products.smalldata_dataset import SAMPLES

Ints = NDArray[np.int64]
GROUP = 32 << 20  # bytes of a group of rows


def write_parquet(ds: xr.Dataset, path: Path) -> None:
    """Write variables as columns, row group by row group.

    Axes behind that of rows are lists of fixed length. What has any number of entries
    in each row is lists of these: `ds` tells so in the attribute ``sample_dimension``
    of their numbers, as CF does. Coordinates of rows are columns, others are left out.
    """
    require_pyarrow()
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    rows = row_dim(ds)
    lengths = {
        str(v.attrs[SAMPLES]): v.values for v in ds.values() if SAMPLES in v.attrs
    }
    starts = {k: np.concatenate([[0], np.cumsum(v)]) for k, v in lengths.items()}
    names = [str(n) for n, v in ds.variables.items() if {rows, *starts} & {*v.dims}]
    table, n = ds[names], ds.sizes[rows]
    step = max(1, n * GROUP // max(1, sum(ds[k].nbytes for k in names)))
    attrs = {str(k): str(v) for k, v in ds.attrs.items()}
    groups = ([part] for part in parts_of(table, rows, starts, step))
    lazy = dask.is_dask_collection(table)
    made = results_of(groups, 2 * all_threads(), in_order=True)
    writer = None
    try:
        # Workers make the next groups meanwhile; one is in this process.
        with made if lazy else nullcontext(groups) as ready:
            for (offsets, some), *_ in ready:
                columns = {k: as_column(pa, some[k], offsets) for k in names}
                found = pa.table(columns).replace_schema_metadata(attrs)
                writer = writer or ParquetWriter(path, found.schema)
                writer.write_table(found)
    finally:
        if writer is not None:
            writer.close()


def parts_of(
    table: xr.Dataset, rows: str, starts: Mapping[str, Ints], step: int
) -> Iterator[tuple[dict[str, Ints], xr.Dataset]]:
    """Yield groups of rows, and where the entries of each row begin in them."""
    n = table.sizes[rows]
    for at in range(0, max(n, 1), step):
        end = min(at + step, n)
        here = {rows: slice(at, end)}
        here |= {d: slice(s[at], s[end]) for d, s in starts.items()}
        offsets = {d: s[at : end + 1] - s[at] for d, s in starts.items()}
        yield offsets, table.isel(here, missing_dims="ignore")


def require_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise require_extra("pyarrow", "io")


def row_dim(ds: xr.Dataset) -> str:
    """Return the dim of rows; ArgumentError where variables have none in common."""
    entries = {str(v.attrs[SAMPLES]) for v in ds.values() if SAMPLES in v.attrs}
    values = [v for v in ds.values() if not entries & {*v.dims}]
    firsts = {str(v.dims[0]) if v.dims else "" for v in values}
    if len(firsts) != 1 or firsts == {""}:
        raise ArgumentError(
            "a parquet file is one table, but these variables have rows along"
            f" {listing(sorted(d or 'nothing' for d in firsts)) or 'nothing'}; select"
            " those of one kind, or write .zarr"
        )
    return firsts.pop()


def as_column(pa: Any, values: xr.DataArray, offsets: dict[str, Ints]) -> Any:
    """Return a column: numbers, lists of fixed length, or lists of any length."""
    array = np.ascontiguousarray(values.values)
    column = pa.array(array.reshape(-1))
    for n in reversed(array.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, n)
    where = offsets.get(str(values.dims[0]))
    if where is not None:
        column = pa.LargeListArray.from_arrays(pa.array(where), column)
    return column
