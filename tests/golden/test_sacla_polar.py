"""Golden tables of polar maps, ring fits and profiles (made with loki and by hand)."""

import h5py
import numpy as np
import pytest
import xarray as xr
from golden_files import Golden

from xfelred.geometry import Geometry, q_to_radius, radius_to_q
from xfelred.ops import (
    correct_polarization,
    fit_ring,
    normalize_rings,
    radial_profile,
    remap_polar,
)

HERE = Golden("sacla")

PIXELS = ("slow_scan", "fast_scan")


def load(name):
    return np.load(HERE / f"{name}.npz")


@pytest.mark.parametrize("case", "abc")
@pytest.mark.parametrize("convention", ["loki", "chi"])
def test_small_maps(case, convention):
    golden = load("polar_small")
    x, y, low, high, n_phi = golden[f"{case}_params"]
    options = {
        "centre": (x, y), "r_min": low, "r_max": high, "n_phi": int(n_phi),
        "convention": convention,
    }  # fmt: skip
    image = xr.DataArray(golden["image"], dims=PIXELS)
    nearest = remap_polar(image, method="nearest", **options)
    np.testing.assert_array_equal(nearest, golden[f"{case}_nearest_loki"])
    np.testing.assert_allclose(nearest.radius, golden[f"{case}_radii"], rtol=1e-12)
    start = 0 if convention == "loki" else np.pi
    np.testing.assert_allclose(nearest.phi + start, golden[f"{case}_phi"], atol=1e-12)
    linear = remap_polar(image, **options)
    np.testing.assert_allclose(linear, golden[f"{case}_linear"], rtol=1e-6)


def test_map_of_the_loki_test_image():
    golden = load("polar_lokitest")
    x, y, low, high, n_phi = golden["params"]
    options = {"centre": (x, y), "r_min": low, "r_max": high, "n_phi": int(n_phi)}
    image = xr.DataArray(golden["image"], dims=PIXELS)
    bad = xr.DataArray(~golden["mask"], dims=PIXELS)
    nearest = remap_polar(image, method="nearest", **options)
    np.testing.assert_array_equal(nearest, golden["nearest"])
    masked = remap_polar(image, method="nearest", bad_pixels=bad, **options)
    np.testing.assert_array_equal(masked.notnull(), golden["polar_mask"])
    np.testing.assert_array_equal(masked.fillna(0), golden["masked_nearest"])
    np.testing.assert_allclose(masked.mean("phi"), golden["ring_mean"], rtol=1e-5)
    linear = remap_polar(image, **options)
    np.testing.assert_allclose(linear, golden["linear_unmasked"], rtol=1e-4)
    masked = remap_polar(image, bad_pixels=bad, **options)
    np.testing.assert_allclose(masked, golden["linear_masked"], rtol=1e-4)
    np.testing.assert_array_equal(masked.notnull(), golden["linear_weight"] > 0)


@pytest.mark.parametrize("case", "01")
def test_ring_fits(case):
    golden = load("ringfit")
    fit = fit_ring(golden[f"im{case}"], golden[f"guess{case}"])
    np.testing.assert_allclose(tuple(fit), golden[f"truth{case}"], atol=0.1)


def test_radial_profiles():
    golden, source = load("radial_profile"), load("polar_lokitest")
    image = xr.DataArray(source["image"], dims=PIXELS)
    options = {"centre": golden["center"], "n_radii": int(golden["minlength"])}
    for bad, name in ((None, "profile_nomask"), (~source["mask"], "profile_loki")):
        out = radial_profile(image, bad_pixels=bad, **options)
        found = out.intensity.fillna(0)[: len(golden[name])]
        np.testing.assert_allclose(found, golden[name], rtol=1e-6)


def test_pixels_and_q():
    golden = load("misc")
    setup = {"distance": 0.053, "pixel_size": 5e-5, "wavelength": 1.44}
    q = radius_to_q(golden["r_pix"], **setup)
    np.testing.assert_allclose(q, golden["q_50um"], rtol=1e-9)
    np.testing.assert_allclose(q_to_radius(q, **setup), golden["r_back"], rtol=1e-9)
    assert q_to_radius(2.67, **setup) == pytest.approx(float(golden["r_111_pix_50um"]))
    image = xr.DataArray(np.zeros((2000, 2000), np.float32), dims=PIXELS)
    geometry = Geometry.flat((2000, 2000), (999.5, 999.5), 0.053, 5e-5, wavelength=1.44)
    out = remap_polar(image, r_min=2.64, r_max=2.71, geometry=geometry)
    assert out.sizes == {
        "radius": golden["tutorial_nq"],
        "phi": golden["tutorial_nphi_right"],
    }
    low, _ = golden["tutorial_qminmax_pix"]
    assert float(out.radius[0]) == pytest.approx(low, rel=1e-9)


def test_polarization_has_the_right_axis():
    golden = load("diffcorr")
    n_phi = golden["pol_right"].shape[1]
    polar = xr.DataArray(
        np.ones((4, n_phi)),
        {"q": ("radius", golden["pol_q"]), "phi": 2 * np.pi * np.arange(n_phi) / n_phi},
        ("radius", "phi"),
    )
    out = correct_polarization(
        polar,
        out_of_plane=float(golden["pol_out_of_plane_fraction"]),
        wavelength=2 * np.pi / float(golden["pol_k"]),
    )
    np.testing.assert_allclose(1 / out, golden["pol_right"], rtol=1e-9)
    assert np.abs(1 / out.values - golden["pol_loki"]).max() > 0.01


@pytest.fixture(scope="module")
def run():
    with h5py.File(HERE / "run178884_assembled.h5") as f:
        group = f["run_178884/detector_2d_assembled_1"]
        tags = sorted(int(name[4:]) for name in group if name.startswith("tag_"))
        frames = np.stack([group[f"tag_{t}/detector_data"][()] for t in tags])
    return xr.DataArray(frames, {"train": tags}, ("train", *PIXELS))


def test_the_tutorial_up_to_its_normalized_maps(run):
    golden = load("tutorial_end_to_end")
    bad = ~golden["mask"]
    fit = fit_ring(run[10:].mean("train"), (64, 64, 48), bad_pixels=bad)
    np.testing.assert_allclose(tuple(fit), golden["center_truth"], atol=0.1)
    x, y, _ = golden["center_truth"]
    geometry = Geometry.flat((128, 128), (x, y), 0.053, 8e-4, wavelength=1.44)
    low, high = golden["q_range"]
    polar = remap_polar(
        run.chunk(train=16), r_min=low, r_max=high, n_phi=int(golden["nphi"]),
        geometry=geometry, bad_pixels=bad, method="nearest",
    )  # fmt: skip
    good = golden["polar_mask"]
    np.testing.assert_allclose(polar.radius, golden["radii"], rtol=1e-9)
    np.testing.assert_allclose(polar.q, golden["q_values"], rtol=1e-9)
    maps = polar.values
    np.testing.assert_array_equal(np.isfinite(maps), np.broadcast_to(good, maps.shape))
    np.testing.assert_array_equal(maps[:, good], golden["polar_raw"][:, good])
    normalized = normalize_rings(polar).values
    np.testing.assert_allclose(
        normalized[:, good], golden["polar_normalised"][:, good], rtol=1e-4
    )
    assert int(2 * np.pi * golden["q_range_pix"][1]) == golden["nphi"]
