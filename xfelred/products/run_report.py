"""The report of a run: one page that says what was recorded, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from dask.utils import format_bytes
from numpy.typing import NDArray

from xfelred import __version__
from xfelred.checks import Report, check
from xfelred.entries import entry
from xfelred.errors import ArgumentError, XfelredError
from xfelred.geometry import Geometry
from xfelred.lazy.compute_together import compute_together
from xfelred.names import AVAILABLE, MODULE, PIXEL_DIMS, PULSE, TRAIN, UNITS
from xfelred.ops.image.assemble import assemble
from xfelred.ops.reductions.statistics import statistics
from xfelred.products.atomic import atomic_output
from xfelred.products.report_page import (
    BLUE,
    as_picture,
    image_picture,
    label,
    new_figure,
    render_page,
    with_unit,
)
from xfelred.readers.lcls_psana.run import Run as EventRun
from xfelred.readers.open import open_run
from xfelred.readers.protocol import Run
from xfelred.small_files import writing

TRAINS = 100  # of which pixels are read
CURVES = 300  # values that get a row of their own
POINTS = 80  # of a curve in a table
WIDE, HIGH = 160, 26  # of such a curve, in pixels of a screen
FINDINGS = 200

CONTENT = """
{{ parts.facts(facts) }}
<h2>Files</h2>
<p>{{ checked }}</p>
{% if findings.rows %}{{ parts.table(findings) }}{% endif %}
{% for one in detectors %}<h2>Detector {{ one.name }}</h2>
{{ parts.facts(one.facts) }}
{% if one.note %}<p class="note">{{ one.note }}</p>{% endif %}
{% if one.modules.rows %}{{ parts.table(one.modules) }}{% endif %}
<div class="grid">{% for picture in one.pictures %}{{ parts.picture(picture) }}
{% endfor %}</div>{% endfor %}
<h2>Values of each train</h2>
<p class="note">{{ words }}</p>
{% if curves %}<div class="wide tall"><table><tr><th>value</th><th>recorded</th>
<th>from</th><th>median</th><th>to</th><th>unit</th><th>over the run</th></tr>
{% for one in curves %}<tr>{% for text in one.cells %}<td>{{ text }}</td>{% endfor %}
<td><svg width="{{ wide }}" height="{{ high }}"><polyline fill="none"
 stroke="{{ colour }}" points="{{ one.points }}"/></svg></td></tr>{% endfor %}
