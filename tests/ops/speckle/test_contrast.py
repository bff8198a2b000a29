"""Photon statistics and contrast: loops, known modes, and pulls of width 1."""

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize_scalar
from scipy.stats import nbinom

from tests.support.step_frames import bad_pixels, frames
from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError, MissingConstantError
from xfelred.synth import speckle

pytestmark = pytest.mark.slow

AXES = ("module", "slow_scan", "fast_scan")


def counted(chunks=3, dtype=np.float32, layout="train"):
    da = (frames(chunks, layout=layout, missing=0.1) - 1000) / 10
    da = da.assign_attrs(units="photon")
    return da if dtype == np.float32 else da.clip(0).fillna(0).astype(dtype)


def ring_numbers():
    rng = np.random.default_rng(1)
    return xr.DataArray(rng.integers(-1, 3, (2, 7, 9)), dims=AXES)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_counts_are_those_of_a_loop(dtype, no_compute):
    da, bad, rings = counted(dtype=dtype), bad_pixels(), ring_numbers()
    with no_compute():
        found = ops.photon_statistics(da, rings, max_photons=3, bad_pixels=bad)
    assert found["histogram"].dims == (*da.dims[:2], "ring", "k")
    values = np.floor(da.values.astype(float)[:, 0] + 0.5).clip(0)
    for r in range(3):
        use = (rings.values == r) & ~bad.values[::-1]
        for k in range(4):
            wanted = ((values == k) & use).sum(axis=(1, 2, 3))
            np.testing.assert_array_equal(found["histogram"][:, 0, r, k], wanted)
        above = ((values > 3) & use).sum(axis=(1, 2, 3))
        np.testing.assert_array_equal(found["n_above"][:, 0, r], above)
        low = np.where(use & (values <= 3), values, np.nan)
        np.testing.assert_allclose(found["k_mean"][:, 0, r], np.nanmean(low, (1, 2, 3)))


@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize("chunks", [None, 1, 11])
def test_chunks_make_no_difference(chunks, layout):
    one = ops.photon_statistics(counted(3), ring_numbers())
    other = ops.photon_statistics(counted(chunks, layout=layout), ring_numbers())
    np.testing.assert_array_equal(
        one["histogram"].values.ravel(), other["histogram"].values.ravel()
    )
    edges = [0, 0.6, 0.8, 2]
    fits = [ops.speckle_contrast(s, k_edges=edges).compute() for s in (one, other)]
    xr.testing.assert_identical(*(f.drop_attrs() for f in fits))


def test_frames_can_be_added_up():
    da = counted()
    each = ops.photon_statistics(da, ring_numbers())
    both = ops.photon_statistics(da, ring_numbers(), dim=["train", "pulse"])
    wanted = each["histogram"].sum(["train", "pulse"])
    np.testing.assert_array_equal(both["histogram"], wanted)
    np.testing.assert_allclose(both["probability"].sum("k"), 1)
    with pytest.raises(ArgumentError, match="added up"):
        ops.speckle_contrast(both)


def test_the_fit_is_the_highest_likelihood():
    # Of many pixels, for which the correction of the means is nothing.
    da = speckle.photons(shape=(1, 300, 300), n_trains=2, pulses=[0], modes=3, jitter=1)
    ring = xr.zeros_like(da[0, 0], int)
    found = ops.speckle_contrast(ops.photon_statistics(da, ring, max_photons=40))

    def likelihood(contrast):
        total = 0.0
        for frame in da.values:
            m = 1 / contrast
            total -= nbinom.logpmf(frame, m, m / (m + frame.mean())).sum()
        return total

    wanted = minimize_scalar(likelihood, (0.2, 0.4)).x
    assert float(found["contrast"][0]) == pytest.approx(wanted, rel=2e-4)
    assert float(found["modes"][0]) == pytest.approx(1 / wanted, rel=2e-4)
    step = 1e-3
    near = [likelihood(wanted + d) for d in (-step, 0, step)]
    curvature = (near[0] - 2 * near[1] + near[2]) / step**2
    assert float(found["contrast_error"][0]) == pytest.approx(curvature**-0.5, rel=1e-2)


