"""The compiled calibration against one pixel after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred.kernels.calibration.calibrate import Calibration, calibrate
from xfelred.kernels.calibration.calibrate_rows import (
    choose,
    ranges_of_bits,
    ranges_of_cuts,
)
from xfelred.kernels.calibration.dark import split_by_range
from xfelred.kernels.calibration.rule import Rule
from xfelred.kernels.calibration.table import LINE, lines_of, pack

JUNGFRAU = Rule(3, 0x3FFF, 14, 3, (0, 1, 3))


@pytest.mark.parametrize(
    "shape", [(512, 1024), (512, 128), (352, 384), (1, 1), (7, 5), (3, 4000), (13, 100)]
)
def test_lines_hold_whole_rows(shape):
    n, pixels = lines_of(shape)
    assert n * pixels == shape[0] * shape[1]
    assert pixels % shape[1] == 0
    assert pixels <= max(LINE, shape[1])


def test_codes_become_ranges():
    codes = np.full(256, -1, np.int32)
    codes[[0, 1, 3]] = 0, 1, 2
    which = np.zeros(4, np.int32)
    raw = np.arange(4, dtype="u2") << 14 | 9
    assert not ranges_of_bits(raw, 14, 3, codes, which)
    assert which.tolist() == [0, 1, -1, 2]
    assert ranges_of_bits(raw[:1].repeat(4), 14, 3, codes, which)


@pytest.mark.parametrize("n_ranges", [2, 3, 4])
def test_cuts_are_counted_if_exceeded(n_ranges):
    cuts = np.repeat([10.0, 20, 30][: n_ranges - 1], 5).astype("f4")
    which = np.zeros(5, np.int32)
    voltage = np.array([9, 10, 11, 25, 99], "u2")
    assert not ranges_of_cuts(voltage, cuts, which)
    want = [sum(v > c for c in (10, 20, 30)[: n_ranges - 1]) for v in voltage]
    assert which.tolist() == want
    assert ranges_of_cuts(np.full(5, 10, "u2"), cuts, which)


@pytest.mark.parametrize("n_ranges", [2, 3, 7])
def test_constants_are_chosen_by_range(n_ranges):
    rng = np.random.default_rng(0)
    planes = rng.random((n_ranges, 50)).astype("f4")
    planes[:, 7] = np.nan
    which = rng.integers(-1, n_ranges, 50).astype("i4")
    which[7] = -1
    got = np.empty(50, "f4")
    choose(planes.ravel(), n_ranges, which, np.float32(1), got)
    want = [planes[r, i] if r >= 0 else 1 for i, r in enumerate(which)]
    want[7] = np.nan  # bad, so its code does not matter
    np.testing.assert_array_equal(got, np.array(want, "f4"))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1 << 30), st.sampled_from([1, 2, 3, 7]),
    st.tuples(st.integers(1, 4), st.integers(1, 9)), st.booleans(), st.booleans(),
)  # fmt: skip
def test_any_table_is_read_where_it_was_packed(seed, n_ranges, pixels, by_row, used):
    """Random constants, ranges given as codes, several modules and cells."""
    rng = np.random.default_rng(seed)
    n_modules, n_cells = (1 if by_row else 2), 3
    shape = (n_modules, n_cells, n_ranges, *pixels)
    pedestal, factor = (rng.normal(5, 1, shape).astype("f4") for _ in range(2))
    bad = rng.random(shape) < 0.2
    arguments = [pedestal, factor, bad]
    if by_row:
        arguments = [a[0] for a in arguments]
    table = pack(
        *arguments, names=("gain_factor", "bad_pixels"), n_ranges=n_ranges,
        used_ranges=(0,) if used else (), per_photon=1.0, by_row=by_row,
    )  # fmt: skip
    table = table.reshape((1, 1, -1, 1) if by_row else (1, -1, 1, 1))
    raw = rng.integers(0, 1 << 14, (4, n_modules, *pixels)).astype("u2")
    cell = rng.integers(0, n_cells, (4, 1, 1, 1)).astype("i4")
    index = rng.integers(0, n_ranges, raw.shape).astype("u1")
    rule = Rule(n_ranges, 0x3FFF if n_ranges > 1 else 0, codes=tuple(range(n_ranges)))
    names, more = ("table", "entry", "gain_index"), [index]
    if n_ranges == 1:
        names, more = names[:2], []
    out = calibrate(
        raw, table, cell, *more, calibration=Calibration(rule, names, bad_value=-3.0)
    )
    for at in np.ndindex(raw.shape):
        constant = (at[1], cell[at[0], 0, 0, 0], index[at], *at[2:])
        want = (np.float32(raw[at]) - pedestal[constant]) * factor[constant]
        assert out[at] == (-3 if bad[constant] else want)


def test_order_of_frames_does_not_matter():
    rng = np.random.default_rng(4)
    raw = rng.integers(0, 1 << 16, (6, 1, 8, 16)).astype("u2")
    constants = rng.random((1, 1, 3, 8, 16)).astype("f4")
    table = pack(
        constants, names=(), n_ranges=3, used_ranges=(), per_photon=1.0, by_row=False
    ).reshape(1, 1, 1, 1)
    calibration = Calibration(JUNGFRAU, ("table",))
    out = calibrate(raw, table, calibration=calibration)
    order = rng.permutation(6)
    again = calibrate(raw[order], table, calibration=calibration)
    np.testing.assert_array_equal(again, out[order])
    strided = calibrate(raw[::2], table, calibration=calibration)
    np.testing.assert_array_equal(strided, out[::2])


def test_frames_of_gain_ranges_are_kept_apart():
    raw = np.array([[5, 6 | 1 << 14, 7 | 3 << 14, 8 | 2 << 14]], "u2")
    got = split_by_range(raw, rule=JUNGFRAU, ranges=(0, 1, 2))
    nan = np.nan
    want = [[[5, nan, nan, nan]], [[nan, 6, nan, nan]], [[nan, nan, 7, nan]]]
    np.testing.assert_array_equal(got, want)
    codes = np.array([[3, 3, 0, 1]], "u1")
    got = split_by_range(raw & 0x3FFF, codes, rule=JUNGFRAU, ranges=(2,))
    np.testing.assert_array_equal(got, [[[5, 6, nan, nan]]])
