"""Files of a run that cannot be used: each costs itself, and is named.

Others that another process has open for writing are told apart from damaged ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from xfelred.errors import BrokenFileError, MissingFileError, listing, one_line, warn
from xfelred.hdf5 import Unreadable, open_file

Found = TypeVar("Found")
LEFT_OUT = "left_out"  # attribute of what was read from the other files
THREADS = 16  # files are opened at once: a distant disk answers each of them late
LOOKED_AT = 1000  # datasets of a file that nobody recognises
# HDF5's words where a lock is held, and where the writer has marked the file.
WORDS = ("unable to lock file", "already open for")


class LeftOut(NamedTuple):
    """A file that could not be used, and why."""

    file: str
    reason: str


def readable(
    read: Callable[[str], Found], paths: Sequence[str]
) -> tuple[list[Found], tuple[LeftOut, ...]]:
    """Read something of every file; say which of them are left out."""
    if len(paths) == 1:
        return [read(paths[0])], ()
    with ThreadPoolExecutor(min(THREADS, max(len(paths), 1))) as pool:
        tried = list(pool.map(lambda path: attempt(read, path), paths))
    found = [f for f, _ in tried if f is not None]
    left_out = tuple(problem for _, problem in tried if problem is not None)
    if not found:
        raise BrokenFileError(
            f"none of {len(paths)} files can be read; the first problem:"
            f" {left_out[0].reason if left_out else 'there is no file'}"
        )
    say(left_out)
    return found, left_out


def attempt(
    read: Callable[[str], Found], path: str
) -> tuple[Found | None, LeftOut | None]:
    """Return what was read, or what is wrong with a file."""
    try:
        return read(path), None
    except (BrokenFileError, MissingFileError) as error:
        return None, LeftOut(path, str(told(path, error)))


def is_damaged(path: str) -> bool:
    """Return whether a file cannot be opened, or some of what it holds cannot be."""
    try:
        with open_file(path) as root:
            some = islice(root.walk(), LOOKED_AT)
            return any(isinstance(found, Unreadable) for _, found in some)
    except (BrokenFileError, MissingFileError):
        return True


def say(left_out: Sequence[LeftOut]) -> None:
    if left_out:
        names = listing(name_of(f) for f in left_out)
        warn(
            f"{len(left_out)} files cannot be read and are left out: {names}. The"
            f" first: {left_out[0].reason}. All are in run.left_out"
        )


def name_of(one: LeftOut) -> str:
    """Return the name of a file on one line, whatever it is."""
    return one_line(os.path.basename(one.file))


def fact_line(left_out: Sequence[LeftOut]) -> list[tuple[str, str]]:
    """Return the line of a description of a run; none if nothing is left out."""
    if not left_out:
        return []
    names = listing((name_of(f) for f in left_out), 4)
    return [("left out", f"{len(left_out)} unreadable files: {names}")]


def as_attrs(left_out: Iterable[LeftOut]) -> dict[str, Any]:
    """Return the attribute that tells which files data do not come from."""
    lines = [f"{name_of(f)}: {f.reason}" for f in left_out]
    return {LEFT_OUT: "\n".join(lines)} if lines else {}


def as_params(left_out: Iterable[LeftOut]) -> dict[str, Any]:
    """Return what a line of history says of files that are left out."""
    names = [name_of(f) for f in left_out]
    return {LEFT_OUT: names} if names else {}


def is_locked(error: Exception) -> bool:
    """Tell whether an error says that another process has a file open for writing."""
    return any(words in str(error) for words in WORDS)


def told(path: str, error: Exception) -> Exception:
    """Return the error that says it in our words if another process is writing."""
    if not is_locked(error):
        return error
    return BrokenFileError(
        f"{path} is open in another process, which is writing it or has not closed it"
        " (HDF5: unable to lock the file, or marked as already open). Open the run"
        " again when it is complete; if the writer has died, copy the file or clear"
        f" its mark with h5clear -s. {first_line(error)}"
    )


def first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"[{lines[0]}]" if lines else ""
