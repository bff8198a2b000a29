"""Pictures of detectors: images, and where data are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import MissingConstantError
from xfelred.names import AVAILABLE, MODULE, TRAIN
from xfelred.plot.axes import (
    ORANGE,
    PALE,
    axes_or_new,
    check_dims,
    colour_bar,
    colours_of,
    legend_above,
    percentiles,
    pixel_extent,
    tidy,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@entry
def image(
    da: xr.DataArray,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    log: bool = False,
    cmap: str = "magma",
) -> Axes:
    """Show an assembled image, or any array on two axes, with its colour bar.

    Parameters
    ----------
    da : DataArray (y, x), or any two dims
        Computed if it is lazy. NaN stays grey.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Default: the name of the array.
    limits : (float, float), optional
        Values at the ends of the colour scale; default the 0.5 and 99.5 percentiles.
    log : bool
        Logarithmic colour scale.
    cmap : str
        Name of a matplotlib colour map.

    Returns
    -------
    Axes
    """
    from matplotlib.colors import LogNorm, Normalize

    check_dims(da, 2, "image", "assemble modules (ops.assemble) and select or average")
    ax = axes_or_new(ax)
    da = da.compute()
    values = np.asarray(da.values, dtype=float)
    low, high = limits or percentiles(values[values > 0] if log else values)
    colours = colours_of(cmap).with_extremes(bad=PALE)
    # A logarithm needs a positive end, six decades below the other if need be.
    norm = LogNorm(max(low, high * 1e-6), high) if log else Normalize(low, high)
    extent, labels = pixel_extent(da)
    drawn = ax.imshow(
        values, cmap=colours, norm=norm, origin="lower", extent=extent, aspect="equal"
    )
    colour_bar(ax, drawn, da, 0.035)
    # `ops.assemble` says from which side its axes are meant to be seen.
    display = str(da.attrs.get("display", ""))
    if "x axis inverted" in display:
        ax.invert_xaxis()
    if "origin='upper'" in display:
        ax.invert_yaxis()
    ax.set(ylabel=labels[0], xlabel=labels[1])
    ax.set_title(title or str(da.name or ""), loc="left", fontsize="medium")
    return ax


@entry
def availability(
    da: xr.DataArray, ax: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Show which modules recorded data in which trains.

    Parameters
    ----------
    da : DataArray
        Frames with the coordinate ``available(train, module)``, or that coordinate.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Default: the share of what was recorded.

    Returns
    -------
    Axes
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    there = with_absent_modules(availability_of(da).compute())
    share = float(there.mean()) if there.size else 0.0
    ax = axes_or_new(ax)
    n_trains, n_modules = there.shape
    ax.imshow(
        there.values.T,
        cmap=ListedColormap([ORANGE, PALE]),
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, n_trains - 0.5, n_modules - 0.5, -0.5),
    )
    step = max(1, -(-n_modules // 8))  # about 8 numbers fit beside the picture
    ax.set_yticks(range(0, n_modules, step), there[MODULE].values[::step])
    whole_numbers(ax)
    first = there[TRAIN].values[0] if n_trains else "none"
    ax.set(ylabel="module", xlabel=f"train, counted from {first}")
    legend_above(
        ax, [Patch(color=ORANGE, label="gap"), Patch(color=PALE, label="recorded")]
    )
    return tidy(ax, title or f"{100 * share:.1f} % recorded")


def availability_of(da: xr.DataArray) -> xr.DataArray:
    if da.name != AVAILABLE and AVAILABLE not in da.coords:
        raise MissingConstantError(
            f"these frames have no coordinate {AVAILABLE!r};"
            " run.frames(...) puts it on the dense layout"
        )
    there = da if da.name == AVAILABLE else da.coords[AVAILABLE]
    return there.transpose(TRAIN, MODULE)


def with_absent_modules(there: xr.DataArray) -> xr.DataArray:
    """Return an availability with rows for numbers that no module of the run has."""
    numbers = there[MODULE].values
    if not numbers.size or numbers.dtype.kind not in "iu":
        return there
    every = np.arange(numbers.min(), numbers.max() + 1)
    return there.reindex({MODULE: every}, fill_value=False)
