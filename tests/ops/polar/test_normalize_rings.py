"""Ring normalization against xarray's own means of good samples."""

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import GeometryMismatchError
from xfelred.ops import normalize_rings

DIMS = ("train", "radius", "phi")


def polar(dtype=np.float32, missing=0.2, n=7):
    rng = np.random.default_rng(0)
    values = rng.normal(20, 8, (n, 5, 31))
    if np.dtype(dtype).kind == "f":
        values[rng.random(values.shape) < missing] = np.nan
    coords = {"train": np.arange(n), "radius": 3.5 + np.arange(5)}
    attrs = {"units": "photon", "history": "made {}"}
    return xr.DataArray(values.astype(dtype), coords, DIMS, attrs=attrs)


def by_hand(p, how):
    p = p.astype(float)
    mean = p.mean("phi")
    return {
        "mean": lambda: p / mean,
        "subtract": lambda: p - mean,
        "contrast": lambda: (p - mean) / mean,
        "zscore": lambda: (p - mean) / p.std("phi"),
        "shot": lambda: p / p.mean(["radius", "phi"]),
    }[how]()


HOWS = ("mean", "subtract", "contrast", "zscore", "shot")


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("per_chunk", [1, 3, 7])
def test_result_does_not_depend_on_chunks(how, per_chunk, no_compute):
    p = polar()
    with no_compute():
        out = normalize_rings(p.chunk(train=per_chunk), how=how)
    np.testing.assert_allclose(out, by_hand(p, how), rtol=2e-5, atol=1e-5)
    xr.testing.assert_identical(out.compute(), normalize_rings(p, how=how).compute())


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int32])
def test_precision_is_kept(how, dtype):
    p = polar(dtype)
    out = normalize_rings(p, how=how)
    assert out.dtype == (np.float64 if dtype == np.float64 else np.float32)
    tolerance = 1e-10 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(out, by_hand(p, how), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("how", "mean", "std"),
    [("mean", 1, None), ("subtract", 0, None), ("contrast", 0, None), ("zscore", 0, 1)],
)
def test_mean_over_good_azimuths(how, mean, std):
    out = normalize_rings(polar(np.float64), how=how)
    np.testing.assert_allclose(out.mean("phi"), mean, atol=1e-12)
    if std is not None:
        np.testing.assert_allclose(out.std("phi"), std, atol=1e-12)


def test_bad_samples_do_not_count_and_negative_ones_do():
    p = polar(missing=0.0) - 25  # most are negative
    bad = np.random.default_rng(1).random((5, 31)) < 0.3
    expected = by_hand(p.where(~bad), "mean")
    given = xr.DataArray(bad, dims=DIMS[1:])
    for form in (
        bad,
        given,
        given.astype(np.uint32) << 4,
        given.chunk(),
        given.expand_dims(train=p.train),
        given.assign_coords(radius=p.radius)[::-1],
    ):
        out = normalize_rings(p, bad_pixels=form)
        np.testing.assert_allclose(out, expected, rtol=2e-5)
    assert (expected < 0).any()


def test_rings_without_a_scale_are_nan():
    p = polar(np.float64, missing=0.0)
    p[0, 1] = np.nan
    p[0, 2] = 0.0
    p[0, 3] = np.r_[np.ones(15), -np.ones(15), 0.0]
    p[0, 4] = 7.0
    out = normalize_rings(p)
    np.testing.assert_array_equal(
        np.isnan(out[0]).all("phi"), [False, True, True, True, False]
    )
    np.testing.assert_array_equal(out[0, 4], 1)
    score = normalize_rings(p, how="zscore")
    np.testing.assert_array_equal(
        np.isnan(score[0]).all("phi"), [False, True, True, False, True]
    )
    np.testing.assert_array_equal(normalize_rings(p, how="subtract")[0, 2], 0)
    assert np.isnan(normalize_rings(p * np.nan, how="shot")).all()


def test_the_input_is_not_modified():
    p = polar(np.float64)
    before = p.copy(deep=True)
    normalize_rings(p, bad_pixels=np.ones((5, 31), bool)).compute()
    xr.testing.assert_identical(p, before)


def test_result_is_labelled():
    out = normalize_rings(polar().transpose("phi", "train", "radius"))
    assert out.dims == ("phi", "train", "radius")
    assert out.attrs["units"] == "1"
    assert normalize_rings(polar(), how="subtract").attrs["units"] == "photon"
    assert out.attrs["long_name"]
    assert out.name == "polar"
    lines = out.attrs["history"].splitlines()
    assert [line.split()[0] for line in lines] == ["made", "normalize_rings"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"how": "median"}, ValueError, "how='median'.*'zscore'"),
        ({"eps": -1}, ValueError, "eps=-1"),
        ({"bad_pixels": np.zeros((5, 30), bool)}, GeometryMismatchError, r"\(5, 30\)"),
        ({"bad_pixels": np.zeros((5, 31))}, ValueError, "bool or integer"),
    ],
)
def test_wrong_options_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        normalize_rings(polar(), **change)


def test_arrays_that_are_not_polar_are_refused():
    with pytest.raises(GeometryMismatchError, match="remap_polar"):
        normalize_rings(polar().rename(phi="x"))


@pytest.mark.parametrize("how", HOWS)
def test_infinite_values_are_left_out(how):
    clean = polar()
    da = clean.copy()
    da[2, 3, 4] = np.inf
    clean[2, 3, 4] = np.nan
    np.testing.assert_allclose(
        normalize_rings(da, how=how), normalize_rings(clean, how=how), rtol=1e-6
    )
