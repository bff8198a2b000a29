"""The reader of calibration-suite files, one kind of LCLS data."""

from __future__ import annotations

from xfelred.readers.base import Reader
from xfelred.readers.lcls_calibsuite.open import open_source
from xfelred.readers.lcls_calibsuite.survey import recognises

READER = Reader(
    facility="lcls",
    looks_for="frames (step, event, module, row, column) or detectorData/step<N>/<name>"
    " (LCLS calibration suite)",
    recognises=recognises,
    open=open_source,
)
