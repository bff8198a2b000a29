"""How far frames are from what the detector sent: raw, corrected or calibrated.

``raw``: as recorded. ``corrected``: by the facility, before we read them.
``calibrated``: by `xfelred.ops.calibrate`, or by psana when it made the file or the
array.
"""

from __future__ import annotations

from typing import Literal

DataKind = Literal["raw", "corrected", "calibrated"]


def of_psana_key(key: str) -> DataKind:
    """Return the kind of what psana names ``raw``, ``calib``, ``image``, ..."""
    return "raw" if "raw" in key.lower().rpartition("/")[2] else "calibrated"
