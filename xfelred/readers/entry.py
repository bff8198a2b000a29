"""What is read of one entry, such as an image, and what stands for missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    DoesNotFitError,
    OutOfRangeError,
    shown,
)
from xfelred.lazy.indexing import Selector, length, normalized
from xfelred.readers.selection import ById, ByIndex, as_written

NUMBERS = (bool, int, float, complex, np.generic)
NOT_REAL = (complex, np.complexfloating, np.flexible, np.datetime64, np.timedelta64)


def entry_window(
    roi: object, shape: tuple[int, ...]
) -> tuple[tuple[Selector, ...], tuple[int, ...], tuple[int, ...]]:
    """Return slices for every axis of an entry, their lengths, and dropped axes.

    Axes are dropped where `roi` has an integer; they are counted from 1, behind the
    axis of entries. Positions in a list, and booleans, are taken axis by axis.
    """
    window: list[Selector] = []
    dropped = []
    for axis, (item, n) in enumerate(zip(roi_items(roi, shape), shape, strict=True)):
        if isinstance(item, slice):
            start, stop, step = slice_bounds(item, n, "roi")
            window.append(slice(start, max(start, stop), step))
        elif isinstance(item, (int, np.integer)) and not isinstance(item, bool):
            if not -n <= item < n:
                raise OutOfRangeError(f"roi {item} is outside an axis of length {n}")
            window.append(slice(int(item) % n, int(item) % n + 1, 1))
            dropped.append(axis + 1)
        else:
            window.append(listed(item, n))
    lengths = tuple(length(w, n) for w, n in zip(window, shape, strict=True))
    return tuple(window), lengths, tuple(dropped)


def slice_bounds(item: slice, n: int, name: str) -> tuple[int, int, int]:
    """Return start, stop and step of a slice on an axis of some length."""
    try:
        start, stop, step = item.indices(n)
    except (TypeError, ValueError):
        raise ArgumentTypeError(
            f"{name} takes slices of whole numbers, not {as_written(item)}"
        ) from None
    if step < 1:
        raise ArgumentError(f"{name} needs slices with a positive step, got {item}")
    return start, stop, step


def as_dtype(asked: Any, stored: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that `astype` asks for, that of the files for None."""
    if asked is None:
        return stored
    try:
        found = np.dtype(asked)
    except Exception:  # numpy raises what the words of a dtype raise: SyntaxError, ...
        found = np.dtype(object)
    if found.kind not in "biufc":
        raise ArgumentTypeError(
            f"astype={shown(asked)} must be a dtype of numbers, such as 'float32'"
        )
    return found


def roi_tuple(roi: object) -> tuple[Any, ...]:
    """Return the items of `roi`, which may stand in ``by_index[...]``."""
    if isinstance(roi, ById):
        raise ArgumentTypeError(
            f"roi takes positions of pixels, not {roi}; pass by_index[...]"
        )
    roi = roi.value if isinstance(roi, ByIndex) else roi
    return roi if isinstance(roi, tuple) else (roi,)


def roi_items(roi: object, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Return what `roi` takes of each axis, whole axes where it says nothing."""
    items = roi_tuple(roi)
    if any(item is Ellipsis for item in items):
        at = next(i for i, item in enumerate(items) if item is Ellipsis)
        missing = len(shape) - len(items) + 1
        items = (*items[:at], *(slice(None),) * missing, *items[at + 1 :])
    if len(items) > len(shape):
        raise ArgumentError(
            f"roi has {len(items)} items, but an entry has shape {shape}"
        )
    return (*items, *(slice(None),) * (len(shape) - len(items)))


def listed(item: object, n: int) -> Selector:
    """Return a selector for a list or array of positions, or of booleans."""
    known = isinstance(item, (list, np.ndarray)) and np.ndim(item) == 1
    found = normalized(item, n) if known else None
    if found is None:
        raise ArgumentTypeError(
            "roi takes slices, integers, and lists of increasing positions or of"
            f" booleans, not {shown(item)}"
        )
    return found[0]


def cut(values: NDArray[Any], window: tuple[Selector, ...]) -> NDArray[Any]:
    """Return what a window takes of the last axes of an array, axis by axis."""
    for axis, selector in enumerate(window, values.ndim - len(window)):
        values = values[(*(slice(None),) * axis, selector)]
    return values


def entry_positions(roi: object, shape: tuple[int, ...]) -> list[Any]:
    """Return the positions (n,) that `roi` takes of every axis; a number drops one."""
    window, _, dropped = entry_window(roi, shape)
    found = [np.arange(n)[w] for w, n in zip(window, shape, strict=True)]
    return [int(f[0]) if i + 1 in dropped else f for i, f in enumerate(found)]


def checked_fill(fill_value: object, dtype: np.dtype[Any]) -> Any:
    """Return a fill value of a dtype: NaN for floats and 0 for others by default."""
    if fill_value is None:
        return dtype.type(np.nan) if dtype.kind in "fc" else np.zeros((), dtype)[()]
    if dtype.kind not in "iufcb" or not isinstance(fill_value, NUMBERS):
        raise ArgumentError(
            f"fill value {shown(fill_value)} does not fit {dtype}: no number"
        )
    if dtype.kind in "fiu":
        if isinstance(fill_value, NOT_REAL):
            raise ArgumentError(
                f"fill value {shown(fill_value)} does not fit {dtype}: no real number"
            )
        check_range(fill_value, dtype)
    return np.asarray(fill_value).astype(dtype)[()]


def check_range(value: Any, dtype: np.dtype[Any]) -> None:
    """Raise ValueError or OverflowError if a dtype cannot hold a number."""
    # Of a large int numpy makes an object, of which isfinite knows nothing.
    if not isinstance(value, int) and not np.isfinite(value):
        if dtype.kind == "f":
            return
        raise ArgumentError(
            f"fill value {value} does not fit {dtype}; pass a number, or"
            " astype='float32' to have NaN where data are missing"
        )
    if dtype.kind in "iu" and value != int(value):
        raise ArgumentError(f"fill value {value} does not fit {dtype}: no whole number")
    limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    # Exact: as float64 the largest int64 would be one more than it is.
    exact = float if dtype.kind == "f" else int
    low, high = exact(limits.min), exact(limits.max)
    if not low <= value <= high:
        raise DoesNotFitError(
            f"fill value {shown(value)} does not fit {dtype} ({low} to {high})"
        )
