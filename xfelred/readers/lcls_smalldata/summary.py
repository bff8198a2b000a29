"""What a small-data run holds, in words."""

from __future__ import annotations

from math import prod

import numpy as np

from xfelred.readers.lcls_smalldata import images, tables
from xfelred.readers.lcls_smalldata.columns import CONSTANTS, IMAGE_KEYS, INTG, SUMS
from xfelred.readers.lcls_smalldata.run_data import RunData
from xfelred.readers.lcls_times import event_time
from xfelred.readers.left_out import fact_line

LINES = 9  # of detectors


def facts(run: RunData) -> list[tuple[str, str]]:
    """Return (what, value) lines that describe the run."""
    size = sum(f.size for f in run.files) / 1e6
    parts = f", {len(run.files)} parts" if len(run.files) > 1 else ""
    name = run.files[0].path.rsplit("/", 1)[-1]
    flavour = run.flavour.name
    out = [("facility", f"LCLS small data ({flavour}), {name} ({size:.1f} MB{parts})")]
    out.append(("events", event_line(run)))
    out += fact_line(run.left_out)
    if INTG in run.streams:
        out.append((INTG, f"{len(run.stream_ids(INTG))} rows of slow detectors"))
    kinds = list(run.detectors.items())
    out += [("detector", detector_line(run, n, k)) for n, k in kinds[:LINES]]
    if len(kinds) > LINES:
        out.append(("detector", f"... {len(kinds) - LINES} more"))
    out.append(("columns", f"{len(run.per_event())} per event"))
    found = tables.tables(run)
    if found:
        out.append(("tables", ", ".join(found[:4]) + (", ..." if found[4:] else "")))
    n_sums = sum(n.startswith(f"{SUMS}/") for n in run.columns)
    if n_sums:
        out.append(("sums", str(n_sums)))
    return out


def event_line(run: RunData) -> str:
    n = len(run.ids)
    if not n or run.flavour.epoch is None:
        return str(n)
    first, last = event_time(run.ids[[0, -1]], run.flavour.epoch).values
    words = f"{n}, from {np.datetime_as_string(first, 's')} UTC"
    return f"{words}, {float((last - first) / np.timedelta64(1, 's')):.1f} s"


def detector_line(run: RunData, name: str, kind: str) -> str:
    keys = run.image_keys(name)
    shown = [k for k in IMAGE_KEYS if k in keys]
    what = "no frames"
    if shown:
        column = run.columns[f"{name}/{shown[0]}"]
        shape = "x".join(map(str, column.shape[1:]))
        what = f"{shown[0]} of {shape} {column.dtype}"
    has = any(c.startswith(f"{CONSTANTS}/{name}/") for c in run.columns)
    return f"{name} ({kind}): {what}{', constants' if has else ''}"


def stored(run: RunData, path: str, dataset: str) -> tuple[int, int] | None:
    """Return the bytes of a value, and of all selected rows, of a dataset."""
    column = run.columns.get(dataset)
    if column is None or all(path != f.path for f in run.files):
        return None
    size = column.dtype.itemsize
    n = len(run.stream_ids(images.stream_of(dataset)))
    return size, size * prod(column.shape[1:]) * n
