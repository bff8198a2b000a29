"""The files that a source names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from typing import Any

from xfelred.entries import check
from xfelred.errors import MissingFileError


def candidates(source: Any) -> list[str]:
    """Return the files to look into.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    if isinstance(source, (list, tuple)):
        check("xf.open_run", "source", source, Sequence[str | os.PathLike[str]])
        paths = [os.fspath(p) for p in source]
    else:
        text = os.fspath(source) if isinstance(source, os.PathLike) else str(source)
        if os.path.isdir(text):
            paths = sorted(glob(os.path.join(glob_escape(text), "*.h5")))
            if not paths:
                raise MissingFileError(f"no *.h5 file in the directory {text}")
        else:
            paths = [text] if os.path.exists(text) else sorted(glob(text))
    there = [p for p in paths if os.path.exists(p)]
    if not there:
        raise MissingFileError(
            f"nothing at {source}: no such file, directory or pattern. For a proposal"
            " number pass the run too: open_run(2012, 34)"
        )
    return there


def glob_escape(text: str) -> str:
    """Return a path in which no character has a meaning for glob."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
