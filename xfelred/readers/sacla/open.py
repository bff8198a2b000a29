"""Opening SACLA runs: one run, in one file or in several."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob
from typing import Any

import numpy as np

from xfelred.errors import (
    ArgumentError,
    BrokenFileError,
    MissingFileError,
    MultiRunError,
    UnknownFormatError,
    listing,
    warn,
)
from xfelred.hdf5 import Dataset, Group, Unreadable, open_file, open_group
from xfelred.hdf5.remembered import Facts, remembered
from xfelred.readers.base import Reader
from xfelred.readers.left_out import is_damaged, readable
from xfelred.readers.paths import Source, check_access
from xfelred.readers.sacla.detectors import find_detectors
from xfelred.readers.sacla.events import EventTable, read_events
from xfelred.readers.sacla.files import (
    DETECTOR,
    RUN,
    SaclaFile,
    TagGroup,
    detector_groups,
    group,
    read_file,
    values_of,
)
from xfelred.readers.sacla.run import Run
from xfelred.readers.sacla.several import join_events, join_groups, join_values

CHEETAH = re.compile(r"tag-\d+")
DUPLICATES = ("raise", "first")
CONFIG = "sacla_config"
RUN_NAME = re.compile(r"(?:run_|r)?(\d+)")


def recognises(path: str) -> bool:
    """Return whether a file is laid out as SACLA's DataConvert or Cheetah does."""
    try:
        return bool(remembered(path, "SACLA 1 or not", lambda: look(path))["is"])
    except OSError:
        return False


def look(path: str) -> Facts:
    with open_file(path) as f:
        names = (
            CHEETAH.fullmatch(name)
            or (RUN.fullmatch(name) is not None and may_be_run(child))
            for name, child in f.children()
        )
        return {"is": any(names)}


def may_be_run(found: Group | Dataset | Unreadable) -> bool:
    """Return whether a group holds what a run does; others use such names too.

    One that cannot be read may well be a run: opening it says what is wrong.
    """
    if not isinstance(found, Group):
        return isinstance(found, Unreadable)
    try:
        names = found.names()
    except BrokenFileError:
        return True
    return any(n in ("event_info", "run_info") or DETECTOR.fullmatch(n) for n in names)


def open_source(
    source: Source | Run,
    run: int | str | None,
    data: object = "default",
    include: str = "*",
    *,
    dark_first: int | None = None,
    dark_below: float | None = None,
    duplicate_tags: str = "raise",
) -> Run:
    """Open one run of one file or of several; see `xfelred.open_run`.

    Files of one run are joined: windows of tags, modules apart, and the event table
    apart. An image that is in two of them is an error unless ``duplicate_tags`` is
    "first"; rows of the event table may repeat as long as they are the same.

    Raises
    ------
    MultiRunError
        If the files hold several runs and `run` does not say which.
    InconsistentDataError
        If files contradict each other.
    UnknownFormatError
        If a file was written by Cheetah, or holds no run.
    """
    if isinstance(source, Run):
        return source
    if duplicate_tags not in DUPLICATES:
        raise ArgumentError(
            f"duplicate_tags must be one of {DUPLICATES}, not {duplicate_tags!r}"
        )
    files, unopened = readable(read_file, paths_of(source, include))
    chosen = one_run(files, run)
    here = {file.path: file for file in files if chosen in file.runs}
    parts, damaged = readable(
        lambda path: part_of(path, chosen, duplicate_tags), list(here)
    )
    for part in parts:
        warn_of_strange(part.path, part.groups)
    groups = join_groups([part.groups for part in parts], duplicate_tags)
    events = join_events([part.events for part in parts], duplicate_tags)
    ids = np.unique(np.concatenate([np.zeros(0, np.int64), *(g.tags for g in groups)]))
    comments = [(part.path, part.comments) for part in parts]
    # Which tags are in a file may well differ from file to file.
    notes = join_values(comments, "exp_info") | {
        key: value for part in reversed(parts) for key, value in part.info.items()
    }
    configs = [(part.path, part.config) for part in parts]
    files = [here[part.path] for part in parts]
    return Run(
        file=files[0],
        number=chosen,
        ids=ids,
        event_ids=events.tags,
        events=events,
        specs=find_detectors(groups),
        columns=events.columns,
        config=join_values(configs, CONFIG),
        notes=notes,
        dark_first=dark_first,
        dark_below=dark_below,
        others=tuple(files[1:]),
        left_out=unopened + damaged,
    )


