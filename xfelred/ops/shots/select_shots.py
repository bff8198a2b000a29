"""Select shots by cuts on their scalars, and say how many pass each cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import PropertyNameError, SelectionEmptyError, logger_of, one_line
from xfelred.names import LONG_NAME, RECORDED, UNITS, recorded_name
from xfelred.ops.cuts import Cut, parse_cuts
from xfelred.provenance import record
from xfelred.shots import SHOT_DIMS, shot_value

LOG = logger_of(__name__)
NAME_WIDTH = 28


@dataclass(frozen=True)
class CutFlow:
    """How many shots pass each cut, alone and with those before it.

    Attributes
    ----------
    total : int
        Shots before any cut.
    rows : list of (str, int, int)
        Cut, shots that pass it alone, shots that pass it and all before it.
    """

    total: int
    rows: list[tuple[str, int, int]]

    @property
    def passed(self) -> int:
        """Shots that pass all cuts."""
        return self.rows[-1][2] if self.rows else self.total

    def __str__(self) -> str:
        rows = [(one_line(name), one, all_) for name, one, all_ in self.rows]
        width = max([NAME_WIDTH, *(len(name) for name, _, _ in rows)])
        lines = [f"  {'cut':<{width}}  {'alone':>8}   {'cumulative':>10}"]
        before = self.total
        for name, alone, cumulative in rows:
            last = "   <- removes everything" if before and not cumulative else ""
            lines.append(f"  {name:<{width}}  {alone:>8}   {cumulative:>10}{last}")
            before = cumulative
        return "\n".join(lines)

    def to_list(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries, for JSON."""
        return [
            {"cut": name, "alone": alone, "cumulative": cumulative}
            for name, alone, cumulative in self.rows
        ]


@entry
def select_shots(
    ds: xr.Dataset, cuts: str | Sequence[Any]
) -> tuple[xr.DataArray, CutFlow]:
    """Return which shots pass all cuts, and how many pass each of them.

    Parameters
    ----------
    ds : Dataset (train[, pulse])
        Scalars, such as ``run.scalars([...])``. Values with more axes are summed per
        shot, unless the cut names one: ``"timing/eventcodes[272] == 1"``.
    cuts : sequence
        Each is a text ``"lo < name < hi"``, ``"name OP number"`` with one of < <= > >=
        == !=, ``"name"`` or ``"not name"``, or ``(name, lo, hi)`` with strict limits;
        equal limits exclude their value. A value that is not finite passes no cut.
        Several cuts on one name all apply. Names with blanks go in backquotes.

    Returns
    -------
    selected : DataArray (train[, pulse]), bool
    flow : CutFlow

    Raises
    ------
    ConfigError
        If a cut cannot be read.
    PropertyNameError
        If a name is not in `ds`.
    SelectionEmptyError
        If no shot passes; it has the table as ``cut_flow``.
    """
    parsed = parse_cuts(cuts)
    selected, flow = cut_flow(ds, parsed)
    if not flow.passed:
        raise empty_selection(ds, parsed, flow)
    return record(selected, "select_shots", cuts=[c.text for c in parsed]), flow


def cut_flow(ds: xr.Dataset, cuts: Sequence[Cut]) -> tuple[xr.DataArray, CutFlow]:
    """Return which shots pass, and the table, whether or not any passes."""
    columns = [per_shot(ds, cut.name) for cut in cuts]
    selected = everything(ds, columns)
    everyone = selected
    total = int(selected.sum())
    rows = []
    for cut, column in zip(cuts, columns, strict=True):
        good = xr.DataArray(cut.passes(column.values), column.coords, column.dims)
        if (marks := recorded_name(cut.name)) in ds.coords:
            good = good & ds.coords[marks]
        good = good.broadcast_like(selected).transpose(*selected.dims)
        alone = int((good & everyone).sum())
        selected = selected & good
        rows.append((cut.text, alone, int(selected.sum())))
        low, high = cut.limits
        # In the words of smalldata_tools, whose users look for them.
        LOG.info(
            "getFilter: Cut %f < %s < %f passes %d events of %d, total passes up to"
            " now: %d",
            low,
            cut.name,
            high,
            alone,
            total,
            rows[-1][2],
        )
    selected = selected.rename("selected")
    selected.attrs = {UNITS: "1", LONG_NAME: "shot passes all cuts"}
    return selected, CutFlow(total, rows)


def everything(ds: xr.Dataset, columns: Sequence[xr.DataArray]) -> xr.DataArray:
    """Return True for every shot, on the shot dims of the columns."""
    dims = [d for d in SHOT_DIMS if any(d in c.dims for c in columns)]
    if not dims:
        dims = [d for d in SHOT_DIMS if d in ds.dims][:1]
    sizes = {d: ds.sizes[d] for d in dims}
    coords = {k: c for k, c in ds.coords.items() if c.dims and set(c.dims) <= set(dims)}
    out = xr.DataArray(np.ones(tuple(sizes.values()), bool), coords, dims)
    if RECORDED in coords:  # padding of ragged trains is no shot
        out = (out & coords[RECORDED]).transpose(*dims)
    return out


def per_shot(ds: xr.Dataset, name: str) -> xr.DataArray:
    """Return a value per shot, summed over other axes unless the name tells which.

    Raises PropertyNameError if it is not there, or is not numbers per shot.
    """
    found = shot_value(ds, name)
    others = [d for d in found.dims if d not in SHOT_DIMS]
    if found.dtype.kind not in "biuf" or len(others) == found.ndim:
        raise PropertyNameError(
            f"{name!r} is {found.dtype} on {found.dims}: no number for every shot"
        )
    return found.sum(others, skipna=False) if others else found


def empty_selection(
    ds: xr.Dataset, cuts: Sequence[Cut], flow: CutFlow
) -> SelectionEmptyError:
    where = f" of {ds.attrs['run']}" if "run" in ds.attrs else ""
    lines = [
        f"no shot{where} passes the {len(cuts)} cuts ({flow.total} shots before).",
        str(flow),
    ]
    # The first cut after which nothing is left is to blame.
    left = flow.total
    for cut, (_, alone, cumulative) in zip(cuts, flow.rows, strict=True):
        if left and not cumulative:
            lines.append(f"  {why(ds, cut, alone)}")
            break
        left = cumulative
    error = SelectionEmptyError("\n".join(lines))
    error.cut_flow = flow
    return error


def why(ds: xr.Dataset, cut: Cut, alone: int) -> str:
    """Return what the values of a cut that removes everything are like."""
    values = per_shot(ds, cut.name).values.astype(float)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return f"{cut.name} has no finite value."
    low, high = finite.min(), finite.max()
    if low == high:
        return f"{cut.name} is constant ({low:g})."
    if not alone:
        return f"{cut.name} goes from {low:g} to {high:g}."
    return f"{cut.name} passes for {alone} shots, which the cuts before it remove."
