"""Correlation of images: a loop over shifts, and smalldata_tools."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import bad_pixels, frames, plain
from xfelred import masks, ops
from xfelred.errors import GeometryMismatchError

GOLDEN = Path(__file__).parents[2] / "golden/data/lcls/acf_autocorr.npz"
PIXELS = ("slow_scan", "fast_scan")


def by_hand(a, b, bad):
    """Over pairs of good pixels, at every shift; the box wraps round."""
    good = ~bad & ~np.isnan(a) & ~np.isnan(b)
    a, b = np.where(good, a, 0), np.where(good, b, 0)
    out = np.zeros(a.shape)
    for y, x in np.ndindex(out.shape):
        shift = (y - a.shape[0] // 2, x - a.shape[1] // 2)
        both = np.roll(b, shift, (0, 1))
        there = np.roll(good, shift, (0, 1))
        n = (good & there).sum()
        below = (a * there).sum() * (both * good).sum()
        out[y, x] = (a * both).sum() * n / below if below else 0
    return out


@pytest.mark.parametrize("chunks", [None, 1, 4])
@pytest.mark.parametrize("two", [False, True])
def test_correlations_are_those_of_a_loop(two, chunks, no_compute):
    da, bad = frames(chunks, missing=0.05), bad_pixels()
    other = (da.roll(train=1, roll_coords=False) * 2) if two else None
    with no_compute():
        made = ops.autocorrelate(da, other=other, bad_pixels=bad, roi=[(0, 7), (1, 9)])
    assert made.dims == (*da.dims[:3], "shift_slow", "shift_fast")
    partner = da if other is None else other
    cut = (slice(None), slice(1, 9))
    for i, (a, b) in enumerate(zip(plain(da), plain(partner), strict=True)):
        for m in range(2):
            wanted = by_hand(a[m][cut], b[m][cut], bad.values[::-1][m][cut])
            np.testing.assert_allclose(made[i, 0, m], wanted, rtol=1e-9)
    assert made.shift_slow[3] == made.shift_fast[4] == 0


@pytest.mark.parametrize("dtype", ["f8", "f4", "u2"])
@pytest.mark.parametrize("shape", [(2, 7, 9), (2, 6, 8), (1, 6, 7), (1, 7, 8)])
@pytest.mark.parametrize("two", [False, True])
def test_whole_images_are_correlated_as_those_with_gaps(two, shape, dtype):
    da = frames(4, dtype=dtype, shape=shape)
    other = (da.roll(train=1, roll_coords=False) * 2) if two else None
    found = ops.autocorrelate(da, other=other)
    none = np.zeros(shape[1:], bool)
    partner = da if other is None else other
    tight = 1e-9 if dtype == "f8" else 1e-7
    for i, (a, b) in enumerate(zip(plain(da), plain(partner), strict=True)):
        wanted = [by_hand(*pair, none) for pair in zip(a, b, strict=True)]
        np.testing.assert_allclose(found[i, 0], wanted, rtol=tight)
    one = ops.autocorrelate(da.isel(train=[3]), other=other)
    np.testing.assert_array_equal(one[0], found[3])
    if dtype != "u2":  # whose squares no float32 holds
        large = None if other is None else other * 1e30
        again = ops.autocorrelate(da[:2] * 1e30, other=large)
        np.testing.assert_allclose(again, found[:2], rtol=1e-6)
    dark = ops.autocorrelate(xr.zeros_like(da))
    assert (dark == 0).all()


def test_bits_do_not_depend_on_the_gaps_of_other_frames():
    da = frames(4, dtype="f4").assign_coords(available=("train", np.arange(11) != 4))
    found = ops.autocorrelate(da)
    np.testing.assert_array_equal(found[:4], ops.autocorrelate(da[:4]))


def test_correlation_is_that_of_smalldata_tools():
    with np.load(GOLDEN) as file:
        frame = xr.DataArray(file["image"], dims=PIXELS)
        good, wanted = file["mask"], file["autocorr_fourier"]
    found = ops.autocorrelate(frame, bad_pixels=masks.from_good(good))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_a_round_region_and_a_region_without_good_pixels():
    da = frames(3)
    outside = masks.circle((7, 9), (3, 4), 2)
    found = ops.autocorrelate(da, bad_pixels=outside)
    assert found.sizes["shift_slow"] == found.sizes["shift_fast"] == 5
    with pytest.raises(GeometryMismatchError, match="no pixel is good"):
        ops.autocorrelate(da, bad_pixels=np.ones((7, 9), bool))
    assert ops.autocorrelate(da.isel(train=slice(0, 0))).shape[0] == 0
