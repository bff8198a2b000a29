"""The selected events of a run, and what belongs to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfelred.readers.lcls_calibsuite.contents import Contents


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
