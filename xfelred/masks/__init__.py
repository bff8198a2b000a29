"""Bad-pixel maps: non-zero is bad, everywhere; bits say why."""

from xfelred.detectors import Segment
from xfelred.lazy_names import listed
from xfelred.masks.quality import bits, combine, from_good, from_status, names
from xfelred.masks.shapes import (
    central,
    circle,
    edges,
    grow,
    segment_of,
    segments,
    unbonded,
)

__all__ = [
    "Segment",
    "bits",
    "central",
    "circle",
    "combine",
    "edges",
    "from_good",
    "from_status",
    "grow",
    "names",
    "segment_of",
    "segments",
    "unbonded",
]

__dir__ = listed(__all__)
