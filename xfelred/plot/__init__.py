"""Pictures of results: each function draws on an Axes and returns it."""

from xfelred.lazy_names import listed
from xfelred.plot.detector import availability, image
from xfelred.plot.overview import overview
from xfelred.plot.profiles import azimuthal, statistics
from xfelred.plot.rings import correlation, polar, ring

__all__ = [
    "availability",
    "azimuthal",
    "correlation",
    "image",
    "overview",
    "polar",
    "ring",
    "statistics",
]

__dir__ = listed(__all__)
