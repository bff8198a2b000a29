"""Opening European XFEL runs: directories, files, proposal and run numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path
from typing import Any

from xfelred.entries import entry
from xfelred.errors import ArgumentError, MissingFileError, listing, warn
from xfelred.hdf5 import described
from xfelred.readers.base import Reader
from xfelred.readers.euxfel.collection import from_collection, is_collection
from xfelred.readers.euxfel.files import FileIndex, one_run, read_file, read_files
from xfelred.readers.euxfel.locate import all_train_ids, check_conflicts
from xfelred.readers.euxfel.matching import Chosen, without
from xfelred.readers.euxfel.run import Run
from xfelred.readers.euxfel.run_data import entries_of
from xfelred.readers.left_out import LeftOut
from xfelred.readers.paths import check_access

DEFAULT_ROOT = "/gpfs/exfel/exp"  # on the computers of the facility
FileFilter = Callable[[list[str]], Iterable[str]]
OVERVIEW = "overview.h5"  # a virtual copy of the whole run: would double every train


def make_run(
    files: tuple[FileIndex, ...],
    inc_suspect_trains: bool = True,
    left_out: tuple[LeftOut, ...] = (),
) -> Run:
    """Return the run that a set of files makes; errors as in `RunDirectory`."""
    ids = all_train_ids(files, inc_suspect_trains)
    entries = entries_of(files, ids, inc_suspect_trains)
    check_conflicts({s: e.all_files for s, e in entries.items()}, inc_suspect_trains)
    return Run(
        entries, files, ids, one_run(files), inc_suspect_trains, left_out=left_out
    )


def run_files(
    path: str | os.PathLike[str],
    include: str = "*",
    file_filter: FileFilter | None = None,
) -> list[str]:
    """Return the data files of a run directory; FileNotFoundError if there is none."""
    root = Path(path)
    # Path.is_dir raises where a name is too long.
    if not os.path.isdir(root):
        check_access(str(root))
        raise MissingFileError(
            f"no run directory {root}; it is"
            f" {'a file' if os.path.exists(root) else 'not there'}"
        )
    check_access(str(root / include))
    names = sorted(n for n in os.listdir(root) if n.endswith(".h5"))
    names = [n for n in names if n.lower() != OVERVIEW]
    matching = [str(root / n) for n in names if fnmatchcase(n, include)]
    if file_filter is not None:
        matching = list(file_filter(matching))
    if not matching:
        raise MissingFileError(
            f"no *.h5 file in {root} matches include={include!r}; it holds"
            f" {len(names)} HDF5 files"
        )
    return matching


@entry
def RunDirectory(  # noqa: N802  (the name that scripts of the facility use)
    path: str | os.PathLike[str],
    include: str = "*",
    file_filter: FileFilter | None = None,
    *,
    inc_suspect_trains: bool = True,
    parallelize: bool = True,
    aliases: object = None,
) -> Run:
    """Open all files of a run directory.

    Parameters
    ----------
    path : path
    include : str, optional
        Glob of file names.
    file_filter : callable, optional
        Gets the paths and returns those to open.
    inc_suspect_trains : bool, optional
        False leaves out trains that a file regards as suspect.
    parallelize
        Accepted for scripts that pass it; without effect.
    aliases
        Other names of sources are not supported; a warning says so.

    Returns
    -------
    Run

    Raises
    ------
    FileNotFoundError
        If there is no matching file.
    BrokenFileError
        If none of them can be read. Single damaged files are left out, with a
        warning: ``run.left_out``.
    InconsistentDataError
        If a source has the same train twice.
    """
    if aliases is not None:
        say_no_aliases(aliases)
    paths = run_files(path, include, file_filter)
    files, left_out = read_files(paths)
    return make_run(files, inc_suspect_trains, left_out)


def say_no_aliases(aliases: object) -> None:
    warn(
        f"aliases={aliases!r} is left out: aliases of sources are not supported. Name"
        " sources and keys as in the files"
    )


@entry
def H5File(path: str | os.PathLike[str], *, inc_suspect_trains: bool = True) -> Run:  # noqa: N802
    """Open one file of a run; errors as in `RunDirectory`."""
    return make_run((read_file(os.fspath(path)),), inc_suspect_trains)


def open_paths(paths: Sequence[str], *, inc_suspect_trains: bool = True) -> Run:
    missing = [p for p in paths if not os.path.exists(p)]
    if missing or not paths:
        raise MissingFileError(
            f"{len(missing)} of {len(paths)} files are not there: {missing[:3]}"
        )
    files, left_out = read_files(paths)
    return make_run(files, inc_suspect_trains, left_out)


def open_proposal_run(
    proposal: object,
    run: int | str,
    data: str | Sequence[str] = "default",
    include: str = "*",
    file_filter: FileFilter | None = None,
    *,
    inc_suspect_trains: bool = True,
    parallelize: bool = True,
    aliases: object = None,
) -> Run:
    """Open a run by proposal and run number; see `xfelred.open_run`, `RunDirectory`.

    A proposal is 2012, ``"2012"``, ``"p002012"`` or its directory, a run 5, ``"5"`` or
    ``"r0005"``. Of a list of kinds of data the later ones win. Only one kind need be
    there; a warning names what is missing, but not of "default".
    """
    if aliases is not None:
        say_no_aliases(aliases)
    root = find_proposal(proposal)
    name = run if isinstance(run, str) and run.startswith("r") else f"r{int(run):04d}"
    # Later ones win.
    order = {"default": ["proc", "raw"], "all": ["raw", "proc"]}
    kinds = order.get(data, [data]) if isinstance(data, str) else list(data)
    opened: Run | None = None
    absent: dict[str, FileNotFoundError] = {}
    for kind in kinds:
        try:
            place = root / kind / name
            new = RunDirectory(
                place, include, file_filter, inc_suspect_trains=inc_suspect_trains
            )
        except FileNotFoundError as error:  # told if it was asked for
            absent[kind] = error
            continue
        opened = new if opened is None else prefer(opened, new)
    if opened is None:
        reasons = "; ".join(f"{kind}: {error}" for kind, error in absent.items())
        raise MissingFileError(
            f"no data of kind {data!r} for run {name} in {root}: {reasons or kinds}"
        )
    if absent and data != "default":
        warn(
            f"data={data!r}: run {name} in {root} has no {listing(absent)}, so only the"
            f" rest is opened ({'; '.join(map(str, absent.values()))})"
        )
    return replace(opened, default=data == "default")


def prefer(old: Run, new: Run) -> Run:
    """Return both parts of a run as one; the sources of `new` win."""
    replaced: Chosen = {s: None for s in new.all_sources if s in old.entries}
    rest = without(old.entries, replaced)
    if not rest:
        return new
    both = old.with_sources(rest).union(new)
    # One run by their place, whether or not the files tell (format 0.5 does not).
    return replace(both, single=one_run(both.all_files))


def find_proposal(proposal: object) -> Path:
    text = os.fspath(proposal) if isinstance(proposal, os.PathLike) else str(proposal)
    if os.sep in text:
        if not os.path.isdir(text):
            check_access(text)
            raise MissingFileError(f"no proposal directory {text}")
        return Path(text)
    number = text.removeprefix("p")
    if not number.isdigit():
        raise ArgumentError(
            f"a proposal is a number such as 2012 or 'p002012', not {text!r}"
        )
    root = os.environ.get("EXTRA_DATA_DATA_ROOT", DEFAULT_ROOT)
    name = f"p{int(number):06d}"
    found = sorted(glob(os.path.join(root, "*", "*", name)))
    if not found:
        check_access(root)
        raise MissingFileError(
            f"no proposal {name} below {root}; set EXTRA_DATA_DATA_ROOT to where the"
            " instruments' directories are, or pass the run directory"
        )
    return Path(found[0])


def recognises(path: str) -> bool:
    """Return whether a file is laid out as the DAQ of the European XFEL does."""
    try:
        return described(path, lambda f: "INDEX/trainId" in f)
    except OSError:
        return False


def open_source(source: Any, run: Any, data: Any, include: str, **options: Any) -> Run:
    """Open whatever a user calls a run; see `xfelred.open_run`."""
    if run is not None:
        return open_proposal_run(source, run, data, include, **options)
    if isinstance(source, Run):
        return source
    if is_collection(source):
        return from_collection(source, **options)
    if isinstance(source, (list, tuple)):
        return open_paths([os.fspath(p) for p in source], **options)
    text = os.fspath(source)
    if os.path.isdir(text):
        return RunDirectory(text, include, **options)
    if os.path.isfile(text):
        return H5File(text, **options)
    found = sorted(glob(text))
    if not found:
        check_access(text)
        raise MissingFileError(f"nothing at {text}: no such file, directory or pattern")
    return open_paths(found, **options)


READER = Reader(
    facility="euxfel",
    looks_for="INDEX/trainId (European XFEL run files)",
    recognises=recognises,
    open=open_source,
)
