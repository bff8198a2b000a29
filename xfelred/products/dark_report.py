"""Report of dark constants: one page with pictures, tables and provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import masks
from xfelred.names import (
    FAST,
    FINGERPRINT,
    GAIN_RANGE,
    MODULE,
    PIXEL_DIMS,
    SLOW,
    UNITS,
    VERSION,
)
from xfelred.products.atomic import atomic_output
from xfelred.products.report_page import inline_png, mosaic, render_page, span
from xfelred.provenance import history_of
from xfelred.small_files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 600  # pixels along one side of a module in a picture
N_BINS = 200
FACTS = (
    "detector",
    "detector_kind",
    "data_kind",
    "facility",
    "run",
    "run_id",
    FINGERPRINT,
    VERSION,
)

CONTENT = """
{{ parts.facts(facts) }}
<h2>Pedestal, noise and bad pixels</h2>
<p>{{ words }}</p>
{% for picture in pictures %}<h3>{{ picture.title }}</h3>
{{ parts.picture(picture) }}{% endfor %}
<h2>Bad pixels by reason</h2>
{{ parts.table(bits) }}
<h2>Modules</h2>
{{ parts.table(modules) }}
<h2>Provenance</h2>
<pre>{{ history }}</pre>
"""


def dark_report(constants: xr.Dataset, *, title: str = "Dark constants") -> str:
    """Return a page of HTML, without scripts or references; all text is escaped.

    `constants` are as of `ops.dark_statistics`; lazy ones are read piece by piece.
    """
    ranges = ranges_of(constants)
    known = (*PIXEL_DIMS, GAIN_RANGE)
    others = [str(d) for d in constants["pedestal"].dims if d not in known]
    words = f"{constants['pedestal'].sizes.get(MODULE, 1)} modules"
    if others:
        many = " x ".join(f"{d} ({constants.sizes[d]})" for d in others)
        words += f"; pictures show the mean over {many}"
    counts, labels = counted(constants, ranges), module_labels(constants)
    share = 100 * counts.bad / np.maximum(counts.size, 1)
    facts = [(k, constants.attrs[k]) for k in FACTS if k in constants.attrs]
    facts += [(str(d), f"{n}") for d, n in constants.sizes.items()]
    return render_page(
        CONTENT,
        title=title,
        facts=facts,
        words=words + ".",
        pictures=[
            picture(constants, one, others, (labels, share[:, j]))
            for j, one in enumerate(ranges)
        ],
        bits=table_of_bits(counts, ranges),
        modules=table_of_modules(counts, labels, ranges),
        history=history_of(constants.attrs) or "none",
    )


def write_dark_report(
    constants: xr.Dataset, path: Path, *, title: str, overwrite: bool = False
) -> Path:
    text = dark_report(constants, title=title)
    with writing(path), atomic_output(path, overwrite=overwrite) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def bad_share(path: Path) -> float | None:
    """Return which part of the pixels in a file of constants is bad.

    None for formats that are not read here, such as TIFF.
    """
    ending = path.suffix.lower()
    if ending == ".zarr":
        with xr.open_zarr(path, consolidated=False) as constants:
            return float((constants["bad_pixels"] != 0).mean())
    if ending not in (".nc", ".nxs", ".h5", ".hdf5"):
        return None
    found: list[h5py.Dataset] = []

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and name.split("/")[-1] == "bad_pixels":
            found.append(item)

    with h5py.File(path) as file:
        file.visititems(visit)
        parts = [float((one[i] != 0).mean()) for one in found for i in range(len(one))]
    return float(np.mean(parts)) if parts else None


def ranges_of(constants: xr.Dataset) -> list[int | None]:
    """Return the gain ranges; [None] where there is one for all."""
    n = constants["pedestal"].sizes.get(GAIN_RANGE)
    return [None] if n is None else list(range(n))


def of_range(one: xr.DataArray, gain_range: int | None) -> xr.DataArray:
    if gain_range is None:
        return one
    return one.isel({GAIN_RANGE: gain_range}, drop=True, missing_dims="ignore")


def name_of(gain_range: int | None) -> str:
    return "all" if gain_range is None else f"gain {gain_range}"


@dataclass(frozen=True)
class Counts:
    """What is counted of bad pixels, module by module."""

    bits: dict[str, NDArray[np.int64]]  # by name (gain range,); "any": any of them
    bad: NDArray[np.int64]  # (module, gain range)
    size: NDArray[np.int64]  # (module, gain range)
    medians: NDArray[np.float64]  # (module, gain range, 2), of pedestal and noise


def counted(constants: xr.Dataset, ranges: Sequence[int | None]) -> Counts:
    by_module = MODULE in constants["pedestal"].dims
    n = constants.sizes[MODULE] if by_module else 1
    shape = (n, len(ranges))
    bad, size = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    medians = np.full((*shape, 2), np.nan)
    bits = {name: np.zeros(len(ranges), np.int64) for name in (*masks.names, "any")}
    for i in range(n):  # one module is in memory at a time
        mine = constants.isel({MODULE: i}) if by_module else constants
        for j, gain_range in enumerate(ranges):
            flags = of_range(mine["bad_pixels"], gain_range).values
            bad[i, j], size[i, j] = np.count_nonzero(flags), flags.size
            # Few patterns of bits occur: count patterns first.
            found, many = np.unique(flags, return_counts=True)
            for name, bit in masks.names.items():
                bits[name][j] += many[(found & bit) != 0].sum()
            bits["any"][j] += bad[i, j]
            for k, name in enumerate(("pedestal", "noise")):
                values = first_entries(of_range(mine[name], gain_range)).values
                known = values[np.isfinite(values)]
                if known.size:
                    medians[i, j, k] = np.median(known)
    return Counts(bits, bad, size, medians)


def table_of_bits(counts: Counts, ranges: Sequence[int | None]) -> dict[str, Any]:
    total = counts.size.sum(axis=0)
    rows = [[k, *(f"{n}" for n in v)] for k, v in counts.bits.items() if v.any()]
    share = [percent(n, t) for n, t in zip(counts.bits["any"], total, strict=True)]
    return {
        "columns": ["bit", *(name_of(r) for r in ranges)],
        "rows": [*rows, ["share of all", *share]],
    }


def table_of_modules(
    counts: Counts, labels: Sequence[object], ranges: Sequence[int | None]
) -> dict[str, Any]:
    what = ("pedestal", "noise", "bad")
    columns = [f"{name_of(r)}: {one}" for r in ranges for one in what]
    rows = []
    for i, label in enumerate(labels):
        row = []
        for j in range(len(ranges)):
            row += [f"{v:.5g}" if np.isfinite(v) else "-" for v in counts.medians[i, j]]
            row.append(percent(counts.bad[i, j], counts.size[i, j]))
        rows.append([str(label), *row])
    return {"columns": ["module", *columns], "rows": rows}


def module_labels(constants: xr.Dataset) -> list[object]:
    if MODULE in constants.coords:
        return np.atleast_1d(constants[MODULE].values).tolist()
    return list(range(constants["pedestal"].sizes.get(MODULE, 1)))


def first_entries(one: xr.DataArray) -> xr.DataArray:
    # At most 16 memory cells or steps, for medians of a module.
    return one.isel({d: slice(0, 16) for d in one.dims if d not in (SLOW, FAST)})


def percent(n: np.integer, total: np.integer) -> str:
    return f"{100 * n / total:.3g} %" if total else "-"


def picture(
    constants: xr.Dataset,
    gain_range: int | None,
    others: Sequence[str],
    bars: tuple[Sequence[object], NDArray[np.float64]],
) -> dict[str, str]:
    """Return pictures and histograms of one gain range as a PNG in base64."""
    # Slow to import, and nothing else here needs it.
    from matplotlib.figure import Figure

    pedestal, noise = (
        of_range(constants[k], gain_range) for k in ("pedestal", "noise")
    )
    bad = of_range(constants["bad_pixels"], gain_range) != 0
    unit = str(pedestal.attrs.get(UNITS, "adu"))
    shown = [
        ("pedestal", unit, mosaic(averaged(pedestal, others))),
        ("noise", unit, mosaic(averaged(noise, others))),
        ("bad (share)", "", mosaic(averaged(bad, others))),
    ]
    figure = Figure(figsize=(12, 7.5), dpi=90, layout="constrained")
    axes = figure.subplots(2, 3, height_ratios=(3, 1.5))
    for column, (name, of, image) in enumerate(shown):
        low, high = span(image) if column < 2 else (0.0, 1.0)
        top = axes[0, column]
        colours = "viridis" if column < 2 else "magma"
        drawn = top.imshow(image, colours, vmin=low, vmax=high, interpolation="nearest")
        top.set_title(name)
        top.set_xticks([])
        top.set_yticks([])
        figure.colorbar(drawn, ax=top, label=of, shrink=0.8)
        below = axes[1, column]
        if column < 2:
            histogram(below, image, f"{name} / {of}")
        else:
            shares(below, *bars)
    return {
        "title": "All frames" if gain_range is None else f"Gain range {gain_range}",
        "alt": "pedestal, noise and bad pixels, and how they are distributed",
        "words": "",
        "png": inline_png(figure),
    }


def averaged(one: xr.DataArray, others: Sequence[str]) -> xr.DataArray:
    steps = {d: slice(None, None, -(-one.sizes[d] // LARGEST)) for d in (SLOW, FAST)}
    dims = [d for d in others if d in one.dims]
    return one.isel(steps).astype(np.float64).mean(dims)


def histogram(axes: Axes, image: NDArray[np.float64], label: str) -> None:
    # What lies far outside is in the first and the last bin.
    low, high = span(image)
    margin = 0.5 * (high - low)
    known = image[np.isfinite(image)]
    if known.size:
        first, last = max(low - margin, known.min()), min(high + margin, known.max())
        edges = np.linspace(first, last if last > first else first + 1, N_BINS + 1)
        counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
        axes.stairs(counts, edges, fill=True)
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "no dark data", ha="center", transform=axes.transAxes)
    axes.set_xlabel(label)
    axes.set_ylabel("pixels")


def shares(axes: Axes, labels: Sequence[object], share: NDArray[np.float64]) -> None:
    axes.bar(np.arange(len(labels)), share, color="#7a3b69")
    axes.set_xticks(np.arange(len(labels)), [str(n) for n in labels], fontsize=8)
    axes.set_xlabel("module")
    axes.set_ylabel("bad pixels / %")
