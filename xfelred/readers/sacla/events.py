"""The table of shots: one row per tag, a column per quantity that was logged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import (
    BrokenFileError,
    InconsistentDataError,
    PropertyNameError,
    did_you_mean,
    listing,
)
from xfelred.hdf5 import Dataset, as_text, open_group
from xfelred.readers.sacla.files import EVENTS, MAX_TAG, Tags

TAG_LIST = "tag_number_list"
TEXT_VALUES = {"saturated": np.inf}  # all other text, such as "not-converged": NaN


@dataclass(frozen=True, eq=False)
class EventTable:
    """Rows of ``event_info`` of one run."""

    path: str  # of the file
    group: str
    tags: Tags  # of the selected rows, sorted
    rows: NDArray[np.int64]  # where these stand in the file
    length: int  # rows in the file
    columns: tuple[str, ...]  # paths below the group

    def select(self, keep: NDArray[np.bool_]) -> EventTable:
        return replace(self, tags=self.tags[keep], rows=self.rows[keep])

    def shape(self, column: str) -> tuple[int, ...]:
        """Return the shape of a column in the file, () if there is none."""
        here = open_group(self.path, self.group)
        found = None if here is None else here.dataset(column)
        return () if found is None else found.shape

    def dataset(self, column: str) -> Dataset:
        here = open_group(self.path, self.group)
        found = None if here is None else here.dataset(column)
        if column not in self.columns or found is None:
            raise PropertyNameError(
                f"no {column!r} in {self.group} of {self.path}."
                f"{did_you_mean(column, self.columns)} There are"
                f" {listing(self.columns, 12)}"
            )
        if not found.shape or found.shape[0] != self.length:
            raise InconsistentDataError(
                f"{self.group}/{column} in {self.path} has shape {found.shape}, but"
                f" {TAG_LIST} has {self.length} rows: its values belong to no tags"
            )
        return found

    def values(self, column: str) -> NDArray[Any]:
        """Return the values of a column at the tags, as in the file; text as str."""
        found = self.dataset(column)
        values = np.asarray(found[()])
        if values.dtype.kind in "SO":
            texts = [as_text(v) for v in values.ravel().tolist()]
            values = np.array(texts, object).reshape(values.shape)
        return values[self.rows]


class Column(NamedTuple):
    """What a column of several files is."""

    shape: tuple[int, ...]  # (row, ...)
    dtype: np.dtype[Any]


class Table(Protocol):
    """What a table of events is asked for: that of a file, or of several."""

    @property
    def tags(self) -> Tags: ...
    @property
    def path(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def length(self) -> int: ...
    @property
    def columns(self) -> tuple[str, ...]: ...

    def select(self, keep: NDArray[np.bool_]) -> Self: ...

    def shape(self, column: str) -> tuple[int, ...]:
        """Return the shape of a column, () if there is none."""

    def dataset(self, column: str) -> Dataset | Column: ...

    def values(self, column: str) -> NDArray[Any]:
        """Return the values of a column at the selected tags."""


def first_column(table: Table, names: Iterable[str]) -> str | None:
    """Return the first column that one of some names or globs stands for."""
    for name in names:
        if name in table.columns:
            return name
        found = [c for c in table.columns if fnmatchcase(c, name)]
        if found:
            return found[0]
    return None


def first_with_one_each(table: Table, names: Iterable[str]) -> str | None:
    """Return the first column with one value per shot, else the first column.

    Globs match others too, such as spectra beside energies.
    """
    names = list(names)
    for name in names:
        exact = [name] if name in table.columns else []
        for column in exact or [c for c in table.columns if fnmatchcase(c, name)]:
            shape = table.shape(column)
            if shape[:1] == (table.length,) and prod(shape[1:]) == 1:
                return column
    return first_column(table, names)


def numbers_of(table: Table, column: str) -> NDArray[np.float64]:
    """Return the values of a column as float64; text that is no number is NaN."""
    values = table.values(column)
    if values.dtype.kind not in "biufO":
        raise InconsistentDataError(
            f"{table.group}/{column} in {table.path} holds {values.dtype}, no numbers"
        )
    if values.dtype != object:
        return values.astype(np.float64)
    return np.array([as_number(v) for v in values.ravel()]).reshape(values.shape)


def one_each_of(table: Table, column: str) -> NDArray[np.float64]:
    """Return the values of a column that has one number per shot, float64 (n,)."""
    shape = table.dataset(column).shape
    if prod(shape[1:]) != 1:
        raise InconsistentDataError(
            f"{table.group}/{column} in {table.path} has shape {shape}, but one"
            " number per shot is wanted of a column of this name"
        )
    return numbers_of(table, column).reshape(-1)


def as_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return TEXT_VALUES.get(text.strip(), np.nan)


def read_events(path: str, run: int, duplicates: str = "raise") -> EventTable:
    """Return the table of a run; an empty one if the run has none.

    Of a tag that stands in the list twice "first" takes the first row.
    """
    name = f"run_{run}/{EVENTS}"
    here = open_group(path, name)
    stored = None if here is None else here.dataset(TAG_LIST)
    if here is None or stored is None:
        none = np.zeros(0, np.int64)
        return EventTable(path, name, none, none, 0, ())
    listed = tag_numbers(stored)
    tags, rows, counts = np.unique(listed, return_index=True, return_counts=True)
    if len(tags) < len(listed) and duplicates == "raise":
        twice = tags[counts > 1]
        raise InconsistentDataError(
            f"{name}/{TAG_LIST} in {path} names {len(twice)} tags more than once:"
            f" {listing(twice.tolist())}. Which row belongs to the shot is not known;"
            " duplicate_tags='first' takes the first"
        )
    # Also those that cannot be read: asking for them tells why.
    columns = tuple(sorted(name for name, _ in here.walk() if name != TAG_LIST))
    return EventTable(path, name, tags, rows.astype(np.int64), len(listed), columns)


def tag_numbers(stored: Dataset) -> NDArray[np.int64]:
    """Return the tags of the rows of a table."""
    # Unsigned in the file: differences of such numbers would wrap around.
    listed = np.atleast_1d(stored[()])
    whole = listed.dtype.kind in "iuf" and listed.ndim == 1
    if whole:
        found = listed.astype(np.float64)
        whole = bool(((found >= 0) & (found <= MAX_TAG) & (found == found // 1)).all())
    if not whole:
        raise BrokenFileError(
            f"{stored.name} in {stored.path} is {listed.dtype} {listed.shape}; wanted a"
            " list of tags, which are whole numbers from 0 on"
        )
    return listed.astype(np.int64)
