"""Opening LCLS small data: one file, or the parts that the processes of a job wrote."""

from __future__ import annotations

import re
from pathlib import Path

from xfelred.errors import (
    ArgumentError,
    BrokenFileError,
    InconsistentDataError,
    MultiRunError,
    listing,
)
from xfelred.hdf5 import Dataset, Group, open_file
from xfelred.hdf5.remembered import Facts, remembered
from xfelred.readers.base import Reader
from xfelred.readers.lcls_smalldata.columns import INTG
from xfelred.readers.lcls_smalldata.ids import (
    KEPT,
    TRAINS,
    Events,
    Part,
    events_of,
    flavour_of,
    read_part,
    slow_ids,
)
from xfelred.readers.lcls_smalldata.run import Run
from xfelred.readers.lcls_smalldata.run_data import PART, run_id
from xfelred.readers.left_out import is_damaged, readable, told
from xfelred.readers.paths import candidates, file_at

NUMBER = re.compile(r"[Rr]un_?0*(\d+)")
# What the calibration suite writes; it has timestamps too.
FRAMES, SUITE = "frames", "detectorData"
# Groups of small data; a lone column "timestamp" or "trainId" is no sign of it.
GROUPS = (
    "Sums", "UserDataCfg", "damage", "ebeam", "epics", "epics_archiver", "evr",
    "gas_detector", "intg", "lightStatus", "scan", "timing", "tt", "userValues",
)  # fmt: skip


def recognises(path: str) -> bool:
    """Return whether a file is laid out as small data."""
    try:
        return bool(remembered(path, f"{KEPT} or not", lambda: look(path))["is"])
    except (OSError, RuntimeError):
        return False


def look(path: str) -> Facts:
    with open_file(path) as file:
        return {"is": is_small_data(file)}


def is_small_data(file: Group) -> bool:
    """Return whether a file names events, and has data of them."""
    flavour = flavour_of(file)
    # A group of that name is of a detector that is called so.
    suite = file.dataset(FRAMES) is not None or SUITE in file
    if flavour is None or suite:
        return False
    if flavour.second is not None:  # no other files have such a name
        return True
    ids = file.dataset(flavour.column)
    if ids is None or ids.ndim != 1 or ids.dtype.kind not in "iu":
        return False
    return any(name in file for name in GROUPS) or any(
        isinstance(item, Group) and has_rows(item, len(ids))
        for _, item in file.children()
    )


def has_rows(group: Group, n: int) -> bool:
    return any(
        isinstance(d, Dataset) and d.shape[:1] == (n,) for _, d in group.children()
    )


def open_source(
    source: object,
    run: int | str | None = None,
    data: object = "default",
    include: str = "*",
) -> Run:
    """Open a run; see `xfelred.open_run`.

    Raises
    ------
    UnknownFormatError
        If the file names no events.
    MultiRunError
        If there are several files that are not parts of one run.
    BrokenFileError
        If a file cannot be opened.
    InconsistentDataError
        If parts are not of one kind, or ID columns contradict each other.
    ValueError
        If `run` is given and is not the run of the file.
    """
    if isinstance(source, Run):
        return source
    paths = ordered_parts(candidates(source))
    check_run(run, run_id(paths[0]))
    parts, left_out = readable(part_at, paths)
    paths = [part.path for part in parts]
    flavours = {part.flavour for part in parts}
    if len(flavours) > 1:
        raise InconsistentDataError(
            f"parts of a run name their events differently: {listing(paths)} have"
            f" {listing(sorted(f.column for f in flavours))}"
        )
    flavour = flavours.pop()
    # Numbers of events begin with 0, which is no time.
    numbers = flavour.column == TRAINS
    events = events_of(paths, [part.ids for part in parts], numbers=numbers)
    return Run(
        files=tuple(map(file_at, paths)),
        flavour=flavour,
        events=events,
        slow=slow_events(paths),
        ids=events.ids,
        left_out=left_out,
    )


def part_at(path: str) -> Part:
    try:
        return read_part(path)
    except BrokenFileError as error:
        raise told(path, error) from error


def is_lost(path: str) -> bool:
    try:
        part_at(path)
    except BrokenFileError:
        return True
    return False


def check_run(run: int | str | None, name: str) -> None:
    """Raise ArgumentError if a run is asked for that is not the one of a file."""
    number = NUMBER.search(name)
    same = number is not None and str(run).lower().lstrip("run0") == number[1]
    if run is not None and not same:
        raise ArgumentError(
            f"the file is of {name}, not of run {run!r}; leave out `run`"
        )


def slow_events(paths: list[str]) -> Events | None:
    """Return the rows of the slow detectors of ``intg``, None if there are none."""
    found = [ids for path in paths if (ids := slow_ids(path)) is not None]
    if len(found) < len(paths):
        return None
    return events_of(paths, found, numbers=False, what=INTG)


def ordered_parts(paths: list[str]) -> list[str]:
    """Return files in the order of their parts.

    A file that joins its parts stands for them. Damaged files are the last.
    """
    known = [p for p in paths if len(paths) == 1 or recognises(p)] or paths
    # What cannot be opened may be a part of the run: it is named.
    damaged = [p for p in paths if p not in known and is_damaged(p)]
    stems = {p: Path(p).stem for p in known}
    joined = [p for p in known if not PART.fullmatch(stems[p])]
    if len(joined) == 1:
        prefix = f"{stems[joined[0]]}_part"
        if all(p in joined or stems[p].startswith(prefix) for p in known):
            if len(known) == 1 or not is_lost(joined[0]):
                return joined
            # Its parts are gone or damaged: those that are left are taken.
            damaged, known = [*joined, *damaged], [p for p in known if p not in joined]
            joined = []
    runs = {run_id(p) for p in known}
    if len(known) > 1 and (joined or len(runs) > 1):
        raise MultiRunError(
            f"{len(known)} small-data files are not parts of one run: {listing(known)}."
            " Open one of them; runs are joined by run.align or xarray"
        )
    return sorted(known, key=lambda p: (len(stems[p]), stems[p])) + damaged


READER = Reader(
    facility="lcls",
    looks_for=(
        "event_time with fiducials, EvtID/time with EvtID/fid, or timestamp (LCLS small"
        " data)"
    ),
    recognises=recognises,
    open=open_source,
)
