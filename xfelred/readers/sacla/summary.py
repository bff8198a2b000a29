"""What a SACLA run holds, in words."""

from __future__ import annotations

from math import prod
from typing import Any

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
from xfelred.readers.left_out import fact_line
from xfelred.readers.sacla.detectors import DetectorSpec
from xfelred.readers.sacla.run_data import RunData
from xfelred.readers.sacla.scalars import flags


def facts(run: RunData) -> list[tuple[str, str]]:
    """Return (what, value) lines that describe the run."""
    ids = run.ids
    name = run.file.path.rsplit("/", 1)[-1]
    more = f" and {len(run.others)} more" if run.others else ""
    size = sum(f.size for f in run.files) / 1e6
    out = [("facility", f"SACLA, {name}{more} ({size:.1f} MB)")]
    words = ""
    if len(ids):
        step = run.tag_step
        gaps = (int(ids[-1]) - int(ids[0])) // step + 1 - len(ids)
        missing = f", {gaps} missing in between" if gaps > 0 else ""
        words = f" ({ids[0]} to {ids[-1]}, step {step}{missing})"
    out.append(("tags", f"{len(ids)}{words}"))
    out += fact_line(run.left_out)
    out += [("detector", detector_line(run, spec)) for spec in run.specs.values()]
    shots = run.shots.of(ids)
    energy = run.shots.default_energy
    out.append(("energy", f"{energy:.1f} eV" if energy > 0 else "unknown"))
    told = SHUTTER_OPEN in shots
    words = shot_line(run, shots) if told else "the file does not tell which are dark"
    out.append(("shots", words))
    out.append(("events", f"{len(run.event_ids)} rows, {len(run.columns)} columns"))
    if run.notes.get("comment"):
        out.append(("comment", str(run.notes["comment"])[:60]))
    return out


def shot_line(run: RunData, shots: dict[str, NDArray[Any]]) -> str:
    """Return how many shots are dark, lit, pumped, and how many are none of these."""
    kinds = (("darks", "dark"), ("lit", "lit"))
    words = [f"{int(flags(run, flag).sum())} {word}" for flag, word in kinds]
    if LASER_ON in shots:
        words.append(f"{int(flags(run, 'pumped').sum())} of them pumped")
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


def detector_line(run: RunData, spec: DetectorSpec) -> str:
    detector = run.modules(spec)
    here = sum(int(np.isin(g.tags, run.ids).sum()) for g in spec.groups)
    n_tags = int(np.isin(run.ids, detector.tags).sum())
    missing = n_tags * len(spec.groups) - here
    gaps = f", {missing} gaps (module x tag)" if missing else ", no gaps"
    try:
        shape = "x".join(map(str, detector.module_shape))
        size = f" of {shape} {detector.image_kind.dtype}"
    except XfelredError:  # a description must not fail
        size = ""
    return (
        f"{spec.name} ({spec.kind}): {len(spec.groups)} modules{size},"
        f" {n_tags} tags{gaps}"
    )


def stored(run: RunData, path: str, dataset: str) -> tuple[int, int] | None:
    """Return the bytes of a value, and of all images of a group of the run."""
    for spec in run.specs.values():
        for group in (p for g in spec.groups for p in g.pieces):
            if path == group.file and dataset == group.dataset():
                kind = run.modules(spec).image_kind
                size = kind.dtype.itemsize
                n = int(np.isin(group.tags, run.ids).sum())
                return size, n * prod(kind.shape) * size
    return None
