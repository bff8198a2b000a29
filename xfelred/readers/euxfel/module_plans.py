"""Read plans for one key of all modules of a detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.errors import PropertyNameError, listing
from xfelred.hdf5.rows import read_rows
from xfelred.lazy import Patterns, ReadPlan
from xfelred.lazy.indexing import Selector
from xfelred.readers.euxfel.headers import (
    Header,
    Stored,
    common,
    header,
    say_absent,
)

if TYPE_CHECKING:
    from xfelred.readers.euxfel.detector import Detector
    from xfelred.readers.euxfel.module_table import ModuleTable


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
    table = key_table(detector, key)
    columns = slice(None) if modules is None else modules
    name = key.replace(".", "/")
    targets = tuple(
        (path, f"INSTRUMENT/{table.sources[m]}/{name}") for m, path in table.targets
    )
    files = {f.path: f.token() for f in detector.data.all_files}
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
    source = first_source(detector)
    chunk = detector.data.entries[source].key_data(key).chunk
    return (chunk[0], *chunk[len(chunk) - n_axes :]) if chunk else ()


def first_source(detector: Detector) -> str:
    return list(detector.source_to_modno)[next(iter(detector.positions), 0)]


def targets_used(table: ModuleTable) -> list[int]:
    """Return the positions of the files that hold data of the trains of a table."""
    seen = np.zeros(len(table.targets) + 1, bool)
    seen[table.target.ravel()] = True  # -1, no data, is the last
    return np.flatnonzero(seen[:-1]).tolist()


def key_headers(detector: Detector, key: str) -> dict[int, Header | None]:
    """Return what each file with data of a module says of a key, by target."""
    table = detector.table(key.partition(".")[0])
    known = detector.memo.setdefault("headers", {})
    if key not in known:
        files = {f.path: f for f in detector.data.all_files}
        name = key.replace(".", "/")
        known[key] = found = {}
        for i in targets_used(table):
            m, path = table.targets[i]
            if m in detector.positions:
                found[i] = header(files[path], f"INSTRUMENT/{table.sources[m]}/{name}")
    return known[key]


def has_key(detector: Detector, key: str) -> bool:
    """Return whether any file with data of the modules that are read has a key."""
    return any(h is not None for h in key_headers(detector, key).values())


def key_table(detector: Detector, key: str) -> ModuleTable:
    """Return where the rows of a key lie: nowhere in files that lack it.

    A warning, once for a file, tells of these.
    """
    tables = detector.memo.setdefault("key tables", {})
    if key not in tables:
        table = detector.table(key.partition(".")[0])
        lacking = [i for i, h in key_headers(detector, key).items() if h is None]
        if lacking:
            say_lacking(detector, table, key, lacking)
            table = table.without(lacking)
        tables[key] = table
    return tables[key]


def say_lacking(
    detector: Detector, table: ModuleTable, key: str, lacking: list[int]
) -> None:
    """Warn of files that lack a key which others have."""
    files = {f.path: f for f in detector.data.all_files}
    numbers = [detector.source_to_modno[s] for s in table.sources]
    modules = sorted({numbers[table.targets[i][0]] for i in lacking})
    then = "nothing of it is there for the trains in these files"
    if key == detector.spec.mask:
        then = "no pixel is masked there; the masks of other files apply"
    say_absent(
        [files[table.targets[i][1]] for i in lacking],
        f"{detector.detector_name} {key}",
        f"{key} of {detector.detector_name}, module {listing(modules)},",
        then,
    )


def stored_as(detector: Detector, key: str) -> Stored:
    """Return dtype and entry shape that hold a key of all modules and files.

    Raises
    ------
    PropertyNameError
        If a module lacks the key.
    InconsistentDataError
        If there is no such dtype or shape.
    """
    stored = detector.memo.setdefault("stored", {})
    if key not in stored:
        sources = list(detector.source_to_modno)
        for source in [sources[m] for m in detector.positions]:
            if key not in detector.data.entries[source].all_keys():
                raise PropertyNameError(
                    f"{source} has no key {key!r}; it has"
                    f" {sorted(detector.data.entries[source].all_keys())}. If other"
                    " modules have it, choose them: modules="
                )
        stored[key] = stored_in(detector, key)
    return stored[key]


def stored_in(detector: Detector, key: str) -> Stored:
    """Return dtype and entry shape of a key in the files that have it."""
    table = detector.table(key.partition(".")[0])
    found = {}
    for i, h in key_headers(detector, key).items():
        if h is not None:
            m, path = table.targets[i]
            found[f"{path} ({table.sources[m]})"] = h
    if not found:  # no train has data: any file tells
        source = first_source(detector)
        found = detector.data.entries[source].key_data(key).headers
    # A first axis of length 1 may be the memory cells of an entry.
    what = f"{key!r} of {detector.detector_name}"
    return common(found, what, one_axis=not detector.spec.inner)
