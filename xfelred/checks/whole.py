"""A run, or the files that may be one, from the files to the constants."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal, cast, get_args

from xfelred.checks.findings import Finding, Report, collected
from xfelred.checks.opening import detectors_of, opened, paths_of, said
from xfelred.checks.pixels import read_values
from xfelred.checks.structure import FileFacts, look_at_file, tables_of
from xfelred.checks.train_index import (
    across_files,
    index_of,
    parsed,
    trains_of,
)
from xfelred.errors import ArgumentError, did_you_mean
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
