"""Outliers of bins, against a plain loop."""

import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops

N = 400


def shots():
    rng = np.random.default_rng(3)
    delay = rng.integers(0, 5, N) + 0.5
    values = 100 * delay + rng.normal(size=N)
    values[::37] += 50
    values[5] = np.nan
    values[6] = np.inf
    coords = {"train": 7 + 3 * np.arange(N), "delay": ("train", delay)}
    return xr.DataArray(values, coords, "train")


@pytest.mark.parametrize("n_sigma", [2.0, 5.0])
def test_equals_a_loop_over_bins(n_sigma):
    values = shots()
    where = xr.DataArray(np.arange(N) % 4 > 0, {"train": values.train}, "train")
    by = {"delay": xf.Bins(edges=[0, 1, 2, 3, 4])}  # the last bin is left out
    got = ops.reject_outliers(values, by, where=where, n_sigma=n_sigma)
    expected = np.zeros(N, bool)
    for low in range(4):
        here = where.values & np.isfinite(values.values)
        here &= (values.delay.values >= low) & (values.delay.values < low + 1)
        mine = values.values[here]
        apart = abs(mine - np.median(mine))
        expected[here] = apart <= n_sigma * 1.4826 * np.median(apart)
    np.testing.assert_array_equal(got, expected)
    assert got.sum() > 150


def test_outliers_are_found_and_the_cube_is_free_of_them():
    values = shots()
    by = {"delay": xf.Bins(start=0, stop=5, step=1)}
    good = ops.reject_outliers(values, by)
    assert not good[::37].any()
    cube = ops.bin_frames(values.rename("v"), by, where=good, quantities=("mean",))
    np.testing.assert_allclose(cube.v_mean, 100 * cube.delay, atol=0.5)


def test_pulses_and_shots_in_no_bin():
    values = xr.DataArray(
        [[1.0, 1.1, 9.0], [0.9, 1.0, 1.05]],
        {"train": [1, 2], "pulse": [0, 4, 8]}, ("train", "pulse"),
    )  # fmt: skip
    np.testing.assert_array_equal(
        ops.reject_outliers(values, {}), [[True, True, False], [True, True, True]]
    )
    none = ops.reject_outliers(shots(), {"delay": xf.Bins(edges=[90, 91])})
    assert not none.any()


def test_equal_values_have_no_spread():
    values = xr.DataArray([2.0, 2.0, 2.0, 3.0], {"train": range(4)}, "train")
    assert ops.reject_outliers(values, {}).all()


def test_bad_input():
    values = shots()
    with pytest.raises(ValueError, match="n_sigma=0"):
        ops.reject_outliers(values, {}, n_sigma=0)
    with pytest.raises(ValueError, match="one number per shot"):
        ops.reject_outliers(values.expand_dims(x=2), {})
