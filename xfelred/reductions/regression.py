"""Pixels against one value per frame, in groups of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.reductions import pair_moments
from xfelred.reductions.reduction import Axes, Blocks, Needs, State, as_rows, by_group


@dataclass(frozen=True)
class Groups:
    """The moments of every group that occurs, and the lengths of the axes of pixels."""

    shape: tuple[int, ...]
    of: dict[int, State]


@dataclass(frozen=True)
class Regression:
    """Correlation and line of pixels and a value per frame; for `reduce_frames`.

    Companions: the values, and the group of each frame (negative: none), both on dims
    that are reduced. Results get one new dim of length `n_groups`, the last. See
    `xfelred.kernels.reductions.pair_moments.results` for their names.
    """

    n_groups: int

    def partial(
        self, state: Groups | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> Groups:
        y, x, labels = blocks
        moved, shape, (value, label) = as_rows(y, axes, x, labels)
        frames = moved.reshape(len(label), prod(shape))
        state = state or Groups(shape, {})
        for group in np.unique(label[label >= 0]).tolist():
            rows = as_range(np.flatnonzero(label == group))
            state.of[group] = pair_moments.accumulate(
                state.of.get(group), frames[rows], value[rows]
            )
        return state

    def combine(self, states: Sequence[Groups]) -> Groups:
        of = by_group([s.of for s in states], pair_moments.merge)
        return Groups(states[0].shape, of)

    def finish(self, state: Groups, result: str) -> NDArray[Any]:
        """Return one result of all groups; NaN and count 0 where there is no frame."""
        nothing = np.int64(0) if result == "count" else np.float64("nan")
        out = np.full((self.n_groups, *state.shape), nothing)
        for group, one in state.of.items():
            out[group] = pair_moments.results(one, result).reshape(state.shape)
        return np.moveaxis(out, 0, -1)


def as_range(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return neighbouring rows as a slice, which does not copy."""
    if len(rows) == rows[-1] - rows[0] + 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
