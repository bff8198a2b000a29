"""Radial profiles against a loop over rings."""

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import GeometryMismatchError
from xfelred.ops import radial_profile

SHAPE = (23, 27)
CENTRE = (12.4, 9.7)
DIMS = ("train", "slow_scan", "fast_scan")


def frames(dtype=np.float32, missing=0.1, n=7):
    rng = np.random.default_rng(0)
    values = rng.poisson(30, (n, *SHAPE)).astype(dtype)
    if missing and np.dtype(dtype).kind == "f":
        values[rng.random(values.shape) < missing] = np.nan
    return xr.DataArray(values, {"train": np.arange(n)}, DIMS, attrs={"units": "adu"})


def by_hand(da, bad=None, n=None):
    y, x = np.indices(SHAPE)
    ring = np.floor(np.hypot(x - CENTRE[0], y - CENTRE[1])).astype(int)
    n = ring.max() + 1 if n is None else n
    mean, count = np.full((len(da), n), np.nan), np.zeros((len(da), n), int)
    for i, image in enumerate(da.values.astype(float)):
        good = np.isfinite(image) if bad is None else np.isfinite(image) & ~bad
        for r in range(n):
            inside = image[good & (ring == r)]
            count[i, r] = inside.size
            if inside.size:
                mean[i, r] = inside.mean()
    return mean, count


@pytest.mark.parametrize("per_chunk", [1, 3, 7, None])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_rings_are_those_of_a_loop(per_chunk, dtype, no_compute):
    da = frames(dtype)
    bad = np.random.default_rng(1).random(SHAPE) < 0.2
    lazy = da.chunk(train=per_chunk) if per_chunk else da
    with no_compute():
        out = radial_profile(lazy, CENTRE, bad_pixels=bad)
    mean, count = by_hand(da, bad)
    np.testing.assert_allclose(out.intensity, mean, rtol=1e-12)
    np.testing.assert_array_equal(out["count"], count)
    assert out["count"].dtype == np.int64


def test_masked_outermost_radii_are_nan_with_count_0():
    y, x = np.indices(SHAPE)
    bad = np.hypot(x - CENTRE[0], y - CENTRE[1]) > 8
    out = radial_profile(frames(missing=0), CENTRE, bad_pixels=bad)
    full = radial_profile(frames(missing=0), CENTRE)
    assert out.sizes == full.sizes
    assert np.isnan(out.intensity[:, 9:]).all()
    assert (out["count"][:, 9:] == 0).all()
    np.testing.assert_array_equal(out.intensity[:, :8], full.intensity[:, :8])
    nothing = radial_profile(frames(), CENTRE, bad_pixels=np.ones(SHAPE, bool))
    assert np.isnan(nothing.intensity).all()


@pytest.mark.parametrize("n", [5, 40])
def test_number_of_rings_may_be_given(n):
    out = radial_profile(frames(), CENTRE, n_radii=n)
    mean, count = by_hand(frames(), n=n)
    np.testing.assert_allclose(out.intensity, mean, rtol=1e-12)
    np.testing.assert_array_equal(out["count"], count)


def test_result_is_labelled():
    da = frames().expand_dims(pulse=[0], module=[0]).transpose("train", "pulse", ...)
    out = radial_profile(da, (*CENTRE, 9.0))
    assert out.intensity.dims == ("train", "pulse", "radius")
    np.testing.assert_array_equal(out.radius, np.arange(out.sizes["radius"]) + 0.5)
    assert out.intensity.attrs["units"] == "adu"
    assert out.radius.attrs["units"] == "pixel"
    assert out.attrs["history"].startswith("radial_profile ")
    one = radial_profile(frames()[2].rename(slow_scan="y", fast_scan="x"), CENTRE)
    np.testing.assert_allclose(one.intensity, by_hand(frames())[0][2], rtol=1e-12)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="two numbers"):
        radial_profile(frames(), (1.0,))
    with pytest.raises(ValueError, match="coordinate nan"):
        radial_profile(frames(), (np.nan, 1.0))
    with pytest.raises(ValueError, match="n_radii=0"):
        radial_profile(frames(), CENTRE, n_radii=0)
    with pytest.raises(GeometryMismatchError, match="2 modules"):
        radial_profile(frames(n=2).rename(train="module"), CENTRE)
    with pytest.raises(GeometryMismatchError, match=r"\(3, 3\)"):
        radial_profile(frames(), CENTRE, bad_pixels=np.zeros((3, 3), bool))
