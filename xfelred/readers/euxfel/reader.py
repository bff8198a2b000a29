"""The reader that `xfelred.open_run` finds for European XFEL data."""

from __future__ import annotations

from xfelred.readers.base import Reader
from xfelred.readers.euxfel.open import open_source, recognises

READER = Reader(
    facility="euxfel",
    looks_for="INDEX/trainId (European XFEL run files)",
    recognises=recognises,
    open=open_source,
)