</table></div>{% endif %}
{% if failed.rows %}<h2>Values that could not be read</h2>
{{ parts.table(failed) }}{% endif %}
"""


@dataclass(frozen=True)
class RunReport:
    """A page of HTML about a run; a notebook shows it.

    Attributes
    ----------
    html : str
        The page, which needs no other file.
    check : Report
        What is wrong with the files, as `xfelred.check` says it.
    """

    html: str
    check: Report

    def write(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page to a file, which appears when it is complete.

        Raises
        ------
        ArgumentError
            If the name does not end in ``.html``.
        OutputExistsError
            If there is a file and `overwrite` is not set.
        OutputError
            If it cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ArgumentError(f"a report is a page of HTML: {path.name}.html")
        with writing(path), atomic_output(path, overwrite=overwrite) as partial:
            partial.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        # A frame: the style of the page is not that of the notebook.
        page = escape(self.html, quote=True)
        return f'<iframe style="width:100%;height:45em;border:0" srcdoc="{page}">'

    def __repr__(self) -> str:
        faults = f"{len(self.check.faults)} faults"
        return f"<xfelred.RunReport of {self.check.run_id or 'a run'}: {faults}>"


@entry
def report(
    run: Run | str | Path,
    *,
    trains: int | None = TRAINS,
    geometry: Mapping[str, Geometry] | None = None,
) -> RunReport:
    """Make a page about a run: files, detectors with their images, values per train.

    Parameters
    ----------
    run : Run, or path
        Of any facility.
    trains : int, optional
        Pixels are read of so many trains, spread evenly over the run; None: of all.
    geometry : mapping of str to Geometry, optional
        By name of the detector: its images are assembled. Others are shown module
        beside module.

    Returns
    -------
    RunReport
        A notebook shows it; ``.write("run.html")`` writes it to a file. A detector or
        a value that cannot be read is named on the page.

    Raises
    ------
    MissingFileError
        If there is no such run.
    ArgumentError
        If `trains` is not positive, or a geometry is of a detector that is not there.

    Notes
    -----
    Each detector is read once, on whatever dask computes with.

    Examples
    --------
    >>> import tempfile
    >>> import xfelred as xf
    >>> from xfelred.synth.euxfel import write_run
    >>> place = tempfile.TemporaryDirectory()
    >>> _ = write_run(place.name, n_trains=4, modules=[0], pulses=2, seed=1)
    >>> made = xf.report(xf.open_run(place.name))
    >>> made
    <xfelred.RunReport of p700000 r0001: 0 faults>
    >>> made.html.count("<img")  # mean, standard deviation, each train, each pulse
    4
    >>> place.cleanup()
    """
    if trains is not None and trains < 1:
        raise ArgumentError(f"trains={trains}; give a number from 1, or None for all")
    run = run if isinstance(run, Run) else open_run(run)
    shapes = dict(geometry or {})
    for name in shapes:
        if name not in run.detectors:
            raise ArgumentError(
                f"geometry of {name!r}, but the detectors of {run.run_id} are"
                f" {', '.join(map(str, run.detectors)) or 'none'}"
            )
    checked = check(run)
    detectors = [detector_part(run, n, trains, shapes.get(n)) for n in run.detectors]
    # psana reads events as a whole, whatever is wanted of them.
    some = run.select_trains(spread(len(run.train_ids), trains))
    curves, failed, constant = curves_of(some if isinstance(run, EventRun) else run)
    changing = f"{min(len(curves), CURVES)} of {len(curves)} that change"
    page = render_page(
        CONTENT,
        title=f"Run {run.run_id or 'without a name'}",
        facts=facts_of(run, checked),
        checked=list(checked.lines())[-1],
        findings=findings_table(checked),
        detectors=detectors,
        words=f"{changing}; {constant} are the same in all trains.",
        curves=curves[:CURVES],
        failed={"columns": ["value", "why"], "rows": failed, "labels": 2},
        wide=WIDE,
        high=HIGH,
        colour=BLUE,
    )
    return RunReport(page, checked)


def facts_of(run: Run, checked: Report) -> list[tuple[str, str]]:
    ids = run.train_ids
    span = f", {ids[0]} to {ids[-1]}" if ids else ""
    size = format_bytes(checked.n_bytes)
    return [
        ("facility", run.facility),
        ("trains or shots", f"{len(ids)}{span}"),
        ("files", f"{checked.n_files}, {size}, {checked.n_datasets} datasets"),
        ("sources", str(len(run.sources))),
        ("detectors", ", ".join(map(str, run.detectors)) or "none"),
        ("made by", f"xfelred {__version__}"),
    ]


def findings_table(checked: Report) -> dict[str, Any]:
    rows = [
        [f.severity, f.kind, ": ".join(filter(None, (Path(f.file).name, f.object))),
         f.text]
        for f in checked.findings[:FINDINGS]
    ]  # fmt: skip
    more = len(checked.findings) - len(rows)
    if more:
        rows.append(["", "", "", f"and {more} more, which xfelred check tells"])
    return {"columns": ["", "what", "where", ""], "rows": rows, "labels": 4}


def detector_part(
    run: Run, name: str, trains: int | None, geometry: Geometry | None
) -> dict[str, Any]:
    """Return what the page says of a detector; a note where it cannot be read."""
    part: dict[str, Any] = {
        "name": name,
        "facts": [("kind", str(run.detectors[name]))],
        "note": "",
        "modules": {"columns": [], "rows": []},
        "pictures": [],
    }
    try:
        frames = run.detector(name).frames()
        part["facts"] += frame_facts(frames)
        part["modules"] = module_table(frames)
        part["pictures"], part["note"] = pictures_of(frames, trains, geometry)
    # What is wrong with one detector is no reason to tell nothing of the others.
    except (XfelredError, OSError) as error:
        part["note"] = f"{part['note']} Not read: {error}".strip()
    return part


def frame_facts(frames: xr.DataArray) -> list[tuple[str, str]]:
    size = prod(frames.shape) * frames.dtype.itemsize
    shape = ", ".join(f"{d} {n}" for d, n in frames.sizes.items())
    return [("frames", f"{shape} ({frames.dtype}, {format_bytes(size)})")]


def module_table(frames: xr.DataArray) -> dict[str, Any]:
    """Return in how many trains each module recorded, if some did not in all."""
    there = frames.coords.get(AVAILABLE)
    rows: list[list[str]] = []
    if there is not None and MODULE in there.dims and not bool(there.all()):
        recorded = there.sum([d for d in there.dims if d != MODULE]).values
        n = there.size // max(there.sizes[MODULE], 1)
        numbers = there[MODULE].values if MODULE in there.coords else range(n)
        rows = [[str(m), f"{k} of {n}"] for m, k in zip(numbers, recorded, strict=True)]
    return {"columns": ["module", "trains recorded"], "rows": rows}


def pictures_of(
    frames: xr.DataArray, trains: int | None, geometry: Geometry | None
) -> tuple[list[dict[str, str]], str]:
    """Return pictures of some trains, and which these are."""
    lead = [str(d) for d in frames.dims if d not in PIXEL_DIMS]
    n = frames.sizes[lead[0]]
    if not frames.size:
        return [], "There are no frames."
    some = spread(n, trains)
    pixels = [d for d in frames.dims if d not in lead]
    taken = frames.isel({lead[0]: some})
    images, signal = compute_together(
        statistics(taken, lead, which=("mean", "std")), taken.mean(pixels)
    )
    assert isinstance(images, xr.Dataset)
    assert isinstance(signal, xr.DataArray)
    units = str(frames.attrs.get(UNITS, ""))
    found = []
    for name, title in (("mean", "mean"), ("std", "standard deviation of frames")):
        image = images[name].assign_attrs({UNITS: units})
        whole = image if geometry is None else assemble(image, geometry).compute()
        found.append(image_picture(whole, title))
    for dim, title in ((lead[0], "each train"), (PULSE, "each pulse")):
        if signal.sizes.get(dim, 1) > 1:
            others = [d for d in signal.dims if d != dim]
            at = signal[dim].values if dim == PULSE else some
            found.append(course(signal.mean(others), at, title, units))
    every = "all trains" if len(some) == n else f"{len(some)} of {n} trains"
    return found, f"Pictures are of {every}."


def spread(n: int, most: int | None) -> NDArray[np.int64]:
    """Return the numbers of at most so many of n things, spread evenly; None: all."""
    if most is None or most >= n:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))


def course(
    signal: xr.DataArray, at: NDArray[Any], title: str, units: str
) -> dict[str, str]:
    """Return the picture of the mean of all pixels along an axis."""
    figure = new_figure(2.2)
    axes = figure.subplots()
    axes.plot(at, signal.values, ".-", color=BLUE, lw=0.8, ms=3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    # IDs of LCLS are times: of all facilities the number in the run says more.
    name = str(signal.dims[0])
    x = name if name == PULSE else f"{name}, by its number in the run"
    label(axes, x, with_unit("mean of pixels", signal.assign_attrs({UNITS: units})))
    known = signal.values[np.isfinite(signal.values)]
    alt = f"from {known.min():.4g} to {known.max():.4g}" if known.size else "no values"
    return as_picture(figure, title, alt, f"mean of pixels, {title}")


def curves_of(run: Run) -> tuple[list[dict[str, Any]], list[list[str]], int]:
    """Return a row for each value that changes, what failed, how many are constant."""
    rows: list[tuple[float, dict[str, Any]]] = []
    failed: list[list[str]] = []
    constant = 0
    pixels = tuple(f"{name}/" for name in run.detectors)
    for source in run.sources:
        for key in () if f"{source}/".startswith(pixels) else run.keys(source):
            name = f"{source} {key}"
            try:
                values = values_of(run, source, key)
            except (XfelredError, OSError) as error:
                failed.append([name, str(error)])
                continue
            if values is None:
                continue
            known = values[np.isfinite(values)]
            if known.size and bool((known != known[0]).any()):
                rows.append((roughness(known.values), curve_row(name, known, run)))
            else:
                constant += 1
    # What was moved or drifted first, what only fluctuates last.
    rows.sort(key=lambda pair: pair[0])
    return [row for _, row in rows], failed, constant


def values_of(run: Run, source: str, key: str) -> xr.DataArray | None:
    """Read one number for each train; None where there is something else."""
    found = run[source, key]
    shape = found.shape
    single = len(shape) == 1 and shape[0] <= len(run.train_ids)
    if not single or found.dtype.kind not in "fiub" or key.endswith("trainId"):
        return None
    # Calibration suite and psana give the values themselves.
    plain = isinstance(found, xr.DataArray)
    values: xr.DataArray = (found if plain else found.xarray()).astype(float).compute()
    units = found.attrs.get(UNITS) if plain else found.units
    return values.assign_attrs({UNITS: units or ""})


def roughness(known: NDArray[Any]) -> float:
    """Return the usual step from train to train as a share of the whole range."""
    return float(np.median(np.abs(np.diff(known))) / np.ptp(known))


def curve_row(name: str, known: xr.DataArray, run: Run) -> dict[str, Any]:
    low, middle, high = np.quantile(known.values, (0, 0.5, 1))
    some = spread(known.size, POINTS)
    ids = run.train_ids
    at = some
    if TRAIN in known.coords:
        at = np.searchsorted(ids, known[TRAIN].values[some])
    x = 1 + at / max(len(ids) - 1, 1) * (WIDE - 2)
    y = HIGH - 2 - (known.values[some] - low) / (high - low) * (HIGH - 4)
    units = known.attrs[UNITS]
    return {
        "cells": [name, f"{known.size} of {len(ids)}",
                  *(f"{v:.6g}" for v in (low, middle, high)),
                  "" if units == "1" else units],
        "points": " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)),
    }  # fmt: skip
