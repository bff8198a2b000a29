"""Regions of interest: numpy, frame by frame."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import bad_pixels, frames, plain
from xfelred import GeometryMismatchError, ops

CUT = (slice(0, 2), slice(2, 6), slice(3, 9))
BOUNDS = [(2, 6), (3, 20)]


def by_hand(frame, bad, low=None, high=None):
    x = frame.copy()
    if low is not None:
        x[frame < low] = 0
    if high is not None:
        x[frame > high] = 0
    good = ~bad & ~np.isnan(x)
    total = x[good].sum()
    index = np.indices(x.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        com = [(x * i)[good].sum() / total for i in index[-2:]]
    return total, total / x.size, x[good].max() if good.any() else np.nan, *com


@pytest.mark.parametrize("chunks", [None, 1, 3, 11])
@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize("threshold", [None, 990, (990, 1010)])
def test_quantities_are_those_of_a_loop(chunks, layout, threshold):
    da = frames(chunks, missing=0.1, layout=layout)
    bad = bad_pixels()
    found = ops.roi(
        da,
        BOUNDS,
        threshold=threshold,
        bad_pixels=bad,
        saturation=1020,
        write_area=True,
    ).compute()
    low, high = threshold if isinstance(threshold, tuple) else (threshold, None)
    cut_bad = bad.values[::-1][CUT]
    wanted = [by_hand(f[CUT], cut_bad, low, high) for f in plain(da)]
    got = [found[k].values.ravel() for k in ("sum", "mean", "max")]
    got += [found.com[..., i].values.ravel() for i in range(2)]
    np.testing.assert_allclose(np.array(got).T, wanted, rtol=1e-9)
    saturated = [((f[CUT] >= 1020) & ~cut_bad).sum() for f in plain(da)]
    np.testing.assert_array_equal(found.nsat.values.ravel(), saturated)
    area = plain(da)[(slice(None), *CUT)]
    area = np.where(area < (low or -1), 0, area)
    area = np.where(area > (high or 1e9), 0, area)
    np.testing.assert_array_equal(plain(found.area), area)
    assert found["sum"].dims == da.dims[:-3]
    assert found.area.dims == da.dims


def test_bounds_of_modules_and_odd_bounds():
    da = frames(3)
    x = plain(da)
    found = ops.roi(da, [(1, 2), (-3, 4), (None, 5)])
    np.testing.assert_allclose(
        found["sum"][:, 0], x[:, 1, :4, :5].sum((1, 2)), rtol=1e-9
    )
    np.testing.assert_allclose(ops.roi(da)["mean"][:, 0], x.mean((1, 2, 3)), rtol=1e-9)
    same = ops.roi(da, np.array([[0, 2], [0, 7], [0, 9]]))
    xr.testing.assert_allclose(same.drop_attrs(), ops.roi(da).drop_attrs())


def test_whole_numbers_stay_whole():
    da = frames(3, np.uint16)
    found = ops.roi(da, BOUNDS, write_area=True, threshold=1000).compute()
    assert found["sum"].dtype == np.int64
    assert found.area.dtype == np.uint16
    assert found["mean"].dtype == np.float64
    assert ops.roi(frames(3))["max"].dtype == np.float32


def test_one_image_and_two_dims():
    image = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("slow_scan", "fast_scan"))
    found = ops.roi(image, [(1, 3), (0, 2)])
    assert float(found["sum"]) == 4 + 5 + 8 + 9
    assert found["sum"].dims == ()
    com = by_hand(image.values[1:3, :2], np.zeros((2, 2), bool))[3:]
    np.testing.assert_allclose(found.com, com)
    assert found.com.com_axis.values.tolist() == ["slow_scan", "fast_scan"]


def test_all_bad_and_zero_regions():
    image = xr.DataArray(np.zeros((3, 4)), dims=("slow_scan", "fast_scan"))
    found = ops.roi(image)
    assert float(found["max"]) == 0
    assert np.isnan(found.com).all()
    bad = xr.ones_like(image, bool)
    found = ops.roi(image + 1, bad_pixels=bad, saturation=0)
    assert [float(found[k]) for k in ("sum", "mean", "nsat")] == [0, 0, 0]
    assert np.isnan(found["max"])


def test_bad_pixels_of_every_frame():
    da = frames(3)
    bad = (da > 1000).compute()
    found = ops.roi(da, bad_pixels=bad)["max"]
    x = plain(da)
    np.testing.assert_array_equal(
        found[:, 0], np.where(x > 1000, -1, x).max(axis=(1, 2, 3))
    )


def test_sum_does_not_lose_digits():
    values = np.full((2000, 900), 16777217 / 7, np.float32)
    image = xr.DataArray(values, dims=("slow_scan", "fast_scan"))
    wanted = image.values.astype(float).sum()
    assert float(ops.roi(image)["sum"]) == pytest.approx(wanted, rel=1e-12)


def test_result_is_labelled_and_lazy(no_compute):
    da = frames(3)
    with no_compute():
        out = ops.roi(da, BOUNDS, write_area=True, bad_pixels=bad_pixels())
    for name, v in out.data_vars.items():
        assert v.chunks is not None, name
        assert v.attrs["units"]
        assert v.attrs["long_name"]
    assert list(out.data_vars) == ["sum", "mean", "max", "com", "area"]
    assert out["sum"].attrs["units"] == "adu"
    assert list(out.step.values) == list(da.step.values)
    assert out.attrs["history"].splitlines()[1].startswith("roi {")


@pytest.mark.parametrize(
    ("bounds", "error", "text"),
    [
        ([(2, 6)], GeometryMismatchError, "1 pairs"),
        ([(7, 9), (0, 3)], GeometryMismatchError, "hold no pixel"),
        ([(3, 3), (0, 3)], GeometryMismatchError, "hold no pixel"),
        ([(0, 1), (0, 3), (0, 3), (0, 1)], GeometryMismatchError, "4 pairs"),
        ([(0, 1.5), (0, 3)], ValueError, "whole numbers"),
        ([2, 6], ValueError, "pairs of whole"),
    ],
)
def test_regions_that_make_no_sense(bounds, error, text):
    with pytest.raises(error, match=text):
        ops.roi(frames(3), bounds)


def test_other_wrong_arguments():
    da = frames(3)
    with pytest.raises(ValueError, match="low is above high"):
        ops.roi(da, threshold=(5, 1))
    with pytest.raises(GeometryMismatchError, match="need slow_scan"):
        ops.roi(da[..., 0])
    with pytest.raises(GeometryMismatchError, match="3 pairs"):
        ops.roi(da[:, 0, 0].drop_vars("module"), [(0, 1), (0, 2), (0, 2)])
    with pytest.raises(GeometryMismatchError, match="bad_pixels"):
        ops.roi(da, BOUNDS, bad_pixels=np.zeros((4, 4), bool))
