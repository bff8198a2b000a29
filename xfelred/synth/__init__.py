"""Simulated runs in the file layout of each facility, with known truth."""

from xfelred.lazy_names import listed
from xfelred.synth import euxfel, faults, lcls, sacla, speckle

__all__ = ["euxfel", "faults", "lcls", "sacla", "speckle"]

__dir__ = listed(__all__)
