"""A run, or the files that may be one, from the files to the constants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, cast, get_args

import numpy as np

from xfelred.checks.findings import FAULT, WARNING, Finding, Report, collected
from xfelred.checks.opening import detectors_of, opened, paths_of, said
from xfelred.checks.structure import FileFacts, Header, look_at_file, tables_of
from xfelred.checks.train_index import (
    across_files,
    index_of,
    parsed,
    trains_of,
)
from xfelred.errors import ArgumentError, BrokenFileError, did_you_mean
from xfelred.hdf5 import Dataset, Group, open_file
from xfelred.readers.euxfel.files import FileIndex
from xfelred.readers.paths import candidates
from xfelred.readers.protocol import Run

INDEX = "INDEX/trainId"  # which files of the European XFEL have, and no others
Pixels = Literal["sample", "all"]


def check(
    source: object, run: int | str | None = None, *, pixels: Pixels | None = None
) -> Report:
    """Check a run of any facility; nothing but headers and indexes is read.

    Parameters
    ----------
    source : Run, path, list of paths, glob, or proposal number
        An open run, or what `open_run` takes.
    run : int or str, optional
        Run number within a proposal, or within a file that holds several.
    pixels : {"sample", "all"}, optional
        Also read values: the first, some in the middle and the last of every dataset,
        or all of them.

    Returns
    -------
    Report
        What was found: damaged files and objects, truncation, trains twice or out of
        order, indexes that point beyond the data, dtypes and shapes that change, masks
        of another shape, modules that disagree, suspicious values of constants.

    Raises
    ------
    MissingFileError
        If there is nothing at `source`.
    ArgumentError
        If `pixels` is none of its values.
    """
    if pixels is not None and pixels not in get_args(Pixels):
        raise ArgumentError(
            f"pixels={pixels!r}; give 'sample', 'all', or nothing to read headers only."
            f"{did_you_mean(str(pixels), get_args(Pixels))}"
        )
    found: list[Finding] = []
    paths: list[str] = []
    made: Run | None
    if hasattr(source, "facility"):
        made = cast(Run, source)  # open already
    else:
        paths = [] if run is not None else candidates(source)
        made, found = opened(source, run)
    # A file of which a reader uses nothing may be what is wrong.
    paths = sorted({*paths, *(paths_of(made) if made is not None else ())})
    facts = [look_at_file(path) for path in paths]
    found += [one for file in facts for one in file.findings]
    found += indexes(facts, getattr(made, "files", ()))
    found += [one for file in facts for one in tables_of(file)]
    ids = said(lambda: getattr(made, "train_ids", ()), "inconsistent IDs", "", found)
    if made is not None:
        found += detectors_of(made)
    if pixels:
        for file in facts:
            if file.opened:
                found += read_values(file.path, file.headers, pixels)
    return Report(
        source=source if isinstance(source, str) else name_of(source),
        facility=getattr(made, "facility", ""),
        run_id=str(getattr(made, "run_id", "")),
        n_trains=0 if ids is None else len(ids),
        n_files=len(facts),
        n_bytes=sum(file.size for file in facts),
        n_datasets=sum(len(file.headers) for file in facts),
        pixels=pixels,
        findings=collected(found),
    )


def name_of(source: object) -> str:
    if isinstance(source, Run):
        return f"run {source.run_id}"
    return os.fspath(source) if isinstance(source, os.PathLike) else str(source)


def indexes(facts: list[FileFacts], files: Iterable[Any]) -> list[Finding]:
    """Return what is wrong with the trains of European XFEL files.

    `files` are those of the open run, whose indexes have been read.
    """
    found: list[Finding] = []
    pairs = []
    known = {file.path: file for file in files if isinstance(file, FileIndex)}
    some = any(INDEX in file.headers for file in facts)
    for file in facts:
        if not (some and file.opened):
            continue
        index = known.get(file.path) or parsed(file)
        if isinstance(index, Finding):
            found.append(index)
            continue
        pairs.append((index, file))
        found += trains_of(index)
        found += index_of(index, file)
    found += across_files(pairs)
    return found


# -- values, read to see whether they can be -------------------------------------------

AT_ONCE = 32 << 20  # bytes
SAMPLES = 3  # blocks of a dataset: the first, one in the middle, the last


def read_values(
    path: str, headers: Mapping[str, Header], how: str
) -> Iterator[Finding]:
    """Yield datasets with values that cannot be read; `how` is "sample" or "all"."""
    with open_file(path) as root:
        for name, header in headers.items():
            if not header.shape or 0 in header.shape:
                continue
            read = values_of(root, name, header, how)
            for kind, severity, text, count in read.said():
                yield Finding(kind, severity, text, path, name, count)


@dataclass
class ReadRows:
    """What was found in the values of a dataset, counted in rows."""

    rows: int = 0
    lost: int = 0
    problem: str = ""
    no_numbers: int = 0
    all_masked: int = 0

    def said(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield (kind, severity, text, count) of what is wrong with them."""
        if self.lost:
            text = f"{self.lost} rows at least: {self.problem}"
            yield "unreadable values", FAULT, text, self.lost
        if self.no_numbers:
            text = f"{self.no_numbers} rows that were read have no number at all"
            yield "no numbers", WARNING, text, self.no_numbers
        if self.all_masked and self.all_masked == self.rows:
            text = f"all pixels are masked in the {self.rows} rows that were read"
            yield "mask", WARNING, text, self.rows


def values_of(root: Group, name: str, header: Header, how: str) -> ReadRows:
    read = ReadRows()
    # Elsewhere a mask may say which pixels are good.
    is_mask = name.startswith("INSTRUMENT/") and name.endswith("/mask")
    is_mask &= len(header.shape) > 2
    for block in blocks(header, how):
        try:
            stored = root[name]
            values = np.asarray(stored[block] if isinstance(stored, Dataset) else 0)
        except BrokenFileError as error:
            read.lost += block.stop - block.start
            read.problem = str(error)
            continue
        read.rows += block.stop - block.start
        axes = tuple(range(1, values.ndim))
        if axes and values.dtype.kind == "f":
            read.no_numbers += int((~np.isfinite(values)).all(axis=axes).sum())
        if is_mask:
            read.all_masked += int((values != 0).all(axis=axes).sum())
    return read


def blocks(header: Header, how: str) -> Iterator[slice]:
    """Yield the rows that are read together."""
    n, rest = header.shape[0], prod(header.shape[1:])
    size = np.dtype(header.dtype).itemsize if header.dtype != "object" else 64
    step = max(1, AT_ONCE // max(rest * size, 1))
    if how == "sample":
        step = max(1, min(step, AT_ONCE // 16 // max(rest * size, 1)))
    starts = np.arange(0, n, step)
    if how == "sample":
        starts = starts[np.unique(np.linspace(0, len(starts) - 1, SAMPLES).astype(int))]
    for start in starts.tolist():
        yield slice(start, min(start + step, n))
