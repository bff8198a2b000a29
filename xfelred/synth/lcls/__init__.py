"""Simulated LCLS runs."""

from xfelred.lazy_names import listed
from xfelred.synth.lcls.calibsuite import SuiteConfig, SuiteTruth, write_suite
from xfelred.synth.lcls.smalldata import write_smalldata
from xfelred.synth.lcls.smalldata_config import SmallDataConfig
from xfelred.synth.lcls.smalldata_truth import SmallDataTruth

__all__ = [
    "SmallDataConfig",
    "SmallDataTruth",
    "SuiteConfig",
    "SuiteTruth",
    "write_smalldata",
    "write_suite",
]

__dir__ = listed(__all__)
