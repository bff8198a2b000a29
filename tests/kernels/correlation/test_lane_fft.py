"""Transforms in lanes, against numpy."""

import numpy as np
import pytest

from xfelred.kernels.correlation import lane_fft
from xfelred.kernels.correlation import sequences as rings

SIZES = [1, 2, 3, 4, 8, 13, 30, 64, 77, 351, 360, 1024]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("dtype", "limit"), [("f4", 1e-6), ("f8", 1e-14)])
def test_transform_is_that_of_numpy(n, dtype, limit):
    x = np.random.default_rng(n).standard_normal((2, n, lane_fft.LANES))
    expected = np.fft.fft(x[0] + 1j * x[1], axis=0)
    work = lane_fft.buffers(n, dtype)
    work[0][:], work[1][:] = x
    out = lane_fft.transform(*work, *lane_fft.plan(n, dtype))
    off = abs(out[0] + 1j * out[1] - expected).max()
    assert off <= limit * abs(expected).max()


def power_of(x, complete_only=False):
    items = rings.all_items(x)
    marks = rings.blank_marks(items)
    n_phi = x.shape[-1]
    power = np.zeros((x.shape[1], n_phi // 2 + 1))
    lane_fft.add_power(
        items.frames, items.first, None, (marks.n_good, marks.level, marks.tag),
        lane_fft.plan(n_phi, items.dtype.str),
        lane_fft.buffers(n_phi, items.dtype), power, complete_only,
    )  # fmt: skip
    return power, marks


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 1), (9, 1), (2, 5), (5, 4), (4, 8), (3, 17)]
)
def test_lanes_hold_any_number_of_shots_and_rings(shape):
    x = np.random.default_rng(0).random((*shape, 12))
    power, marks = power_of(x)
    centred = x - x.mean(-1, keepdims=True)
    expected = (abs(np.fft.rfft(centred)) ** 2).sum(0)
    np.testing.assert_allclose(power, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(marks.level, x.sum(-1))
    assert (marks.n_good == 12).all()
    assert (marks.tag == 0).all()


def test_masked_rings_can_be_left_out():
    x = np.random.default_rng(0).random((3, 2, 12))
    x[1, 0, 4] = np.nan
    power, marks = power_of(x, complete_only=True)
    assert marks.n_good[1].tolist() == [11, 12]
    assert marks.tag[1, 0] != 0
    without = x.copy()
    without[1, 0] = 0
    np.testing.assert_allclose(power, power_of(without)[0], rtol=1e-10, atol=1e-12)


def test_bright_ring_leaves_no_errors_in_a_faint_one():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((4, 2, 64))
    x[:, 0] *= 1e6
    single, _ = power_of(x.astype("f4"))
    exact, _ = power_of(x.astype("f4").astype("f8"))
    limits = 1e-6 * exact.max(axis=1, keepdims=True)
    assert (abs(single - exact) <= limits).all()


def test_large_primes_are_left_to_the_library():
    assert lane_fft.factors(4871) is None
    assert lane_fft.factors(17 * 8) is None
    assert np.prod(lane_fft.factors(351)) == 351
    with pytest.raises(ValueError, match="prime factor above 13"):
        lane_fft.plan(34, "f4")
