"""The reader that `xfelred.open_run` finds for xtc2 files."""

from __future__ import annotations

from typing import Any

from xfelred.readers.base import Reader
from xfelred.readers.lcls_psana.address import SUFFIX, is_address
from xfelred.readers.lcls_psana.open import open_psana


def open_source(
    source: Any, run: Any = None, data: Any = None, include: Any = None, **options: Any
) -> Any:
    """Open a run; `data` and `include` are without meaning here."""
    return open_psana(source, run, **options)


def recognises(path: str) -> bool:
    """Return whether a file is one of psana2, by its name: it has no signature."""
    return path.endswith(SUFFIX)


READER = Reader(
    facility="lcls",
    looks_for="exp=NAME:run=NUMBER or *.xtc2 (psana2)",
    recognises=recognises,
    open=open_source,
    claims=is_address,
)
