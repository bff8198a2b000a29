"""Which files a result is made from, and whether they are still the same."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import xarray as xr
from dask.base import tokenize
from pydantic import StrictInt

from xfelred.lazy.array import PlannedArray
from xfelred.lazy.nodes import sources
from xfelred.readers.protocol import Run
from xfelred.small_files import read_bytes

# (file name, size, mtime_ns), or (name, 0, token) for an array without files.
Source = tuple[str, StrictInt, StrictInt | str]


def all_sources(
    run: Run, frames: Mapping[str, xr.DataArray], more: Iterable[Source] = ()
) -> list[Source]:
    """Return the files of a run, of frames, and `more`, sorted by name."""
    paths = set(run_paths(run))
    arrays: list[Source] = []
    for name, array in frames.items():
        data = array.data
        if isinstance(data, PlannedArray) and data.node is not None:
            plans = [s.plan for s in sources(data.node)]
            paths |= {os.fspath(path) for p in plans for path, _ in p.targets}
        else:
            arrays.append(
                (f"frames of {name}", 0, getattr(data, "name", None) or tokenize(data))
            )
    found = [entry for path in paths if (entry := identity(path))]
    return sorted([*found, *arrays, *more], key=str)


def run_paths(run: Run) -> Iterator[str]:
    """Yield the paths of the files of a run, of whatever facility."""
    survey = getattr(run, "survey", None)
    # Readers keep their files in ways of their own; what a run lacks it has none of.
    files = getattr(run, "files", None) or getattr(survey, "files", None) or ()
    more = (getattr(run, "file", None), getattr(run, "contents", None))
    for file in (*files, *more):
        path = getattr(file, "path", file)
        if isinstance(path, (str, os.PathLike)):
            yield os.fspath(path)


def identity(path: str) -> Source | None:
    """Return what tells a file from a later one of its name; None if it is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    # Without the directory: a run that was moved is the same.
    return os.path.basename(path), found.st_size, found.st_mtime_ns


def content_of(path: str) -> Source:
    """Return what tells a small file from one of another content."""
    content = read_bytes(Path(path), "PONI file")
    return os.path.basename(path), len(content), sha256(content).hexdigest()


def fingerprint(found: list[Source]) -> str:
    return sha256(json.dumps(found).encode()).hexdigest()


def changes(old: Iterable[Any], new: list[Source]) -> str:
    """Return in words what differs between two lists of sources."""
    before, after = by_name(old), by_name(new)
    words = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            words.append(f"{name} is gone")
        elif name not in before:
            words.append(f"{name} is new")
        elif before[name] != after[name]:
            sizes = [sum(size for size, _ in s[name]) for s in (before, after)]
            grown = f"{sizes[0]} bytes, now {sizes[1]}"
            how = "rewritten" if sizes[0] == sizes[1] else grown
            words.append(f"{name} has changed ({how})")
    return "; ".join(words[:5]) + ("; ..." if len(words) > 5 else "")


def by_name(found: Iterable[Any]) -> dict[str, list[tuple[Any, ...]]]:
    out: dict[str, list[tuple[Any, ...]]] = {}
    for name, *about in found:  # files of other directories may have one name
        out.setdefault(str(name), []).append(tuple(about))
    return out
