"""Photon counts of many frames, and the contrast that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.speckle import contrast
from xfelred.reductions.reduction import Axes, Blocks, Needs, State


@dataclass(frozen=True)
class SpeckleFit:
    """Contrast of photon counts, for `reduce_frames`.

    Frames are fitted in groups by their mean. The array has the dims
    ring, which stays, and k as the last one, which is reduced with those of frames. The
    result has two new dims, group and quantity (see
    `xfelred.kernels.speckle.contrast.QUANTITIES`).
    """

    edges: tuple[float, ...]  # of means, half open

    def partial(
        self, state: State | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> State:
        (block,) = blocks
        (ring,) = (a for a in range(block.ndim) if a not in axes)
        moved = block.transpose((*axes[:-1], ring, axes[-1]))
        counts = moved.reshape(-1, *moved.shape[-2:])
        photons = counts @ np.arange(counts.shape[-1])
        rows = np.stack([counts.sum(axis=-1), photons], axis=-1)
        where = self.groups(rows)
        totals = [
            np.where((where == g)[..., np.newaxis], counts, 0).sum(axis=0)
            for g in range(len(self.edges) - 1)
        ]
        one = {"counts": np.stack(totals), "rows": rows}
        return one if state is None else self.combine([state, one])

    def groups(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the group of every frame and ring; -1 outside, and without pixels."""
        with np.errstate(invalid="ignore"):
            mean = rows[..., 1] / rows[..., 0]
        found = np.searchsorted(self.edges, mean, side="right") - 1
        inside = (mean >= self.edges[0]) & (mean < self.edges[-1])
        return np.where(inside, found, -1)

    def combine(self, states: Sequence[State]) -> State:
        return {
            "counts": np.sum([s["counts"] for s in states], axis=0),
            "rows": np.concatenate([s["rows"] for s in states]),
        }

    def finish(self, state: State, result: str) -> NDArray[Any]:
        rows = state["rows"]
        return contrast.fits(state["counts"], rows, self.groups(rows))
