"""What a file of the calibration suite holds, as shapes and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES = "frames"
STEP_VALUE = "step_value"
SCRIPT = "scriptType"
VALUE_NAME = "ancillaryDataType"
DETECTORS, ANCILLARY = "detectorData", "ancillaryData"


@dataclass(frozen=True)
class Piece:
    """The values of one step."""

    dataset: str
    shape: tuple[int, ...]  # without the step, in front the events if `per_event`
    dtype: np.dtype[Any]
    per_event: bool  # one entry for each event; otherwise one for the step
    at: int | None = None  # position along a first axis of steps, where there is one
    chunks: tuple[int, ...] | None = None  # of the dataset
    # Number and dataset of every event, where these are datasets of their own in the
    # group `dataset`.
    members: tuple[tuple[int, str], ...] = ()

    @property
    def entry(self) -> tuple[int, ...]:
        """Shape of the value of one event, or of the step."""
        return self.shape[1:] if self.per_event else self.shape


Pieces = dict[int, Piece]  # by the number of the step


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds; nothing but shapes and small values has been read."""

    path: str
    identity: tuple[str, int, int]  # name, size and time of the file
    steps: NDArray[np.int64]  # (step,), their numbers, sorted
    n_events: NDArray[np.int64]  # (step,)
    detectors: dict[str, Pieces]  # frames (event, module, row, column) of each step
    series: dict[str, Pieces]  # other values, per event or per step
    value_name: str | None  # the one of `series` that tells the steps apart
    metadata: dict[str, Any]  # header fields

    @property
    def kind(self) -> str:
        """What the steps are, such as delayScan; empty if the file does not say."""
        return str(self.metadata.get(SCRIPT, ""))


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a file, one after the other, step by step; each array is (event,)."""

    ids: NDArray[np.int64]  # running numbers in the file
    position: NDArray[np.int64]  # place of the step in `Contents.steps`
    step: NDArray[np.int64]  # number of the step
    event: NDArray[np.int64]  # number within the step


def events_of(contents: Contents, ids: NDArray[np.int64]) -> Events:
    """Return the events with these running numbers."""
    end = np.cumsum(contents.n_events)
    position = np.searchsorted(end, ids, side="right")
    begin = (end - contents.n_events)[position] if len(end) else ids
    step = contents.steps[position] if len(end) else ids
    return Events(ids, position, step, ids - begin)
