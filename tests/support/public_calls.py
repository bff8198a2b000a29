"""Valid arguments for every public function and class, small and lazy."""

import inspect
import operator
import os
import tempfile
import warnings
from types import SimpleNamespace

import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops, pairs, synth
from xfelred.geometry import Geometry
from xfelred.ops import Segment

SHAPE = (16, 24)
PIXELS = ("slow_scan", "fast_scan")
RNG = np.random.default_rng(0)
TRAINS = {"train": 100 + 2 * np.arange(12)}


def lazy(values, dims, **coords):
    da = xr.DataArray(values, {**TRAINS, **coords}, dims, attrs={"units": "adu"})
    return da.chunk(train=4)


def filled(lazy):
    """The same with ones, so that nothing is compiled for it."""
    if isinstance(lazy, xr.Dataset):
        return lazy.map(filled, keep_attrs=True)
    ones = np.ones(lazy.shape, lazy.dtype)
    return lazy.copy(data=ones) if lazy.chunks else lazy


FRAMES = lazy(
    RNG.normal(100, 5, (12, 2, *SHAPE)).astype("f4"),
    ("train", "module", *PIXELS),
    module=[0, 1],
)
IMAGES = lazy(RNG.normal(100, 5, (12, *SHAPE)).astype("f4"), ("train", *PIXELS))
TRACES = lazy(RNG.normal(2, 1, (12, 24)), ("train", "sample"))
WORDS = lazy(
    RNG.integers(0, 9999, (12, 1, 352, 384)).astype("u2"),
    ("train", "module", *PIXELS),
    module=[0],
)
JUNGFRAU = lazy(
    RNG.integers(0, 9999, (12, 1, 512, 1024)).astype("u2"),
    ("train", "module", *PIXELS),
    module=[0],
)
BAD = xr.DataArray(RNG.random((2, *SHAPE)) < 0.1, dims=("module", *PIXELS))
BAD_IMAGE = xr.DataArray(RNG.random(SHAPE) < 0.1, dims=PIXELS)
FLAT = Geometry.flat(
    (2, *SHAPE), centre=(7.2, 6.1), distance=0.05, pixel_size=2e-4, energy=9e3
)
PLANE = Geometry.flat(
    SHAPE, centre=(12.2, 7.1), distance=0.05, pixel_size=2e-4, energy=9e3
)
LOCATED = geometry.locate(FRAMES, FLAT)
POLAR = ops.remap_polar(
    geometry.locate(IMAGES, PLANE), r_min=2, r_max=7, n_phi=24, unit="pixel"
)
PHOTONS = synth.speckle.photons(shape=(1, *SHAPE), n_trains=4, pulses=[0, 2, 3])
PHOTONS = PHOTONS.isel(module=0, drop=True).chunk(train=2)
RING_MAP = xr.zeros_like(BAD_IMAGE, int)
SHOT = xr.DataArray(RNG.normal(5, 1, 12), TRAINS, ("train",), name="i0")
LASER = xr.DataArray(np.arange(12) % 2 == 0, TRAINS, ("train",), name="laser_on")
SHOTS = xr.Dataset({"i0": SHOT, "lxt": SHOT * 2, "tt": SHOT * 0.1})
AVAILABLE = (("train", "module"), RNG.random((12, 2)) > 0.2)
BINS = xf.Bins(range=(0, 10), n=5)
Q_BINS = 4
PAIRS = pairs.consecutive(FRAMES.train)
EACH = ops.correlate_angular(POLAR)
MEAN = ops.difference_correlation(POLAR, pairs.consecutive(POLAR.train))
ALONG = ops.to_cos_psi(EACH, wavelength=1.4, grid=21)
RING = xr.DataArray(
    np.exp(-0.5 * ((np.hypot(*np.mgrid[-40:40, -40:40]) - 20) / 2) ** 2), dims=PIXELS
)
RINGS = RING.expand_dims(train=3).chunk(train=1)
CONSTANTS = xr.Dataset({"pedestal": BAD * 90.0, "gain": BAD * 0 + 2.0})
EXTENT = {"distance": 0.1, "pixel_size": 2e-4, "wavelength": 1.4}
POSITIONS = np.stack(np.broadcast_arrays(*np.ogrid[0:2, 0:16, 0:24])) * 1e-4
AZIMUTHAL = filled(ops.integrate_azimuthally(LOCATED, Q_BINS))
STATISTICS = filled(ops.statistics(FRAMES))
PEDESTAL = xr.zeros_like(WORDS[0], "f4").compute()

