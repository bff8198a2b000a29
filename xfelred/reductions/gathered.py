"""Values of all frames brought together, for results that need every one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.reductions.reduction import Axes, Blocks, Needs, State


@dataclass(frozen=True)
class Gathered:
    """Lists of values, where all of them are numbers; for `reduce_frames`.

    For a few numbers per frame: memory grows with their number. All dims are reduced.
    `kernel` is importable, ``kernel(*lists, **params) -> dict`` of results, and gets
    float64 lists of equal length for the array and its companions.
    """

    kernel: Callable[..., Mapping[str, NDArray[Any]]]
    params: Mapping[str, Any] = field(default_factory=dict)

    def partial(
        self, state: State | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> State:
        whole = np.broadcast_arrays(*blocks)
        good = np.logical_and.reduce([~np.isnan(b) for b in whole])
        new = {str(i): b[good].astype(np.float64) for i, b in enumerate(whole)}
        return new if state is None else self.combine([state, new])

    def combine(self, states: Sequence[State]) -> State:
        return {k: np.concatenate([s[k] for s in states]) for k in states[0]}

    def finish(self, state: State, result: str) -> NDArray[Any]:
        lists = (state[str(i)] for i in range(len(state)))
        return np.asarray(self.kernel(*lists, **self.params)[result])
