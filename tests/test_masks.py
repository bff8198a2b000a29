"""Names and meaning of bad-pixel bits."""

import numpy as np
import pytest
import xarray as xr

from xfelred import masks


def test_every_name_is_one_bit_of_its_own():
    values = list(masks.names.values())
    assert all(v > 0 and v & (v - 1) == 0 for v in values)
    assert len(set(values)) == len(values)
    assert max(values) == 2**31


@pytest.mark.parametrize(
    ("name", "bit"),
    [("NO_DARK_DATA", 3), ("VALUE_IS_NAN", 11), ("NON_SENSITIVE", 19), ("USER_1", 30)],
)
def test_bits_are_those_of_the_facility(name, bit):
    assert masks.names[name] == 1 << bit


@pytest.mark.parametrize(
    ("chosen", "number"),
    [
        (None, None),
        (5, 5),
        (np.int64(5), 5),
        ("NO_DARK_DATA", 8),
        (["NO_DARK_DATA", 1, "USER_2"], 8 + 1 + 2**31),
        (("OFFSET_OUT_OF_THRESHOLD", 1), 1),
        ([], 0),
    ],
)
def test_bits_are_given_by_number_or_name(chosen, number):
    got = masks.bits(chosen)
    assert got == number
    assert got is None or type(got) is int


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"'DEAD'.*NO_DARK_DATA"):
        masks.bits(["USER_1", "DEAD"])


@pytest.mark.parametrize("dtype", ["bool", "u1", "i4", "f4"])
def test_from_good_turns_the_meaning_round(dtype):
    good = xr.DataArray(np.array([0, 1, 1, 0], dtype), dims="x", coords={"x": range(4)})
    bad = masks.from_good(good)
    assert bad.dtype == bool
    assert bad.values.tolist() == [True, False, False, True]
    assert bad.name == "bad_pixels"
    assert bad.x.values.tolist() == [0, 1, 2, 3]
    assert "from_good" in bad.attrs["history"]


def test_from_good_leaves_lazy_masks_lazy(no_compute):
    good = xr.DataArray(np.array([[1, 0], [0, 1]]), dims=("y", "x")).chunk()
    with no_compute():
        bad = masks.from_good(good)
    assert bad.values.tolist() == [[False, True], [True, False]]
