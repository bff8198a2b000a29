"""Shots and pairs that stand out."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops, pairs
from xfelred.errors import GeometryMismatchError


def shots(chunks=4):
    rng = np.random.default_rng(0)
    radius = 20.0 + np.arange(9)
    ring = np.exp(-((radius - 24.2) ** 2) / 4)
    x = 100 * ring[:, None] + rng.normal(0, 1, (30, 9, 24))
    x[3] *= 4  # bright
    x[11] = np.roll(x[11], 2, axis=0)  # ring elsewhere
    x[20, 4, [5, 12]] += 400  # two spots
    coords = {"train": 7 + np.arange(30), "radius": ("radius", radius, {"units": "mm"})}
    return xr.DataArray(x, coords, ("train", "radius", "phi")).chunk(train=chunks)


@pytest.mark.parametrize("chunks", [1, 7, 30])
def test_features_of_shots(chunks):
    da = shots(chunks)
    out = ops.shot_features(da)
    np.testing.assert_allclose(out["mean"], da.mean(("radius", "phi")))
    np.testing.assert_allclose(out.profile, da.mean("phi"))
    peak = np.delete(out.peak.values, 11)
    np.testing.assert_allclose(peak, 24.2, atol=0.2)
    assert out.peak.values[11] == pytest.approx(26.2, abs=0.2)
    assert out.peak.attrs["units"] == "mm"
    np.testing.assert_array_equal(out.train, da.train)
    assert out.attrs["history"].startswith("shot_features")


def test_flags_find_what_stands_out():
    features = ops.shot_features(shots())
    bright = ops.flag_outliers(features["mean"])
    assert np.flatnonzero(bright).tolist() == [3, 20]
    assert bright.dtype == bool
    assert bright.name == "outlier"
    moved = ops.flag_outliers(features.peak, threshold=8)
    assert 11 in np.flatnonzero(moved)
    assert ops.flag_outliers(features["mean"], side="low").sum() == 0
    assert np.flatnonzero(ops.flag_outliers(-features["mean"], side="low")).size == 2


@pytest.mark.parametrize("window", [0.0, 0.05])
def test_strong_correlations_are_found_away_from_lag_0(window):
    polar = ops.normalize_rings(shots())
    each = ops.correlate_angular(polar)
    found = ops.flag_strong_correlations(each, window=window)
    assert 20 in np.flatnonzero(found)
    assert found.dims == ("train",)
    listed = pairs.consecutive(polar.train)
    differences = ops.difference_correlation(polar, listed, reduce=None)
    found = ops.flag_strong_correlations(differences)
    assert {19, 20} <= set(np.flatnonzero(found).tolist())
    kept = listed.isel(pair=~found.values)
    ops.difference_correlation(polar, kept)


def test_distances_of_pairs_can_be_flagged():
    features = xr.DataArray(
        [0.0, 0.1, 1, 1.1, 2, 2.1, 3, 3.1, 4, 9], {"train": np.arange(10)}, ("train",)
    )
    found = pairs.similar(features)
    assert ops.flag_outliers(found.distance).values.tolist() == [False] * 4 + [True]


def test_nan_is_an_outlier():
    da = xr.DataArray([1.0, 2, np.nan, 1, 2, 1.5], dims="train")
    assert ops.flag_outliers(da).values.tolist() == [False, False, True] + [False] * 3
    empty = ops.correlate_angular(shots().where(shots().train != 9))
    assert ops.flag_strong_correlations(empty)[2]


@pytest.mark.parametrize("chunks", [1, 4, None])
def test_scores_do_not_depend_on_chunks(chunks, no_compute):
    x = xr.DataArray(np.random.default_rng(1).normal(size=(11, 3)), dims=("train", "q"))
    with no_compute():
        lazy = ops.modified_z(x.chunk(train=chunks) if chunks else x, "train")
        ops.flag_outliers(x.chunk(train=2), "train")
        ops.flag_strong_correlations(ops.correlate_angular(shots()))
        ops.shot_features(shots())
    assert lazy.dims == ("train", "q")
    off = x - x.median("train")
    expected = 0.6745 * off / abs(off).median("train")
    np.testing.assert_allclose(lazy, expected)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ops.modified_z(shots()), GeometryMismatchError, "name the one"),
        (lambda: ops.modified_z(shots(), "pair"), GeometryMismatchError, "dim='pair'"),
        (lambda: ops.flag_outliers(shots().train, side="up"), ValueError, "side='up'"),
        (
            lambda: ops.flag_outliers(shots().train, threshold=-1.0),
            ValueError, "threshold=-1.0",
        ),
        (
            lambda: ops.flag_strong_correlations(
                ops.correlate_angular(shots()), window=0.5
            ),
            ValueError, "window=0.5",
        ),
        (
            lambda: ops.flag_strong_correlations(
                ops.correlate_angular(shots(), reduce="mean")
            ),
            GeometryMismatchError, "dim=None",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_an_error_while_building(call, error, text):
    with pytest.raises(error, match=text):
        call()
