"""Facts of detectors: one description each, and `find`, which knows all their names.

``xfelred.synth`` keeps facts of its own, against which these are tested.
"""

from xfelred.detectors.catalogue import CATALOGUE, find, told_by
from xfelred.detectors.description import Detector, Segment
from xfelred.lazy_names import listed

__all__ = ["CATALOGUE", "Detector", "Segment", "find", "told_by"]

__dir__ = listed(__all__)
