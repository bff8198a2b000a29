"""Replacing bad pixels against a loop."""

import numpy as np
import pytest

from xfelred.kernels.image.masking import any_plane, masked

DTYPES = ["f2", "f4", ">f4", "f8", "u1", "i2", "u2", ">u2", "i4", "u8", "bool"]
FLAGS = ["bool", "u1", "i4", "u4", "u8"]


def by_loop(images, bad, bits, value):
    out = images.copy()
    bad = np.broadcast_to(bad, images.shape)
    width = (1 << 8 * bad.itemsize) - 1
    for i in np.ndindex(images.shape):
        flags = int(bad[i]) & width
        if flags & (width if bits is None else bits):
            out[i] = value
    return out


def example(dtype, flag):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 2 if dtype == "bool" else 99, (3, 4, 5)).astype(dtype)
    wide = rng.integers(0, 1 << 63, (3, 4, 5), dtype=np.uint64) * 2
    wide[rng.random(wide.shape) < 0.5] = 0
    return images, (wide != 0) if flag == "bool" else wide.astype(flag)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("bits", [None, 6, 1 << 31])
def test_bad_pixels_are_replaced_for_every_dtype(dtype, flag, bits):
    images, bad = example(dtype, flag)
    before = images.copy(), bad.copy()
    value = np.nan if np.dtype(dtype).kind == "f" else 1
    got = masked(images, bad, bits=bits, value=value)
    assert got.dtype.newbyteorder("=") == images.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, by_loop(images, bad, bits, value))
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(bad, before[1])


@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_bad_pixels_of_all_frames_broadcast(dtype):
    images, bad = example(dtype, "u4")
    got = masked(images, bad[:1], value=0)
    np.testing.assert_array_equal(got, by_loop(images, bad[:1], None, 0))


def test_arrays_need_not_be_contiguous():
    images, bad = example("f4", "u4")
    got = masked(images[:, ::2, ::-1], bad[:, ::2, ::-1], value=-1)
    np.testing.assert_array_equal(got, by_loop(images, bad, None, -1)[:, ::2, ::-1])


def test_the_sign_bit_of_a_signed_mask_counts():
    bad = np.array([-(1 << 31), 1, 0], np.int32)
    got = masked(np.ones(3, "f4"), bad, bits=1 << 31)
    np.testing.assert_array_equal(got, np.array([np.nan, 1, 1], "f4"))


def test_no_pixels_stay_no_pixels():
    got = masked(np.zeros((0, 4), "f4"), np.zeros((0, 4), bool))
    assert got.shape == (0, 4)


def test_a_pixel_is_bad_if_any_plane_is():
    planes = np.array([[[0, 0], [4, 0]], [[0, -1], [2, 3]]])
    assert any_plane(planes).tolist() == [[0, 1], [1, 1]]
    assert any_plane(planes).dtype == np.uint8
