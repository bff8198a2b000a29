"""What a run holds, as text and as HTML."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from xfelred.errors import BrokenFileError, InconsistentDataError, listing, one_line
from xfelred.readers.description import as_html, as_text, print_lines
from xfelred.readers.euxfel import finding
from xfelred.readers.euxfel.metadata import run_metadata
from xfelred.readers.left_out import described

if TYPE_CHECKING:
    from xfelred.readers.euxfel.key_data import KeyData
    from xfelred.readers.euxfel.run import Run
    from xfelred.readers.euxfel.source_data import SourceData

MODULE = re.compile(r"(.+/(?:DET|CORR)/)\d+CH\d+:\w+$")


def run_id(run: Run) -> str:
    """Return proposal and run number, such as ``p700000 r0102``."""
    if not run.single:
        return "several runs"
    try:
        found = run_metadata(run.all_files)
    except BrokenFileError:
        return ""
    proposal, number = found.get("proposalNumber"), found.get("runNumber")
    # A damaged file may hold anything there.
    if not (isinstance(proposal, int) and isinstance(number, int)):
        return ""
    return f"p{proposal:06d} r{number:04d}"


def facts(run: Run) -> list[tuple[str, str]]:
    """Return (what, value) lines that describe a run."""
    ids = run.ids
    out = [("facility", f"European XFEL, {len(run.all_files)} files")]
    if len(ids):
        span = int(ids[-1]) - int(ids[0]) + 1
        gaps = f", {span - len(ids)} missing in between" if span > len(ids) else ""
        out.append(("trains", f"{len(ids)} ({ids[0]} to {ids[-1]}{gaps})"))
    else:
        out.append(("trains", "0"))
    out += described(run.left_out)
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
        + f", {finding.data_kind(run, name, kind)} data"
    )


def text(run: Run) -> str:
    """Return a short description, at most 20 lines."""
    return as_text(run.run_id, facts(run))


def html(run: Run) -> str:
    """Return the description as a small table for notebooks."""
    return as_html(run.run_id, facts(run), "sources", run.sources)


def print_info(
    run: Run, details: Any, with_aggregators: bool, counts: bool, group_sources: bool
) -> None:
    """Write the description and all source names to the standard output."""
    globs = (details,) if isinstance(details, str) else tuple(details)
    grouped = group_sources and not (globs or with_aggregators or counts)
    lines = text(run).split("\n")
    for kind, names in (
        ("instrument", run.instrument_sources - set(run.legacy_sources)),
        ("control", run.control_sources),
    ):
        lines += ["", f"{kind} sources:"]
        for name, members in grouped_names(sorted(names), grouped):
            source = run.entries[members[0]]
            more = f" ({len(members)} modules)" if len(members) > 1 else ""
            more += aggregators(source) if with_aggregators else ""
            if counts and source.is_instrument:
                more += f" {int(source.data_counts(labelled=False).sum())} entries"
            lines.append(f"  - {name}{more}")
            if any(fnmatchcase(name, g) for g in globs):
                lines += [key_line(source.key_data(k)) for k in sorted(source.keys())]
    if run.legacy_sources:
        lines += ["", "old names of sources:"]
        pairs = (
            (grouped_name(a), grouped_name(b))
            for a, b in sorted(run.legacy_sources.items())
        )
        lines += [f"  - {old} -> {new}" for old, new in dict.fromkeys(pairs)]
    print_lines(lines)


def grouped_name(name: str) -> str:
    """Return one name for all modules of a detector, ``<detector>/DET/*``."""
    found = MODULE.match(name)
    return f"{found[1]}*" if found else name


def grouped_names(names: list[str], grouped: bool) -> list[tuple[str, list[str]]]:
    """Return (name to show, sources), modules of a detector as one if `grouped`."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(grouped_name(name) if grouped else name, []).append(name)
    return [(k if len(v) > 1 else v[0], v) for k, v in found.items()]


def train_text(run: Run, train_id: int) -> str:
    """Return which sources the files of a train hold."""
    ids = np.array([train_id], np.uint64)
    files = [f for f in run.files if np.isin(f.train_ids, ids).any()]
    lines = [f"Train [{train_id}] information", "Devices"]
    for title, names in (
        ("Instruments", {s for f in files for s in f.instrument}),
        ("Controls", {s for f in files for s in f.control}),
    ):
        shown = sorted(names & run.all_sources)
        lines += [f"\t{title}", *(f"\t- {one_line(name)}" for name in shown or [""])]
    return "\n".join(lines)


def aggregators(source: SourceData) -> str:
    """Return the data aggregators in the file names of a source, as `` [DA01]``."""
    names = sorted({f.aggregator for f in source.all_files if f.aggregator})
    return f" [{', '.join(names)}]" if names else ""


def key_line(key: KeyData) -> str:
    try:
        shape = f" {list(key.entry_shape)}" if key.entry_shape else ""
        unit = f", {key.units}" if key.units else ""
    except InconsistentDataError:
        return f"      {key.key}: differs between files"
    return f"      {key.key}: {key.dtype}{shape}{unit}, {key.shape[0]} entries"


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
