"""Running statistics of the shots in every bin, as a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.kernels import moments
from xfelred.kernels.memory import page_backed
from xfelred.lazy.leaves import State


@dataclass(frozen=True)
class BinStatistics:
    """Statistics of the frames that carry one label; for `reduce_frames`.

    The companion holds the labels, integers on dims that are reduced; frames with a
    negative one are left out. Results get one new dim of length `n_bins`, the last. A
    state holds only the bins that occur in its frames.

    Attributes
    ----------
    n_bins : int
    ddof : int
        Divisor of variances is ``count - ddof``.
    """

    n_bins: int
    ddof: int = 0

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[Any]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        """Add a block to the states of the bins that its frames belong to."""
        x, labels = blocks
        kept = tuple(i for i in range(x.ndim) if i not in axes)
        # Labels that lack a dim count for all of its positions.
        shape = tuple(x.shape[i] if i in axes else 1 for i in range(x.ndim))
        label = np.broadcast_to(labels, shape).ravel()
        frames = x.transpose((*axes, *kept)).reshape(-1, *(x.shape[i] for i in kept))
        if label.size and label.max() >= self.n_bins:
            raise ValueError(
                f"label {label.max()} of a frame is not below the number of bins,"
                f" {self.n_bins}"
            )
        state = {} if state is None else state
        bins = grouped(state)
        for number in np.unique(label[label >= 0]).tolist():
            rows = np.flatnonzero(label == number)
            taken = frames[as_range(rows)]
            new = moments.accumulate(bins.get(number), taken, (0,), needs)
            state |= {f"{number}/{k}": v for k, v in new.items()}
        if not state:
            # What shape results have must be known even where no frame is in a bin.
            empty = moments.empty_state(frames.shape[1:], x.dtype, needs)
            state = {f"-1/{k}": v for k, v in empty.items()}
        return state

    def combine(self, states: Sequence[State]) -> State:
        """Put the states of every bin together in their order."""
        found: dict[int, list[State]] = {}
        for state in states:
            for number, one in grouped(state).items():
                found.setdefault(number, []).append(one)
        return {
            f"{number}/{k}": v
            for number, parts in sorted(found.items())
            for k, v in moments.merge(parts).items()
        }

    def finish(self, state: State, result: str) -> NDArray[Any]:
        """Return one statistic of all bins; NaN, or 0 for counts and sums, if empty."""
        values = {
            number: moments.result(one, result, self.ddof)
            for number, one in grouped(state).items()
        }
        first = next(iter(values.values()))
        out = page_backed((self.n_bins, *first.shape), first.dtype)
        if result not in ("count", "sum"):
            out[:] = np.nan
        for number, value in values.items():
            if number >= 0:
                out[number] = value
        return np.moveaxis(out, 0, -1)


def grouped(state: State) -> dict[int, State]:
    """Return the state of every bin by its number."""
    bins: dict[int, State] = {}
    for name, value in state.items():
        number, _, key = name.partition("/")
        bins.setdefault(int(number), {})[key] = value
    return dict(sorted(bins.items()))


def as_range(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return neighbouring rows as a slice, which does not copy."""
    if len(rows) == rows[-1] - rows[0] + 1:
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
