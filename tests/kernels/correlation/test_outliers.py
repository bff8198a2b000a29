"""Robust scores."""

import numpy as np
import pytest

from xfelred.kernels.correlation import outliers


def test_score_is_that_of_iglewicz_and_hoaglin():
    x = np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3])
    median = np.median(x)
    mad = np.median(abs(x - median))
    np.testing.assert_allclose(outliers.modified_z(x), 0.6745 * (x - median) / mad)


def test_equal_values_do_not_divide_by_zero():
    x = np.array([[1.0] * 9 + [50.0], [3.0] * 10])
    score = outliers.modified_z(x)
    assert score[0, -1] > 3.5
    assert (score[0, :-1] == 0).all()
    assert (score[1] == 0).all()


def test_nan_and_infinite_values_have_no_score():
    x = np.array([1.0, 2.0, np.nan, 3.0, np.inf])
    score = outliers.modified_z(x)
    assert np.isnan(score[[2, 4]]).all()
    np.testing.assert_allclose(score[[0, 1, 3]], outliers.modified_z(x[[0, 1, 3]]))
    assert np.isnan(outliers.modified_z(np.full(3, np.nan))).all()


def test_score_of_normal_noise_is_in_standard_deviations():
    x = np.random.default_rng(0).normal(7, 3, 20_000)
    np.testing.assert_allclose(outliers.modified_z(x), (x - 7) / 3, atol=0.2)


def test_strongest_leaves_out_lags_around_0_on_both_sides():
    x = np.zeros((1, 10))
    x[0, [0, 1, 9]], x[0, 4] = 5, -2
    assert outliers.strongest(x, skip=2) == [2.0]
    assert outliers.strongest(x, skip=1) == [5.0]
    assert np.isnan(outliers.strongest(np.full((1, 10), np.nan), skip=1))
    assert np.isnan(outliers.strongest(x, skip=6))


def test_peak_lies_between_rings():
    radius = np.arange(9)
    frames = (10 - (radius - 4.3) ** 2)[None, :, None] * np.ones((1, 9, 4))
    frames[0, 4, 1] = np.nan
    found = outliers.ring_features(frames)[0]
    assert found[1] == pytest.approx(4.3)
    np.testing.assert_allclose(found[2:], 10 - (radius - 4.3) ** 2)
    assert np.isnan(outliers.ring_features(np.full((1, 3, 2), np.nan))).all()


def test_peak_at_the_edge_stays_there():
    profile = np.array([[3.0, 2, 1], [1, 2, 3], [np.nan, 1, np.nan]])
    np.testing.assert_array_equal(outliers.peak_position(profile), [0, 2, 1])
