"""Runs, or files of one run, cut to the events that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentTypeError, InconsistentDataError, SelectionEmptyError

if TYPE_CHECKING:
    from xfelred.readers.lcls_smalldata.run import Run


def align(run: Run, other: Any) -> tuple[Run, Any]:
    """Return both runs with the events that they share; see `Run.align`."""
    if getattr(other, "facility", None) != run.facility or not hasattr(other, "ids"):
        raise ArgumentTypeError(
            f"align takes another LCLS run, not {type(other).__name__}"
        )
    mine, theirs = run.flavour.name, other.flavour.name
    if mine != theirs:
        raise InconsistentDataError(
            f"{run.run_id} has {mine} IDs and {other.run_id} has {theirs} IDs: they"
            " cannot be joined"
        )
    common = np.intersect1d(run.ids, other.ids)
    first, second = fiducials(run, common), fiducials(other, common)
    if first is not None and second is not None:
        common = common[first == second]
    if not len(common):
        raise SelectionEmptyError(
            f"{run.run_id} ({span(run)}) and {other.run_id} ({span(other)}) share no"
            " event: they are of different runs, or one was written with another epoch"
        )
    return run.with_ids(common), other.with_ids(common)


def fiducials(run: Any, ids: NDArray[Any]) -> NDArray[Any] | None:
    """Return the fiducials of some events, None if the run has none."""
    second = run.flavour.second
    if second is None or second not in run.columns:
        return None
    found: NDArray[Any] = run.with_ids(ids).read(run.columns[second], "event")
    return found


def span(run: Any) -> str:
    """Return words for the events of a run."""
    n = len(run.ids)
    return f"{n} events" + (f" {run.ids[0]} to {run.ids[-1]}" if n else "")
