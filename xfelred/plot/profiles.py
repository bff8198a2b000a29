"""Pictures of curves: azimuthal profiles and statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xfelred.entries import entry, must_hold
from xfelred.plot.axes import (
    BLUE,
    axes_or_new,
    check_dims,
    label_of,
    legend_above,
    short_label,
    tidy,
    unit_of,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# More lines than this are read by a colour bar, not by a legend.
MAX_LEGEND = 6


@entry
def azimuthal(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    log: bool = False,
    label: str | None = None,
) -> Axes:
    """Show azimuthal profiles with a band of one standard error.

    Parameters
    ----------
    ds : Dataset
        Result of `ops.integrate_azimuthally`: ``intensity`` on ``q`` and at most one
        more dim, which gives one line each; ``sigma`` if it is there.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title, label : str, optional
        Title; name in a legend, before what tells several lines apart.
    log : bool
        Logarithmic intensity.

    Returns
    -------
    Axes
    """
    from matplotlib import colormaps

    must_hold("plot.azimuthal", "ds", ds, "intensity")
    intensity = ds["intensity"]
    if intensity.ndim not in (1, 2):
        check_dims(intensity, 1, "azimuthal", "select or average frames")
    names = ("intensity", "sigma") if "sigma" in ds else ("intensity",)
    ds = ds[list(names)].compute()
    axis = intensity.dims[-1]
    ax = axes_or_new(ax)
    lines, labels = [ds], [label or ""]
    if intensity.ndim == 2:
        dim = str(intensity.dims[0])
        lines = [ds.isel({dim: n}) for n in range(ds.sizes[dim])]
        labels = line_labels(ds, dim, label)
    colours = [BLUE]
    if len(lines) > 1:
        # Its yellow end is too pale on white.
        colours = list(colormaps["viridis"](np.linspace(0, 0.9, len(lines))))
    for line, colour, text in zip(lines, colours, labels, strict=True):
        draw_profile(ax, line, str(axis), colour, text)
    if log:
        ax.set_yscale("log")
    ax.set(xlabel=label_of(ds[axis]), ylabel=short_label(intensity))
    if 1 < len(lines) <= MAX_LEGEND or label:
        ax.legend(frameon=False)
    return tidy(ax, title or "azimuthal average")


@entry
def statistics(
    ds: xr.Dataset, ax: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Show a mean along one axis, say the pulses, with its spread and its error.

    Parameters
    ----------
    ds : Dataset
        Result of `ops.statistics` with one dim left: ``mean`` and, where they are
        there, ``std`` (drawn as a band) and ``sem`` (error bars).
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Default: names the axis.

    Returns
    -------
    Axes
    """
    must_hold("plot.statistics", "ds", ds, "mean")
    check_dims(ds["mean"], 1, "statistics", "reduce the other axes too: dim=[...]")
    ds = ds[[n for n in ("mean", "std", "sem") if n in ds]].compute()
    mean = ds["mean"]
    (dim,) = mean.dims
    position = ds[dim]
    ax = axes_or_new(ax)
    if "std" in ds:
        low, high = mean - ds["std"], mean + ds["std"]
        ax.fill_between(position, low, high, color=BLUE, alpha=0.15, lw=0, label="std")
    error = ds.get("sem")
    ax.errorbar(
        position, mean, error, color=BLUE, marker="o", ms=4, lw=1.2, label="mean"
    )
    if position.dtype.kind in "iu":
        whole_numbers(ax)
    ax.set(xlabel=label_of(position), ylabel=short_label(mean))
    if "std" in ds:
        legend_above(ax)
    return tidy(ax, title or f"mean of each {dim}")


def line_labels(ds: xr.Dataset, dim: str, first: str | None = None) -> list[str]:
    """Return what tells each element of a dim from the others.

    Its coordinate; without one, such as along ``frame``, all coordinates that lie along
    the dim; without any, its position. What is the same for all lines says nothing.
    """
    own = [dim] if dim in ds.coords else []
    names = own or [str(n) for n, c in ds.coords.items() if c.dims == (dim,)]
    lead = [first] if first else []
    if not names:
        return [", ".join([*lead, f"{dim} {n}"]) for n in range(ds.sizes[dim])]
    return [
        ", ".join([*lead, *(value_label(ds[name][n]) for name in names)])
        for n in range(ds.sizes[dim])
    ]


def value_label(value: xr.DataArray) -> str:
    """Return name, value and unit of one label: six digits of what is no integer."""
    text = f"{value.item():.6g}" if value.dtype.kind == "f" else str(value.values)
    return f"{str(value.name).replace('_', ' ')} {text} {unit_of(value)}".rstrip()


def draw_profile(ax: Axes, ds: xr.Dataset, axis: str, colour: str, label: str) -> None:
    intensity = ds["intensity"]
    ax.plot(ds[axis], intensity, color=colour, lw=1.5, label=label)
    if "sigma" in ds:
        low, high = intensity - ds["sigma"], intensity + ds["sigma"]
        ax.fill_between(ds[axis], low, high, color=colour, alpha=0.25, lw=0)
