"""Statistics of groups of frames: a loop over the groups."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import STEPS, bad_pixels, frames, plain
from xfelred import ops

BOTH = ("train", "pulse")


def by_hand(values, function, labels=STEPS):
    return np.array([function(values[labels == s]) for s in np.unique(labels)])


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_every_statistic_of_every_step(chunks, dtype):
    da = frames(chunks, dtype)
    which = ("mean", "std", "rms", "var", "sem", "count", "sum", "min", "max")
    found = ops.statistics(da, BOTH, which=which, by="step").compute()
    assert found["mean"].dims == ("step", "module", "slow_scan", "fast_scan")
    np.testing.assert_array_equal(found.step, [0, 3, 7])
    x = plain(da)
    for name in ("mean", "var", "sum", "min", "max"):
        wanted = by_hand(x, lambda v, name=name: getattr(v, name)(axis=0))
        np.testing.assert_allclose(found[name], wanted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        found.rms, by_hand(x, lambda v: v.std(axis=0)), rtol=1e-9
    )
    np.testing.assert_array_equal(found.rms, found["std"])
    sem = by_hand(x, lambda v: v.std(axis=0, ddof=1) / np.sqrt(len(v)))
    np.testing.assert_allclose(found.sem, sem, rtol=1e-9)
    np.testing.assert_array_equal(found["count"][:, 0, 0, 0], [4, 4, 3])
    assert found["count"].dtype == np.int64
    assert found["sum"].dtype == (np.int64 if dtype == np.uint16 else np.float64)
    assert found.rms.attrs["units"] == "adu"
    assert found.rms.attrs["long_name"]
    assert '"by": "step"' in found.attrs["history"]


def test_bad_pixels_and_nan_are_left_out():
    da = frames(2, missing=0.2)
    bad = bad_pixels()
    found = ops.statistics(
        da, BOTH, which=("mean", "count"), by="step", bad_pixels=bad
    ).compute()
    x = plain(da)
    x[:, bad.values[::-1]] = np.nan
    counts = by_hand(x, lambda v: (~np.isnan(v)).sum(axis=0))
    np.testing.assert_array_equal(found["count"], counts)
    with np.errstate(invalid="ignore"):
        means = by_hand(x, lambda v: np.nansum(v, axis=0)) / counts
    np.testing.assert_allclose(found["mean"], means, rtol=1e-9)


def test_groups_by_an_array_of_labels_joined_by_id():
    da = frames(4)
    laser = xr.DataArray(
        [1.0, 0.0, np.nan, 1.0], {"train": [59, 52, 50, 53]}, "train", name="laser"
    )
    with pytest.warns(UserWarning, match="no value for 7 of 11 train IDs"):
        found = ops.statistics(da, BOTH, which=("mean", "count"), by=laser).compute()
    np.testing.assert_array_equal(found.laser, [0, 1])
    x = plain(da)
    np.testing.assert_allclose(found["mean"], [x[2], x[[3, 9]].mean(axis=0)], rtol=1e-9)
    np.testing.assert_array_equal(found["count"][:, 0, 0, 0], [1, 2])


def test_dims_that_stay():
    da = frames(4)
    found = ops.statistics(da, which=("mean",), by="step")["mean"]
    assert found.dims == ("step", "pulse", "module", "slow_scan", "fast_scan")
    flat = frames(3, layout="frame")
    found = ops.statistics(flat, "frame", which=("mean",), by="step")["mean"]
    wanted = ops.statistics(da, BOTH, which=("mean",), by="step")["mean"]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_building_computes_nothing(no_compute):
    da = frames(3)
    with no_compute():
        ops.statistics(da, BOTH, by="step", bad_pixels=bad_pixels())


@pytest.mark.parametrize(
    ("by", "text"),
    [
        ("stepp", "Did you mean 'step'"),
        ("module", "is a dim that stays"),
        (xr.DataArray(np.arange(3), dims="train", name="x"), "has no train IDs"),
        (xr.DataArray(np.arange(11), dims="train"), "has no name"),
        (
            xr.DataArray(
                np.full(11, np.nan), {"train": np.arange(50, 61)}, "train", name="x"
            ),
            "no value",
        ),
        (xr.DataArray([1, 2], dims="shot", name="x"), "on shot"),
        (xr.DataArray([1, 2], {"train": [50, 50]}, "train", name="x"), "twice"),
    ],
)
def test_groups_that_do_not_exist(by, text):
    with pytest.raises(ValueError, match=text):
        ops.statistics(frames(3), BOTH, by=by)
    with pytest.raises(ValueError, match="ddof 0"):
        ops.statistics(frames(3), BOTH, which=("rms",), ddof=1)
