"""What all pages share: frame, style, escaped text; figures, never of pyplot."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import printable
from xfelred.names import FAST, MODULE, SLOW, UNITS

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

STYLE = """
body { font: 15px/1.45 sans-serif; color: #222; max-width: 70em; margin: 2em auto;
  padding: 0 1em; overflow-wrap: anywhere }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em;
  border-bottom: 1px solid #ccc } h3 { font-size: 1em; margin: 1.2em 0 .3em }
.wide { overflow-x: auto } .tall { max-height: 24em; overflow-y: auto }
table { border-collapse: collapse; margin: .6em 0; overflow-wrap: normal }
th, td { padding: .15em .8em; border-bottom: 1px solid #e4e4e4; text-align: right }
th:first-child, td:first-child { text-align: left }
th + th, td + td { white-space: nowrap }
td.none { color: #999 } td.bad { color: #b3261e; font-weight: bold }
.facts td + td, .facts td { text-align: left; vertical-align: top;
  overflow-wrap: anywhere; white-space: normal }
.facts td:first-child { white-space: nowrap; color: #555 }
.note { color: #555; font-size: .92em }
.grid { display: grid; gap: 1em 1.5em;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26em), 1fr)) }
figure { margin: .4em 0; min-width: 0 } figcaption { font-size: .92em; color: #444 }
img { max-width: 100%; height: auto; display: block; margin: .6em 0 }
pre { background: #f5f5f5; padding: .7em; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 12px }
@media (max-width: 40em) { body { margin: 1em auto; padding: 0 .7em; font-size: 14px }
  th, td { padding: .15em .35em } .facts td:first-child { white-space: normal } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>{{ style|safe }}</style></head><body>
<h1>{{ title }}</h1>
{% block content %}{% endblock %}
</body></html>
"""

PARTS = """
{%- macro facts(rows) %}<table class="facts">{% for name, value in rows %}
<tr><td>{{ name }}</td><td>{{ value }}</td></tr>{% endfor %}</table>{% endmacro %}
{%- macro picture(one) %}<figure>
<img alt="{{ one.title }}: {{ one.alt }}" src="data:image/png;base64,{{ one.png }}">
{% if one.words %}<figcaption>{{ one.words }}</figcaption>{% endif %}
</figure>{% endmacro %}
{%- macro table(one) %}<div class="wide{% if one.rows|length > 18 %} tall{% endif %}">
<table><tr>{% for c in one.columns %}<th>{{ c }}</th>{% endfor %}</tr>
{% for row in one.rows %}<tr>{% for n in row %}
<td{% if n == "0" and loop.index0 >= one.get("labels", 1) %} class="none"{% endif %}>
{{- n }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endmacro %}
"""


def render_page(content: str, *, title: str, **values: object) -> str:
    """Return a page of HTML that needs nothing but itself; all `values` are escaped.

    `content` is the template of what is between the heading and the end. ``parts`` has
    macros: facts(pairs), picture(dict with title, alt, png, words), table(dict with
    columns, rows).
    """
    start = '{% extends "page" %}{% import "parts" as parts %}{% block content %}'
    sources = {
        "page": PAGE,
        "parts": PARTS,
        "content": start + content + "{% endblock %}",
    }
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.DictLoader(sources),
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("content")
    return printable(template.render(title=title, style=STYLE, **values))


def inline_png(figure: Figure) -> str:
    memory = io.BytesIO()
    figure.savefig(memory, format="png")
    return base64.b64encode(memory.getvalue()).decode()


def new_figure(height: float) -> Any:
    # Slow to import, and nothing else here needs it.
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


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
