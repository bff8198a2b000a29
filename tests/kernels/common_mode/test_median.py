"""Exact medians, against numpy."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xfelred.kernels.common_mode.median import key_buffers, median, select, to_keys

TYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])


def peer(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(values, axis=-1)


@TYPES
@pytest.mark.parametrize("n", [1, 2, 3, 31, 32, 33, 64, 65, 257, 1025, 5000])
def test_medians_are_those_of_numpy(n, dtype):
    rng = np.random.default_rng(n)
    noise = rng.normal(0, 3, (40, n))
    kinds = [
        noise,
        np.round(noise),
        np.where(rng.random(noise.shape) < 0.3, noise + 1e4, noise),
        np.where(rng.random(noise.shape) < 0.5, np.nan, noise),
        noise * 10.0 ** rng.integers(-35, 35, noise.shape),
        rng.choice([-np.inf, np.inf, -0.0, 0.0, 1.0, np.nan], noise.shape),
        np.full_like(noise, 7.25),
        np.full_like(noise, np.nan),
    ]
    for values in kinds:
        values = values.astype(dtype)
        out = median(values)
        assert out.dtype == dtype
        np.testing.assert_array_equal(out, peer(values))


@TYPES
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_values(dtype, data):
    width = np.dtype(dtype).itemsize * 8
    # Sums of the largest numbers overflow, in numpy as well.
    elements = st.floats(width=width, min_value=-(2.0**100), max_value=2.0**100)
    special = st.sampled_from([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0])
    values = data.draw(
        hnp.arrays(dtype, st.integers(1, 80), elements=elements | special)
    )
    np.testing.assert_array_equal(median(values), peer(values))


def test_smallest_and_largest_numbers():
    for dtype in ("f4", "f8"):
        tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
        values = np.array([-huge, -tiny, -0.0, tiny, huge], dtype)
        for k in range(5):
            np.testing.assert_array_equal(
                median(np.delete(values, k)), peer(np.delete(values, k))
            )
        np.testing.assert_array_equal(median(values), peer(values))


def test_nan_of_either_sign_is_left_out():
    values = np.array([1.0, np.nan, 2.0, 3.0], "f4")
    values[1:2].view("i4")[:] |= np.int32(-(2**31))
    assert median(values) == 2
    assert np.signbit(values[1])


def test_order_does_not_matter():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 3000).astype("f4")
    expected = median(values)
    for _ in range(5):
        assert median(rng.permutation(values)) == expected


def test_values_are_not_modified():
    values = np.random.default_rng(2).normal(0, 1, (3, 2000)).astype("f4")
    before = values.copy()
    median(values)
    np.testing.assert_array_equal(values, before)


def test_no_values_have_no_median():
    assert np.isnan(median(np.empty((2, 0), "f4"))).all()
    assert median(np.empty((0, 5), "f4")).shape == (0,)


@TYPES
def test_every_rank_is_found(dtype):
    rng = np.random.default_rng(3)
    for n in (5, 96, 2048):
        values = np.round(rng.normal(0, 20, n)).astype(dtype)
        ordered = np.sort(values)
        for rank in {1, 2, n // 3 + 1, n - 1, n}:
            keys, floats = key_buffers(n, np.dtype(dtype))
            keys[:] = np.iinfo(keys.dtype).max
            floats[:n] = values
            n_good = to_keys(keys, floats, n)
            key, following = select(keys, floats, keys.size - 1, n_good, rank)
            expected = key_buffers(2, np.dtype(dtype))[0]
            as_floats = expected.view(dtype)
            as_floats[:2] = ordered[rank - 1], ordered[min(rank, n - 1)]
            to_keys(expected, as_floats, 2)
            assert key == expected[0]
            if rank < n:
                assert following == expected[1]
