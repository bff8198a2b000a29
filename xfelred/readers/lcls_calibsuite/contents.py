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
    """The values of one step.

    Attributes
    ----------
    dataset : str
    shape : tuple of int
        Without the step, in front the events if `per_event`.
    dtype : dtype
    per_event : bool
        One entry for each event; otherwise one for the step.
    at : int or None
        Position along a first axis of steps, None if there is no such axis.
    chunks : tuple of int or None
        Of the dataset.
    members : tuple of (int, str)
        Number and dataset of every event, where these are datasets of their own in the
        group `dataset`.
    """

    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    per_event: bool
    at: int | None = None
    chunks: tuple[int, ...] | None = None
    members: tuple[tuple[int, str], ...] = ()

    @property
    def entry(self) -> tuple[int, ...]:
        """Shape of the value of one event, or of the step."""
        return self.shape[1:] if self.per_event else self.shape


Pieces = dict[int, Piece]


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds; nothing but shapes and small values has been read.

    Attributes
    ----------
    path : str
    identity : tuple
        Name, size and time of the file.
    flat : bool
        Steps are an axis of the arrays.
    steps : int64 (step,)
        Their numbers, sorted.
    n_events : int64 (step,)
    detectors : dict of str to {step number: Piece}
        Frames (event, module, row, column) of each step.
    series : dict of str to {step number: Piece}
        Other values, per event or per step.
    value_name : str or None
        The one of `series` that tells the steps apart.
    metadata : dict
        Header fields.
    """

    path: str
    identity: tuple[Any, ...]
    flat: bool
    steps: NDArray[np.int64]
    n_events: NDArray[np.int64]
    detectors: dict[str, Pieces]
    series: dict[str, Pieces]
    value_name: str | None
    metadata: dict[str, Any]

    @property
    def kind(self) -> str:
        """What the steps are, such as delayScan; empty if the file does not say."""
        return str(self.metadata.get(SCRIPT, ""))


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a file, one after the other, step by step.

    Attributes
    ----------
    ids : int64 (event,)
        Running numbers in the file.
    position : int64 (event,)
        Place of the step in `Contents.steps`.
    step : int64 (event,)
        Number of the step.
    event : int64 (event,)
        Number within the step.
    """

    ids: NDArray[np.int64]
    position: NDArray[np.int64]
    step: NDArray[np.int64]
    event: NDArray[np.int64]


def events_of(contents: Contents, ids: NDArray[np.int64]) -> Events:
    """Return the events with these running numbers."""
    end = np.cumsum(contents.n_events)
    position = np.searchsorted(end, ids, side="right")
    begin = (end - contents.n_events)[position] if len(end) else ids
    step = contents.steps[position] if len(end) else ids
    return Events(ids, position, step, ids - begin)
