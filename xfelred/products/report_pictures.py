"""Pictures in pages: images, steps, maps. Figures of matplotlib, never of pyplot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.names import FAST, MODULE, SLOW, UNITS
from xfelred.products.report_page import inline_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

BLUE, ORANGE, GREY, PALE = "#1f5fa8", "#d9662b", "#6b7280", "#dfe3e8"
COLOURS = {"on": ORANGE, "off": BLUE, "all": GREY}
WIDTH, DPI = 4.8, 170  # inches: as wide as a column of a page
LARGEST = 1500  # pixels along one side of a picture
LAST_LETTER = 0x24F  # letters that the font of the pictures has
LONGEST = 60  # letters of a name
# Above the axes, where no curve can be behind it.
LEGEND: dict[str, Any] = {
    "frameon": False,
    "fontsize": "small",
    "ncols": 2,
    "loc": "lower right",
    "bbox_to_anchor": (1, 1),
    "borderaxespad": 0.1,
}


def new_figure(height: float = 2.9, width: float = WIDTH) -> Any:
    # Slow to import, and nothing else here needs it.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def as_picture(figure: Figure, title: str, alt: str, words: str = "") -> dict[str, str]:
    return {"title": title, "alt": alt, "words": words, "png": inline_png(figure)}


def drawable(text: object) -> str:
    """Return a text that can be drawn: printable letters of the font, not too many."""
    letters = [
        c if c.isprintable() and ord(c) <= LAST_LETTER else "?" for c in str(text)
    ]
    short = "".join(letters)
    return short if len(short) <= LONGEST else short[: LONGEST - 3] + "..."


def shown_state(name: str) -> str:
    return "all shots" if name == "all" else f"laser {name}"


def label(axes: Axes, x: object = "", y: object = "") -> None:
    # Names of a run are no formulas, whatever $ they have.
    axes.set_xlabel(drawable(x), parse_math=False)
    axes.set_ylabel(drawable(y), parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)


def with_unit(name: object, da: xr.DataArray) -> str:
    unit = str(da.attrs.get(UNITS, "1"))
    return str(name) if unit in ("", "1") else f"{name} ({unit})"


def span(image: NDArray[Any], share: float = 1.0) -> tuple[float, float]:
    """Return limits of the colours, without `share` percent at either end."""
    known = image[np.isfinite(image)]
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, (share, 100 - share))
    return float(low), float(high if high > low else low + 1)  # never nothing


def mosaic(one: xr.DataArray) -> Floats:
    """Return all modules in one picture, side by side, with gaps that are NaN."""
    values = one.transpose(..., SLOW, FAST).values
    values = values.reshape(-1, *values.shape[-2:])
    n, rows, columns = values.shape
    across = max(round((n * rows / columns) ** 0.5), 1) if n else 1
    down, gap = -(-n // across), max(rows // 40, 2)
    shape = (max(down, 1) * (rows + gap) - gap, across * (columns + gap) - gap)
    out = np.full(shape, np.nan)
    for i, image in enumerate(values):
        y, x = (i // across) * (rows + gap), (i % across) * (columns + gap)
        out[y : y + rows, x : x + columns] = image
    return out


def flat_image(one: xr.DataArray) -> Floats:
    sizes = {d: n for d, n in one.sizes.items() if d != MODULE}
    steps = {d: slice(None, None, -(-n // LARGEST) or 1) for d, n in sizes.items()}
    small = one.isel(steps).astype(np.float64)
    return mosaic(small) if SLOW in small.dims else small.values


def image_picture(
    one: xr.DataArray, title: str, *, difference: bool = False
) -> dict[str, str]:
    """Return the picture of an image (y, x) or (module, slow_scan, fast_scan)."""
    from matplotlib import colormaps

    values = flat_image(one)
    low, high = span(values, 0.5)
    if difference:  # white is no difference
        high = max(abs(low), abs(high))
        low = -high
    n_rows, n_columns = values.shape
    height = float(np.clip(0.8 * WIDTH * n_rows / n_columns + 0.3, 1.6, 6.5))
    figure = new_figure(height)
    axes = figure.subplots()
    name = "RdBu_r" if difference else "viridis"
    colours = colormaps[name].with_extremes(bad=PALE)
    how = {"origin": "lower", "interpolation": "nearest"}
    drawn = axes.imshow(values, colours, vmin=low, vmax=high, **how)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.95, pad=0.02)
    bar.outline.set_visible(False)
    unit = str(one.attrs.get(UNITS, ""))
    bar.set_label(drawable("" if unit == "1" else unit), parse_math=False)
    known = values[np.isfinite(values)]
    alt = f"from {known.min():.4g} to {known.max():.4g}" if known.size else "no values"
    return as_picture(figure, title, alt, title)


def steps_picture(
    title: str, axis: tuple[str, Floats], counts: Mapping[str, NDArray[Any]]
) -> dict[str, str]:
    """Return how many shots are in every bin; `axis` is (label, edges)."""
    figure = new_figure(2.6)
    axes = figure.subplots()
    name, edges = axis
    for state, values in counts.items():
        look = {"color": COLOURS.get(state, GREY), "lw": 1.6, "fill": len(counts) == 1}
        axes.stairs(values, edges, label=shown_state(state), **look)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    label(axes, name, "shots")
    if len(counts) > 1:
        axes.legend(**LEGEND)
    total = sum(int(v.sum()) for v in counts.values())
    return as_picture(figure, title, f"{total} shots in {len(edges) - 1} bins", "")


def map_picture(
    title: str, counts: xr.DataArray, edges: Mapping[str, Floats]
) -> dict[str, str]:
    first, second = counts.dims
    figure = new_figure(3.2)
    axes = figure.subplots()
    x, y = edges[str(second)], edges[str(first)]
    most = max(float(counts.max()), 1)
    drawn = axes.pcolormesh(x, y, counts.values, cmap="viridis", vmin=0, vmax=most)
    label(axes, *(with_unit(d, counts[d]) for d in (second, first)))
    figure.colorbar(drawn, ax=axes, label="shots").outline.set_visible(False)
    alt = f"{int(counts.sum())} shots in {counts.size} bins"
    return as_picture(figure, title, alt, title)
