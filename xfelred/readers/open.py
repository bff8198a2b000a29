"""Opening any run: the facility is found from the content of the files."""

from __future__ import annotations

import os
import sys
from functools import cache
from glob import glob
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from xfelred.errors import (
    ArgumentError,
    BrokenFileError,
    NoAccessError,
    RunNameError,
    UnknownFormatError,
    no_such,
    shown,
)
from xfelred.hdf5 import open_group
from xfelred.readers.base import Reader, first_that_knows
from xfelred.readers.euxfel.open import READER as EUXFEL
from xfelred.readers.lcls.reader import READER as LCLS
from xfelred.readers.left_out import is_locked, told
from xfelred.readers.protocol import Run
from xfelred.readers.sacla.open import READER as SACLA

GROUP = "xfelred.readers"
BUILT_IN = (EUXFEL, SACLA, LCLS)


@cache
def plugins(_: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of what is installed on a search path."""
    # To look through all that is installed takes 15 ms: as long as opening five files.
    return tuple(entry_points(group=GROUP))


def readers() -> dict[str, Reader]:
    """Return the readers of this package and of installed plugins, by facility."""
    found = {r.facility: r for r in BUILT_IN}
    for point in plugins(tuple(sys.path)):
        if point.name not in found:
            found[point.name] = point.load()
    return found


def open_run(
    source: object = None,
    run: int | str | None = None,
    data: str | list[str] = "default",
    include: str = "*",
    *,
    proposal: object = None,
    facility: str | None = None,
    **options: Any,
) -> Run:
    """Open a run of any facility; nothing but index data is read.

    Parameters
    ----------
    source : path, list of paths, glob, or proposal number
        European XFEL: a run directory, a file, a list or glob of files, an open
        ``extra_data`` collection, or a proposal together with `run`. SACLA: a file that
        DataConvert wrote, or a list, glob or directory of files of one run. LCLS: a
        small-data file, or a list or glob of its parts ``_part<N>.h5``; a file of the
        calibration suite; or "exp=xpptut15:run=14:dir=..." (psana2).
    run : int or str, optional
        Run number within a proposal, or within a SACLA file that holds several: 300001
        or "run_300001".
    data : str or list of str, optional
        Which data of a proposal: "raw", "proc", "default" (both, raw ones for equal
        names), "all" (both, corrected ones for equal names).
    include : str, optional
        Glob of file names in a directory.
    proposal : int, str or path, optional
        Stands for `source` in scripts that name it.
    facility : str, optional
        Use the reader of this facility whatever the files look like.
    **options
        Options of the reader. European XFEL: ``inc_suspect_trains``, and
        ``file_filter``, which gets the paths of the files and returns those to open.
        SACLA:
        ``dark_first=50``, how many shots at the head of the run are dark, and
        ``dark_below=1.0``, the mean intensity below which a shot is dark; both count
        only where the file does not tell; ``duplicate_tags="first"``, to open a run
        whose event table names a tag twice, or of which two files hold an image.

    Returns
    -------
    Run

    Raises
    ------
    FileNotFoundError
        If there is nothing at `source`.
    UnknownFormatError
        If no reader recognises the files, also because all of them are damaged.
    BrokenFileError
        If `facility` is given and no file can be read, or another process is writing
        the files.
    MultiRunError
        If a SACLA file holds several runs and `run` is not given.
    ValueError
        If there is no reader for `facility`.
    """
    source = named_source(source, proposal, run)
    known = readers()
    if facility is not None:
        if facility not in known:
            what = "reader for facility"
            raise ArgumentError(no_such(what, facility, sorted(known), limit=99))
        return known[facility].opened(source, run, data, include, options)
    # With a run, anything but a file, or files, is a proposal.
    proposal = run is not None and not (is_file(source) or are_files(source))
    reader = EUXFEL if proposal else recognised(source, known)
    return reader.opened(source, run, data, include, options)


def named_source(source: object, proposal: object, run: object) -> object:
    """Return what to open, named as source or as proposal."""
    if proposal is None and source is not None:
        return source
    if proposal is None or source is not None or run is None:
        named = {"source": source, "proposal": proposal, "run": run}
        given = [f"{k}={shown(v)}" for k, v in named.items() if v is not None]
        raise RunNameError(
            "open_run takes a source (file, directory, list of files, glob), or a"
            " proposal and a run: open_run(proposal=2012, run=34). It got "
            + (", ".join(given) or "none of them")
        )
    return proposal


def is_file(source: object) -> bool:
    return isinstance(source, (str, os.PathLike)) and os.path.isfile(source)


def are_files(source: object) -> bool:
    """Return whether a source is a list of files, or a glob that finds some."""
    if isinstance(source, (list, tuple)):
        return any(is_file(path) for path in source)
    if not isinstance(source, (str, os.PathLike)) or os.path.exists(source):
        return False
    return any(is_file(path) for path in glob(os.fspath(source)))


def recognised(source: object, known: dict[str, Reader]) -> Reader:
    """Return the reader for a source, found by looking into files."""
    # An open collection of EXtra-data.
    if hasattr(source, "files") and not isinstance(source, (str, os.PathLike)):
        return EUXFEL
    reader, paths = first_that_knows(source, known.values())
    if reader is not None:
        return reader
    reason = unreadable(paths)
    looked = "; ".join(f"{r.facility}: {r.looks_for}" for r in known.values())
    raise UnknownFormatError(
        f"{source} is no run of a known facility: looked into {len(paths)} file(s) for"
        f" {looked}.{reason} If the files are damaged copy them again; if"
        " you know better pass facility="
    )


def unreadable(paths: list[str]) -> str:
    """Say why a file cannot be opened."""
    for path in paths:
        try:
            open_group(path, "/")
        except BrokenFileError as error:
            # These may well be a run.
            if is_locked(error) or isinstance(error, NoAccessError):
                raise told(path, error) from error
            return f" {error}."
    return ""
