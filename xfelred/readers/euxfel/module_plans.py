"""Read plans for one key of all modules of a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, PropertyNameError
from xfelred.lazy import Patterns, ReadPlan
from xfelred.lazy.indexing import Selector
from xfelred.readers.hdf5 import read_rows

if TYPE_CHECKING:
    from xfelred.readers.euxfel.detector import Detector


@dataclass(frozen=True)
class Layout:
    """How entries are laid out: patterns of trains, slots, and whether flat."""

    pattern: NDArray[np.int64]
    patterns: Patterns
    slot_shape: tuple[int, ...] = ()
    flat: bool = False


@dataclass(frozen=True)
class Pixels:
    """What is read of each entry and how it is stored in memory."""

    window: tuple[Selector, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill_value: Any
    n_inner: int = 0


def module_plan(
    detector: Detector,
    key: str,
    layout: Layout,
    pixels: Pixels,
    modules: list[int] | None = None,
) -> ReadPlan:
    """Return the plan of one key of all modules.

    Parameters
    ----------
    detector : Detector
    key : str
    layout : Layout
        One pattern for every train of the detector.
    pixels : Pixels
    modules : list of int, optional
        Positions of the modules to read; by default all.
    """
    table = detector.table(key.partition(".")[0])
    columns = slice(None) if modules is None else modules
    name = key.replace(".", "/")
    targets = tuple(
        (path, f"INSTRUMENT/{table.sources[m]}/{name}") for m, path in table.targets
    )
    files = {f.path: f.token() for f in detector.data.files}
    token = tokenize(
        [files[path] for _, path in table.targets], targets, table.train_ids,
        table.target[:, columns], table.first[:, columns], layout.pattern,
        layout.patterns.ptr, layout.patterns.offset, layout.patterns.slot,
        layout.slot_shape, layout.flat, pixels,
    )  # fmt: skip
    return ReadPlan(
        read_rows=read_rows,
        targets=targets,
        target=table.target[:, columns],
        first=table.first[:, columns],
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
        chunk=stored_chunk(detector, key, len(pixels.window)),
    )


def stored_chunk(detector: Detector, key: str, n_axes: int) -> tuple[int, ...]:
    """Return the chunk of a key of the first module: rows, then `n_axes` of a row."""
    source = next(iter(detector.source_to_modno))
    chunk = detector.data.entries[source].key_data(key).chunk
    return (chunk[0], *chunk[len(chunk) - n_axes :]) if chunk else ()


def stored_as(detector: Detector, key: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return dtype and entry shape of a key, which all modules must share.

    Raises
    ------
    PropertyNameError
        If a module lacks the key.
    InconsistentDataError
        If modules differ.
    """
    found = {}
    for source in detector.source_to_modno:
        if key not in detector.data.entries[source].all_keys():
            raise PropertyNameError(
                f"{source} has no key {key!r}; it has"
                f" {sorted(detector.data.entries[source].all_keys())}"
            )
        data = detector.data.entries[source].key_data(key)
        found[source] = (data.dtype, data.entry_shape)
    first, *rest = found.items()
    for source, (dtype, shape) in rest:
        if (dtype, shape) != first[1]:
            raise InconsistentDataError(
                f"modules of {detector.detector_name} store {key} differently:"
                f" {first[0]} {first[1]}, {source} {(dtype, shape)}"
            )
    return first[1]
