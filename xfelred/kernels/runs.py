"""Integer arrays that mostly count up in equal steps, stored in few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHORT = 16  # elements; for fewer nothing is gained


@dataclass(frozen=True, eq=False)
class Runs:
    """An array (n,) or (n, m), column after column, as runs of equal steps."""

    shape: tuple[int, ...]
    dtype: str
    # int (run,); difference of neighbours in each run; the first starts from 0
    step: tuple[int, ...]
    count: tuple[int, ...]  # int (run,); length of each run


def to_runs(array: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]] | Runs:
    """Return an integer array as runs, or as it is where that is not smaller."""
    flat = array.T.ravel()
    if len(flat) < SHORT or array.dtype.kind not in "iu":
        return array
    # Differences of unsigned numbers wrap around, and wrap back when added up.
    flat = flat.astype(np.int64, copy=False)
    steps = np.diff(flat, prepend=flat.dtype.type(0))
    new = np.ones(len(steps), bool)
    np.not_equal(steps[1:], steps[:-1], out=new[1:])
    starts = np.flatnonzero(new)
    if 2 * 8 * len(starts) > array.nbytes:
        return array
    count = np.diff(starts, append=len(flat))
    step = tuple(steps[starts].tolist())
    return Runs(array.shape, array.dtype.str, step, tuple(count.tolist()))


def from_runs(runs: Runs) -> NDArray[np.integer[Any]]:
    """Return the array that `to_runs` was given."""
    steps = np.repeat(np.array(runs.step, np.int64), np.array(runs.count, np.int64))
    flat = np.cumsum(steps).astype(runs.dtype)
    return np.ascontiguousarray(flat.reshape(runs.shape[::-1]).T)
