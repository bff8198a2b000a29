"""One run in several files: windows of tags, modules apart, the event table apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, PropertyNameError, listing, warn
from xfelred.readers.sacla.events import Column, EventTable, Table
from xfelred.readers.sacla.files import TagGroup, Tags


def join_groups(files: Sequence[Sequence[TagGroup]], duplicates: str) -> list[TagGroup]:
    """Return the groups of a run, each with its tags of all `files`."""
    by_name: dict[str, list[TagGroup]] = {}
    for groups in files:
        for group in groups:
            by_name.setdefault(group.name, []).append(group)
    return [joined(parts, duplicates) for parts in by_name.values()]


def joined(parts: list[TagGroup], duplicates: str) -> TagGroup:
    first = parts[0]
    if len(parts) == 1:
        return first
    for other in parts[1:]:
        names = [g.info.get("detector_name") for g in (first, other)]
        if None not in names and names[0] != names[1]:
            raise InconsistentDataError(
                f"{first.path} is {names[0]!r} in {first.file}, {names[1]!r} in"
                f" {other.file}; these are no files of one run"
            )
        warn_of_difference(first.path, first.info, first.file, other.info, other.file)
    kept: list[TagGroup] = []
    seen = first.tags[:0]
    for part in parts:
        again = np.isin(part.tags, seen)
        if again.any() and duplicates == "raise":
            tag = part.tags[again][0]
            before = next(p.file for p in kept if tag in p.tags)
            raise InconsistentDataError(
                f"{int(again.sum())} images of {part.path}, such as tag {tag}, are in"
                f" {before} and in {part.file}. Which one counts is not known;"
                " duplicate_tags='first' takes the first"
            )
        kept.append(replace(part, tags=part.tags[~again]))
        seen = np.union1d(seen, part.tags)
    info: dict[str, Any] = {}
    for part in parts:
        info = part.info | info
    return replace(
        first,
        tags=seen,
        info=info,
        own=all(p.own for p in parts),
        names={},
        strange=tuple(s for p in parts for s in p.strange),
        parts=tuple(kept),
    )


def warn_of_difference(
    where: str, one: dict[str, Any], first: str, two: dict[str, Any], other: str
) -> None:
    """Say, in one warning, which values of the run differ from file to file."""
    differ = [
        f"{key} ({one[key]} and {two[key]})"
        for key in one
        if key in two and one[key] != two[key]
    ]
    if differ:
        warn(
            f"{where} has other values in {other} than in {first}: {listing(differ)};"
            " the first are used"
        )


def join_values(
    found: Sequence[tuple[str, dict[str, Any]]], where: str
) -> dict[str, Any]:
    """Return small values of the run: of each the first; `found` is (file, values)."""
    out: dict[str, Any] = {}
    for file, values in found:
        if out:
            warn_of_difference(where, out, found[0][0], values, file)
        out = values | out
    return out


def join_events(tables: Sequence[EventTable], duplicates: str) -> Table:
    filled = [t for t in tables if len(t.tags)]
    if len(filled) < 2:
        return (filled or list(tables))[0]
    tags = np.unique(np.concatenate([t.tags for t in filled]))
    return EventTables(tuple(filled), tags, duplicates)


@dataclass(frozen=True, eq=False)
class EventTables:
    """The event tables of several files as one; used as an `EventTable`.

    A row may stand in several of them, as files may hold the table of the whole run: it
    must be the same then. A column that a file lacks is NaN, or no text, at its tags.
    """

    parts: tuple[EventTable, ...]
    tags: Tags  # of the selected rows, sorted
    duplicates: str  # "raise" or "first": what to do with rows that differ

    @property
    def path(self) -> str:
        return listing(t.path for t in self.parts)

    @property
    def group(self) -> str:
        return self.parts[0].group

    @property
    def length(self) -> int:
        return len(np.unique(np.concatenate([t.tags for t in self.parts])))

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(sorted({c for t in self.parts for c in t.columns}))

    def select(self, keep: NDArray[np.bool_]) -> EventTables:
        return replace(self, tags=self.tags[keep])

    def holders(self, column: str) -> list[EventTable]:
        found = [t for t in self.parts if column in t.columns]
        if not found:
            self.parts[0].dataset(column)  # raises the error that names what there is
            raise PropertyNameError(f"no {column!r} in {self.group} of {self.path}")
        return found

    def shape(self, column: str) -> tuple[int, ...]:
        if column not in self.columns:
            return ()
        return (self.length, *self.dataset(column).shape[1:])

    def dataset(self, column: str) -> Column:
        tables = self.holders(column)
        found = [t.dataset(column) for t in tables]
        for table, one in zip(tables, found, strict=True):
            if one.shape[1:] != found[0].shape[1:]:
                raise InconsistentDataError(
                    f"values of {self.group}/{column} have shape {found[0].shape[1:]}"
                    f" in {tables[0].path}, {one.shape[1:]} in {table.path}"
                )
        kinds = [one.dtype for one in found]
        text = any(k.kind in "SOU" for k in kinds)
        whole = len(np.unique(np.concatenate([t.tags for t in tables]))) == self.length
        dtype = np.dtype(object) if text else np.result_type(*kinds)
        if not whole and dtype.kind in "iub":
            dtype = np.dtype(np.float64)  # for NaN
        return Column((self.length, *found[0].shape[1:]), dtype)

    def values(self, column: str) -> NDArray[Any]:
        """Return the values of a column at the tags; text as str."""
        kind = self.dataset(column)
        missing = {"O": "", "f": np.nan}.get(kind.dtype.kind, 0)
        out = np.full((len(self.tags), *kind.shape[1:]), missing, kind.dtype)
        source = np.full(len(self.tags), -1)
        tables = self.holders(column)
        for number, table in enumerate(tables):
            here = np.flatnonzero(np.isin(self.tags, table.tags))
            at = np.searchsorted(table.tags, self.tags[here])
            values = table.values(column)[at].astype(kind.dtype)
            known = source[here] >= 0
            if self.duplicates == "raise":
                other = differing(out[here[known]], values[known])
                for i in other[:1]:
                    row = here[known][i]
                    raise InconsistentDataError(
                        f"{self.group}/{column} of tag {self.tags[row]} is {out[row]}"
                        f" in {tables[source[row]].path}, {values[known][i]} in"
                        f" {table.path}; duplicate_tags='first' takes the first"
                    )
            out[here[~known]] = values[~known]
            source[here[~known]] = number
        return out


def differing(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.intp]:
    """Return the rows that are not the same in both; NaN is the same as NaN."""
    unlike = np.asarray(one != two)
    if one.dtype.kind == "f":
        unlike &= ~(np.isnan(one) & np.isnan(two))
    return np.flatnonzero(unlike.any(axis=tuple(range(1, unlike.ndim))))
