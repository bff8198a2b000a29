"""One pass over the small files of a run: timestamps, steps, what each stream holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from glob import escape, glob
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, python_scalar
from xfelred.hdf5.guard import check_regular
from xfelred.hdf5.remembered import Facts, remembered
from xfelred.readers.lcls_psana.address import Address
from xfelred.readers.lcls_psana.session import (
    LOCK,
    OpenRun,
    asking,
    first_run,
    open_source,
    psana,
)

# What can be read of each (detector, interface); segments of a detector in a stream.
Methods = dict[tuple[str, str], tuple[str, ...]]
Segments = dict[str, tuple[int, ...]]
KEPT = "LCLS xtc2 1"  # another number where `contents_of` changes
STREAM = re.compile(r"-s(\d+)-c(\d+)(?:\.smd)?\.xtc2$")


@dataclass(frozen=True, eq=False)
class Step:
    """A step of a scan."""

    start: int  # timestamp of its beginning
    values: dict[str, Any]  # scan variables: a number, a text or None


@dataclass(frozen=True, eq=False)
class Stream:
    """What one stream of files holds."""

    ids: NDArray[np.uint64]  # timestamps of its events, sorted
    methods: Methods
    segments: Segments
    epics: tuple[str, ...]  # names of slow values
    steps: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known about a run before any detector is read."""

    exp: str
    number: int  # of the run
    streams: tuple[Stream, ...]
    steps: tuple[Step, ...]  # those of the stream that knows most scan variables
    # Name, size and time of all files that lie there, for the identity of the run.
    files: tuple[tuple[str, int, int], ...]
    in_chunks: bool  # a stream goes on in a further file, so no table must be used

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
            identities = (identity(address.files),)
            return Survey(exp, number, (stream,), stream.steps, identities, False)
        where, small = small_files(address)
        alone = [replace(address, files=path, offline=True) for path in small]
        found = [stream for _, _, stream in map(read_stream, alone)]
    wanted = set(address.detectors)
    kept = [s for s in found if not wanted or wanted & {name for name, _ in s.methods}]
    steps = max((s.steps for s in found), key=known_values, default=())
    big = sorted(glob(os.path.join(escape(where), f"{stem(address)}-s*.xtc2")))
    files = tuple(map(identity, [*small, *big]))
    in_chunks = any(m and int(m[2]) > 0 for m in map(STREAM.search, big))
    return Survey(address.exp, address.run, tuple(kept), steps, files, in_chunks)


def known_values(steps: tuple[Step, ...]) -> tuple[int, int]:
    """Return how many scan values are known, and how many steps."""
    known = sum(v is not None for step in steps for v in step.values.values())
    return known, len(steps)


def stem(address: Address) -> str:
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


def identity(path: str) -> tuple[str, int, int]:
    status = check_regular(path)
    return os.path.basename(path), status.st_size, status.st_mtime_ns


def read_stream(address: Address) -> tuple[str, int, Stream]:
    """Return (experiment, run, what the stream holds) of a file, read once.

    The user's cache may have it, as this version of psana2 found it.
    """
    version = getattr(psana(), "__version__", "")
    what = f"{KEPT} {version} offline={address.offline}"
    facts = remembered(address.files, what, lambda: facts_of(address))
    methods = {(d, part): tuple(found) for d, part, found in facts["methods"]}
    segments = {name: tuple(numbers) for name, numbers in facts["segments"].items()}
    steps = tuple(Step(start, values) for start, values in facts["steps"])
    epics = tuple(facts["epics"])
    stream = Stream(facts["ids"], methods, segments, epics, steps)
    return facts["exp"], facts["number"], stream


def facts_of(address: Address) -> Facts:
    """Return what a file holds.

    Scan values are asked for at the beginning of each step, while it is the last that
    psana2 has seen: later its store answers with the step that follows.
    """
    source = open_source(address, skip_calib_load="all")
    run = first_run(source, address)
    with asking(address, "list its steps, events and detectors"):
        return contents_of(run)


def contents_of(run: OpenRun) -> Facts:
    names = sorted({name for name, *_ in run.scaninfo})
    ids: list[int] = []
    steps: list[tuple[int, dict[str, Any]]] = []
    for step in run.steps():
        values = {n: python_scalar(run.Detector(n)(step)) for n in names}
        steps.append((int(step.evt.timestamp), values))
        ids += [int(event.timestamp) for event in step.events()]
    methods, segments = detectors_of(run)
    return {
        "exp": str(run.expt or ""),
        "number": run.runnum if isinstance(run.runnum, int) else -1,
        "ids": np.unique(np.array(ids, np.uint64)),
        "methods": [(*name, found) for name, found in methods.items()],
        "segments": segments,
        "epics": sorted({name for name, *_ in run.epicsinfo}),
        "steps": steps,
    }


def detectors_of(run: OpenRun) -> tuple[Methods, Segments]:
    methods: Methods = {}
    segments: Segments = {}
    for (name, part), found in sorted(run.detinfo.items()):
        if not isinstance(found, (list, tuple)):  # a text: psana could not make it
            continue
        methods[name, part] = tuple(sorted(found))
        interface = getattr(run.Detector(name), part)
        numbers = getattr(interface, "_sorted_segment_inds", None) or (0,)
        segments[name] = tuple(int(n) for n in numbers)
    return methods, segments
