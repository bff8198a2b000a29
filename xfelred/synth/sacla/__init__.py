"""Simulated SACLA runs."""

from xfelred.lazy_names import listed
from xfelred.synth.sacla.config import RunConfig
from xfelred.synth.sacla.run import write_run
from xfelred.synth.sacla.truth import Truth

__all__ = ["RunConfig", "Truth", "write_run"]

__dir__ = listed(__all__)
