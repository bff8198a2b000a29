"""Mean angular correlations: of shots, of different shots, and of their differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels.correlation import pair_errors, rows
from xfelred.kernels.correlation import pairs as correlation
from xfelred.reductions import moments
from xfelred.reductions.reduction import Axes, Blocks, Needs, State, added, by_group

SPREAD = frozenset({"sem"})
TOTAL, CROSSING = "total", "crossing"


@dataclass(frozen=True)
class RingCorrelation:
    """Mean correlation of shots, as a reduction over shots and azimuths.

    `lead` is the ring that leads, if one does; `different`: between different shots in
    place of within each.
    """

    lead: int | None
    normalization: str
    different: bool = False

    def partial(
        self, state: State | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> State:
        items = rows.all_items(blocks[0])
        raw = self.normalization == "none"
        values = self.different or "correlation" in needs
        sums = correlation.ring_sums(items, self.lead, raw=raw, values=values)
        if self.different:
            sums = correlation.add_images(sums, items, raw=raw)
        return sums if state is None else added(state, sums)

    def combine(self, states: Sequence[State]) -> State:
        return reduce(added, states)

    def finish(self, state: State, result: str) -> NDArray[Any]:
        sums = correlation.inter_sums(state, self.lead) if self.different else state
        if result == "n_pairs":
            return sums["pairs"]
        return correlation.mean_correlation(sums, self.lead, self.normalization)


@dataclass(frozen=True)
class PairCorrelation:
    """Mean correlation of differences, as a reduction over pairs of different shots.

    `errors` "jackknife": the last column of the pairs is the number of their group.
    """

    lead: int | None
    normalization: str
    errors: str

    def partial(
        self, state: dict[str, State] | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> dict[str, State]:
        """Return the sums over some pairs, one set for every group."""
        frames, pairs = blocks
        frames = frames.reshape(-1, *frames.shape[-2:])
        out: dict[str, State] = {}
        raw, values = self.normalization == "none", bool(needs - {"n_pairs"})
        for number in np.unique(pairs[:, 2]).tolist():
            items = rows.differences(frames, pairs[pairs[:, 2] == number])
            sums = correlation.ring_sums(items, self.lead, raw=raw, values=values)
            out[str(number)] = sums
        if "sem" in needs and not self.errors:
            out["spread"] = self.spread(rows.differences(frames, pairs))
        return out

    def spread(self, items: rows.Items) -> State:
        """Return the running moments of the correlations of single pairs."""
        how = "none" if self.normalization == "none" else "pairs"
        state: State | None = None
        for _, one_each, _ in correlation.item_correlations(items, self.lead, how):
            state = moments.accumulate(state, one_each, (0,), SPREAD)
        return state or {}

    def combine(self, states: Sequence[dict[str, State]]) -> dict[str, State]:
        spread = [s["spread"] for s in states if "spread" in s]
        groups = [{k: v for k, v in s.items() if k != "spread"} for s in states]
        out = dict(sorted(by_group(groups, added).items()))
        return out | ({"spread": moments.merge(spread)} if spread else {})

    def finish(self, state: dict[str, State], result: str) -> NDArray[Any]:
        groups = [one for name, one in state.items() if name != "spread"]
        sums = reduce(added, groups)
        if result == "n_pairs":
            return sums["pairs"]
        if result == "correlation":
            return self.mean(sums)
        if self.errors:
            return self.jackknife(sums, groups)
        divisor = correlation.scale(sums, self.lead, self.normalization)
        spread = moments.statistic(state["spread"], "sem", 1)
        return spread / np.abs(divisor)[:, None]

    def mean(self, sums: State) -> NDArray[np.float64]:
        return correlation.mean_correlation(sums, self.lead, self.normalization)

    def jackknife(self, sums: State, groups: list[State]) -> NDArray[np.float64]:
        """Return the standard error from leaving out one group at a time."""
        n = len(groups)
        if n < 2:
            return np.full(sums["pairs"].shape, np.nan)
        # In one pass, around the estimate from all groups.
        middle = self.mean(sums)
        first = np.zeros(middle.shape)
        second = np.zeros(middle.shape)
        for group in groups:
            off = self.mean({k: v - group[k] for k, v in sums.items()}) - middle
            first += off
            second += off * off
        return np.sqrt((n - 1) / n * np.maximum(second - first * first / n, 0.0))


@dataclass(frozen=True)
class SharedPairs:
    """Mean correlation of differences of pairs that share shots.

    `errors` "jackknife": also of the standard deviations in "variance".
    """

    lead: int | None
    normalization: str
    errors: str

    def partial(
        self, state: dict[str, State] | None, blocks: Blocks, axes: Axes, needs: Needs
    ) -> dict[str, State]:
        """Return the sums over some pairs, for each block and for all."""
        frames, pairs = blocks
        frames = frames.reshape(-1, *frames.shape[-2:])
        raw = self.normalization == "none"
        if "sem" not in needs:
            items, values = rows.differences(frames, pairs), bool(needs - {"n_pairs"})
            sums = correlation.ring_sums(items, self.lead, raw=raw, values=values)
            return {TOTAL: sums}
        found = []
        for cell in cells_of(pairs):
            items = rows.differences(frames, cell)
            one, two = cell[0, 2:4].tolist()
            sums = correlation.ring_sums(items, self.lead, raw=raw)
            parts = {TOTAL: sums, str(one): sums}
            if one != two:
                parts[str(two)] = sums
                parts[CROSSING] = pair_errors.pair_moments(
                    items, cell[:, 4], self.lead, raw=raw
                )
            found.append(parts)
        return by_group(found, added)

    def combine(self, states: Sequence[dict[str, State]]) -> dict[str, State]:
        return by_group(states, added)

    def finish(self, state: dict[str, State], result: str) -> NDArray[Any]:
        total = state[TOTAL]
        if result == "n_pairs":
            return total["pairs"]
        if result == "correlation":
            return correlation.mean_correlation(total, self.lead, self.normalization)
        none = dict.fromkeys(pair_errors.MOMENTS, np.zeros(total["pairs"].shape))
        numbers = sorted(state.keys() - {TOTAL, CROSSING}, key=int)
        error = pair_errors.left_out_error if self.errors else pair_errors.shared_error
        return error(
            total, [state[n] for n in numbers], state.get(CROSSING, none), self.lead,
            self.normalization,
        )  # fmt: skip


def cells_of(pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the pairs of each two blocks."""
    low, high = np.sort(pairs[:, 2:4], axis=1).T
    # Sorted, so that neighbours of equal blocks are one cell.
    order = np.lexsort((high, low))
    new = np.flatnonzero(np.diff(low[order]) | np.diff(high[order])) + 1
    return list(np.split(pairs[order], new))
