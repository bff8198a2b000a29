"""Bad pixels replaced, against xarray's where and plain loops."""

import numpy as np
import pytest
import xarray as xr

from xfelred import masks, open_run, ops

DIMS = ("train", "module", "slow_scan", "fast_scan")


@pytest.fixture
def pixels():
    values = np.arange(96.0).reshape(4, 3, 2, 4)
    coords = {"train": [1, 2, 3, 4], "module": [0, 3, 7]}
    return xr.DataArray(values, dims=DIMS, coords=coords, attrs={"units": "adu"})


@pytest.fixture
def bits(pixels):
    found = xr.zeros_like(pixels.isel(train=0, drop=True), dtype="u4")
    found.loc[{"module": 3}] = masks.names["NO_DARK_DATA"]
    found.values[0, 0, 1] = masks.names["USER_2"] | 1
    return found


@pytest.mark.parametrize("lazy", [False, True])
def test_bad_pixels_become_nan(lazy, pixels, bits, no_compute):
    given = pixels.chunk(train=1) if lazy else pixels
    with no_compute():
        got = ops.apply_bad_pixels(given, bits)
    xr.testing.assert_equal(got, pixels.where(bits == 0))
    assert got.dims == pixels.dims
    assert got.dtype == pixels.dtype
    assert got.attrs["units"] == "adu"


@pytest.mark.parametrize(
    ("chosen", "number"),
    [("USER_2", 1 << 31), (["NO_DARK_DATA", 1], 9), (2, 2), ([], 0), (None, None)],
)
@pytest.mark.parametrize("dtype", ["u4", "i4", "u8"])
def test_only_the_chosen_bits_count(chosen, number, dtype, pixels, bits):
    got = ops.apply_bad_pixels(pixels, bits.astype(dtype), bits=chosen)
    flags = bits.values.astype("u8") & np.uint64(
        2**32 - 1 if number is None else number
    )
    want = np.where(flags, np.nan, pixels.values)
    np.testing.assert_array_equal(got.values, want)


def test_modules_are_looked_up_by_number(pixels, bits):
    want = pixels.where(bits == 0)
    got = ops.apply_bad_pixels(pixels, bits.isel(module=[2, 0, 1]))
    xr.testing.assert_equal(got, want)
    few = ops.apply_bad_pixels(pixels.sel(module=[7, 3]), bits)
    xr.testing.assert_equal(few, want.sel(module=[7, 3]))


def test_bits_of_another_module_are_refused(pixels, bits):
    with pytest.raises(ValueError, match="module"):
        ops.apply_bad_pixels(pixels.sel(module=[0]), bits.sel(module=[3]))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u8", "f2", ">f4"])
def test_data_of_any_dtype_keep_it(dtype, pixels, bits):
    got = ops.apply_bad_pixels(pixels.astype(dtype), bits != 0, value=7)
    want = np.where(bits.values, 7, pixels.values)
    assert got.values.dtype.newbyteorder("=") == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(got.values, want)


def test_integers_cannot_become_nan(pixels, bits):
    with pytest.raises(ValueError, match="cannot become nan"):
        ops.apply_bad_pixels(pixels.astype("u2"), bits)


@pytest.mark.parametrize("value", [-1, 70000, 2.5])
def test_a_value_that_does_not_fit_is_refused_at_once(value, pixels, bits, no_compute):
    with no_compute(), pytest.raises(ValueError, match="cannot become"):
        ops.apply_bad_pixels(pixels.astype("u2"), bits, value=value)


def test_masks_that_make_no_sense_are_refused(pixels, bits):
    with pytest.raises(ValueError, match="from_good"):
        ops.apply_bad_pixels(pixels, bits.astype("f4"))
    with pytest.raises(ValueError, match="without labels"):
        ops.apply_bad_pixels(pixels, bits.values[..., :-1])
    with pytest.raises(ValueError, match="bool"):
        ops.apply_bad_pixels(pixels, bits != 0, bits="USER_1")
    with pytest.raises(ValueError, match="unknown bad-pixel bit"):
        ops.apply_bad_pixels(pixels, bits, bits="DEAD")


def test_order_of_axes_does_not_matter(pixels, bits):
    turned = pixels.transpose("fast_scan", "train", "module", "slow_scan")
    got = ops.apply_bad_pixels(turned, bits.transpose("slow_scan", ...))
    assert got.dims == turned.dims
    xr.testing.assert_equal(got.transpose(*DIMS), pixels.where(bits == 0))


def test_nothing_is_changed_in_place(pixels, bits):
    before = pixels.copy(deep=True), bits.copy(deep=True)
    ops.apply_bad_pixels(pixels, bits, value=-1).compute()
    xr.testing.assert_identical(pixels, before[0])
    xr.testing.assert_identical(bits, before[1])


def test_kept_bits_applied_later_equal_frames_with_them_applied(agipd_run):
    run = open_run(agipd_run.directory)
    kept = run.frames(bad_pixels="keep")
    got = ops.apply_bad_pixels(kept, kept.bad_pixels)
    want = np.where(agipd_run.bad_pixels != 0, np.nan, agipd_run.frames())
    np.testing.assert_array_equal(got.values, want)
    assert "apply_bad_pixels" in got.attrs["history"]


def test_integer_frames_and_bad_pixels(dssc_run):
    frames = open_run(dssc_run.directory).frames(roi=np.s_[:16, :16])
    bad = xr.DataArray(np.eye(16, dtype=bool), dims=("slow_scan", "fast_scan"))
    got = ops.apply_bad_pixels(frames, bad, value=0)
    want = np.where(np.eye(16, dtype=bool), 0, dssc_run.frames()[..., :16, :16])
    np.testing.assert_array_equal(got.values, want)
    assert got.dtype == np.uint16
