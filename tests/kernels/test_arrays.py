"""What arrays compiled functions meet."""

import numpy as np
import pytest

from xfelred.kernels.arrays import usual, usual_dtype


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("u1", "u2"),
        (">u2", "u2"),
        ("i2", "f4"),
        ("f2", "f4"),
        (">i4", "f8"),
        ("i8", "f8"),
    ],
)
def test_few_dtypes_reach_compiled_functions(dtype, kind):
    x = np.arange(6).reshape(2, 3).astype(dtype).T
    got = usual(x)
    np.testing.assert_array_equal(got, x)
    assert got.dtype == kind
    assert got.flags.c_contiguous
    assert not got.flags.writeable


def test_what_is_usual_already_stays_where_it_is():
    x = np.ones((3, 2), "f4")
    assert usual_dtype(x) is x
    assert np.shares_memory(usual(x), x)
