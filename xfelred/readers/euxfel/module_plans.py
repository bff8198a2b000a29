"""Read plans for one key of all modules of a detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.hdf5.rows import read_rows
from xfelred.lazy import Patterns, ReadPlan
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.frames import Pixels


@dataclass(frozen=True)
class EntryLayout:
    """How entries are laid out: patterns of trains, slots, and whether flat."""

    pattern: NDArray[np.int64]
    patterns: Patterns
    slot_shape: tuple[int, ...] = ()
    flat: bool = False


def module_plan(
    detector: ModuleData,
    key: str,
    layout: EntryLayout,
    pixels: Pixels,
    modules: list[int] | None = None,
) -> ReadPlan:
    """Return the plan of one key of the modules at some positions; by default of all.

    The layout has one pattern for every train of the detector.
    """
    table = detector.key_table(key)
    columns = slice(None) if modules is None else table.columns(modules)
    targets = table.places(key)
    files = [file.token() for _, file in table.targets]
    rows = table.target[:, columns], table.first[:, columns]
    laid = layout.pattern, *vars(layout.patterns).values(), layout.slot_shape
    # All that decides which bytes are read, so that equal arrays have equal names.
    whole = isinstance(columns, slice)
    which = (table.token,) if whole else (table.train_ids, *rows)
    token = tokenize(files, targets, *which, *laid, layout.flat, pixels)
    # Of the first module: rows, then the axes that are read of a row. It only guides
    # how blocks are cut, so another module may be stored otherwise.
    chunk = detector.data.entries[detector.first_source].key_data(key).chunk
    n_axes = len(pixels.window)
    return ReadPlan(
        read_rows=read_rows,
        targets=targets,
        target=rows[0],
        first=rows[1],
        pattern=layout.pattern,
        patterns=layout.patterns,
        slot_shape=layout.slot_shape,
        entry=pixels.window,
        entry_shape=pixels.shape,
        n_inner=pixels.n_inner,
        dtype=pixels.dtype,
        fill_value=pixels.fill_value,
        flat=layout.flat,
        token=token,
        ids=table.train_ids,
        chunk=(chunk[0], *chunk[len(chunk) - n_axes :]) if chunk else (),
    )
