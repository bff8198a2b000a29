"""Plain selections along one axis: slices with positive step and sorted int arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import PositionError

Selector = slice | NDArray[np.integer[Any]]


def length(selector: Selector, n: int) -> int:
    if isinstance(selector, slice):
        return len(range(*selector.indices(n)))
    return len(selector)


def is_whole(selector: Selector, n: int) -> bool:
    return isinstance(selector, slice) and selector == slice(0, n, 1)


def subset(old: Selector, new: Selector, n: int) -> Selector:
    """Return the selector that acts as `old` and then `new` on the `n` it leaves."""
    if isinstance(old, slice) and isinstance(new, slice):
        inner = range(old.start, old.stop, old.step)[new]
        return slice(inner.start, max(inner.stop, inner.start), inner.step)
    if isinstance(old, slice):
        return old.start + old.step * np.asarray(new)
    return old[new]


def normalized(index: object, n: int) -> tuple[Selector, bool] | None:
    """Return (selector, drops the axis) for one item of an index, None if exotic.

    Exotic are dask arrays, ``None`` and unsorted or repeated positions: these are
    left to dask.
    """
    if isinstance(index, slice):
        start, stop, step = index.indices(n)
        return (slice(start, max(start, stop), step), False) if step > 0 else None
    # True is an int in Python, but as an index it adds an axis.
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        i = int(index)
        if not -n <= i < n:
            raise PositionError(
                f"index {i} is out of bounds for an axis of length {n}: positions go"
                f" from {-n} to {n - 1}"
            )
        i %= n
        return slice(i, i + 1, 1), True
    if not isinstance(index, (list, np.ndarray)) or np.ndim(index) != 1:
        return None
    positions = sorted_positions(np.asarray(index), n)
    return None if positions is None else (as_slice(positions), False)


def sorted_positions(index: NDArray[Any], n: int) -> NDArray[np.int64] | None:
    """Return an integer or boolean index as increasing positions, None if it is not."""
    if index.dtype == bool:
        if len(index) != n:
            raise PositionError(
                f"boolean index of length {len(index)} on an axis of length {n}: it"
                " needs one value for every position"
            )
        return np.flatnonzero(index)
    if not len(index):
        return np.zeros(0, np.int64)
    if index.dtype.kind not in "iu":
        return None
    if index.min() < -n or index.max() >= n:
        raise PositionError(
            f"indices from {index.min()} to {index.max()} are out of bounds for an axis"
            f" of length {n}: positions go from {-n} to {n - 1}"
        )
    positions = np.where(index < 0, index + n, index).astype(np.int64)
    return None if np.any(np.diff(positions) <= 0) else positions


def as_slice(positions: NDArray[np.int64]) -> Selector:
    """Return sorted positions as a slice where they are evenly spaced."""
    if not len(positions):
        return slice(0, 0, 1)
    if len(positions) == 1:
        return slice(int(positions[0]), int(positions[0]) + 1, 1)
    steps = np.diff(positions)
    # A slice selects without copying, and is pickled in a few bytes.
    if np.all(steps == steps[0]):
        step = int(steps[0])
        return slice(int(positions[0]), int(positions[-1]) + 1, step)
    return positions


def chunks_after(chunks: tuple[int, ...], selector: Selector) -> tuple[int, ...]:
    """Return the chunk lengths that a selector leaves of `chunks`, without zeros."""
    edges = np.concatenate([[0], np.cumsum(chunks)])
    if isinstance(selector, slice):
        # ceil((edge - start) / step), clipped to the number selected
        n = length(selector, int(edges[-1]))
        at = np.clip(-((selector.start - edges) // selector.step), 0, n)
    else:
        at = np.searchsorted(selector, edges)
    sizes = np.diff(at)
    return tuple(sizes[sizes > 0].tolist()) or (0,)


def merge_chunks(chunks: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Return chunks in which up to `factor` neighbours are joined."""
    if factor < 2:
        return chunks
    groups = np.add.reduceat(chunks, np.arange(0, len(chunks), factor))
    return tuple(groups.tolist())