EXTRA_GEOM = SimpleNamespace(
    get_pixel_positions=lambda: np.moveaxis(POSITIONS, 0, -1).copy()
)
FLAT_INTEGRATOR = SimpleNamespace(
    dist=0.1, poni1=0.0, poni2=0.0, rot1=0.0, rot2=0.0, rot3=0.0, wavelength=1e-10,
    detector=SimpleNamespace(
        name="flat", shape=SHAPE, pixel1=1e-4, pixel2=1e-4, orientation=3, mask=None
    ),
    calc_pos_zyx=lambda corners: [np.ones((*SHAPE, 4))] * 3,
    position_array=lambda shape, corners=False: np.ones((*SHAPE, 3)),
)  # fmt: skip
SACLA = SimpleNamespace(
    photon_energy=9e3,
    constants=lambda detector=None: xr.Dataset(
        {"pixel_size": (("module", "axis"), [[5e-5, 5e-5]])},
        {"module": [1]},
        {"detector": "MPCCD", "detector_kind": "mpccd", "module_shape": [1024, 512]},
    ),
)
PONI = """poni_version: 2
Detector: Detector
Detector_config: {"pixel1": 0.0001, "pixel2": 0.0001, "max_shape": [16, 24]}
Distance: 0.1
Poni1: 0.001
Poni2: 0.001
Rot1: 0
Rot2: 0
Rot3: 0
Wavelength: 1e-10
"""

