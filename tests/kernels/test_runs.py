import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xfelred.kernels.runs import Runs, from_runs, to_runs


def back(array):
    found = to_runs(array)
    return from_runs(found) if isinstance(found, Runs) else found


@given(
    st.sampled_from(["i1", "u1", "i2", "i4", "u4", "i8", "u8"]).flatmap(
        lambda kind: hnp.arrays(
            kind,
            hnp.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=40),
            elements=st.sampled_from([0, 1, 2, np.iinfo(kind).max, np.iinfo(kind).min]),
        )
    )
)
def test_every_array_comes_back(array):
    found = back(array)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10_000, dtype="u8") + 2**63,
        np.arange(0, 3_520_000, 352).astype("i4"),
        np.tile(np.arange(5000), (4, 1)).T,
        np.full((3000, 16), -1, "i2"),
        np.repeat(np.arange(7), 1000),
    ],
)
def test_regular_arrays_are_small(array):
    found = to_runs(array)
    assert isinstance(found, Runs)
    assert len(pickle.dumps(found)) < 1000
    np.testing.assert_array_equal(from_runs(found), array)


def test_irregular_arrays_are_left_alone():
    array = np.random.default_rng(0).integers(0, 99, 1000)
    assert to_runs(array) is array
