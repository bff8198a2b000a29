"""One pass over the small files of a run: timestamps, steps, what each stream holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from glob import escape, glob
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError
from xfelred.hdf5.guard import check_regular
from xfelred.readers.lcls_psana.address import Address
from xfelred.readers.lcls_psana.session import (
    LOCK,
    asking,
    first_run,
    open_source,
)

STREAM = re.compile(r"-s(\d+)-c(\d+)(?:\.smd)?\.xtc2$")


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a scan.

    Attributes
    ----------
    start : int
        Timestamp of its beginning.
    values : dict of str to float
        Scan variables.
    """

    start: int
    values: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Stream:
    """What one stream of files holds.

    Attributes
    ----------
    ids : uint64 (n,)
        Timestamps of its events, sorted.
    methods : dict of (detector, interface) to tuple of str
        What can be read of each.
    segments : dict of detector to tuple of int
        Numbers of its segments in this stream.
    epics : tuple of str
        Names of slow values.
    steps : tuple of Step
    """

    ids: NDArray[np.uint64]
    methods: dict[tuple[str, str], tuple[str, ...]]
    segments: dict[str, tuple[int, ...]]
    epics: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known about a run before any detector is read.

    Attributes
    ----------
    exp : str
    number : int
        Of the run.
    streams : tuple of Stream
    steps : tuple of Step
        Those of the stream that knows most scan variables.
    files : tuple of (name, size, mtime_ns)
        All files that lie there, for the identity of the run.
    in_chunks : bool
        A stream goes on in a further file, so that a table must not be used.
    """

    exp: str
    number: int
    streams: tuple[Stream, ...]
    steps: tuple[Step, ...]
    files: tuple[tuple[str, int, int], ...]
    in_chunks: bool

    @property
    def ids(self) -> NDArray[np.uint64]:
        """Timestamps of all events, sorted."""
        parts = [s.ids for s in self.streams]
        return np.unique(np.concatenate([np.zeros(0, np.uint64), *parts]))


def survey(address: Address) -> Survey:
    """Read the small files of a run, or the file itself if there is but one."""
    with LOCK:
        if address.files:
            exp, number, stream = read_stream(address)
            files = (described(address.files),)
            return Survey(exp, number, (stream,), stream.steps, files, False)
        where, small = small_files(address)
        found = [
            read_stream(replace(address, files=path, offline=True)) for path in small
        ]
    wanted = set(address.detectors)
    kept = [
        (exp, s)
        for exp, _, s in found
        if not wanted or wanted & {detector for detector, _ in s.methods}
    ]
    steps = max((s.steps for _, _, s in found), key=known_values, default=())
    big = sorted(glob(os.path.join(escape(where), f"{stem(address)}-s*.xtc2")))
    return Survey(
        address.exp, address.run, tuple(s for _, s in kept), steps,
        tuple(described(p) for p in [*small, *big]),
        any(match and int(match[2]) > 0 for match in map(STREAM.search, big)),
    )  # fmt: skip


def known_values(steps: tuple[Step, ...]) -> tuple[int, int]:
    """Return how many scan values are known, and how many steps."""
    known = sum(v is not None for step in steps for v in step.values.values())
    return known, len(steps)


def stem(address: Address) -> str:
    """Return how the names of the files of a run begin."""
    return f"{address.exp}-r{address.run:04d}"


def small_files(address: Address) -> tuple[str, list[str]]:
    """Return the directory of a run and its files of offsets."""
    where = address.dir or directory_at_lcls(address)
    pattern = f"{stem(address)}-s*-c000.smd.xtc2"
    found = sorted(glob(os.path.join(escape(where), "smalldata", pattern)))
    if not found:
        raise BrokenFileError(
            f"{address}: no {pattern} in {os.path.join(where, 'smalldata')}. Check the"
            " experiment, the run and dir="
        )
    return where, found


def directory_at_lcls(address: Address) -> str:
    """Return where psana2 looks if no directory is given: below SIT_PSDM_DATA."""
    root = os.environ.get("SIT_PSDM_DATA", "/sdf/data/lcls/ds")
    return os.path.join(root, address.exp[:3], address.exp, "xtc")


def described(path: str) -> tuple[str, int, int]:
    """Return name, size and time of a file."""
    status = check_regular(path)
    return os.path.basename(path), status.st_size, status.st_mtime_ns


def read_stream(address: Address) -> tuple[str, int, Stream]:
    """Return (experiment, run, what the stream holds) of a file, read once.

    Scan values are asked for at the beginning of each step, while it is the last that
    psana2 has seen: later its store answers with the step that follows.
    """
    source = open_source(address, skip_calib_load="all")
    run = first_run(source, address)
    with asking(address, "list its steps, events and detectors"):
        return contents_of(run)


def contents_of(run: Any) -> tuple[str, int, Stream]:
    """Return what `read_stream` does of an open run of psana2."""
    names = sorted({name for name, *_ in run.scaninfo})
    ids: list[int] = []
    steps = []
    for step in run.steps():
        values = {n: plain(run.Detector(n)(step)) for n in names}
        steps.append(Step(int(step.evt.timestamp), values))
        ids += [int(event.timestamp) for event in step.events()]
    methods, segments = detectors_of(run)
    number = run.runnum if isinstance(run.runnum, int) else -1
    return str(run.expt or ""), number, Stream(
        np.unique(np.array(ids, np.uint64)), methods, segments,
        tuple(sorted({name for name, *_ in run.epicsinfo})), tuple(steps),
    )  # fmt: skip


def plain(value: Any) -> Any:
    """Return a scan value as a Python number or text; None stays."""
    return value.item() if isinstance(value, np.generic) else value


def detectors_of(
    run: Any,
) -> tuple[dict[tuple[str, str], tuple[str, ...]], dict[str, tuple[int, ...]]]:
    """Return the readable methods and the segments of the detectors of a run."""
    methods, segments = {}, {}
    for (name, part), found in sorted(run.detinfo.items()):
        if not isinstance(found, (list, tuple)):  # a text: psana could not make it
            continue
        methods[name, part] = tuple(sorted(found))
        interface = getattr(run.Detector(name), part)
        numbers = getattr(interface, "_sorted_segment_inds", None) or (0,)
        segments[name] = tuple(int(n) for n in numbers)
    return methods, segments