# Valid arguments, all of them where possible: junk takes the place of each in turn.
CALLS = {
    "ops.GainSwitch": {"shape": (16, 24), "cut": 1 << 14, "negative": False},
    "ops.RingGuess": {"x": 1.0, "y": 2.0, "r": 3.0, "contrast": 4.0},
    "ops.Segment": {"shape": (16, 24), "banks": 2, "halves": 2, "asics": ((0,), (0,))},
    "ops.adu_to_photons": {"da": FRAMES, "gain": 10.0, "energy": 9e3},
    "ops.apply_bad_pixels": {
        "da": FRAMES,
        "bad_pixels": BAD.astype("u2"),
        "bits": 1,
        "value": 0.0,
    },
    "ops.assemble": {"da": FRAMES, "geometry": FLAT, "fill_value": 0.0},
    "ops.bin_frames": {
        "data": FRAMES,
        "by": {"i0": xf.Bins(range=(0, 10), n=2, values=SHOT)},
        "where": LASER,
        "quantities": ("mean",),
        "skipna": True,
        "ddof": 0,
        "compat": False,
    },
    "ops.bit_slices": {"da": WORDS, "dim": "train", "n_bits": 4, "by": LASER},
    "ops.calibrate": {
        "da": FRAMES,
        "constants": CONSTANTS,
        "kind": "camera",
        "common_mode": None,
        "bad_pixels": BAD,
        "bad_value": 0.0,
        "gain_index": None,
        "gain_plane": None,
        "bad_gain_code": "zero",
        "adu_per_photon": 10.0,
    },
    "ops.compress": {"da": FRAMES, "max_error": 0.5},
    "ops.concat": {"parts": [FRAMES[:6], FRAMES[6:]], "dim": "train"},
    "ops.correct_polarization": {
        "polar": POLAR,
        "polarization": 0.9,
        "out_of_plane": None,
        "wavelength": 1.4,
        "energy": None,
    },
    "ops.correlate_angular": {
        "polar": POLAR,
        "with_ring": 1,
        "bad_pixels": None,
        "normalization": "pairs",
        "reduce": "mean",
    },
    "ops.correlate_pixel": {
        "da": FRAMES,
        "pixel": (0, 3, 4),
        "by": LASER,
        "bad_pixels": BAD,
    },
    "ops.dark_statistics": {
        "da": FRAMES,
        "by": None,
        "kind": None,
        "gain_index": None,
        "noise_sigma": 5.0,
        "offset_sigma": 5.0,
        "noise_limits": (0.0, 9.0),
        "offset_limits": (0.0, 900.0),
        "min_frames": 2,
        "bad_pixels": BAD,
    },
    "ops.delay": {
        "source": SHOTS,
        "nominal": "lxt",
        "use_tt": True,
        "correction": "tt",
        "add_lxt": False,
    },
    "ops.difference_correlation": {
        "polar": POLAR,
        "pairs": PAIRS,
        "bad_pixels": None,
        "normalization": "pairs",
        "reduce": "mean",
        "errors": "jackknife",
        "with_ring": 1,
    },
    "ops.find_centre": {"image": RING, "bad_pixels": xr.zeros_like(RING, bool)},
    "ops.find_clusters": {
        "da": FRAMES,
        "seed": 120.0,
        "neighbour": 110.0,
        "max_clusters": 9,
        "bad_pixels": BAD,
    },
    "ops.find_ring_spots": {
        "polar": POLAR,
        "threshold": 3.5,
        "n_harmonics": 2,
        "grow": 1,
        "bad_pixels": None,
    },
    "ops.fit_linear": {"da": FRAMES, "x": SHOT, "by": LASER, "bad_pixels": BAD},
    "ops.fit_photon_peak": {
        "clusters": filled(ops.find_clusters(FRAMES, seed=120, neighbour=110)),
        "shape": (2, *SHAPE),
        "modules": (0, 1),
        "bins": 20,
        "range": (100.0, 200.0),
        "min_clusters": 3,
    },
    "ops.fit_centre": {
        "da": RINGS,
        "guess": (39.0, 39.0, 20.0),
        "geometry": None,
        "bad_pixels": xr.zeros_like(RING, bool),
        "ring_width": 20.0,
        "n_sectors": 36,
    },
    "ops.fit_ring": {
        "image": RINGS,
        "guess": (39.0, 39.0, 20.0),
        "bad_pixels": xr.zeros_like(RING, bool),
        "ring_width": 20.0,
        "n_sectors": 36,
        "shape": "circle",
    },
    "ops.flag_outliers": {
        "da": SHOT,
        "dim": "train",
        "threshold": 3.5,
        "side": "both",
    },
    "ops.flag_strong_correlations": {"result": EACH, "window": 0.1, "threshold": 3.5},
    "ops.friedel_asymmetry": {"result": ALONG, "limit": 1.0},
    "ops.friedel_weights": {
        "result": ALONG,
        "limit": 1.0,
        "ridge": 1e-3,
        "positive": True,
    },
    "ops.gain_index": {
        "da": WORDS,
        "kind": "epix10ka",
        "config": PEDESTAL.astype("u2"),
        "trbit": 1,
    },
    "ops.integrate_azimuthally": {
        "da": LOCATED,
        "q_bins": Q_BINS,
        "phi_bins": 4,
        "unit": "q",
        "q_range": (0.1, 1.0),
        "split": "no",
        "solid_angle": True,
        "polarization": 0.9,
        "normalization": "ratio",
        "errors": None,
        "variance": None,
        "bad_pixels": BAD,
        "dummy": -1.0,
        "delta_dummy": 0.0,
        "sigma_clip": None,
        "max_iterations": 5,
    },
    "ops.inter_correlation": {
        "polar": POLAR,
        "with_ring": 1,
        "bad_pixels": None,
        "normalization": "pairs",
    },
    "ops.intra_correlation": {
        "polar": POLAR,
        "with_ring": 1,
        "bad_pixels": None,
        "normalization": "pairs",
    },
    "ops.invert_negative_gain": {"da": WORDS, "detector": "epixM"},
    "ops.label_by_position": {"values": np.arange(12.0), "frames": FRAMES},
    "ops.map_frames": {
        "da": FRAMES,
        "func": np.add,
        "companions": 1.5,
        "dims": None,
        "out_dims": None,
        "dtype": "f8",
        "batch": None,
        "options": {},
    },
    "ops.match_gains": {"da": FRAMES, "gain": 10.0, "reference": 1.0},
    "ops.mean_per_flux": {
        "da": FRAMES,
        "flux": SHOT,
        "how": "ratio_of_sums",
        "by": LASER,
        "bad_pixels": BAD,
    },
    "ops.modified_z": {"da": SHOT, "dim": "train"},
    "ops.normalize": {"da": FRAMES, "by": SHOT},
    "ops.normalize_rings": {
        "polar": POLAR,
        "how": "mean",
        "bad_pixels": None,
        "eps": 1e-6,
    },
    "ops.off_neighbours": {"laser_on": LASER, "n": 2},
    "ops.profile": {"da": SHOT, "x": SHOT, "bins": 5, "range": (0.0, 9.0)},
    "ops.radial_profile": {
        "da": IMAGES,
        "centre": (12.0, 7.0),
        "bad_pixels": BAD_IMAGE,
        "n_radii": 9,
    },
    "ops.ratio": {"a": FRAMES, "b": FRAMES},
    "ops.reject_outliers": {
        "values": SHOT,
        "by": {"i0": xf.Bins(range=(0, 10), n=2, values=SHOT)},
        "where": LASER,
        "n_sigma": 5.0,
    },
    "ops.remap_polar": {
        "da": IMAGES,
        "centre": (12.0, 7.0),
        "r_min": 2.0,
        "r_max": 7.0,
        "n_phi": 24,
        "method": "linear",
        "convention": "chi",
        "bad_pixels": BAD_IMAGE,
        "geometry": None,
        "energy": None,
        "unit": "pixel",
        "min_weight": 0.1,
    },
    "ops.remove_ring_spots": {
        "polar": POLAR,
        "threshold": 3.5,
        "n_harmonics": 2,
        "grow": 1,
        "bad_pixels": None,
    },
    "ops.autocorrelate": {
        "da": FRAMES,
        "other": FRAMES,
        "roi": ((1, 9), (2, 14)),
        "bad_pixels": BAD,
        "threshold": 90,
    },
    "masks.circle": {"segment": (9, 9), "centre": (4, 4), "radius": 3},
    "ops.correct_curvature": {
        "da": FRAMES,
        "coefficients": (0.5, 1),
        "axis": "slow_scan",
    },
    "ops.detector_sum": {
        "da": FRAMES,
        "name": "calib_thresADU3_img",
        "flags": {"on": LASER == 1},
        "geometry": FLAT,
    },
    "ops.find_droplets": {
        "da": FRAMES,
        "threshold": 110,
        "threshold_low": 105,
        "noise": None,
        "min_adu": 111,
        "max_pixel": 500,
        "relabel": False,
        "max_droplets": 30,
        "bad_pixels": BAD,
        "labels": True,
    },
    "ops.droplets_to_photons": {
        "da": FRAMES,
        "adu_per_photon": 50,
        "threshold": 110,
        "threshold_low": 105,
        "noise": None,
        "min_adu": 111,
        "max_pixel": 500,
        "relabel": False,
        "max_photons": 30,
        "bad_pixels": BAD,
    },
    "ops.count_photons": {
        "da": FRAMES,
        "adu_per_photon": 50,
        "fraction": 0.9,
        "threshold": 3,
        "bad_pixels": BAD,
    },
    "ops.to_table": {"ds": ops.find_droplets(FRAMES, threshold=110, max_droplets=9)},
    "ops.sparsify": {"found": FRAMES, "n": 5},
    "ops.from_table": {
        "table": ops.to_table(ops.sparsify(FRAMES, 5)),
        "dim": "pixel",
        "train": None,
    },
    "ops.waveform_baseline": {
        "wf": TRACES,
        "background": (0, 9),
        "window": (3, 20),
        "period": 2,
    },
    "ops.unsparsify": {
        "found": ops.sparsify(FRAMES, 5),
        "shape": (2, *SHAPE),
        "modules": [0, 1],
        "train": None,
    },
    "ops.project": {
        "da": FRAMES,
        "axis": "slow_scan",
        "threshold": 90,
        "mean": True,
        "single_photon": False,
        "bad_pixels": BAD,
        "noise": None,
        "noise_sigma": None,
    },
    "ops.lineout": {"da": FRAMES, "axis": "slow_scan", "index": 3, "bad_pixels": BAD},
    "ops.spectrum": {"da": FRAMES, "bins": [80, 120, 20], "bad_pixels": BAD},
    "ops.rebin": {"da": FRAMES, "shape": (4, 6), "bad_pixels": BAD},
    "ops.find_edge": {
        "da": TRACES,
        "roi": (2, 22),
        "background": np.ones(24),
        "dark": np.zeros(24),
        "step": 4,
        "falling": True,
        "along": "fast_scan",
    },
    "ops.calibrate_time_tool": {
        "position": SHOT,
        "delay": SHOT * 2,
        "degree": 1,
        "n_sigma": 3.0,
    },
    "ops.correct_delay": {
        "delay": SHOT,
        "position": SHOT,
        "calibration": ops.calibrate_time_tool(SHOT, SHOT * 2, degree=1),
    },
    "ops.find_peaks": {
        "da": FRAMES,
        "adc_threshold": 120.0,
        "minimum_snr": 4.0,
        "min_pixel_count": 1,
        "max_pixel_count": 9,
        "local_bg_radius": 2,
        "max_n_peaks": 5,
        "min_res": 0.0,
        "max_res": 30.0,
        "radius": np.zeros(SHAPE),
        "bad_pixels": BAD,
    },
    "ops.lit_pixels": {"da": FRAMES, "threshold": 110.0, "bad_pixels": BAD},
    "ops.find_hits": {"score": SHOT, "threshold": 5.0},
    "ops.photon_statistics": {
        "da": PHOTONS,
        "q_bins": RING_MAP,
        "max_photons": 9,
        "dim": (),
        "bad_pixels": BAD_IMAGE,
    },
    "ops.speckle_contrast": {
        "statistics": filled(ops.photon_statistics(PHOTONS, RING_MAP)),
        "k_edges": (0.0, 9.0),
    },
    "ops.correlate_pulses": {
        "da": PHOTONS,
        "q_bins": RING_MAP,
        "max_lag": 3,
        "normalization": "symmetric",
        "reduce": "mean",
        "bad_pixels": BAD_IMAGE,
    },
    "ops.two_time": {
        "da": PHOTONS,
        "q_bins": RING_MAP,
        "normalization": "standard",
        "bad_pixels": BAD_IMAGE,
    },
    "ops.waveform_integrate": {
        "wf": TRACES,
        "signal": (2, 9),
        "background": (0, 2),
        "negative": True,
    },
    "ops.waveform_hits": {
        "wf": TRACES,
        "threshold": 3,
        "threshold_max": 9,
        "background": (0, 4),
        "noise": True,
    },
    "ops.waveform_cfd": {
        "wf": TRACES,
        "sample_interval": 0.5,
        "threshold": 2,
        "filter_length": 3,
        "offset": 2,
        "fraction": 0.5,
        "max_hits": 4,
    },
    "ops.waveform_fit": {"wf": TRACES, "templates": np.eye(2, 24)},
    "ops.waveform_svd": {
        "wf": TRACES,
        "basis": np.eye(2, 20),
        "n_pulses": 2,
        "delay": (0, 4),
        "sampling": 1.0,
        "roi": (4, 24),
        "background_roi": 3,
        "mode": "both",
    },
    "ops.roi": {
        "da": FRAMES[:, 0],
        "bounds": ((1, 5), (2, 9)),
        "write_area": False,
        "threshold": (0.0, 500.0),
        "bad_pixels": BAD[0],
        "saturation": 900.0,
    },
    "ops.select_shots": {"ds": SHOTS, "cuts": "i0 > 3"},
    "ops.shot_features": {"polar": POLAR, "bad_pixels": None},
    "ops.statistics": {
        "da": FRAMES,
        "dim": "train",
        "which": ("mean",),
        "by": LASER,
        "bad_pixels": BAD,
        "ddof": 0,
    },
    "ops.strip_gain_bits": {"da": WORDS, "detector": "epixM"},
    "ops.subtract": {"a": FRAMES, "b": FRAMES},
    "ops.subtract_common_mode": {
        "da": FRAMES,
        "groups": ("row",),
        "segment": Segment(SHAPE, banks=2),
        "bad_pixels": BAD,
        "use": None,
        "estimator": "median",
        "max_correction": 9.0,
        "min_pixels": 5,
        "apply_to": "good",
        "full": False,
    },
    "ops.subtract_common_mode_below": {
        "da": FRAMES,
        "groups": ("row",),
        "cut": 50.0,
        "segment": Segment(SHAPE, banks=2),
        "region": None,
        "switched": None,
        "bad_pixels": BAD,
    },
    "ops.subtract_common_mode_lcls": {
        "da": JUNGFRAU.astype("f4"),
        "number": 7,
        "detector": "jungfrau",
        "cmpars": None,
        "bad_pixels": None,
        "noise": None,
        "gain_range": None,
        "dark_roi": None,
        "ghost": None,
        "previous": None,
        "lcls2": False,
        "full": False,
    },
    "ops.switched_pixels": {"da": WORDS, "detector": "epixM"},
    "ops.to_cos_psi": {"result": EACH, "wavelength": 1.4, "grid": 21},
    "ops.unassemble": {
        "image": ops.assemble(FRAMES, FLAT),
        "geometry": FLAT,
        "modules": [0, 1],
        "fill_value": 0.0,
    },
    "geometry.Geometry": {
        "shape": (2, 16, 24),
        "panels": (),
        "positions": POSITIONS,
        "modules": (0, 1),
        "energy": 9e3,
        "distance": 0.1,
        "placed": True,
        "normal": None,
        "incidence": None,
        "bad": None,
        "handedness": "as it is",
        "phi_convention": "as it is",
        "groups": {},
        "poni": None,
    },
    "geometry.Geometry.flat": {
        "shape": SHAPE,
        "centre": (12.0, 7.0),
        "distance": 0.1,
        "pixel_size": 1e-4,
        "energy": 9e3,
        "wavelength": None,
        "modules": [3],
    },
    "geometry.Geometry.lcls": {
        "x": POSITIONS[0],
        "y": POSITIONS[1],
        "z": POSITIONS[2],
        "centre": (0.0, 0.0),
        "distance": 0.1,
        "tilt": (0.0, 0.1),
        "energy": 9e3,
        "wavelength": None,
    },
    "geometry.Geometry.from_crystfel": {
        "path": "it.geom",
        "clen": 0.1,
        "energy": 9e3,
        "wavelength": None,
        "modules": None,
    },
    "geometry.Geometry.from_extra_geom": {
        "geometry": EXTRA_GEOM,
        "distance": 0.1,
        "energy": 9e3,
        "wavelength": None,
        "modules": None,
    },
    "geometry.Geometry.from_module_positions": {
        "offsets": [(0.0, 0.0)],
        "orientations": [(1, 1)],
        "asic_gap": 2.0,
        "unit": None,
        "distance": 0.1,
        "energy": 9e3,
        "wavelength": None,
        "modules": [0],
    },
    "geometry.Geometry.from_panels": {
        "panels": FLAT.panels,
        "shape": (2, 16, 24),
        "distance": 0.1,
        "energy": 9e3,
        "modules": [0, 1],
    },
    "geometry.Geometry.from_poni": {
        "path": "it.poni",
        "shape": SHAPE,
        "energy": 9e3,
        "wavelength": None,
    },
    "geometry.Geometry.from_positions": {
        "x": POSITIONS[0],
        "y": POSITIONS[1],
        "z": POSITIONS[2],
        "energy": 9e3,
        "wavelength": None,
        "modules": [0, 1],
        "distance": 0.1,
        "handedness": "as it is",
    },
    "geometry.Geometry.from_pyfai": {
        "ai": FLAT_INTEGRATOR,
        "shape": SHAPE,
        "energy": 9e3,
        "wavelength": None,
    },
    "geometry.Geometry.from_quad_positions": {
        "detector": "AGIPD1M",
        "quads": [(-525, 625), (-550, -10), (520, -160), (542.5, 475)],
        "distance": 0.1,
        "energy": 9e3,
        "wavelength": None,
    },
    "geometry.Geometry.sacla": {
        "run": SACLA,
        "distance": 0.1,
        "energy": 9e3,
        "wavelength": None,
        "detector": None,
        "centre": None,
        "first_pixel": "centre",
    },
    "geometry.Geometry.to_crystfel": {
        "self": PLANE,
        "path": os.path.join(tempfile.gettempdir(), f"junk-{os.getpid()}.geom"),
        "data": "/data",
        "stacked": True,
        "adu_per_ev": 0.1,
        "overwrite": True,
    },
    "geometry.Geometry.select_modules": {"self": FLAT, "modules": [1]},
    "geometry.Geometry.numbered": {"self": FLAT, "modules": (3, 4)},
    "geometry.Geometry.with_shape": {"self": FLAT, "shape": (2, 16, 24)},
    "geometry.Panel": {
        "module": 0,
        "slow": (0, 4),
        "fast": (0, 4),
        "corner": (0.0, 0.0, 0.1),
        "slow_step": (0.0, 1e-4, 0.0),
        "fast_step": (1e-4, 0.0, 0.0),
        "stagger": 0.0,
        "name": "p0",
    },
    "geometry.Panel.points": {"self": FLAT.panels[0], "offset": (0.0, 0.0)},
    "geometry.Panel.moved": {"self": FLAT.panels[0], "z": 0.1},
    "geometry.energy_to_wavelength": {"energy_ev": 9e3},
    "geometry.locate": {"da": FRAMES, "geometry": FLAT},
    "geometry.q_to_radius": {"q": np.arange(3.0), **EXTENT},
    "geometry.radius_to_q": {"radius": np.arange(3.0), **EXTENT},
    "geometry.wavelength_to_energy": {"wavelength": 1.4},
    "masks.bits": {"chosen": "NOISE_OUT_OF_THRESHOLD"},
    "masks.central": {"segment": Segment(SHAPE, banks=2), "width": 1},
    "masks.combine": {"bad": BAD},
    "masks.edges": {"segment": Segment(SHAPE, banks=2), "width": (1, 2)},
    "masks.from_good": {"good": BAD},
    "masks.from_status": {
        "status": BAD.astype("u2").expand_dims(gain_range=3),
        "bits": 1,
        "gain_ranges": [0],
    },
    "masks.grow": {"bad": BAD, "radius": 1, "shape": "cross"},
    "masks.segment_of": {"segment": "agipd1m"},
    "masks.unbonded": {"segment": "cspad2x1", "neighbours": 4},
    "pairs.between": {
        "first": SHOT.train[:6],
        "second": SHOT.train[6:],
        "method": "nearest",
        "darks": False,
    },
    "pairs.consecutive": {
        "coord": SHOT.train,
        "groups": LASER,
        "min_group": 2,
        "darks": False,
    },
    "pairs.disjoint": {
        "coord": SHOT.train,
        "groups": LASER,
        "min_group": 2,
        "darks": False,
    },
    "pairs.from_list": {"members": [(100, 102)], "coord": SHOT.train},
    "pairs.random": {
        "coord": SHOT.train,
        "n_pairs": 5,
        "seed": 0,
        "groups": LASER,
        "min_group": 2,
        "darks": False,
    },
    "pairs.similar": {
        "features": SHOT,
        "method": "greedy",
        "coord": SHOT.train,
        "groups": LASER,
        "min_group": 2,
        "darks": False,
        "max_distance": 1.0,
    },
    "plot.availability": {
        "da": FRAMES.assign_coords(available=AVAILABLE),
        "ax": None,
        "title": "a",
    },
    "plot.azimuthal": {
        "ds": AZIMUTHAL,
        "ax": None,
        "title": "a",
        "log": False,
        "label": "b",
    },
    "plot.correlation": {
        "ds": filled(MEAN.isel(radius=0)),
        "ax": None,
        "expected": (1.0,),
        "title": "a",
    },
    "plot.image": {
        "da": FRAMES[0, 0].compute(),
        "ax": None,
        "title": "a",
        "limits": (0.0, 9.0),
        "log": False,
        "cmap": "magma",
    },
    "plot.overview": {
        "picture": FRAMES[0, 0].compute(),
        "profile": AZIMUTHAL.isel(train=0),
        "pulses": STATISTICS.isel(slow_scan=0, fast_scan=0),
        "frames": FRAMES.assign_coords(available=AVAILABLE),
        "title": "a",
        "figure": None,
    },
    "plot.polar": {
        "da": filled(POLAR[0]),
        "ax": None,
        "title": "a",
        "limits": (0.0, 9.0),
        "cmap": "magma",
    },
    "plot.ring": {"circle": (1.0, 2.0, 3.0), "ax": None, "colour": "red"},
    "plot.statistics": {
        "ds": STATISTICS.isel(slow_scan=0, fast_scan=0),
        "ax": None,
        "title": "a",
    },
    "xf.Bins": {"range": (0.0, 1.0), "n": 4},
    "xf.Bins.resolve": {"self": BINS, "values": [1.0, 2.0]},
}


def public(name):
    return operator.attrgetter(name.removeprefix("xf."))(xf)


def call(name, arguments):
    """Call a function; what is positional only is given in its place."""
    function, given = public(name), dict(arguments)
    first = []
    if "self" in given:
        first = [given.pop("self")]
    parameters = list(inspect.signature(function).parameters.values())
    several = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
    before = parameters[: parameters.index(several[0])] if several else []
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY or parameter in before + several:
            first.append(given.pop(parameter.name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*first, **given)
