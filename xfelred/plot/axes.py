"""What all pictures share: axes, labels, colour scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xfelred.entries import must_have
from xfelred.errors import ArgumentError, must_be_one_of, shown
from xfelred.names import LONG_NAME, UNITS

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

BLUE, ORANGE, GREY, PALE = "#1f5fa8", "#d9662b", "#6b7280", "#e5e7eb"
PRETTY = {"1/angstrom": "Å⁻¹", "angstrom": "Å", "um": "µm"}


def axes_or_new(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    if ax is not None:
        must_have("plot", "ax", ax, "add_patch", "Axes of matplotlib")
        return ax
    # It takes long to load, and chooses a backend: only who asks for a figure pays.
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def tidy(ax: Axes, title: str) -> Axes:
    # Two sides of the frame carry no information.
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, loc="left", fontsize="medium")
    return ax


def whole_numbers(ax: Axes) -> None:
    # There is nothing between two trains or pulses.
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_above(ax: Axes, handles: Sequence[Artist] | None = None) -> None:
    """Put a legend to the right of the title, where it hides no data."""
    ax.legend(
        handles=handles or ax.get_legend_handles_labels()[0],
        ncols=3,
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.2,
        fontsize="small",
    )


def label_of(da: xr.DataArray) -> str:
    """Return the text of an axis: what it is, and its unit where it has one."""
    name = da.attrs.get(LONG_NAME) or str(da.name or "").replace("_", " ")
    return with_unit(str(name), da)


def short_label(da: xr.DataArray) -> str:
    """Return the text of an axis that has no room for the long name."""
    return with_unit(str(da.name or "").replace("_", " "), da)


def with_unit(text: str, da: xr.DataArray) -> str:
    return f"{text} ({unit})" if (unit := unit_of(da)) else text


def unit_of(da: xr.DataArray) -> str:
    """Return the unit as people write it, nothing for a mere number."""
    units = str(da.attrs.get(UNITS, "1"))
    return "" if units == "1" else PRETTY.get(units, units)


def check_dims(da: xr.DataArray, n_dims: int, name: str, advice: str) -> None:
    """Raise unless an array has the number of dims that a plot can show."""
    if da.ndim != n_dims:
        raise ArgumentError(
            f"plot.{name} shows {n_dims} dims, got {dict(da.sizes)}; {advice} first"
        )


def colour_bar(ax: Axes, drawn: ScalarMappable, da: xr.DataArray, width: float) -> None:
    # Inside the frame of the image, so that both are equally high.
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0, width, 1)))
    bar.set_label(label_of(da))
    bar.outline.set_visible(False)


def colours_of(cmap: str) -> Any:
    from matplotlib import colormaps

    must_be_one_of("cmap", cmap, colormaps)
    return colormaps[cmap]


def check_colour(name: str, colour: str) -> None:
    from matplotlib.colors import is_color_like

    if not is_color_like(colour):
        raise ArgumentError(
            f"{name}={shown(colour)} is no colour; wanted a name or '#rrggbb'"
        )


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of a colour scale that a few hot pixels cannot stretch."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (0.5, 99.5))
    return float(low), float(high if high > low else low + 1)


def pixel_extent(
    da: xr.DataArray,
) -> tuple[tuple[float, float, float, float], tuple[str, str]]:
    """Return the outline of the pixels (left, right, bottom, top) and the labels."""
    sides: list[float] = []
    labels: list[str] = []
    for dim in da.dims:
        axis = da[dim]
        in_metres = axis.attrs.get(UNITS) == "m"
        position = np.asarray(axis.values, dtype=float) * (1e3 if in_metres else 1)
        # Pixel centres are at integers: an image reaches half a pixel further.
        half = abs(position[1] - position[0]) / 2 if position.size > 1 else 0.5
        if position.size > 1 and position[0] > position[-1]:
            half = -half
        sides += [position[0] - half, position[-1] + half]
        labels.append(f"{dim} (mm)" if in_metres else label_of(axis))
    bottom, top, left, right = sides
    return (left, right, bottom, top), (labels[0], labels[1])
