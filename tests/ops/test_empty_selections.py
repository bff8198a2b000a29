"""Every operation takes an empty selection, also with bad pixels of every frame."""

import warnings

import numpy as np
import pytest
import xarray as xr

from xfelred import geometry, ops

pytestmark = pytest.mark.slow

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
SIZE = (12, 10)
FLAT = geometry.Geometry.flat(
    SIZE, centre=(5, 6), distance=0.1, pixel_size=1e-4, energy=9000
)
SEGMENT = ops.Segment(SIZE)


def located(da):
    return geometry.locate(da.isel(module=[0]), FLAT)


def first(bad):
    return bad.isel(module=[0])


OPS = {
    "apply_bad_pixels": ops.apply_bad_pixels,
    "assemble": lambda da, bad: ops.assemble(da.isel(module=[0]), FLAT),
    "bin_frames": lambda da, bad: ops.bin_frames(da, {}),
    "calibrate": lambda da, bad: ops.calibrate(
        da, xr.Dataset({"pedestal": 4.0}), kind="camera", bad_pixels=bad
    ),
    "dark_statistics": lambda da, bad: ops.dark_statistics(da, bad_pixels=bad),
    "find_clusters": lambda da, bad: ops.find_clusters(
        da, seed=5, neighbour=2, bad_pixels=bad
    ),
    "find_peaks": lambda da, bad: ops.find_peaks(
        da, adc_threshold=5, radius=np.zeros(SIZE), bad_pixels=bad
    ),
    "find_hits": lambda da, bad: ops.find_hits(ops.lit_pixels(da, 5)["score"], 0.1),
    "lit_pixels": lambda da, bad: ops.lit_pixels(da, 5, bad_pixels=bad),
    "photon_statistics": lambda da, bad: ops.photon_statistics(
        located(da), 3, bad_pixels=first(bad)
    ),
    "speckle_contrast": lambda da, bad: ops.speckle_contrast(
        ops.photon_statistics(located(da), 3)
    ),
    "two_time": lambda da, bad: ops.two_time(located(da), 3, bad_pixels=first(bad)),
    "find_edge": lambda da, bad: ops.find_edge(da, step=2),
    "compress": lambda da, bad: ops.compress(da, 1.0),
    "autocorrelate": lambda da, bad: ops.autocorrelate(da, bad_pixels=bad),
    "sparsify": lambda da, bad: ops.sparsify(da, 500),
    "sparsified droplets": lambda da, bad: ops.sparsify(
        ops.find_droplets(da, max_droplets=4), 9
    ),
    "unsparsify": lambda da, bad: ops.unsparsify(
        ops.sparsify(da), da.shape[-3:], modules=da.module.values.tolist()
    ),
    "fit_linear": lambda da, bad: ops.fit_linear(
        da, da.train.astype(float), bad_pixels=bad
    ),
    "fit_ring": lambda da, bad: ops.fit_ring(
        da.isel(module=[0]), (5, 6, 3), bad_pixels=first(bad)
    ),
    "integrate": lambda da, bad: ops.integrate_azimuthally(
        located(da), 5, bad_pixels=first(bad)
    ),
    "normalize": lambda da, bad: ops.normalize(da, by=da.train.astype(float)),
    "radial_profile": lambda da, bad: ops.radial_profile(
        da.isel(module=[0]), centre=(5, 6), bad_pixels=first(bad)
    ),
    "remap_polar": lambda da, bad: ops.remap_polar(
        located(da), centre=(5, 6), r_min=1, r_max=4, n_phi=12, bad_pixels=first(bad)
    ),
    "roi": lambda da, bad: ops.roi(da, [(0, 3), (0, 3)], bad_pixels=bad),
    "statistics of frames": lambda da, bad: ops.statistics(da, bad_pixels=bad),
    "statistics of pixels": lambda da, bad: ops.statistics(
        da, ["slow_scan", "fast_scan"], bad_pixels=bad
    ),
    "subtract_common_mode": lambda da, bad: ops.subtract_common_mode(
        da, "row", segment=SEGMENT, bad_pixels=bad
    ),
}
# These keep the shots in their results.
PER_SHOT = {
    "apply_bad_pixels", "assemble", "calibrate", "find_clusters", "integrate",
    "normalize", "remap_polar", "roi", "statistics of pixels", "subtract_common_mode",
}  # fmt: skip


@pytest.mark.parametrize("chunks", [None, 1])
@pytest.mark.parametrize("lead", [(0, 1), (3, 0)])
@pytest.mark.parametrize("name", OPS)
def test_nothing_in_gives_nothing_out(name, lead, chunks):
    shape = (*lead, 2, *SIZE)
    coords = {
        "train": np.arange(lead[0]),
        "pulse": np.arange(lead[1]),
        "module": [0, 1],
    }
    da = xr.DataArray(np.zeros(shape, np.float32), coords, DIMS)
    bad = da > 5
    if chunks:
        da = da.chunk(train=1 if lead[0] else -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = OPS[name](da, bad)
        out = out.compute() if hasattr(out, "compute") else out
    if name in PER_SHOT:
        assert (out.sizes["train"], out.sizes["pulse"]) == lead
