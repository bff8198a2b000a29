"""The files that a source names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob

from xfelred.entries import check
from xfelred.errors import MissingFileError, NoAccessError


def candidates(source: object) -> list[str]:
    """Return the files to look into.

    Raises
    ------
    FileNotFoundError
        If there is none.
    NoAccessError
        If this user may not look.
    """
    if isinstance(source, (list, tuple)):
        check("xf.open_run", "source", source, Sequence[str | os.PathLike[str]])
        paths = named = [os.fspath(p) for p in source]
    else:
        text = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
        named = [text]
        if os.path.isdir(text):
            paths = sorted(glob(os.path.join(glob_escape(text), "*.h5")))
            if not paths:
                check_access(text)
                raise MissingFileError(f"no *.h5 file in the directory {text}")
        else:
            paths = [text] if os.path.exists(text) else sorted(glob(text))
    there = [p for p in paths if os.path.exists(p)]
    if not there:
        check_access(*paths, *named)
        raise MissingFileError(
            f"nothing at {source}: no such file, directory or pattern. For a proposal"
            " number pass the run too: open_run(2012, 34)"
        )
    return there


def check_access(*paths: str) -> None:
    """Raise NoAccessError if this user may not look whether something is there.

    What one may not see looks as if it was not there: ``os.path.exists`` and ``glob``
    do not tell one from the other.
    """
    for path in paths:
        for one in (path, os.path.dirname(path) or "."):
            try:
                os.stat(one)
                if os.path.isdir(one):
                    os.scandir(one).close()
            except PermissionError as error:
                raise NoAccessError(
                    f"cannot look into {error.filename}: this user may not"
                    f" ({error.strerror}). Ask its owner, or open the run as somebody"
                    " of the experiment"
                ) from error
            except (OSError, ValueError):
                continue


def glob_escape(text: str) -> str:
    """Return a path in which no character has a meaning for glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
