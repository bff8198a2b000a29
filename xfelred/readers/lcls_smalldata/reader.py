"""LCLS small data as one of the kinds of LCLS files."""

from __future__ import annotations

from xfelred.readers.base import Reader
from xfelred.readers.lcls_smalldata.open import open_source, recognises

READER = Reader(
    facility="lcls",
    looks_for=(
        "event_time with fiducials, EvtID/time with EvtID/fid, or timestamp (LCLS small"
        " data)"
    ),
    recognises=recognises,
    open=open_source,
)
