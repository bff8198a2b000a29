"""Report of a cube: one page on which shots are in it, what they are, what was lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.names import FINGERPRINT, LASER_ON, VERSION
from xfelred.products.atomic import atomic_output
from xfelred.products.report_histograms import (
    Limits,
    PixelHistogram,
    ShotState,
    percent,
    pixel_picture,
    shot_histogram,
)
from xfelred.products.report_page import (
    image_picture,
    map_picture,
    render_page,
    shown_state,
    steps_picture,
    with_unit,
)
from xfelred.provenance import history_of
from xfelred.small_files import writing

MOST_ROWS = 1000  # of a table of bins
DIFFERENCE = "on - off"
PROVENANCE = ("run_id", "facility", "filter", VERSION, FINGERPRINT)

CONTENT = """
<h2>Run and recipe</h2>
{{ parts.facts(facts) }}
<details open><summary>Recipe</summary><pre>{{ recipe }}</pre></details>
<h2>Cuts</h2>
{% for state in flows %}<h3>{{ state.name }}: {{ state.passed }} of
{{ state.total }} shots</h3>
<div class="wide"><table><tr><th>cut</th><th>alone</th><th>cumulative</th><th>left</th>
</tr>{% for row in state.rows %}<tr><td>{{ row.cut }}</td><td>{{ row.alone }}</td>
<td{% if row.empty %} class="bad"{% endif %}>{{ row.cumulative }}</td>
<td>{{ row.left }}</td></tr>{% else %}<tr><td>no cuts</td><td></td>
<td>{{ state.passed }}</td><td>100 %</td></tr>{% endfor %}</table></div>{% endfor %}
<h2>Shots per bin</h2>
{% for axis in axes %}<h3>{{ axis.name }}</h3>
<div class="grid">{% if axis.picture %}{{ parts.picture(axis.picture) }}{% endif %}
{{ parts.table(axis.table) }}</div>
{% if axis.note %}<p class="note">{{ axis.note }}</p>{% endif %}{% endfor %}
<div class="grid">{% for one in maps %}{{ parts.picture(one) }}{% endfor %}</div>
<h2>Lost and outside</h2>
{{ parts.table(lost) }}
{% if histograms %}<h2>Values of the shots</h2>
<p class="note">Grey: all shots. Line: shots that pass the cuts on all other values.
Dashed: limits of the cuts on this value.</p>
<div class="grid">{% for one in histograms %}<section><h3>{{ one.title }}</h3>
{{ parts.picture(one) }}{% for line in one.lines %}
<p class="note">{{ line }}</p>{% endfor %}</section>{% endfor %}</div>{% endif %}
{% for one in detectors %}<h2>Detector {{ one.name }}</h2>
{% if one.facts %}{{ parts.facts(one.facts) }}{% endif %}
<div class="grid">{% for picture in one.pictures %}{{ parts.picture(picture) }}
{% endfor %}</div>{% endfor %}
<h2>Provenance</h2>
{{ parts.facts(provenance) }}
<pre>{{ history }}</pre>
"""


@dataclass(frozen=True, eq=False)
class DetectorReport:
    """What a page shows of one detector."""

    name: str
    # Means by title, (y, x) or (module, slow_scan, fast_scan), in memory.
    images: Mapping[str, xr.DataArray] = field(default_factory=dict)
    pixels: PixelHistogram | None = None
    facts: Sequence[tuple[str, str]] = ()
    unit: str = ""


@dataclass(frozen=True, eq=False)
class CubeReport:
    """What a page shows of a cube."""

    title: str
    facts: Sequence[tuple[str, str]]  # about the run and the recipe
    recipe: str  # its text
    states: Sequence[ShotState]  # one for each state of the laser
    scalars: xr.Dataset  # (train[, pulse]): what the histograms and the cuts name
    histograms: Mapping[str, Limits]
    cube: xr.Dataset  # n_shots, <det>_shots, coordinates and attributes are used
    detectors: Sequence[DetectorReport] = ()


def cube_report(report: CubeReport) -> str:
    """Return a page of HTML, without scripts or references; all text is escaped."""
    shots = shots_of(report.cube)
    edges = edges_of_axes(report.cube)
    histograms = [
        shot_histogram(report.scalars, name, limits, report.states)
        for name, limits in report.histograms.items()
    ]
    attrs = report.cube.attrs
    axes = [str(d) for d in shots.dims if d != LASER_ON]
    return render_page(
        CONTENT,
        title=report.title,
        facts=report.facts,
        recipe=report.recipe,
        flows=[flow_table(s) for s in report.states],
        axes=[axis_part(shots, axis, edges.get(axis)) for axis in axes],
        maps=maps_of(shots, edges),
        lost=lost_table(report, shots),
        histograms=histograms,
        detectors=[detector_part(d) for d in report.detectors],
        provenance=[(k, attrs[k]) for k in PROVENANCE if k in attrs],
        history=history_of(attrs) or "none",
    )


def write_report(path: Path, report: CubeReport, *, overwrite: bool = False) -> Path:
    text = cube_report(report)
    with writing(path), atomic_output(path, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def shots_of(cube: xr.Dataset) -> xr.DataArray:
    found: xr.DataArray = cube["n_shots"].compute().fillna(0).astype(np.int64)
    return found


def edges_of_axes(cube: xr.Dataset) -> dict[str, NDArray[np.float64]]:
    axes = [str(d) for d in cube["n_shots"].dims if d != LASER_ON]
    return {a: cube[f"{a}_edges"].values for a in axes if f"{a}_edges" in cube.coords}


def flow_table(state: ShotState) -> dict[str, Any]:
    flow = state.flow
    return {
        "name": shown_state(state.name).capitalize(),
        "total": flow.total,
        "passed": flow.passed,
        "rows": [
            {
                "cut": cut,
                "alone": alone,
                "cumulative": n,
                "empty": n == 0,
                "left": percent(n / flow.total if flow.total else np.nan),
            }
            for cut, alone, n in flow.rows
        ],
    }


def by_state(shots: xr.DataArray) -> dict[str, xr.DataArray]:
    """Return counts by the state of the laser; "all" if they are not split."""
    if LASER_ON not in shots.dims:
        return {"all": shots}
    states = shots[LASER_ON].values
    return {
        ("on" if s else "off"): shots.isel({LASER_ON: i}, drop=True)
        for i, s in enumerate(states)
    }


def axis_part(
    shots: xr.DataArray, axis: str, edges: NDArray[np.float64] | None
) -> dict[str, Any]:
    counts = {
        state: one.sum([d for d in one.dims if d != axis]).values
        for state, one in by_state(shots).items()
    }
    columns = ["shots"] if len(counts) == 1 else [shown_state(s) for s in counts]
    rows = [[str(v[i]) for v in counts.values()] for i in range(shots.sizes[axis])]
    if edges is None:
        table = {"columns": ["bin", *columns], "rows": [["all", *r] for r in rows]}
        return {"name": axis, "picture": None, "table": table, "note": ""}
    label = with_unit(axis, shots[axis])
    bins = [[f"{a:.6g}", f"{b:.6g}"] for a, b in pairwise(edges)]
    table = {
        "labels": 2,
        "columns": [f"{label} from", "to", *columns],
        "rows": [b + r for b, r in zip(bins, rows, strict=True)][:MOST_ROWS],
    }
    others = [str(d) for d in shots.dims if d not in (axis, LASER_ON)]
    notes = [f"Added up over {', '.join(others)}."] if others else []
    if len(rows) > MOST_ROWS:
        notes.append(f"The first {MOST_ROWS} of {len(rows)} bins.")
    picture = steps_picture(axis, (label, edges), counts)
    return {"name": axis, "picture": picture, "table": table, "note": " ".join(notes)}


def maps_of(
    shots: xr.DataArray, edges: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, str]]:
    parts = by_state(shots)
    if any(one.ndim != 2 for one in parts.values()):
        return []
    return [
        map_picture(f"Shots per bin, {shown_state(s)}", one, edges)
        for s, one in parts.items()
    ]


def lost_table(report: CubeReport, shots: xr.DataArray) -> dict[str, Any]:
    """Return how many shots are in the cube, and how many are not, and why."""
    names = [s.name for s in report.states]
    passed = [s.flow.passed for s in report.states]
    inside = {s: int(one.sum()) for s, one in by_state(shots).items()}
    total = sum(inside.values())
    per_state = [inside.get(n) for n in names] if len(names) > 1 else [total]
    split = None not in per_state  # else the cube has all states in one bin

    def row(text: str, values: Sequence[int | None], every: int) -> list[str]:
        shown = ["" if v is None else str(v) for v in values]
        return [text, *(shown if len(names) > 1 else []), str(every)]

    nothing = [None] * len(names)
    mine = [int(s.mine.sum()) for s in report.states]
    outside = [p - (i or 0) for p, i in zip(passed, per_state, strict=True)]
    rows = [
        row("shots of the run", mine, report.states[0].flow.total),
        row("pass the cuts", passed, sum(passed)),
        row("in no bin", outside if split else nothing, sum(passed) - total),
        row("in the cube", per_state if split else nothing, total),
    ]
    for detector in report.detectors:
        name = f"{detector.name}_shots"
        if name in report.cube:
            found = report.cube[name].compute().fillna(0).astype(np.int64)
            have = {s: int(one.sum()) for s, one in by_state(found).items()}
            gone = [inside.get(n, total) - have.get(n, 0) for n in names]
            text = f"in the cube without {detector.name}"
            missing = total - sum(have.values())
            rows.append(row(text, gone if split else nothing, missing))
    heads = [shown_state(n) for n in names] if len(names) > 1 else []
    return {"columns": ["shots", *heads, "together"], "rows": rows}


def detector_part(one: DetectorReport) -> dict[str, Any]:
    pictures = [
        image_picture(image, title, difference=title.startswith(DIFFERENCE))
        for title, image in one.images.items()
    ]
    if one.pixels is not None:
        pictures.append(pixel_picture(one.pixels, one.name, one.unit))
    return {"name": one.name, "facts": one.facts, "pictures": pictures}
