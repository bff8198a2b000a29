"""What a reduction is, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]
Blocks = Sequence[NDArray[Any]]  # of the array and of its companions
Axes = tuple[int, ...]  # that are reduced
Needs = frozenset[str]  # the results that are wanted: a state holds no more than that
S = TypeVar("S")
K = TypeVar("K", int, str)


class Reduction(Protocol[S]):
    """The three pieces of a reduction; frozen, picklable and small."""

    def partial(self, state: S | None, blocks: Blocks, axes: Axes, needs: Needs) -> S:
        """Return `state` with more blocks reduced along `axes`, or a first state."""

    def combine(self, states: Sequence[S]) -> S:
        """Return one state for several; the order counts; inputs stay as they are."""

    def finish(self, state: S, result: str) -> NDArray[Any]:
        """Return one result."""


class BinReduction(Reduction[Any], Protocol):
    """A reduction whose companion is the bin of each frame, from 0 on; -1: none."""

    def of_bins(self, n: int) -> BinReduction:
        """Return the same reduction for another number of bins."""

    def whole(self, shape: tuple[int, ...], dtype: np.dtype[Any], needs: Needs) -> Any:
        """Return a state of all bins without frames, for pixels of a shape."""

    def partials(
        self, state: Any, several: Sequence[Blocks], axes: Axes, needs: Needs
    ) -> Any:
        """Return `state` with several blocks added at once."""


@runtime_checkable
class Reusable(Protocol):
    """A reduction whose states can be used again, so that their pages are touched once.

    Nothing that `finish` returned may lie in the memory of a state.
    """

    def cleared(self, state: Any) -> Any:
        """Return a state as if nothing had been added, in the same memory."""


def added(one: State, two: State) -> State:
    return {name: one[name] + two[name] for name in one}


def by_group(states: Sequence[Mapping[K, S]], merge: Callable[[S, S], S]) -> dict[K, S]:
    """Return the states of every group put together in their order."""
    out: dict[K, S] = {}
    for state in states:
        for group, one in state.items():
            out[group] = merge(out[group], one) if group in out else one
    return out


def as_rows(
    x: NDArray[Any], axes: Axes, *per_row: NDArray[Any]
) -> tuple[NDArray[Any], tuple[int, ...], list[NDArray[Any]]]:
    """Return (block with `axes` first, lengths of the others, values of every row).

    Values that lack one of `axes` count for all of its positions.
    """
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    rows = tuple(x.shape[i] if i in axes else 1 for i in range(x.ndim))
    flat = [np.ascontiguousarray(np.broadcast_to(v, rows).ravel()) for v in per_row]
    return x.transpose((*axes, *kept)), tuple(x.shape[i] for i in kept), flat
