"""Results on disk."""

from xfelred.lazy_names import listed
from xfelred.products.calibsuite_file import write_calibration_suite
from xfelred.products.cxi import write_virtual_cxi
from xfelred.products.hits import write_hits
from xfelred.products.polar_file import write_polar
from xfelred.products.write import write

__all__ = [
    "write",
    "write_calibration_suite",
    "write_hits",
    "write_polar",
    "write_virtual_cxi",
]

__dir__ = listed(__all__)
