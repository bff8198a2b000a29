"""Values that a source had at the start of a run, from the RUN section of its files."""

from __future__ import annotations

from typing import Any

import h5py

from xfelred.errors import MultiRunError, NoDataError, PropertyNameError, listing
from xfelred.hdf5.rows import open_group
from xfelred.readers.euxfel.files import FileIndex, text

Files = tuple[FileIndex, ...]


def check_single(files: Files, source: str, single: bool) -> None:
    """Raise MultiRunError if the files of a source are of several runs."""
    if not single:
        known = sorted({f.identity for f in files if f.identity is not None})
        which = listing(f"p{p:06d} r{r:04d}" for p, r in known) if known else "?"
        raise MultiRunError(
            f"{source!r} comes from several joined runs ({which}), and each"
            " has values of its own at its start. Ask the runs before they are"
            " joined, or read the values per train: run[source, key]"
        )


def run_groups(files: Files, source: str) -> list[h5py.Group]:
    """Return the groups of a source in the RUN sections.

    Raises
    ------
    NoDataError
        If there is none: instrument sources have no such values.
    """
    groups = (open_group(f.path, f"RUN/{source}") for f in files)
    found = [g for g in groups if g is not None]
    if not found:
        raise NoDataError(
            f"{source!r} has no values at the start of the run, which only control"
            " sources have (names without ':output'). Read its data: run[source, key]"
        )
    return found


def run_value(files: Files, source: str, key: str) -> Any:
    """Return the value of a property in the first file that has it."""
    for group in run_groups(files, source):
        found = group.get(key.removesuffix(".value").replace(".", "/"))
        found = found.get("value") if isinstance(found, h5py.Group) else found
        if isinstance(found, h5py.Dataset):
            return plain_value(found)
    raise PropertyNameError(
        f"source {source!r} has no run value {key!r}; see run[{source!r}].run_values()"
    )


def run_values(files: Files, source: str, inc_timestamps: bool) -> dict[str, Any]:
    """Return all values in the first file that has some, by key."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            key = name.replace("/", ".")
            if inc_timestamps:
                found[key] = plain_value(item)
            elif key.endswith(".value"):
                found[key.removesuffix(".value")] = plain_value(item)

    run_groups(files, source)[0].visititems(visit)
    return found


def plain_value(dataset: h5py.Dataset) -> Any:
    """Return the first row of a RUN dataset; text as str."""
    value = dataset[0]
    return text(value) if isinstance(value, (bytes, str)) else value
