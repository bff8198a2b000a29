"""Selecting trains and pulses by position or ID, and splitting into parts."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from xfelred.column_names import split_element
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    NotPossibleError,
    OutOfRangeError,
    PropertyNameError,
    listing,
    shown,
    warn,
)
from xfelred.names import TRAIN
from xfelred.shot_names import shot_numbers
from xfelred.shots import as_labelled, check_overlap, recorded_only

TrainIDs = NDArray[np.uint64]
IDs = TypeVar("IDs", NDArray[np.uint64], NDArray[np.int64])
MOST = 2**64 - 1  # no ID is larger; of larger integers numpy makes objects


@dataclass(frozen=True)
class ById:
    """A selection by ID; made by ``by_id[...]``."""

    value: Any

    def __repr__(self) -> str:
        return f"by_id[{as_written(self.value)}]"


@dataclass(frozen=True)
class ByIndex:
    """A selection by position; made by ``by_index[...]``."""

    value: Any

    def __repr__(self) -> str:
        return f"by_index[{as_written(self.value)}]"


def as_written(index: object) -> str:
    """Return what stands between the brackets of an index, ``:5, 3:12``."""
    if isinstance(index, tuple) and index:
        return ", ".join(map(as_written, index)) + "," * (len(index) == 1)
    if isinstance(index, slice):
        parts = [index.start, index.stop, *[index.step][index.step is None :]]
        return ":".join("" if part is None else repr(part) for part in parts)
    return "..." if index is Ellipsis else shown(index)


class MakeById:
    """``by_id[10000:10010]`` or ``by_id[[10000, 10003]]`` selects by ID."""

    def __getitem__(self, value: object) -> ById:
        return ById(value)

    def __repr__(self) -> str:
        return "by_id"


class MakeByIndex:
    """``by_index[:5]`` or ``by_index[[0, 3]]`` selects by position."""

    def __getitem__(self, value: object) -> ByIndex:
        return ByIndex(value)

    def __repr__(self) -> str:
        return "by_index"


by_id = MakeById()
by_index = MakeByIndex()


def select_train_ids(
    train_ids: IDs, selection: object, needed: IDs | None = None
) -> IDs:
    """Return the selected train IDs, sorted as the given ones are.

    `selection` takes positions, unless it is ``by_id``. A boolean array has the length
    of `train_ids`; a boolean DataArray, or a pandas Series, has train IDs, and is
    expected to know those that are `needed`, by default all. Names such as ``"tag_12"``
    are IDs, with or without ``by_id``.
    """
    if isinstance(selection, ById) or has_names(selection):
        return select_ids(train_ids, getattr(selection, "value", selection))
    if isinstance(selection, ByIndex):
        selection = selection.value
    if isinstance(selection, (xr.DataArray, pd.Series)):
        return select_labelled(
            train_ids, selection, train_ids if needed is None else needed
        )
    if isinstance(selection, slice):
        return np.sort(train_ids[checked_slice(selection)])
    if isinstance(selection, (int, np.integer)) and not isinstance(selection, bool):
        return train_ids[[checked_position(int(selection), len(train_ids))]]
    positions = as_positions(selection)
    if positions.dtype == bool:
        if positions.shape != train_ids.shape:
            raise ArgumentError(
                f"a boolean selection of {positions.size} values cannot select from"
                f" {len(train_ids)} trains; it needs one value for every train"
            )
        return train_ids[positions]
    if positions.size == 0:
        return train_ids[:0]
    if positions.dtype.kind not in "iu" or positions.ndim != 1:
        raise ArgumentTypeError(
            "trains are selected by slice, integers, booleans or by_id, not"
            f" {shown(selection)}"
        )
    at = [checked_position(int(i), len(train_ids)) for i in positions]
    return train_ids[np.unique(at)]


def checked_slice(selection: slice) -> slice:
    """Return a slice of positions; ArgumentTypeError if it is none."""
    try:
        selection.indices(0)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"trains are selected by slices of positions, not {as_written(selection)};"
            " by_id[...] takes train IDs"
        ) from None
    return selection


def as_positions(selection: object) -> NDArray[Any]:
    """Return what should be numbers as an array; of objects if it cannot be one."""
    try:
        return np.asarray(selection)
    except (TypeError, ValueError, OverflowError):
        return np.array([None])


def entries_of(several: object) -> list[Any] | None:
    """Return the entries; None of what has none, or only looks as if it had some."""
    if not isinstance(several, Iterable) or isinstance(several, (bytes, Mapping)):
        return None
    try:
        return list(several)
    except TypeError:  # an array without axes
        return None


def glob_pairs(sources: object, key_glob: str) -> list[tuple[str, str]]:
    """Return (source glob, key glob) of what a user selects."""
    listed = [sources] if isinstance(sources, str) else entries_of(sources)
    pairs = [(s, key_glob) if isinstance(s, str) else s for s in listed or ()]
    for pair in pairs or [None]:
        if (
            not isinstance(pair, (tuple, list))
            or len(pair) != 2
            or not all(isinstance(glob, str) for glob in pair)
        ):
            raise ArgumentTypeError(
                "select takes a glob, or a list of globs or (source, key) globs, not"
                f" {shown(sources)}"
            )
    return [(str(source), str(key)) for source, key in pairs]


def listed_keys(keys: object) -> list[Any]:
    """Return the keys that `scalars` is asked for; ArgumentTypeError for no list."""
    found = None if isinstance(keys, str) else entries_of(keys)
    if found is None or not all(isinstance(key, (str, tuple, list)) for key in found):
        hint = f": [{shown(keys)}]" if isinstance(keys, str) else ""
        raise ArgumentTypeError(
            f"scalars takes a list of keys, not {shown(keys)}{hint}"
        )
    return found


def listed_names(keys: object) -> list[str]:
    """Return names of keys as a list; ArgumentTypeError if it is none."""
    lists = isinstance(keys, Iterable) and getattr(keys, "shape", None) != ()
    found = list(keys) if isinstance(keys, Iterable) and lists else []
    if not lists or not all(isinstance(key, str) for key in found):
        raise ArgumentTypeError(
            f"keys of a source are names, a glob or None for all, not {shown(keys)}"
        )
    return found


def check_position(
    name: str,
    position: tuple[int, ...],
    shape: tuple[int, ...],
    error: type[Exception] = PropertyNameError,
) -> None:
    """Raise an error if values of a shape per event have no such position."""
    if len(position) != len(shape) or any(map(operator.ge, position, shape)):
        raise error(
            f"{name!r} asks for position {listing(position)}, but"
            f" {split_element(name)[0]!r} has shape {shape} per event"
        )


def has_names(selection: object) -> bool:
    """Tell whether trains are named by text, such as ``"tag_12"``."""
    if isinstance(selection, slice):
        selection = [v for v in (selection.start, selection.stop) if v is not None]
    if isinstance(selection, np.ndarray) and not selection.ndim:
        return False
    if isinstance(selection, (list, tuple, np.ndarray)):
        return any(isinstance(v, (str, bytes)) for v in selection)
    return isinstance(selection, (str, bytes))


def checked_position(i: int, n: int) -> int:
    """Return a position counted from the start; IndexError if there is none."""
    if not -n <= i < n:
        raise OutOfRangeError(
            f"train position {i} is out of range: there are {n} trains"
        )
    return i % n


def select_labelled(
    train_ids: IDs, selection: xr.DataArray | pd.Series, needed: IDs
) -> IDs:
    """Return the train IDs at which a labelled boolean array is True."""
    selection = recorded_only(as_labelled(selection, "the selection"))
    if (
        selection.dtype != bool
        or selection.dims != (TRAIN,)
        or TRAIN not in selection.coords
    ):
        raise ArgumentError(
            "a DataArray or Series selects trains if it is boolean, with one value and"
            f" an ID for each train; got {selection.dtype} on"
            f" {listing(selection.dims)} with coordinates {listing(selection.coords)}"
        )
    known = selection.coords[TRAIN].values
    here, indexes = np.isin(needed, known), (pd.Index(known), pd.Index(needed))
    check_overlap(here, *indexes, dim=TRAIN, name="the selection")
    return train_ids[np.isin(train_ids, known[selection.values])]


def select_ids(train_ids: IDs, value: object) -> IDs:
    """Return the train IDs that an ID, a range or a list of IDs names."""
    if isinstance(value, slice):
        if value.step not in (None, 1):
            raise ArgumentError(f"by_id takes no step, got {value.step}")
        low = 0 if value.start is None else int(shot_numbers(value.start))
        at = train_ids >= np.uint64(min(max(low, 0), MOST))
        if value.stop is not None:
            stop = int(shot_numbers(value.stop))
            at &= train_ids < np.uint64(min(max(stop, 0), MOST))
        found = train_ids[at]
    else:
        wanted = np.atleast_1d(shot_numbers(value))
        # Of one type: next to int64, uint64 would be compared as float64.
        wanted = wanted[(wanted >= 0) & (wanted <= MOST)].astype(train_ids.dtype)
        found = train_ids[np.isin(train_ids, wanted)]
    empty_request = isinstance(value, (list, tuple, np.ndarray)) and len(value) == 0
    if not len(found) and len(train_ids) and not empty_request:
        warn(
            f"{ById(value)} selects none of the {len(train_ids)} trains"
            f" {train_ids[0]} to {train_ids[-1]}: {why_none(train_ids, value)}"
        )
    return found


def why_none(train_ids: IDs, value: object) -> str:
    """Say where IDs lie of which none is there."""
    if not isinstance(value, slice):
        return "not found"
    start, stop = (
        None if v is None else int(shot_numbers(v)) for v in (value.start, value.stop)
    )
    if stop is not None and stop <= train_ids[0]:
        return "it ends before them"
    if start is not None and start > train_ids[-1]:
        return "it begins after them"
    return "it lies in a gap between them"


def split_evenly(
    n: int, parts: int | None, trains_per_part: int | None
) -> Iterator[slice]:
    """Yield slices that cut n trains into even pieces.

    There are at least `parts` pieces (but none is empty), and none has more than
    `trains_per_part` trains.
    """
    check_split(parts=parts, trains_per_part=trains_per_part)
    pieces = ceil(n / trains_per_part) if trains_per_part is not None else 1
    if parts is not None:
        pieces = max(pieces, min(parts, n))
    for i in range(pieces if n else 0):
        yield slice(i * n // pieces, (i + 1) * n // pieces)


def check_split(**limits: int | None) -> None:
    """Raise ValueError unless at least one limit is given and all are positive."""
    if all(v is None for v in limits.values()):
        raise ArgumentError(f"pass at least one of {', '.join(limits)}")
    for name, value in limits.items():
        if value is not None and value < 1:
            raise ArgumentError(f"{name} must be at least 1, got {shown(value)}")


def matches(numbers: NDArray[np.int64], value: object) -> NDArray[np.bool_]:
    """Return which numbers are in a slice, list or single integer."""
    if isinstance(value, slice):
        return in_slice(numbers, value)
    wanted = np.atleast_1d(as_positions(value))
    if wanted.dtype == bool:
        raise ArgumentError(
            "pulses cannot be selected by booleans; pass positions or by_id[pulse IDs]"
        )
    if wanted.size == 0:
        return np.zeros(len(numbers), bool)
    if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
        raise ArgumentTypeError(f"pulses are selected by integers, not {shown(value)}")
    if wanted.min() < 0:
        raise ArgumentError(f"negative pulses are not supported: {shown(value)}")
    return np.isin(numbers, wanted)


def in_slice(numbers: NDArray[np.int64], value: slice) -> NDArray[np.bool_]:
    """Return which numbers a slice of non-negative integers takes."""
    for part in (value.start, value.stop, value.step):
        if part is not None and (
            isinstance(part, bool) or not isinstance(part, (int, np.integer))
        ):
            raise ArgumentTypeError(f"a slice of pulses needs integers, got {value}")
    start = 0 if value.start is None else int(value.start)
    step = 1 if value.step is None else int(value.step)
    if step < 1:
        raise ArgumentError(f"a slice of pulses needs a positive step, got {value}")
    if start < 0 or (value.stop is not None and value.stop < 0):
        raise NotPossibleError(
            f"negative pulses are not supported, got {value}: trains differ in length"
        )
    taken = (numbers >= start) & ((numbers - start) % step == 0)
    return taken if value.stop is None else taken & (numbers < int(value.stop))


def check_missing_keys(missing_keys: str) -> None:
    """Raise ValueError unless it is one of the ways to treat values not there."""
    if missing_keys not in ("raise", "ignore"):
        raise ArgumentError(
            f"missing_keys={missing_keys!r}; wanted 'raise' or 'ignore'"
        )
