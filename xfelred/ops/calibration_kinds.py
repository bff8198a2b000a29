"""The detector that the kind of a calibration stands for."""

from __future__ import annotations

from xfelred.detectors import Detector, find
from xfelred.detectors.lcls import CAMERA


def kind_of(name: str, what: str = "kind", advice: str = "") -> Detector:
    """Return a detector by its name; one of which nothing more is known is a camera.

    Raises ValueError if the name is unknown.
    """
    found = find(name, what=what, advice=advice)
    return CAMERA if found.camera else found
