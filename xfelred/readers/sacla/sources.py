"""Choosing sources and columns of a run by globs."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from xfelred.readers.sacla.detectors import DetectorSpec
from xfelred.readers.sacla.files import EVENTS
from xfelred.readers.selection import glob_pairs

if TYPE_CHECKING:
    from xfelred.readers.sacla.run import Run


def chosen_sources(
    run: Run, sources: Any, key_glob: str
) -> tuple[dict[str, DetectorSpec], tuple[str, ...]]:
    """Return the detectors and the columns that some globs choose.

    Raises
    ------
    SourceNameError
        If a glob matches no source, or none of its keys.
    """
    pairs = glob_pairs(sources, key_glob)
    specs: dict[str, DetectorSpec] = {}
    columns: set[str] = set()
    for source, keys in pairs:
        here = {n: s for n, s in run.specs.items() if fnmatchcase(n, source)}
        found = set()
        if fnmatchcase(EVENTS, source):
            found = {c for c in run.columns if fnmatchcase(c, keys)}
        if not here and not found:
            raise run.no_source(source if keys == "*" else f"{source} with {keys}")
        specs |= here
        columns |= found
    ordered = {n: s for n, s in run.specs.items() if n in specs}
    return ordered, tuple(c for c in run.columns if c in columns)
