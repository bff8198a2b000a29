"""Opening SACLA runs: one file, and one run in it."""

from __future__ import annotations

import os
import re
import warnings
from glob import glob
from typing import Any

import h5py
import numpy as np

from xfelred.errors import MultiRunError, UnknownFormatError, listing
from xfelred.readers.hdf5 import open_group
from xfelred.readers.sacla.detectors import find_detectors
from xfelred.readers.sacla.events import read_events
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

CHEETAH = re.compile(r"tag-\d+")
DUPLICATES = ("raise", "first")
RUN_NAME = re.compile(r"(?:run_|r)?(\d+)")


def recognises(path: str) -> bool:
    """Return whether a file is laid out as SACLA's DataConvert or Cheetah does."""
    try:
        with h5py.File(path, "r") as f:
            for name in f:
                if CHEETAH.fullmatch(name):
                    return True
                if RUN.fullmatch(name) and is_run(f.get(name)):
                    return True
    except (OSError, RuntimeError):
        pass
    return False


def is_run(found: Any) -> bool:
    """Return whether a group holds what a run does; others use such names too."""
    return isinstance(found, h5py.Group) and any(
        name in ("event_info", "run_info") or DETECTOR.fullmatch(name) for name in found
    )


def open_source(
    source: Any,
    run: Any,
    data: Any = "default",
    include: str = "*",
    *,
    dark_first: int | None = None,
    dark_below: float | None = None,
    duplicate_tags: str = "raise",
) -> Run:
    """Open one run of a file; see `xfelred.open_run`.

    Raises
    ------
    MultiRunError
        If the file holds several runs and `run` does not say which, or there are
        several files.
    UnknownFormatError
        If the file was written by Cheetah, or holds no run.
    """
    if isinstance(source, Run):
        return source
    if duplicate_tags not in DUPLICATES:
        raise ValueError(
            f"duplicate_tags must be one of {DUPLICATES}, not {duplicate_tags!r}"
        )
    path = one_file(source, include)
    file = read_file(path)
    chosen = one_run(file, run)
    groups = list(detector_groups(path, chosen))
    warn_of_strange(path, groups)
    events = read_events(path, chosen, duplicate_tags)
    ids = np.unique(np.concatenate([np.zeros(0, np.int64), *(g.tags for g in groups)]))
    info = open_group(path, f"run_{chosen}/run_info")
    notes = values_of(open_group(path, f"run_{chosen}/exp_info")) | values_of(info)
    return Run(
        file=file,
        number=chosen,
        ids=ids,
        event_ids=events.tags,
        events=events,
        specs=find_detectors(groups),
        columns=events.columns,
        config=values_of(None if info is None else info.get("sacla_config")),
        notes=notes,
        dark_first=dark_first,
        dark_below=dark_below,
    )


def warn_of_strange(path: str, groups: list[TagGroup]) -> None:
    """Say, in one warning, which groups are called like tags but name none."""
    found = [f"{g.path}/{name}" for g in groups for name in g.strange]
    if found:
        warnings.warn(
            f"{len(found)} groups in {path} name no tag and are left out:"
            f" {listing(found, 5)}; an image of a tag stands in tag_<number>",
            stacklevel=4,
        )


def one_file(source: Any, include: str) -> str:
    """Return the only file of a path, glob, list or directory.

    Raises
    ------
    FileNotFoundError
        If there is none.
    MultiRunError
        If there are several.
    """
    if isinstance(source, (list, tuple)):
        paths = [os.fspath(p) for p in source]
    else:
        text = os.fspath(source)
        paths = [text]
        if os.path.isdir(text):
            paths = sorted(glob(os.path.join(text, f"{include}.h5")))
            paths = [p for p in paths if recognises(p)]
        elif not os.path.exists(text):
            paths = sorted(glob(text))
    if not paths:
        raise FileNotFoundError(f"no SACLA file at {source}")
    if len(paths) > 1:
        raise MultiRunError(
            f"{source} names {len(paths)} files; a SACLA run is one file. Open one of"
            f" them: {listing(paths)}"
        )
    return paths[0]


def one_run(file: SaclaFile, run: Any) -> int:
    """Return the number of the run to open.

    Raises
    ------
    MultiRunError
        If there are several and none is named.
    ValueError
        If there is no such run, or it is not the name of one.
    UnknownFormatError
        If there is no run.
    """
    if not file.runs:
        raise no_run(file.path)
    names = listing([f"run={n}" for n in file.runs], 20)
    if run is None:
        if len(file.runs) > 1:
            raise MultiRunError(
                f"{file.path} holds {len(file.runs)} runs; say which: {names}"
            )
        return file.runs[0]
    number = RUN_NAME.fullmatch(str(run))
    if number is None:
        raise ValueError(f"a run is named 300001 or 'run_300001', not {run!r}")
    if int(number[1]) not in file.runs:
        raise ValueError(f"no run {int(number[1])} in {file.path}; it holds {names}")
    return int(number[1])


def no_run(path: str) -> UnknownFormatError:
    """Return the error for a file without a run, with advice for Cheetah files."""
    if any(CHEETAH.fullmatch(name) for name in group(path, "/")):
        return UnknownFormatError(
            f"{path} was written by Cheetah (groups tag-<number>): images there are"
            " already sorted, scaled to 10 adu per photon and without the shots' data."
            " Open the run file of DataConvert instead (groups run_<number>); for the"
            " images alone use h5py: f['tag-<number>/data']"
        )
    return UnknownFormatError(f"{path} holds no group run_<number>")
