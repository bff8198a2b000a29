"""Pixels moved to their places, against a loop."""

import numpy as np
import pytest

from xfelred.kernels.image.assemble import assemble

DTYPES = ["f4", "f8", "u2", "i4", "bool", ">f4", "f2"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_pixel_goes_to_its_place(dtype):
    rng = np.random.default_rng(0)
    block = rng.integers(1, 9, (2, 3, 2, 4, 5)).astype(dtype)
    target = rng.permutation(60)[:40].reshape(1, 1, 2, 4, 5).astype(np.int32)
    target[rng.random(target.shape) < 0.2] = -1
    out = assemble(block, target, n_core=3, shape=(6, 10), fill=0)
    expected = np.zeros((2, 3, 60), dtype)
    for i, j in np.ndindex(2, 3):
        for m, s, f in np.ndindex(2, 4, 5):
            if target[0, 0, m, s, f] >= 0:
                expected[i, j, target[0, 0, m, s, f]] = block[i, j, m, s, f]
    assert out.dtype == block.dtype
    np.testing.assert_array_equal(out, expected.reshape(2, 3, 6, 10))


def test_gaps_are_filled():
    target = np.array([[3, -1]], np.int32)
    out = assemble(np.ones((4, 2)), target, n_core=1, shape=(2, 2), fill=np.nan)
    assert np.isnan(out[:, 0]).all()
    assert (out[:, 1, 1] == 1).all()


def test_empty_block_and_missing_frame_axes():
    target = np.arange(6, dtype=np.int32).reshape(2, 3)
    out = assemble(np.zeros((0, 2, 3)), target[None], n_core=2, shape=(3, 2), fill=0)
    assert out.shape == (0, 3, 2)
    single = assemble(target.astype(float), target, n_core=2, shape=(3, 2), fill=0)
    np.testing.assert_array_equal(single, np.arange(6.0).reshape(3, 2))
