"""Operations: labelled array in, labelled array out."""

from xfelred.detectors import Segment
from xfelred.lazy_names import listed
from xfelred.ops.arithmetic import concat, normalize, ratio, subtract
from xfelred.ops.azimuthal.friedel_asymmetry import friedel_asymmetry, friedel_weights
from xfelred.ops.azimuthal.integrate_azimuthally import integrate_azimuthally
from xfelred.ops.azimuthal.radial_profile import radial_profile
from xfelred.ops.azimuthal.to_cos_psi import to_cos_psi
from xfelred.ops.calibration.adu_to_photons import adu_to_photons, match_gains
from xfelred.ops.calibration.calibrate import calibrate
from xfelred.ops.calibration.dark_statistics import dark_statistics
from xfelred.ops.calibration.fit_photon_peak import fit_photon_peak
from xfelred.ops.calibration.gain_bits import (
    GainSwitch,
    bit_slices,
    invert_negative_gain,
    strip_gain_bits,
    switched_pixels,
)
from xfelred.ops.calibration.gain_index import gain_index
from xfelred.ops.common_mode.subtract_common_mode import subtract_common_mode
from xfelred.ops.common_mode.subtract_common_mode_below import (
    subtract_common_mode_below,
)
from xfelred.ops.common_mode.subtract_common_mode_lcls import subtract_common_mode_lcls
from xfelred.ops.correlation.autocorrelate import autocorrelate
from xfelred.ops.correlation.correlate_angular import correlate_angular
from xfelred.ops.correlation.difference_correlation import difference_correlation
from xfelred.ops.correlation.inter_correlation import (
    inter_correlation,
    intra_correlation,
)
from xfelred.ops.correlation.outliers import (
    flag_outliers,
    flag_strong_correlations,
    modified_z,
    shot_features,
)
from xfelred.ops.hits.find_peaks import find_peaks
from xfelred.ops.hits.lit_pixels import find_hits, lit_pixels
from xfelred.ops.image.apply_bad_pixels import apply_bad_pixels
from xfelred.ops.image.assemble import assemble, unassemble
from xfelred.ops.image.compress import compress
from xfelred.ops.image.correct_curvature import correct_curvature
from xfelred.ops.image.count_photons import count_photons
from xfelred.ops.image.droplets_to_photons import droplets_to_photons
from xfelred.ops.image.find_clusters import find_clusters
from xfelred.ops.image.find_droplets import find_droplets
from xfelred.ops.image.lineout import lineout
from xfelred.ops.image.map_frames import map_frames
from xfelred.ops.image.project import project
from xfelred.ops.image.rebin import rebin
from xfelred.ops.image.roi import roi
from xfelred.ops.image.sparsify import sparsify, unsparsify
from xfelred.ops.image.spectrum import spectrum
from xfelred.ops.image.to_table import from_table, to_table
from xfelred.ops.polar.correct_polarization import correct_polarization
from xfelred.ops.polar.normalize_rings import normalize_rings
from xfelred.ops.polar.remap_polar import remap_polar
from xfelred.ops.polar.remove_ring_spots import find_ring_spots, remove_ring_spots
from xfelred.ops.reductions.bin_frames import bin_frames
from xfelred.ops.reductions.correlate_pixel import correlate_pixel
from xfelred.ops.reductions.detector_sum import detector_sum
from xfelred.ops.reductions.fit_linear import fit_linear
from xfelred.ops.reductions.mean_per_flux import mean_per_flux
from xfelred.ops.reductions.profile import profile
from xfelred.ops.reductions.statistics import statistics
from xfelred.ops.rings.find_centre import RingGuess, find_centre
from xfelred.ops.rings.fit_centre import fit_centre
from xfelred.ops.rings.fit_ring import RingFit, fit_ring
from xfelred.ops.shots.delay import delay
from xfelred.ops.shots.off_neighbours import off_neighbours
from xfelred.ops.shots.reject_outliers import reject_outliers
from xfelred.ops.shots.select_shots import CutFlow, select_shots
from xfelred.ops.shots.time_tool import calibrate_time_tool, correct_delay
from xfelred.ops.speckle.correlate_pulses import correlate_pulses, two_time
from xfelred.ops.speckle.photon_statistics import photon_statistics
from xfelred.ops.speckle.speckle_contrast import speckle_contrast
from xfelred.ops.waveforms.find_edge import find_edge
from xfelred.ops.waveforms.fits import waveform_fit, waveform_svd
from xfelred.ops.waveforms.traces import (
    waveform_baseline,
    waveform_cfd,
    waveform_hits,
    waveform_integrate,
)
from xfelred.shots import label_by_position

__all__ = [
    "CutFlow",
    "GainSwitch",
    "RingFit",
    "RingGuess",
    "Segment",
    "adu_to_photons",
    "apply_bad_pixels",
    "assemble",
    "autocorrelate",
    "bin_frames",
    "bit_slices",
    "calibrate",
    "calibrate_time_tool",
    "compress",
    "concat",
    "correct_curvature",
    "correct_delay",
    "correct_polarization",
    "correlate_angular",
    "correlate_pixel",
    "correlate_pulses",
    "count_photons",
    "dark_statistics",
    "delay",
    "detector_sum",
    "difference_correlation",
    "droplets_to_photons",
    "find_centre",
    "find_clusters",
    "find_droplets",
    "find_edge",
    "find_hits",
    "find_peaks",
    "find_ring_spots",
    "fit_centre",
    "fit_linear",
    "fit_photon_peak",
    "fit_ring",
    "flag_outliers",
    "flag_strong_correlations",
    "friedel_asymmetry",
    "friedel_weights",
    "from_table",
    "gain_index",
    "integrate_azimuthally",
    "inter_correlation",
    "intra_correlation",
    "invert_negative_gain",
    "label_by_position",
    "lineout",
    "lit_pixels",
    "map_frames",
    "match_gains",
    "mean_per_flux",
    "modified_z",
    "normalize",
    "normalize_rings",
    "off_neighbours",
    "photon_statistics",
    "profile",
    "project",
    "radial_profile",
    "ratio",
    "rebin",
    "reject_outliers",
    "remap_polar",
    "remove_ring_spots",
    "roi",
    "select_shots",
    "shot_features",
    "sparsify",
    "speckle_contrast",
    "spectrum",
    "statistics",
    "strip_gain_bits",
    "subtract",
    "subtract_common_mode",
    "subtract_common_mode_below",
    "subtract_common_mode_lcls",
    "switched_pixels",
    "to_cos_psi",
    "to_table",
    "two_time",
    "unassemble",
    "unsparsify",
    "waveform_baseline",
    "waveform_cfd",
    "waveform_fit",
    "waveform_hits",
    "waveform_integrate",
    "waveform_svd",
]

__dir__ = listed(__all__)
