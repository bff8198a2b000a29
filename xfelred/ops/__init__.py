"""Operations: labelled array in, labelled array out."""

from xfelred.masks.segments import Segment
from xfelred.ops.adu_to_photons import adu_to_photons, match_gains
from xfelred.ops.apply_bad_pixels import apply_bad_pixels
from xfelred.ops.assemble import assemble, unassemble
from xfelred.ops.correct_polarization import correct_polarization
from xfelred.ops.correlate_angular import correlate_angular
from xfelred.ops.dark_statistics import dark_statistics
from xfelred.ops.difference_correlation import difference_correlation
from xfelred.ops.find_centre import RingGuess, find_centre
from xfelred.ops.fit_ring import RingFit, fit_ring
from xfelred.ops.friedel_asymmetry import friedel_asymmetry, friedel_weights
from xfelred.ops.integrate_azimuthally import integrate_azimuthally
from xfelred.ops.inter_correlation import inter_correlation, intra_correlation
from xfelred.ops.normalize_rings import normalize_rings
from xfelred.ops.outliers import (
    flag_outliers,
    flag_strong_correlations,
    modified_z,
    shot_features,
)
from xfelred.ops.radial_profile import radial_profile
from xfelred.ops.remap_polar import remap_polar
from xfelred.ops.remove_ring_spots import find_ring_spots, remove_ring_spots
from xfelred.ops.statistics import statistics
from xfelred.ops.subtract_common_mode import subtract_common_mode
from xfelred.ops.subtract_common_mode_lcls import subtract_common_mode_lcls
from xfelred.ops.to_cos_psi import to_cos_psi

__all__ = [
    "RingFit",
    "RingGuess",
    "Segment",
    "adu_to_photons",
    "apply_bad_pixels",
    "assemble",
    "correct_polarization",
    "correlate_angular",
    "dark_statistics",
    "difference_correlation",
    "find_centre",
    "find_ring_spots",
    "fit_ring",
    "flag_outliers",
    "flag_strong_correlations",
    "friedel_asymmetry",
    "friedel_weights",
    "integrate_azimuthally",
    "inter_correlation",
    "intra_correlation",
    "match_gains",
    "modified_z",
    "normalize_rings",
    "radial_profile",
    "remap_polar",
    "remove_ring_spots",
    "shot_features",
    "statistics",
    "subtract_common_mode",
    "subtract_common_mode_lcls",
    "to_cos_psi",
    "unassemble",
]
