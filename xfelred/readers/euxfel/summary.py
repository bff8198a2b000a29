"""What a run holds, as text and as HTML."""

from __future__ import annotations

import sys
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from xfelred.errors import BrokenFileError, listing
from xfelred.readers.euxfel import finding
from xfelred.readers.euxfel.metadata import run_metadata

if TYPE_CHECKING:
    from xfelred.readers.euxfel.run import Run


def run_id(run: Run) -> str:
    """Return proposal and run number, such as ``p700000 r0102``."""
    if not run.single:
        return "several runs"
    try:
        found = run_metadata(run.files)
    except BrokenFileError:
        return ""
    proposal, number = found.get("proposalNumber"), found.get("runNumber")
    return (
        "" if proposal is None or number is None else f"p{proposal:06d} r{number:04d}"
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """Return (what, value) lines that describe a run."""
    ids = run.ids
    out = [("facility", f"European XFEL, {len(run.files)} files")]
    if len(ids):
        span = int(ids[-1]) - int(ids[0]) + 1
        gaps = f", {span - len(ids)} missing in between" if span > len(ids) else ""
        out.append(("trains", f"{len(ids)} ({ids[0]} to {ids[-1]}{gaps})"))
    else:
        out.append(("trains", "0"))
    for name, kind in run.detectors.items():
        out.append(("detector", detector_line(run, name, kind)))
    modules = {s for s in run.instrument_sources if "/DET/" in s or "/CORR/" in s}
    others = sorted(run.instrument_sources - modules - set(run.legacy_sources))
    out.append(("instrument", f"{len(others)} sources: {listing(others, 4)}"))
    out.append(
        (
            "control",
            f"{len(run.control_sources)} sources:"
            f" {listing(sorted(run.control_sources), 4)}",
        )
    )
    return out


def detector_line(run: Run, name: str, kind: str) -> str:
    """Return one line on a detector: modules, frames, gaps."""
    counts = finding.module_counts(run, name, kind)
    if counts is None:
        return f"{name} ({kind}), no data"
    modules, table = counts
    most = table.max(axis=0)
    recorded = most > 0
    per_train = np.unique(most[recorded])
    frames = "/".join(str(n) for n in per_train[:3]) + (
        "..." if len(per_train) > 3 else ""
    )
    missing = int((table[:, recorded] == 0).sum())
    return (
        f"{name} ({kind}): {len(modules)} modules, {int(recorded.sum())} trains with"
        f" {frames or 0} frames"
        + (f", {missing} gaps (module x train)" if missing else ", no gaps")
    )


def text(run: Run) -> str:
    """Return a short description, at most 20 lines."""
    lines = facts(run)[:18]
    return "\n".join(
        [f"<xfelred.Run {run.run_id}>".replace(" >", ">")]
        + [f"  {what + ':':<12}{value}" for what, value in lines]
    )


def html(run: Run) -> str:
    """Return the description as a small table for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(what)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for what, value in facts(run)
    )
    more = "".join(f"<li><code>{escape(s)}</code></li>" for s in run.sources)
    return (
        f"<div><strong>xfelred.Run</strong> {escape(run.run_id)}<table>{rows}</table>"
        f"<details><summary>all {len(run.sources)} sources</summary><ul>{more}</ul>"
        "</details></div>"
    )


def print_info(run: Run) -> None:
    """Write the description and all source names to the standard output."""
    lines = [text(run), "", "instrument sources:"]
    lines += [f"  - {s}" for s in sorted(run.instrument_sources)]
    lines += ["", "control sources:"]
    lines += [f"  - {s}" for s in sorted(run.control_sources)]
    sys.stdout.write("\n".join(lines) + "\n")


def detector_info(run: Run, source: str) -> dict[str, Any]:
    """Return dims, frames_per_train and total_frames of one detector module."""
    found = run[source]
    key = "image.data" if "image.data" in found else "data.adc"
    data = run[source, key]
    counts = data.location.count
    inner = data.entry_shape[0] if key == "data.adc" else 1
    most = int(counts.max(initial=0))
    return {
        "dims": tuple(data.entry_shape[-2:]),
        "frames_per_train": most * inner,
        "total_frames": int(counts.sum()) * inner,
    }
