"""Pictures of results: each function draws on an Axes and returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xfelred.errors import MissingConstantError
from xfelred.names import AVAILABLE, LONG_NAME, MODULE, TRAIN, UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY, PALE = "#1f5fa8", "#d9662b", "#6b7280", "#e5e7eb"
PRETTY = {"1/angstrom": "Å⁻¹", "angstrom": "Å", "um": "µm"}
# More lines than this are read by a colour bar, not by a legend.
MAX_LEGEND = 6


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
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm, Normalize

    check_dims(da, 2, "image", "assemble modules (ops.assemble) and select or average")
    ax = axes_or_new(ax)
    da = da.compute()
    values = np.asarray(da.values, dtype=float)
    low, high = limits or percentiles(values[values > 0] if log else values)
    colours = colormaps[cmap].with_extremes(bad=PALE)
    norm = LogNorm(max(low, high * 1e-6), high) if log else Normalize(low, high)
    extent, labels = pixel_extent(da)
    drawn = ax.imshow(
        values, cmap=colours, norm=norm, origin="lower", extent=extent, aspect="equal"
    )
    # Inside the frame of the image, so that both are equally high.
    bar = ax.figure.colorbar(drawn, cax=ax.inset_axes((1.02, 0, 0.035, 1)))
    bar.set_label(label_of(da))
    bar.outline.set_visible(False)
    # `ops.assemble` says from which side its axes are meant to be seen.
    display = str(da.attrs.get("display", ""))
    if "x axis inverted" in display:
        ax.invert_xaxis()
    if "origin='upper'" in display:
        ax.invert_yaxis()
    ax.set(ylabel=labels[0], xlabel=labels[1])
    ax.set_title(title or str(da.name or ""), loc="left", fontsize="medium")
    return ax


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
        Title; name of a single line in a legend.
    log : bool
        Logarithmic intensity.

    Returns
    -------
    Axes
    """
    from matplotlib import colormaps

    intensity = ds["intensity"]
    if intensity.ndim not in (1, 2):
        check_dims(intensity, 1, "azimuthal", "select or average frames")
    names = ("intensity", "sigma") if "sigma" in ds else ("intensity",)
    ds = ds[list(names)].compute()
    axis = intensity.dims[-1]
    ax = axes_or_new(ax)
    lines = [ds] if intensity.ndim == 1 else lines_of(ds, str(intensity.dims[0]))
    colours = [BLUE]
    if len(lines) > 1:
        colours = list(colormaps["viridis"](np.linspace(0, 0.9, len(lines))))
    for line, colour in zip(lines, colours, strict=True):
        draw_profile(ax, line, str(axis), colour, label or line_label(line))
    if log:
        ax.set_yscale("log")
    ax.set(xlabel=label_of(ds[axis]), ylabel=short_label(intensity))
    if 1 < len(lines) <= MAX_LEGEND or label:
        ax.legend(frameon=False)
    return tidy(ax, title or "azimuthal average")


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
    step = max(1, -(-n_modules // 8))
    ax.set_yticks(range(0, n_modules, step), there[MODULE].values[::step])
    whole_numbers(ax)
    first = there[TRAIN].values[0] if n_trains else "none"
    ax.set(ylabel="module", xlabel=f"train, counted from {first}")
    legend_above(
        ax, [Patch(color=ORANGE, label="gap"), Patch(color=PALE, label="recorded")]
    )
    return tidy(ax, title or f"{100 * share:.1f} % recorded")


def overview(
    picture: xr.DataArray,
    profile: xr.Dataset,
    pulses: xr.Dataset,
    frames: xr.DataArray,
    *,
    title: str | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Show a run on one page: image, azimuthal average, pulses and gaps.

    Parameters
    ----------
    picture : DataArray (y, x)
        For `image`.
    profile, pulses : Dataset
        For `azimuthal` and for `statistics`.
    frames : DataArray
        For `availability`.
    title : str, optional
        Above all.
    figure : Figure, optional
        An empty figure to draw on; a new one by default.

    Returns
    -------
    Figure
    """
    from matplotlib import pyplot

    figure = figure or pyplot.figure()
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    figure.set_size_inches(12, 8.2)
    grid = figure.add_gridspec(3, 2, width_ratios=(1.15, 1))
    image(picture, figure.add_subplot(grid[:, 0]), title="mean image")
    azimuthal(profile, figure.add_subplot(grid[0, 1]))
    statistics(pulses, figure.add_subplot(grid[1, 1]))
    availability(frames, figure.add_subplot(grid[2, 1]))
    if title:
        figure.suptitle(title, fontsize="x-large", fontweight="bold")
    return figure


def axes_or_new(ax: Axes | None) -> Axes:
    """Return `ax`, or the Axes of a new figure."""
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def tidy(ax: Axes, title: str) -> Axes:
    """Give the title, and take away the lines that carry no information."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, loc="left", fontsize="medium")
    return ax


def whole_numbers(ax: Axes) -> None:
    """Put no tick between two trains or pulses."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def legend_above(ax: Axes, handles: Sequence[Any] | None = None) -> None:
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
    """Return a text with the unit of an array in brackets, where it has one."""
    units = str(da.attrs.get(UNITS, "1"))
    return text if units in ("", "1") else f"{text} ({PRETTY.get(units, units)})"


def check_dims(da: xr.DataArray, n_dims: int, name: str, advice: str) -> None:
    """Raise unless an array has the number of dims that a plot can show."""
    if da.ndim != n_dims:
        raise ValueError(
            f"plot.{name} shows {n_dims} dims, got {dict(da.sizes)}; {advice} first"
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
        half = abs(position[1] - position[0]) / 2 if position.size > 1 else 0.5
        if position.size > 1 and position[0] > position[-1]:
            half = -half
        sides += [position[0] - half, position[-1] + half]
        labels.append(f"{dim} (mm)" if in_metres else label_of(axis))
    bottom, top, left, right = sides
    return (left, right, bottom, top), (labels[0], labels[1])


def lines_of(ds: xr.Dataset, dim: str) -> list[xr.Dataset]:
    """Return one Dataset for each element of the dim that becomes lines."""
    return [ds.isel({dim: n}) for n in range(ds.sizes[dim])]


def line_label(line: xr.Dataset) -> str:
    """Return what tells a line from the others."""
    scalars = [f"{n} {c.values}" for n, c in line.coords.items() if c.ndim == 0]
    return ", ".join(scalars[:1])


def draw_profile(ax: Axes, ds: xr.Dataset, axis: str, colour: Any, label: str) -> None:
    """Draw one profile with its band."""
    intensity = ds["intensity"]
    ax.plot(ds[axis], intensity, color=colour, lw=1.5, label=label)
    if "sigma" in ds:
        low, high = intensity - ds["sigma"], intensity + ds["sigma"]
        ax.fill_between(ds[axis], low, high, color=colour, alpha=0.25, lw=0)


def availability_of(da: xr.DataArray) -> xr.DataArray:
    """Return the availability (train, module) of frames."""
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
