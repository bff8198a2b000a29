"""Operations: labelled array in, labelled array out."""

from xfelred.ops.apply_bad_pixels import apply_bad_pixels
from xfelred.ops.assemble import assemble, unassemble
from xfelred.ops.dark_statistics import dark_statistics
from xfelred.ops.integrate_azimuthally import integrate_azimuthally
from xfelred.ops.statistics import statistics

__all__ = [
    "apply_bad_pixels",
    "assemble",
    "dark_statistics",
    "integrate_azimuthally",
    "statistics",
    "unassemble",
]
