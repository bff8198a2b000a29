"""Simulated European XFEL runs."""

from xfelred.lazy_names import listed
from xfelred.synth.euxfel.config import RunConfig
from xfelred.synth.euxfel.layout import KINDS, DetectorKind, pixel_positions
from xfelred.synth.euxfel.run import write_run
from xfelred.synth.euxfel.truth import Truth

__all__ = [
    "KINDS",
    "DetectorKind",
    "RunConfig",
    "Truth",
    "pixel_positions",
    "write_run",
]

__dir__ = listed(__all__)
