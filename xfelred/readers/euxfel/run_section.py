"""Values that a source had at the start of a run, from the RUN section of its files."""

from __future__ import annotations

from typing import Any

from xfelred.errors import MultiRunError, NoDataError, PropertyNameError, listing
from xfelred.hdf5 import Dataset, Group, Unreadable
from xfelred.hdf5.rows import open_group
from xfelred.readers.euxfel.files import FileIndex

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


def run_groups(files: Files, source: str) -> list[Group]:
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
        found = found.get("value") if isinstance(found, Group) else found
        if isinstance(found, Dataset):
            return plain_value(found)
    raise PropertyNameError(
        f"source {source!r} has no run value {key!r}; see run[{source!r}].run_values()"
    )


def run_values(files: Files, source: str, inc_timestamps: bool) -> dict[str, Any]:
    """Return all values in the first file that has some, by key."""
    found: dict[str, Any] = {}
    for name, item in run_groups(files, source)[0].walk():
        if isinstance(item, Unreadable):
            raise item.error
        key = name.replace("/", ".")
        if inc_timestamps:
            found[key] = plain_value(item)
        elif key.endswith(".value"):
            found[key.removesuffix(".value")] = plain_value(item)
    return found


def plain_value(dataset: Dataset) -> Any:
    """Return the first row of a RUN dataset; text as str."""
    if not dataset.shape or not len(dataset):
        raise NoDataError(
            f"{dataset.name} in {dataset.path} holds no value: its shape is"
            f" {dataset.shape}, wanted one row"
        )
    return dataset.text(0) if dataset.is_text else dataset[0]
