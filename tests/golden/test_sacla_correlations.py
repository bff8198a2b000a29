"""Golden tables of angular correlations: loki's, and right ones where loki is wrong.

The cases were made by other programs (see the README beside them); their masks are
True where good.
"""

import numpy as np
import pytest
import xarray as xr
from golden_files import Golden

from xfelred import ops, pairs
from xfelred.kernels.correlation import outliers

HERE = Golden("sacla")

SIZES = pytest.mark.parametrize("n", [64, 37])
KINDS = pytest.mark.parametrize("dtype", ["f8", "f4"])


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(HERE / "diffcorr.npz"))


@pytest.fixture(scope="module")
def misc():
    return dict(np.load(HERE / "misc.npz"))


def maps(values, dtype="f8", chunks=2):
    dims = ("train", "radius", "phi")
    da = xr.DataArray(values.astype(dtype), {"train": np.arange(len(values))}, dims)
    return da.chunk(train=chunks)


def close(found, expected, dtype):
    """1e-6 in double precision; 1e-5 of C[0] in single."""
    if dtype == "f8":
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    else:
        limit = 1e-5 * np.nanmax(abs(expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@SIZES
@KINDS
def test_differences_of_consecutive_shots(golden, n, dtype):
    da = maps(golden[f"s{n}"], dtype)
    options = {"normalization": "none", "reduce": None}
    out = ops.difference_correlation(da, pairs.consecutive(da.train), **options)
    close(out.correlation, golden[f"auto{n}"], dtype)
    apart = [(i, i + 3) for i in range(3)]
    out = ops.difference_correlation(da, apart, **options)
    close(out.correlation, golden[f"auto{n}_delta3"], dtype)
    consecutive = pairs.consecutive(da.train)
    out = ops.difference_correlation(da, consecutive, with_ring=1, **options)
    close(out.correlation, golden[f"cross{n}_q1"], dtype)


@SIZES
@KINDS
def test_correlations_of_shots(golden, n, dtype):
    da = maps(golden[f"diff{n}"], dtype)
    out = ops.correlate_angular(da, normalization="none")
    close(out.correlation, golden[f"auto{n}"], dtype)
    out = ops.correlate_angular(da, normalization="none", with_ring=1)
    close(out.correlation, golden[f"cross{n}_q1"], dtype)
    out = ops.correlate_angular(da, normalization="none", reduce="mean")
    close(out.correlation, golden[f"auto{n}"].mean(0), dtype)


@SIZES
@KINDS
def test_masked_correlations(golden, n, dtype):
    bad = ~golden[f"mask{n}"]
    da = maps(golden[f"diff{n}"], dtype)
    out = ops.correlate_angular(da, bad_pixels=bad)
    close(out.correlation, golden[f"masked_auto{n}"], dtype)
    assert (out.n_pairs == golden[f"masked_pairs{n}"]).all()
    shots = maps(golden[f"s{n}"], dtype)
    out = ops.difference_correlation(
        shots, pairs.consecutive(shots.train), bad_pixels=bad
    )
    close(out.correlation, golden[f"masked_auto{n}"].mean(0), dtype)
    assert (out.n_pairs == 5 * golden[f"masked_pairs{n}"]).all()


def test_cosine_of_psi(golden):
    # Gold {111} with itself, and with a ring at 3.08: the product of the two sines is
    # what the golden axis has between its extremes.
    result = xr.Dataset(
        {"correlation": (("radius", "lag"), np.zeros((1, 64)))},
        {"q": ("radius", [2.67]), "lag": 2 * np.pi * np.arange(64) / 64},
    )
    own = ops.to_cos_psi(result, wavelength=1.44).cos_psi[0]
    np.testing.assert_allclose(own, golden["cpsi"], atol=1e-9)
    other = ops.to_cos_psi(result.assign_coords(lead_q=3.08), wavelength=1.44)
    np.testing.assert_allclose(other.cos_psi[0], golden["cpsi_12"], atol=1e-9)


def test_gold_rings_of_a_real_run(misc):
    good = misc["bragg_mask"]
    x = misc["bragg_rings"].astype(float)
    x = (x / x[:, good].mean(axis=1)[:, None])[:, None]
    for dtype in ("f8", "f4"):
        da = maps(x, dtype, 5)
        out = ops.difference_correlation(
            da, pairs.consecutive(da.train), bad_pixels=~good[None]
        )
        close(out.correlation[0], misc["bragg_masked_auto_mean"], dtype)
        assert (out.n_pairs[0] == 13 * misc["bragg_pairs"]).all()


def test_greedy_pairs(misc):
    found = pairs.similar(misc["pair_features"], coord=np.arange(21))
    np.testing.assert_array_equal(found, misc["pair_greedy_loki"])
    np.testing.assert_allclose(found.distance, misc["pair_greedy_dist"])
    best = pairs.similar(misc["pair_features"], coord=np.arange(21), method="minimum")
    assert float(best.distance.sum()) < misc["pair_greedy_dist"].sum()


@pytest.mark.parametrize("threshold", [3.0, 3.5])
def test_outliers(misc, threshold):
    x = misc["outlier_in"]
    expected = misc[f"outlier_{threshold}"]
    found = ops.flag_outliers(xr.DataArray(x, dims="train"), threshold=threshold)
    np.testing.assert_array_equal(found, expected)
    assert (abs(outliers.modified_z(x)) > threshold).sum() == expected.sum()


def test_tutorial_end_to_end():
    table = dict(np.load(HERE / "tutorial_end_to_end.npz"))
    good, listed = table["polar_mask"], table["pairs"]
    da = maps(table["polar_normalised"], "f4", 16)
    out = ops.difference_correlation(da, listed, bad_pixels=~good).compute()
    expected = table["diff_autocorr_mean"]
    np.testing.assert_allclose(
        out.correlation, expected, rtol=1e-4, atol=1e-6 * np.nanmax(expected)
    )
    assert (out.n_pairs == 49 * table["pairs_per_lag"]).all()
    ring = out.correlation[6:9].mean("radius")
    for low, high, peak in ((60, 90, 74.66), (100, 135, 118.10)):
        lag = np.rad2deg(out.lag)
        near = ring.where((lag > low) & (lag < high), -np.inf)
        assert abs(float(lag[int(near.argmax("lag"))]) - peak) < 1.5


def test_peaks_lie_where_pairs_of_spots_were_put():
    """Spots at phi0 and phi0 + delta, of three crystals in each shot, and noise."""
    rng = np.random.default_rng(8)
    n_phi, delta = 401, np.deg2rad(63.0)
    phi = 2 * np.pi * np.arange(n_phi) / n_phi
    shots = np.zeros((300, 1, n_phi))
    for shot in shots[:, 0]:
        for start in rng.random(3) * 2 * np.pi:
            for at in (start, start + delta):
                distance = np.angle(np.exp(1j * (phi - at)))
                shot += 15 * np.exp(-0.5 * (distance / 0.02) ** 2)
    shots = rng.poisson(shots + 50 + 20 * np.cos(2 * phi)).astype("f4")
    shots[:, :, 150:180] = np.nan
    da = maps(shots, "f4", 64)
    out = ops.difference_correlation(da, pairs.disjoint(da.train))
    lag = np.rad2deg(out.lag)
    near = out.correlation[0].where((lag > 20) & (lag < 160), -np.inf)
    assert abs(float(lag[int(near.argmax("lag"))]) - 63.0) < 1.5
    assert float(near.max()) > 5 * float(out.sem[0, int(near.argmax("lag"))])
