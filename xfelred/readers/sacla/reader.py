"""The reader that `xfelred.open_run` finds for SACLA data."""

from __future__ import annotations

from xfelred.readers.base import Reader
from xfelred.readers.sacla.open import open_source, recognises

READER = Reader(
    facility="sacla",
    looks_for="run_<number> or tag-<number> (SACLA run files)",
    recognises=recognises,
    open=open_source,
)
