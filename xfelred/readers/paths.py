"""The files that a source names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from glob import escape, glob

from dask.base import tokenize

from xfelred.entries import check
from xfelred.errors import MissingFileError, NoAccessError

Path = str | os.PathLike[str]
Source = Path | list[Path] | tuple[Path, ...]


@dataclass(frozen=True)
class StoredFile:
    """One file, and what tells it from a later one of the same name."""

    path: str
    size: int
    mtime: int  # ns

    def token(self) -> tuple[str, int, int]:
        """Return what identifies the content of the file."""
        return (self.path, self.size, self.mtime)


def file_at(path: str) -> StoredFile:
    found = os.stat(path)
    return StoredFile(path, found.st_size, found.st_mtime_ns)


def fingerprint(files: Iterable[tuple[str, int, int]]) -> str:
    """Return 16 letters for files (path, size, mtime), wherever they lie."""
    return str(tokenize([(os.path.basename(p), *rest) for p, *rest in files]))[:16]


def candidates(source: object) -> list[str]:
    """Return the files to look into; at least one, or it says why there is none."""
    if isinstance(source, (list, tuple)):
        check("xf.open_run", "source", source, Sequence[Path])
        paths = named = [os.fspath(p) for p in source]
    else:
        text = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
        named = [text]
        if os.path.isdir(text):
            paths = sorted(glob(os.path.join(escape(text), "*.h5")))
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
