"""A run on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from xfelred.entries import entry, must_have
from xfelred.plot.detector import availability, image
from xfelred.plot.profiles import azimuthal, statistics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@entry
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

    # A figure of the caller need not be one of pyplot, which keeps its own for ever.
    if figure is None:
        figure = pyplot.figure()
    must_have(
        "plot.overview", "figure", figure, "set_layout_engine", "a Figure of matplotlib"
    )
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
