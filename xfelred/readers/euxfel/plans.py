"""Small pieces from which read plans are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.hdf5.rows import read_rows
from xfelred.lazy import Patterns, ReadPlan
from xfelred.readers.entry import entry_window

if TYPE_CHECKING:
    from xfelred.readers.euxfel.key_data import KeyData


def counted_patterns(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], Patterns]:
    """Return the pattern of each train when all its entries are taken in order."""
    distinct, pattern = np.unique(counts, return_inverse=True)
    inside = [np.arange(n) for n in distinct]
    offset = np.concatenate(inside) if inside else np.zeros(0, np.int64)
    ptr = np.concatenate([[0], np.cumsum(distinct)]).astype(np.int64)
    return pattern.reshape(-1), Patterns(ptr, offset, offset)


def key_plan(key: KeyData, roi: Any) -> tuple[ReadPlan, tuple[int, ...]]:
    """Return the plan (entry, 1, ...) of a key, and which axes `roi` drops."""
    window, shape, dropped = entry_window(roi, key.entry_shape)
    where = key.location
    pattern, patterns = counted_patterns(where.count[where.order])
    name = key.hdf5_data_path
    plan = ReadPlan(
        read_rows=read_rows,
        targets=tuple((f.path, name) for f in key.all_files),
        target=where.file[where.order][:, None],
        first=where.first[where.order][:, None],
        pattern=pattern,
        patterns=patterns,
        slot_shape=(),
        entry=window,
        entry_shape=shape,
        n_inner=0,
        dtype=key.dtype,
        fill_value=0,
        flat=True,
        token=tokenize([f.token() for f in key.all_files], name, key.ids, window),
        ids=key.ids[where.order],
        chunk=key.chunk,
    )
    return plan, dropped