@dataclass(frozen=True)
class Part:
    """What one file holds of a run."""

    path: str
    groups: list[TagGroup]
    events: EventTable
    comments: dict[str, Any]  # small values of ``exp_info``
    info: dict[str, Any]  # those of ``run_info``
    config: dict[str, Any]  # those of its ``sacla_config``


def part_of(path: str, run: int, duplicate_tags: str) -> Part:
    info = open_group(path, f"run_{run}/run_info")
    return Part(
        path,
        list(detector_groups(path, run)),
        read_events(path, run, duplicate_tags),
        values_of(open_group(path, f"run_{run}/exp_info")),
        values_of(info),
        values_of(None if info is None else info.group(CONFIG)),
    )


def warn_of_strange(path: str, groups: list[TagGroup]) -> None:
    """Say, in one warning, which groups are called like tags but name none."""
    found = [f"{g.path}/{name}" for g in groups for name in g.strange]
    if found:
        warn(
            f"{len(found)} groups in {path} name no tag and are left out:"
            f" {listing(found, 5)}; an image of a tag stands in tag_<number>"
        )


def paths_of(source: Source, include: str) -> list[str]:
    """Return the files of a path, glob, list or directory, each once."""
    if isinstance(source, (list, tuple)):
        listed = named = [os.fspath(p) for p in source]
    else:
        text = os.fspath(source)
        listed = named = [text]
        if os.path.isdir(text):
            listed = sorted(glob(os.path.join(text, f"{include}.h5")))
            # What cannot be opened may be a part of the run: it is named.
            listed = [p for p in listed if recognises(p) or is_damaged(p)]
        elif not os.path.exists(text):
            listed = sorted(glob(text))
    if not listed:
        check_access(*named)
        raise MissingFileError(f"no SACLA file at {source}")
    return list({os.path.realpath(p): p for p in reversed(listed)}.values())[::-1]


def one_run(files: Sequence[SaclaFile], run: int | str | None) -> int:
    """Return the number of the run to open."""
    for file in files:
        if not file.runs:
            raise no_run(file.path)
    runs = sorted({n for file in files for n in file.runs})
    names = listing([f"run={n}" for n in runs], 20)
    where = listing(file.path for file in files)
    if run is None:
        if len(runs) > 1:
            raise MultiRunError(f"{where} holds {len(runs)} runs; say which: {names}")
        return runs[0]
    number = RUN_NAME.fullmatch(str(run))
    if number is None:
        raise ArgumentError(f"a run is named 300001 or 'run_300001', not {run!r}")
    if int(number[1]) not in runs:
        raise ArgumentError(f"no run {int(number[1])} in {where}; it holds {names}")
    return int(number[1])


def no_run(path: str) -> UnknownFormatError:
    if any(CHEETAH.fullmatch(name) for name in group(path, "/")):
        return UnknownFormatError(
            f"{path} was written by Cheetah (groups tag-<number>): images there are"
            " already sorted, scaled to 10 adu per photon and without the shots' data."
            " Open the run file of DataConvert instead (groups run_<number>); for the"
            " images alone use h5py: f['tag-<number>/data']"
        )
    return UnknownFormatError(f"{path} holds no group run_<number>")


READER = Reader(
    facility="sacla",
    looks_for="run_<number> or tag-<number> (SACLA run files)",
    recognises=recognises,
    open=open_source,
)