@pytest.mark.parametrize(("modes", "k_mean"), [(1, 0.1), (2, 0.8), (20, 0.3)])
def test_pulls_have_the_mean_0_and_the_width_1(modes, k_mean):
    # Frames of few pixels, where their means matter.
    n = 120
    da = speckle.photons(
        shape=(1, 5, 12 * n), n_trains=60, pulses=[0], modes=modes, k_mean=k_mean,
        jitter=0.5, seed=modes,
    )  # fmt: skip
    rings = xr.zeros_like(da[0, 0], int) + xr.DataArray(
        np.arange(12 * n) // 12, dims="fast_scan"
    )
    found = ops.speckle_contrast(ops.photon_statistics(da, rings))
    pulls = ((found["contrast"] - 1 / modes) / found["contrast_error"]).values
    assert np.isfinite(pulls).all()
    assert abs(pulls.mean()) < 3.5 / np.sqrt(n)
    assert pulls.std() == pytest.approx(1, abs=3.5 / np.sqrt(2 * n))


def test_contrast_does_not_depend_on_the_rate_of_counts():
    da = speckle.photons(n_trains=60, pulses=[0], modes=2, jitter=0.7)
    found = ops.photon_statistics(da, xr.zeros_like(da[0, 0], int), max_photons=60)
    fit = ops.speckle_contrast(found, k_edges=[0, 0.2, 0.5, 1, 5, 6]).isel(ring=0)
    assert fit["n_frames"].sum() == 60
    assert fit["contrast"][-1].isnull() == (fit["n_frames"][-1] == 0)
    pulls = ((fit["contrast"] - 0.5) / fit["contrast_error"])[:4]
    assert (abs(pulls) < 3.5).all()
    inside = (fit["k_mean"] > fit["k_edge_low"]) & (fit["k_mean"] < fit["k_edge_high"])
    assert inside[:4].all()


def test_rings_without_good_pixels_have_no_statistics():
    found = ops.photon_statistics(counted() * np.nan, ring_numbers())
    assert not found["n_pixels"].any()
    assert found["probability"].isnull().all()
    assert found["k_mean"].isnull().all()
    fit = ops.speckle_contrast(found)
    assert fit["contrast"].isnull().all()
    assert not fit["n_frames"].any()


def test_no_pixel_with_two_photons_has_no_contrast():
    da = xr.DataArray(np.eye(4)[None, None, None], dims=("train", "pulse", *AXES))
    fit = ops.speckle_contrast(ops.photon_statistics(da, xr.zeros_like(da[0, 0], int)))
    assert fit["contrast"].isnull().all()
    assert int(fit["n_pixels"][0]) == 16


def test_rings_of_q(no_compute):
    da = counted()
    q = xr.DataArray(np.linspace(0, 1, 126).reshape(2, 7, 9), dims=AXES)
    located = da.assign_coords(q=q)
    found = ops.photon_statistics(located, [0.2, 0.4, 0.81])
    numbers = xr.DataArray(np.digitize(q, [0.2, 0.4, 0.81]) - 1, dims=AXES)
    wanted = ops.photon_statistics(da, numbers.where(numbers < 2, -1))
    np.testing.assert_array_equal(found["histogram"], wanted["histogram"])
    np.testing.assert_allclose(found["q"], [0.3, 0.605])


def test_only_a_whole_histogram_is_fitted():
    counts = ops.photon_statistics(counted(), ring_numbers())
    for part in (slice(1, None), slice(None, None, -1)):
        with pytest.raises(ArgumentError, match="must be whole"):
            ops.speckle_contrast(counts.isel(k=part))


def test_bad_input_is_refused():
    da, rings = counted(), ring_numbers()
    with pytest.raises(MissingConstantError, match="locate"):
        ops.photon_statistics(da, 4)
    with pytest.raises(ArgumentError, match="no ring"):
        ops.photon_statistics(da, rings * 0 - 1)
    with pytest.raises(ArgumentError, match="integers"):
        ops.photon_statistics(da, rings * 1.0)
    with pytest.raises(GeometryMismatchError):
        ops.photon_statistics(da, rings[:, :5])
    with pytest.raises(ArgumentError, match="max_photons=0"):
        ops.photon_statistics(da, rings, max_photons=0)
    with pytest.raises(ArgumentError, match="k_edges"):
        ops.speckle_contrast(ops.photon_statistics(da, rings), k_edges=[1, 0])
    with pytest.raises(ArgumentError, match="histogram"):
        ops.speckle_contrast(xr.Dataset())
