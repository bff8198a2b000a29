"""Mean over pairs that share shots, as a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xfelred.kernels.arrays import Array, Ints
from xfelred.kernels.correlation import pair_errors, rows
from xfelred.kernels.correlation import pairs as correlation
from xfelred.lazy import State

BLOCKS = 40  # of shots: the error is known to 1 / sqrt(2 BLOCKS), 11 %
TOTAL, CROSSING = "total", "crossing"


def share_shots(positions: Ints) -> bool:
    return bool((np.unique(positions, return_counts=True)[1] > 1).any())


def in_blocks(positions: Ints) -> Ints:
    """Return pairs with the blocks of their shots, and how often each is in the list.

    positions: int64 (pair, 2).
    Returns int64 (pair, 5); positions of both; their blocks, of equal numbers of the
        shots that there are, in their order; number of the pair in the list, either way
        round.
    """
    shots, number = np.unique(positions, return_inverse=True)
    number = number.reshape(-1, 2)
    blocks = number * min(len(shots), BLOCKS) // len(shots)
    _, same, many = np.unique(
        np.sort(number, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    columns = np.concatenate(
        [positions, blocks, many[same.reshape(-1)][:, None]], axis=1
    )
    # Pairs of the same two blocks together, which need the same shots.
    low, high = np.sort(blocks, axis=1).T
    order = np.lexsort((positions[:, 1], positions[:, 0], high, low))
    return np.asarray(columns[order], np.int64)


@dataclass(frozen=True)
class SharedPairs:
    """Mean correlation of differences of pairs that share shots."""

    lead: int | None  # the ring that leads
    normalization: str
    errors: str  # "jackknife": also of the standard deviations in "variance"

    def partial(
        self,
        state: State | None,
        blocks: Sequence[Array],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        frames, pairs = blocks
        frames = frames.reshape(-1, *frames.shape[-2:])
        raw = self.normalization == "none"
        out: State = {} if state is None else state
        if "sem" not in needs:
            sums = correlation.ring_sums(
                rows.differences(frames, pairs),
                self.lead,
                raw=raw,
                values=bool(needs - {"n_pairs"}),
            )
            return added(out, {TOTAL: sums})
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
            out = added(out, parts)
        return out

    def combine(self, states: Sequence[State]) -> State:
        out = dict(states[0])
        for other in states[1:]:
            for name, value in other.items():
                out[name] = out[name] + value if name in out else value
        return out

    def finish(self, state: State, result: str) -> Array:
        parts: dict[str, State] = {}
        for name, value in state.items():
            part, _, key = name.partition("/")
            parts.setdefault(part, {})[key] = value
        total = parts.pop(TOTAL)
        if result == "n_pairs":
            return total["pairs"]
        if result == "correlation":
            return correlation.mean_correlation(total, self.lead, self.normalization)
        none = dict.fromkeys(pair_errors.MOMENTS, np.zeros(total["pairs"].shape))
        crossing = parts.pop(CROSSING, none)
        blocks = [parts[name] for name in sorted(parts, key=int)]
        error = pair_errors.left_out_error if self.errors else pair_errors.shared_error
        return error(total, blocks, crossing, self.lead, self.normalization)


def cells_of(pairs: Ints) -> list[Ints]:
    """Return the pairs of each two blocks."""
    low, high = np.sort(pairs[:, 2:4], axis=1).T
    order = np.lexsort((high, low))
    new = np.flatnonzero(np.diff(low[order]) | np.diff(high[order])) + 1
    return list(np.split(pairs[order], new))


def added(state: State, parts: dict[str, State]) -> State:
    """Return a state with the sums of some pairs added to those of their blocks."""
    out = dict(state)
    for part, sums in parts.items():
        for key, value in sums.items():
            name = f"{part}/{key}"
            out[name] = out[name] + value if name in out else value
    return out
