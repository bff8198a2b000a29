"""Pictures of rings: the fitted circle, the polar image, and its correlation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xfelred.entries import entry, must_hold
from xfelred.errors import ArgumentError, shown
from xfelred.names import LAG, PHI, RADIUS, Q
from xfelred.plot.axes import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    axes_or_new,
    check_colour,
    check_dims,
    colour_bar,
    colours_of,
    label_of,
    percentiles,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The peak at lag 0 is far higher than all others.
CENTRE_RAD = 0.05 * np.pi
MAX_EXPECTED = 200  # each is a line


@entry
def ring(
    circle: Iterable[float], ax: Axes | None = None, *, colour: str = "#2dd4bf"
) -> Axes:
    """Draw a circle over an image, with its centre.

    Parameters
    ----------
    circle : (x, y, r)
        In pixels, such as the result of `ops.fit_ring`.
    ax : Axes, optional
        Of the image; a new figure by default.
    colour : str

    Returns
    -------
    Axes
    """
    from matplotlib.patches import Circle

    numbers = tuple(circle)
    if len(numbers) != 3:
        raise ArgumentError(f"circle={shown(numbers)}; wanted (x, y, r) in pixels")
    check_colour("colour", colour)
    ax = axes_or_new(ax)
    x, y, r = numbers
    ax.add_patch(Circle((x, y), r, fill=False, ec=colour, lw=1.2, ls=(0, (6, 4))))
    ax.plot([x], [y], "+", color=colour, ms=10)
    return ax


@entry
def polar(
    da: xr.DataArray,
    ax: Axes | None = None,
    *,
    title: str | None = None,
    limits: tuple[float, float] | None = None,
    cmap: str = "magma",
) -> Axes:
    """Show a polar image or its correlation: angle to the right, rings upwards.

    Parameters
    ----------
    da : DataArray (radius, phi) or (radius, lag)
        Computed if it is lazy. NaN stays grey. Rings are labelled with `q` where the
        array has it, else with their radius.
    ax : Axes, optional
        Where to draw; a new figure by default.
    title : str, optional
        Default: the name of the array.
    limits : (float, float), optional
        Values at the ends of the colour scale; default the 0.5 and 99.5 percentiles.
    cmap : str
        Name of a matplotlib colour map.

    Returns
    -------
    Axes
    """
    from matplotlib.ticker import MultipleLocator

    check_dims(da, 2, "polar", "select a shot, or average")
    ax = axes_or_new(ax)
    da = da.transpose(RADIUS, ...).compute()
    angle = da[da.dims[1]]
    values = np.asarray(da.values, dtype=float)
    low, high = limits or percentiles(values)
    drawn = ax.pcolormesh(
        np.degrees(angle.values),
        rings_of(da).values,
        values,
        vmin=low,
        vmax=high,
        cmap=colours_of(cmap),
        shading="nearest",
        rasterized=True,
    )
    ax.set_facecolor(PALE)  # seen where the array is NaN
    colour_bar(ax, drawn, da, 0.025)
    ax.xaxis.set_major_locator(MultipleLocator(45))
    name = {PHI: "azimuth", LAG: "difference of azimuth"}.get(str(angle.name), "angle")
    ax.set(xlabel=f"{name} (degree)", ylabel=label_of(rings_of(da)))
    ax.set_title(title or str(da.name or ""), loc="left", fontsize="medium")
    return ax


def rings_of(da: xr.DataArray) -> xr.DataArray:
    """Return what labels the rings: q where it is known, else the radius."""
    return da[Q] if Q in da.coords and da[Q].dims == (RADIUS,) else da[RADIUS]


@entry
def correlation(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    expected: Sequence[float] = (),
    title: str | None = None,
) -> Axes:
    """Show an angular correlation over half a turn, with a band of one standard error.

    Parameters
    ----------
    ds : Dataset
        Result of `ops.correlate_angular` or `ops.difference_correlation`, one ring:
        ``correlation`` (lag), and ``sem`` if it is there.
    ax : Axes, optional
        Where to draw; a new figure by default.
    expected : sequence of float, optional
        Angles in rad where peaks should be.
    title : str, optional

    Returns
    -------
    Axes

    Notes
    -----
    Lags below 9 degrees are left out: there a shot is compared with itself.
    """
    must_hold("plot.correlation", "ds", ds, "correlation")
    if len(expected) > MAX_EXPECTED:
        raise ArgumentError(
            f"expected={shown(expected)}; a picture has room for {MAX_EXPECTED} peaks"
        )
    check_dims(ds["correlation"], 1, "correlation", "select or average rings")
    ax = axes_or_new(ax)
    ds = ds.compute()
    kept = ds.where((ds[LAG] >= CENTRE_RAD) & (ds[LAG] <= np.pi), drop=True)
    angle = np.degrees(kept[LAG].values)
    value = kept["correlation"].values
    for psi in expected:
        ax.axvline(np.degrees(psi), color=ORANGE, lw=1.2, ls=(0, (5, 4)))
        ax.annotate(
            f"{np.degrees(psi):.1f}°",
            (np.degrees(psi), 1),
            (4, -3),
            va="top",
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=ORANGE,
            fontsize="small",
        )
    ax.axhline(0, color=GREY, lw=0.6)
    ax.plot(angle, value, color=BLUE, lw=1.3)
    if "sem" in kept:
        sem = kept["sem"].values
        ax.fill_between(angle, value - sem, value + sem, color=BLUE, alpha=0.25, lw=0)
    ax.set(xlabel="angle between two points of the ring (degree)", xlim=(0, 180))
    ax.set_ylabel(label_of(ds["correlation"]))
    ax.set_xticks(range(0, 181, 30))
    return tidy(ax, title or "angular correlation")
