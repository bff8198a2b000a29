"""Pixels against one value per frame, in groups of frames, as a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.reductions import pair_moments
from xfelred.lazy.leaves import State


@dataclass(frozen=True)
class Regression:
    """Correlation and line of pixels and a value per frame; for `reduce_frames`.

    Companions: the values, and the group of each frame (negative: none), both on dims
    that are reduced. Results get one new dim of length `n_groups`, the last. See
    `xfelred.kernels.reductions.pair_moments.results` for their names.
    """

    n_groups: int

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[Any]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        """Add a block to the states of the groups that its frames belong to."""
        y, x, labels = blocks
        kept = tuple(i for i in range(y.ndim) if i not in axes)
        lead = tuple(y.shape[i] if i in axes else 1 for i in range(y.ndim))
        value = np.broadcast_to(x, lead).ravel()
        label = np.broadcast_to(labels, lead).ravel()
        shape = tuple(y.shape[i] for i in kept)
        frames = y.transpose((*axes, *kept)).reshape(len(label), prod(shape))
        if state is None:
            state = {"shape": np.array(shape, np.int64)}
        groups = grouped({k: v for k, v in state.items() if k != "shape"})
        for number in np.unique(label[label >= 0]).tolist():
            rows = as_range(np.flatnonzero(label == number))
            new = pair_moments.accumulate(groups.get(number), frames[rows], value[rows])
            state |= {f"{number}/{k}": v for k, v in new.items()}
        return state

    def combine(self, states: Sequence[State]) -> State:
        """Put the states of every group together in their order."""
        found: dict[int, State] = {}
        for state in states:
            parts = grouped({k: v for k, v in state.items() if k != "shape"})
            for number, part in parts.items():
                old = found.get(number)
                found[number] = part if old is None else pair_moments.merge(old, part)
        out = {"shape": states[0]["shape"]}
        return out | {
            f"{number}/{k}": v
            for number, one in sorted(found.items())
            for k, v in one.items()
        }

    def finish(self, state: State, result: str) -> NDArray[Any]:
        """Return one result of all groups; NaN and count 0 where there is no frame."""
        shape = tuple(state["shape"].tolist())
        dtype = np.int64 if result == "count" else np.float64
        out = np.full(
            (self.n_groups, *shape), 0 if result == "count" else np.nan, dtype
        )
        rest = {k: v for k, v in state.items() if k != "shape"}
        for number, one in grouped(rest).items():
            out[number] = pair_moments.results(one, result).reshape(shape)
        return np.moveaxis(out, 0, -1)


def grouped(state: State) -> dict[int, State]:
    """Return the state of every group by its number, which their names begin with."""
    groups: dict[int, State] = {}
    for name, value in state.items():
        number, _, key = name.partition("/")
        groups.setdefault(int(number), {})[key] = value
    return dict(sorted(groups.items()))


def as_range(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return neighbouring rows as a slice, which does not copy."""
    if len(rows) == rows[-1] - rows[0] + 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
