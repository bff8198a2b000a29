"""A plot of the trains that sources of a run lack."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.readers.euxfel.run_data import RunData

WIDTH, LEAST_HEIGHT, LINE = 9.0, 3.0, 0.28  # inches of the figure, and of one source


def plot_missing_data(
    run: RunData, min_saved_pct: float, expand_instrument: bool
) -> Any:
    """Plot for which trains sources have data; see `Run.plot_missing_data`."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    recorded = {
        name: here
        for name, here in recorded_trains(run, expand_instrument).items()
        if percentage(here) <= min_saved_pct
    }
    lines = sorted(recorded.items(), key=lambda line: (line[1].sum(), line[0]))
    height = max(LEAST_HEIGHT, LINE * len(lines) + 1)
    _, axes = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    for i, (_, here) in enumerate(lines):
        for value, colour in ((True, "tab:blue"), (False, "black")):
            axes.broken_barh(stretches(here == value), (i - 0.25, 0.5), color=colour)
    names = [f"{name} ({percentage(here):.2f}%)" for name, here in lines]
    axes.set_yticks(range(len(lines)), labels=names, fontsize=8)
    axes.set_xlim(0, max(len(run.ids), 1))
    axes.set_xlabel("position of the train")
    what = f"sources with data in at most {min_saved_pct}% of {len(run.ids)} trains"
    axes.set_title(f"{run.run_id}: {what}" if run.run_id else what, fontsize=10)
    drawn = {"recorded": "tab:blue", "missing": "black"}
    handles = [Patch(color=colour, label=label) for label, colour in drawn.items()]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def recorded_trains(run: RunData, by_group: bool) -> dict[str, NDArray[np.bool_]]:
    """Return for which trains each source has data; what has none per train is left."""
    found: dict[str, NDArray[np.bool_]] = {}
    for name, source in sorted(run.entries.items()):
        source = source.with_ids(run.ids)
        if by_group and source.is_instrument:
            for group in source.groups:
                found[f"{name} {group}.*"] = source.group_counts(group) > 0
        elif not source.is_run_only:
            found[name] = source.data_counts(labelled=False) > 0
    return found


def percentage(here: NDArray[np.bool_]) -> float:
    """Return the part of True values in percent, 100 of nothing."""
    return 100 * float(here.mean()) if len(here) else 100.0


def stretches(here: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and length of every unbroken stretch of True values."""
    steps = np.diff(here.astype(np.int8), prepend=0, append=0)
    starts, stops = np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)
    return list(zip(starts.tolist(), (stops - starts).tolist(), strict=True))
