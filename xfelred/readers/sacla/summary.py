"""What a SACLA run holds, as text and as HTML."""

from __future__ import annotations

from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import XfelredError
from xfelred.names import (
    BEAM,
    IN_EVENT_TABLE,
    LASER_ON,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
)
from xfelred.readers.description import as_html, as_text, print_lines
from xfelred.readers.left_out import described
from xfelred.readers.sacla.detectors import DetectorSpec
from xfelred.readers.sacla.files import EVENTS, number

if TYPE_CHECKING:
    from xfelred.readers.sacla.run import Run

HERTZ = 60  # at which tags count up


def tag_step(run: Run) -> int:
    """Return the usual difference of neighbouring tags; see `Run.tag_step`."""
    tags = run.events.tags if len(run.events.tags) > 1 else run.ids
    if len(tags) > 1:
        return int(np.median(np.diff(tags)))
    rate = number(run.config.get("repetition_rate"))
    return max(1, round(HERTZ / rate)) if rate > 0 else 1


def facts(run: Run) -> list[tuple[str, str]]:
    """Return (what, value) lines that describe a run."""
    ids = run.ids
    name = run.file.path.rsplit("/", 1)[-1]
    more = f" and {len(run.others)} more" if run.others else ""
    size = sum(f.size for f in run.files) / 1e6
    out = [("facility", f"SACLA, {name}{more} ({size:.1f} MB)")]
    if len(ids):
        step = tag_step(run)
        gaps = (int(ids[-1]) - int(ids[0])) // step + 1 - len(ids)
        missing = f", {gaps} missing in between" if gaps > 0 else ""
        out.append(
            ("tags", f"{len(ids)} ({ids[0]} to {ids[-1]}, step {step}{missing})")
        )
    else:
        out.append(("tags", "0"))
    out += described(run.left_out)
    out += [("detector", detector_line(run, spec)) for spec in run.specs.values()]
    shots = run.shots.of(ids)
    energy = run.shots.default_energy
    out.append(("energy", f"{energy:.1f} eV" if energy > 0 else "unknown"))
    if SHUTTER_OPEN in shots:
        out.append(("shots", shot_line(run, shots)))
    else:
        out.append(("shots", "the file does not tell which are dark"))
    rows = f"{len(run.event_ids)} rows, {len(run.columns)} columns"
    out.append(("events", rows))
    if run.notes.get("comment"):
        out.append(("comment", str(run.notes["comment"])[:60]))
    return out


def shot_line(run: Run, shots: dict[str, NDArray[Any]]) -> str:
    """Return how many shots are dark, lit, pumped, and how many are none of these."""
    words = [f"{int(run.darks.sum())} dark", f"{int(run.lit.sum())} lit"]
    if LASER_ON in shots:
        words.append(f"{int(run.pumped.sum())} of them pumped")
    no_row = ~shots[IN_EVENT_TABLE] & (len(run.events.tags) > 0)
    unknown = ~shots[SHUTTER_KNOWN] & ~no_row
    no_beam = shots[SHUTTER_OPEN] & ~shots.get(BEAM, shots[SHUTTER_OPEN]) & ~no_row
    for flag, text in (
        (no_row, "not in the event table"),
        (unknown, "with unknown shutter"),
        (no_beam, "without beam"),
    ):
        if flag.any():
            words.append(f"{int(flag.sum())} {text}")
    return ", ".join(words)


def detector_line(run: Run, spec: DetectorSpec) -> str:
    """Return one line on a detector: modules, shape, gaps."""
    detector = run.detector_of(spec)
    here = sum(int(np.isin(g.tags, run.ids).sum()) for g in spec.groups)
    missing = len(detector.ids) * len(spec.groups) - here
    gaps = f", {missing} gaps (module x tag)" if missing else ", no gaps"
    try:
        shape = "x".join(map(str, detector.module_shape))
        size = f" of {shape} {detector.image_kind.dtype}"
    except XfelredError:  # a description must not fail
        size = ""
    return (
        f"{spec.name} ({spec.kind}): {len(spec.groups)} modules{size},"
        f" {len(detector.ids)} tags{gaps}"
    )


def text(run: Run) -> str:
    """Return a short description, at most 20 lines."""
    return as_text(run.run_id, facts(run))


def html(run: Run) -> str:
    """Return the description as a small table for notebooks."""
    return as_html(run.run_id, facts(run), "columns", run.columns)


def print_info(run: Run, details: str | list[str] | tuple[str, ...] = ()) -> None:
    """Write the description, and the columns of sources that match globs."""
    globs = (details,) if isinstance(details, str) else tuple(details)
    lines = [*text(run).split("\n"), "", "sources:"]
    for name in run.sources:
        lines.append(f"  - {name}")
        if any(fnmatchcase(name, g) for g in globs):
            lines += [f"      {key}" for key in run.keys(name)]
    if EVENTS in run.sources and not globs:
        lines += ["", f"columns of {EVENTS}:", *(f"  - {c}" for c in run.columns)]
    print_lines(lines)


def stored(run: Run, path: str, dataset: str) -> tuple[int, int] | None:
    """Return the bytes of a value, and of all images of a group of the run."""
    for spec in run.specs.values():
        for group in (p for g in spec.groups for p in g.pieces):
            if path == group.file and dataset == group.dataset():
                kind = run.detector_of(spec).image_kind
                size = kind.dtype.itemsize
                n = int(np.isin(group.tags, run.ids).sum())
                return size, n * prod(kind.shape) * size
    return None
