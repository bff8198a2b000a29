"""Histograms in the report of a cube: values of shots with cuts, and pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.ops.cuts import Cut
from xfelred.ops.shots.select_shots import CutFlow, per_shot
from xfelred.products.report_page import (
    BLUE,
    COLOURS,
    GREY,
    LEGEND,
    ORANGE,
    PALE,
    as_picture,
    drawable,
    label,
    new_figure,
    shown_state,
    with_unit,
)

Limits = tuple[float, float, int] | None

PERCENTILES = (0.01, 99.9)  # of the finite values are on an axis that nobody sets
N_BINS = 60
N_PIXEL_BINS = 200


@dataclass(frozen=True, eq=False)
class ShotState:
    """Shots of one state of the laser."""

    name: str  # "on", "off" or "all"
    mine: xr.DataArray  # bool (train[, pulse]): shots in this state, before any cut
    cuts: tuple[Cut, ...]
    flow: CutFlow


@dataclass(frozen=True, eq=False)
class Counted:
    """A histogram of one value in one state of the laser."""

    every: NDArray[np.int64]  # (n,) all shots of the state
    others: NDArray[np.int64]  # (n,) those that pass the cuts on all other values
    # Parts of all shots, and of `others`, that the cuts on this value reject. None
    # without a cut on it; NaN of no shots.
    rejected: tuple[float, float] | None
    n_lost: int  # shots without a finite value
    n_outside: int  # shots outside the histogram


def edges_of(values: NDArray[Any], limits: Limits) -> NDArray[np.float64]:
    if limits is not None:
        return np.linspace(limits[0], limits[1], int(limits[2]) + 1)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, PERCENTILES) if known.size else (0.0, 1.0)
    if not high > low:
        # All values are one.
        margin = max(abs(low) * 0.01, 0.5)
        low, high = low - margin, high + margin
    return np.linspace(low, high, N_BINS + 1)


def counted(
    scalars: xr.Dataset, name: str, state: ShotState, edges: NDArray[np.float64]
) -> Counted:
    values = values_of(scalars, name, state.mine)
    mine = state.mine.values
    others, own = np.ones(mine.shape, bool), np.ones(mine.shape, bool)
    for cut in state.cuts:
        passes = cut.passes(values_of(scalars, cut.name, state.mine))
        if cut.name == name:
            own &= passes
        else:
            others &= passes
    rejected = None
    if any(cut.name == name for cut in state.cuts):
        rejected = (lost_share(mine, own), lost_share(mine & others, own))
    known = mine & np.isfinite(values)
    every = np.histogram(values[known], edges)[0]
    return Counted(
        every=every,
        others=np.histogram(values[known & others], edges)[0],
        rejected=rejected,
        n_lost=int((mine & ~known).sum()),
        n_outside=int(known.sum() - every.sum()),
    )


def lost_share(shots: NDArray[np.bool_], passes: NDArray[np.bool_]) -> float:
    n = int(shots.sum())
    return float((shots & ~passes).sum() / n) if n else float("nan")


def values_of(scalars: xr.Dataset, name: str, like: xr.DataArray) -> NDArray[Any]:
    found = per_shot(scalars, name).reset_coords(drop=True)
    at = like.reset_coords(drop=True)
    return found.broadcast_like(at).transpose(*at.dims).values.astype(np.float64)


def limits_of(name: str, cuts: Iterable[Cut]) -> list[float]:
    tests = (number for cut in cuts if cut.name == name for _, number in cut.tests)
    return sorted({n for n in tests if np.isfinite(n)})


def shot_histogram(
    scalars: xr.Dataset, name: str, limits: Limits, states: Sequence[ShotState]
) -> dict[str, Any]:
    edges = edges_of(per_shot(scalars, name).values.astype(float), limits)
    found = {s.name: counted(scalars, name, s, edges) for s in states}
    figure = new_figure(1.2 + 1.6 * len(found))
    rows = figure.subplots(len(found), sharex=True, squeeze=False)[:, 0]
    for axes, state in zip(rows, states, strict=True):
        one = found[state.name]
        axes.stairs(one.every, edges, fill=True, color=PALE, label="all shots")
        colour = COLOURS.get(state.name, GREY)
        axes.stairs(
            one.others, edges, color=colour, lw=1.6, label="pass all other cuts"
        )
        for at in limits_of(name, state.cuts):
            if edges[0] <= at <= edges[-1]:
                axes.axvline(at, color="black", ls="--", lw=1)
        axes.set_yscale("symlog", linthresh=1)  # a log axis would hide 0 and 1
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
        label(axes, "", "shots")
        title = drawable(shown_state(state.name))
        axes.set_title(title, loc="left", fontsize="small", parse_math=False)
        axes.legend(**LEGEND)
    label(rows[-1], with_unit(name, scalars[name]), "shots")
    lines = [in_words(name, s, found[s.name]) for s in states]
    made = as_picture(figure, name, "histogram of shots, with the limits of the cuts")
    return {**made, "lines": lines}


def in_words(name: str, state: ShotState, one: Counted) -> str:
    cuts = ", ".join(c.text for c in state.cuts if c.name == name)
    text = f"{shown_state(state.name).capitalize()}: "
    if one.rejected is None:
        text += "no cut"
    else:
        before, after = (percent(r) for r in one.rejected)
        text += (
            f"{cuts} rejects {before} of these shots, and {after} of those that pass"
            " all other cuts"
        )
    if one.n_outside:
        text += f"; outside the axis: {one.n_outside}"
    if one.n_lost:
        text += f"; without a value: {one.n_lost}"
    return text


def percent(share: float) -> str:
    return f"{100 * share:.3g} %" if np.isfinite(share) else "-"


@dataclass(frozen=True, eq=False)
class PixelHistogram:
    """How the values of all pixels of some shots are distributed."""

    edges: NDArray[np.float64]  # (n + 1,)
    counts: NDArray[np.int64]  # (n,); what is beyond is in the first and the last bin
    n_shots: int
    n_lost: int  # pixels that are NaN
    thresholds: Mapping[str, float]  # lines to draw, by their names
    below: float | None = None  # part of the pixels that a threshold makes 0


def pixel_histogram(
    batches: Iterable[NDArray[Any]],
    thresholds: Mapping[str, float] | None = None,
    cut: tuple[float | None, float | None] | None = None,
) -> PixelHistogram | None:
    """Return the histogram of pixels of some shots, None if there is no shot.

    One of the `batches` (shot, ...) is in memory at a time; the first decides where the
    edges are. Pixels outside `cut` (low, high) become 0.
    """
    lines = dict(thresholds or {})
    edges: NDArray[np.float64] | None = None
    counts = np.zeros(N_PIXEL_BINS, np.int64)
    n_shots = n_lost = n_known = n_cut = 0
    for batch in batches:
        known = batch[np.isfinite(batch)] if batch.dtype.kind == "f" else batch.ravel()
        n_shots, n_lost = n_shots + len(batch), n_lost + batch.size - known.size
        if not known.size:
            continue
        if edges is None:
            edges = pixel_edges(known, list(lines.values()))
        counts += np.histogram(np.clip(known, edges[0], edges[-1]), edges)[0]
        n_known += known.size
        if cut is not None:
            low = -np.inf if cut[0] is None else cut[0]
            high = np.inf if cut[1] is None else cut[1]
            n_cut += int(((known < low) | (known > high)).sum())
    if edges is None:
        return None
    below = n_cut / n_known if cut is not None else None
    return PixelHistogram(edges, counts, n_shots, n_lost, lines, below)


def pixel_edges(values: NDArray[Any], lines: Sequence[float]) -> NDArray[np.float64]:
    """Return edges around nearly all values and all lines; whole for integers."""
    low, high = (float(v) for v in np.percentile(values, (0.1, 99.9)))
    margin = 0.1 * (high - low) or 1.0
    low, high = min([low - margin, *lines]), max([high + margin, *lines])
    if values.dtype.kind in "iub":
        # Bins as wide as a whole number of steps, or they hold unequal many.
        low = np.floor(low) - 0.5
        width = max(np.ceil((high - low) / N_PIXEL_BINS), 1.0)
        return low + width * np.arange(N_PIXEL_BINS + 1)
    return np.linspace(low, high, N_PIXEL_BINS + 1)


def pixel_picture(one: PixelHistogram, name: str, unit: str) -> dict[str, str]:
    figure = new_figure(3.0)
    axes = figure.subplots()
    axes.stairs(one.counts, one.edges, fill=True, color=BLUE)
    axes.set_yscale("log")
    axes.margins(x=0)
    words = f"Good pixels of {one.n_shots} shots"
    for text, at in one.thresholds.items():
        axes.axvline(at, color=ORANGE, ls="--", lw=1.4)
        words += f"; {text} {at:.4g} (dashed)"
    if one.below is not None:
        words += f"; {percent(one.below)} of the pixels become 0"
    if one.n_lost:
        words += f"; {one.n_lost} values are missing (NaN)"
    axis = "value of a pixel" + (f" ({unit})" if unit not in ("", "1") else "")
    label(axes, axis, "pixels")
    return as_picture(figure, f"Pixels of {name}", words, f"{words}.")
