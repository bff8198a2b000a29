"""Lines, flux-normalised means and profiles: numpy, shot by shot."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import STEPS, bad_pixels, frames, plain
from xfelred import ops

IDS = 50 + np.arange(11)


def flux(values=None):
    rng = np.random.default_rng(9)
    values = rng.uniform(1, 3, 11) if values is None else values
    return xr.DataArray(
        values, {"train": IDS}, "train", name="flux", attrs={"units": "uJ"}
    )


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
def test_line_of_every_pixel_is_that_of_polyfit(chunks):
    da = frames(chunks)
    shuffled = flux()[::-1]
    found = ops.fit_linear(da, shuffled).compute()
    x, y = flux().values, plain(da).reshape(11, -1)
    slope, intercept = np.polyfit(x, y, 1)
    np.testing.assert_allclose(found.slope.values.ravel(), slope, rtol=1e-8)
    np.testing.assert_allclose(found.intercept.values.ravel(), intercept, rtol=1e-8)
    rest = ((y - intercept - slope * x[:, None]) ** 2).sum(axis=0)
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(found.r2.values.ravel(), 1 - rest / total, atol=1e-9)
    assert (found["count"] == 11).all()
    assert found.slope.attrs["units"] == "adu/(uJ)"


def test_line_against_a_coordinate_by_step_with_gaps():
    da = frames(3, missing=0.1)
    bad = bad_pixels()
    x = flux()
    found = ops.fit_linear(da, x, by="step", bad_pixels=bad).compute()
    y = plain(da)
    y[:, bad.values[::-1]] = np.nan
    for i, s in enumerate((0, 3, 7)):
        for at in ((0, 3, 4), (1, 2, 2), (1, 6, 8)):
            one = y[(s == STEPS, *at)]
            good = ~np.isnan(one)
            got = [float(found[k][(i, *at)]) for k in ("slope", "intercept", "count")]
            if good.sum() < 2:
                assert np.isnan(got[0])
                continue
            wanted = [*np.polyfit(x.values[s == STEPS][good], one[good], 1), good.sum()]
            np.testing.assert_allclose(got, wanted, rtol=1e-7)
    same = ops.fit_linear(da, "step_value", by="step")
    assert np.isnan(same.slope).all()  # the value is the same in a step


def test_exact_line_and_flat_line():
    x = flux()
    y = (3 * x - 2).rename("signal")
    found = ops.fit_linear(y, x).compute()
    got = [found.slope, found.intercept, found.r2]
    np.testing.assert_allclose(got, [3, -2, 1], rtol=1e-12)
    assert found.slope.dims == ()
    assert np.isnan(ops.fit_linear(x * 0 + 1, x).r2)
    assert ops.fit_linear(x * 0 + 1, x).slope == 0
    assert np.isnan(ops.fit_linear(x, x * 0 + 1).slope)


def test_shots_without_flux_are_left_out():
    da = frames(4)
    some = flux().isel(train=[1, 4, 6, 9])
    some[2] = np.nan
    with pytest.warns(UserWarning, match="no value for 7 of 11 train IDs"):
        found = ops.fit_linear(da, some).compute()
    assert (found["count"] == 3).all()
    slope, _ = np.polyfit(
        some.values[[0, 1, 3]], plain(da)[[1, 4, 9]].reshape(3, -1), 1
    )
    np.testing.assert_allclose(found.slope.values.ravel(), slope, rtol=1e-7)


@pytest.mark.parametrize("chunks", [None, 1, 3])
@pytest.mark.parametrize("how", ["ratio_of_sums", "mean_of_ratios"])
def test_mean_per_flux(chunks, how):
    da = frames(chunks, np.uint16)
    x, y = flux().values, plain(da)
    found = ops.mean_per_flux(da, flux()[::-1], how=how, by="step").compute()
    for i, s in enumerate((0, 3, 7)):
        a, b = y[s == STEPS], x[s == STEPS][:, None, None, None]
        wanted = a.sum(0) / b.sum(0) if how == "ratio_of_sums" else (a / b).mean(0)
        np.testing.assert_allclose(found["mean"][i], wanted, rtol=1e-12)
    assert found["mean"].attrs["units"] == "adu/(uJ)"
    np.testing.assert_array_equal(found["count"][:, 0, 0, 0], [4, 4, 3])
    whole = ops.mean_per_flux(da, flux(), how=how)["mean"]
    assert whole.dims == ("module", "slow_scan", "fast_scan")


def test_dark_shots_per_flux():
    values = flux().values
    values[2] = 0
    da = frames(3)
    ratio = ops.mean_per_flux(da, flux(values), how="mean_of_ratios").compute()
    assert (ratio["count"] == 10).all()
    sums = ops.mean_per_flux(da, flux(values)).compute()
    assert (sums["count"] == 11).all()
    np.testing.assert_allclose(sums["mean"], plain(da).sum(axis=0) / values.sum())
    none = ops.mean_per_flux(da, flux(values * 0))["mean"]
    assert np.isnan(none).all()


def test_profile_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    ids = {"train": np.arange(300)}
    x = xr.DataArray(rng.uniform(0, 5, 300), ids, dims="train", name="flux")
    y = xr.DataArray(2 * x.values + rng.normal(0, 1, 300), ids, dims="train")
    found = ops.profile(y.chunk(train=77), x, bins=7, range=(1, 4)).compute()
    edges = np.linspace(1, 4, 8)
    np.testing.assert_allclose(found.x, (edges[1:] + edges[:-1]) / 2)
    for i in range(7):
        some = y.values[(x.values >= edges[i]) & (x.values < edges[i + 1])]
        got = [found[k][i] for k in ("mean", "median", "std", "error", "count")]
        wanted = [
            some.mean(),
            np.median(some),
            some.std(),
            some.std() / len(some) ** 0.5,
        ]
        np.testing.assert_allclose(got, [*wanted, len(some)], rtol=1e-12)


def test_profile_of_nothing():
    x = xr.DataArray(np.full(5, np.nan), {"train": np.arange(5)}, dims="train")
    found = ops.profile(x, x, bins=3).compute()
    assert np.isnan(found["mean"]).all()
    np.testing.assert_array_equal(found["count"], 0)


def test_building_computes_nothing(no_compute):
    da = frames(3)
    mean = ops.roi(da)["mean"]
    with no_compute():
        ops.fit_linear(da, flux(), by="step")
        ops.mean_per_flux(da, flux())
        ops.mean_per_flux(da, flux(), how="mean_of_ratios", by="step")
        ops.profile(mean, flux())
        out = ops.fit_linear(mean, "step_value")
    assert out.slope.chunks is not None


def test_wrong_arguments():
    da = frames(3)
    with pytest.raises(ValueError, match="how="):
        ops.mean_per_flux(da, flux(), how="sum")
    with pytest.raises(ValueError, match=r"no coordinate.*Did you mean 'step_value'"):
        ops.fit_linear(da, "step_values")
    with pytest.raises(ValueError, match="has no train IDs"):
        ops.fit_linear(da, xr.DataArray(np.ones(4), dims="train"))
    with pytest.raises(ValueError, match="wanted numbers"):
        ops.fit_linear(da, flux().astype(str))
    with pytest.raises(ValueError, match="bins="):
        ops.profile(flux(), flux(), bins=0)
    with pytest.raises(ValueError, match="low below high"):
        ops.profile(flux(), flux(), range=(2, 2))
