"""What is selected and split by train: runs, sources, keys and detectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.readers.selection import select_train_ids, split_evenly


class ByTrain:
    """Selecting of trains, for a class with sorted `ids` and a method `with_ids`."""

    ids: NDArray[Any]

    __iter__ = None  # [0] selects a train, so a loop would be misleading

    def with_ids(self, ids: NDArray[Any]) -> Self:
        """Return the same for other trains."""
        raise NotImplementedError

    @property
    def train_ids(self) -> list[int]:
        """Sorted IDs of the selected trains, with or without data."""
        return list(self.ids.tolist())

    def select_trains(self, trains: object) -> Self:
        """Return the same for a selection of its trains.

        Parameters
        ----------
        trains : slice, int, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions unless it is ``by_id`` or has a coordinate ``train``.
        """
        return self.with_ids(select_train_ids(self.ids, trains))

    @entry
    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[Self]:
        """Yield the same in even pieces of its trains.

        Parameters
        ----------
        parts : int, optional
            Number of pieces, none of which is empty.
        trains_per_part : int, optional
            Trains in a piece, at most.
        """
        for piece in split_evenly(len(self.ids), parts, trains_per_part):
            yield self.with_ids(self.ids[piece])
