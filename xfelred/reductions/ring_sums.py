"""Sums over rings of pixels, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from numpy.typing import NDArray

from xfelred.kernels.azimuthal import integrate as azimuthal
from xfelred.reductions.reduction import Axes, Blocks, Needs, State, added


@dataclass(frozen=True)
class RingSums:
    """Averages over rings as a reduction over pixels and modules."""

    setup: azimuthal.Integration

    def partial(
        self, state: State | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> State:
        frame_axes = tuple(i for i in range(blocks[0].ndim) if i not in axes)
        ordered = [b.transpose((*frame_axes, *axes)) for b in blocks]
        sums = azimuthal.ring_sums(*ordered, n_core=len(axes), rings=self.setup)
        return sums if state is None else added(state, sums)

    def combine(self, states: Sequence[State]) -> State:
        return reduce(added, states)

    def finish(self, state: State, result: str) -> NDArray[Any]:
        return azimuthal.averages(state, self.setup)[result]
