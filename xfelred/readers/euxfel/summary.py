"""What a run holds, as text and as HTML."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from xfelred.detectors.catalogue import SOURCES
from xfelred.errors import InconsistentDataError, listing, one_line
from xfelred.readers.description import as_text, print_lines
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.extra_data.source_data import SourceData
from xfelred.readers.euxfel.headers import dataset_name, header
from xfelred.readers.euxfel.identify import kinds, raw_header, sources_of
from xfelred.readers.euxfel.module_table import module_table
from xfelred.readers.euxfel.run_data import RunData
from xfelred.readers.left_out import fact_line

# Modules of a detector differ in the number only; they are shown as one.
MODULE = re.compile(r"(.+/(?:DET|CORR)/)\d+CH\d+:\w+$")


def facts(run: RunData) -> list[tuple[str, str]]:
    ids = run.ids
    out = [("facility", f"European XFEL, {len(run.all_files)} files")]
    if len(ids):
        span = int(ids[-1]) - int(ids[0]) + 1
        gaps = f", {span - len(ids)} missing in between" if span > len(ids) else ""
        out.append(("trains", f"{len(ids)} ({ids[0]} to {ids[-1]}{gaps})"))
    else:
        out.append(("trains", "0"))
    out += fact_line(run.left_out)
    for name, kind in kinds(run).items():
        out.append(("detector", detector_line(run, name, kind)))
    modules = {s for s in run.instrument_sources if "/DET/" in s or "/CORR/" in s}
    others = sorted(run.instrument_sources - modules - set(run.legacy_sources))
    out.append(("instrument", f"{len(others)} sources: {listing(others, 4)}"))
    slow = run.control_sources
    out.append(("control", f"{len(slow)} sources: {listing(sorted(slow), 4)}"))
    return out


def detector_line(run: RunData, name: str, kind: str) -> str:
    found = sources_of(run, kind, name)
    sources = [s for s, (_, corrected) in found.items() if corrected] or list(found)
    group = SOURCES[kind].data.partition(".")[0]
    try:
        count = module_table(run, tuple(sources), group).count
    except OSError:  # damaged: that is told when frames are asked for
        count = np.zeros((0, 0), int)
    if not count.size:
        return f"{name} ({kind}), no data"
    most = count.max(axis=1)
    per_train = np.unique(most[most > 0])
    more = "..." if len(per_train) > 3 else ""
    frames = "/".join(str(n) for n in per_train[:3]) + more
    missing = int((count[most > 0] == 0).sum())
    gaps = f"{missing} gaps (module x train)" if missing else "no gaps"
    return (
        f"{name} ({kind}): {len(sources)} modules, {int((most > 0).sum())} trains with"
        f" {frames or 0} frames, {gaps}, {data_kind(run, name, kind)} data"
    )


def text(run: RunData) -> str:
    """Return a short description, at most 20 lines."""
    return as_text(run.run_id, facts(run))


def print_info(
    run: RunData,
    details: Any,
    with_aggregators: bool,
    counts: bool,
    group_sources: bool,
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


def train_text(run: RunData, train_id: int) -> str:
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


def detector_info(run: RunData, source: str) -> dict[str, Any]:
    """Return dims, frames_per_train and total_frames of one detector module."""
    found = run.source(source)
    key = "image.data" if "image.data" in found else "data.adc"
    data = found.key_data(key)
    counts = data.location.count
    inner = data.entry_shape[0] if key == "data.adc" else 1
    most = int(counts.max(initial=0))
    return {
        "dims": tuple(data.entry_shape[-2:]),
        "frames_per_train": most * inner,
        "total_frames": int(counts.sum()) * inner,
    }


def data_kind(run: RunData, name: str, kind: str) -> str:
    """Return "raw" or "corrected", as the first file of the detector has it."""
    found = sources_of(run, kind, name)
    if any(corrected for _, corrected in found.values()):
        return "corrected"
    spec = SOURCES[kind]
    for source in found:
        for file in run.entries[source].all_files:
            one = header(file, dataset_name(source, spec.data))
            if one is not None:
                return "raw" if raw_header(one, spec) else "corrected"
    return "unknown"
