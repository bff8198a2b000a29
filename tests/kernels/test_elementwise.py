"""Functions number by number against numpy, in place and of two dtypes."""

import itertools

import numpy as np
import pytest

from xfelred.kernels.elementwise import (
    Scratch,
    Step,
    Value,
    choose,
    mixed,
    run_steps,
)

SHAPE = (2, 3, 4, 5)
RNG = np.random.default_rng(6)
OTHERS = [SHAPE, (1, 1, 4, 5), (2, 3, 1, 1), (1, 3, 1, 5), (1, 1, 1, 1)]


def numbers(shape, dtype):
    x = (RNG.random(shape) * 100).astype(dtype)
    if x.dtype.kind == "f":
        x.flat[0] = np.nan
    return x


@pytest.mark.parametrize("function", [np.subtract, np.add, np.multiply, np.true_divide])
@pytest.mark.parametrize("kinds", [*itertools.permutations(["u2", "f4", "f8"], 2)])
def test_numbers_of_two_dtypes_are_numpys_to_the_bit(function, kinds):
    one = numbers(SHAPE, kinds[0])
    for shape in OTHERS:
        two = numbers(shape, kinds[1])
        for given in ((one, two), (two, one)):
            with np.errstate(all="ignore"):
                want = function(*given)
            step = Step(function, (0, 1), want.dtype)
            got = run_steps(*given, steps=(step,), scratch=Scratch())
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got.view("u1"), want.view("u1"))


@pytest.mark.parametrize("kind", ["strides", "bytes", "same", "int16", "number"])
def test_what_is_not_known_is_left_to_numpy(kind):
    x = numbers(SHAPE, "f4")
    dtype = {"bytes": ">f8", "same": "f4", "int16": "i2"}.get(kind, "f8")
    other = numbers(SHAPE, dtype)
    if kind == "strides":
        other = numbers((2, 3, 5, 4), "f8").swapaxes(2, 3)
    if kind == "number":
        other = 2.5
    out = np.empty(SHAPE, np.result_type(x, other))
    step = Step(np.subtract, (0, 1), out.dtype)
    assert not mixed(step, [x, other], out)
    if kind != "number":
        np.testing.assert_array_equal(run_steps(x, other, steps=(step,)), x - other)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("shape", OTHERS)
def test_where_in_place_and_beside_is_that_of_numpy(dtype, shape):
    x, condition = numbers(SHAPE, dtype), RNG.random(shape) > 0.3
    number = 7 if dtype == "i4" else np.nan
    want = np.where(condition, x, np.asarray(number, dtype))
    beside = np.empty(SHAPE, dtype)
    choose(condition, x, number, out=beside)
    np.testing.assert_array_equal(beside, want)
    choose(condition, x, number, out=x)
    np.testing.assert_array_equal(x, want)


def test_blocks_that_are_read_once_are_overwritten_and_no_others():
    x, dark = numbers(SHAPE, "f4"), numbers((1, 1, 4, 5), "f4")
    kind, given = np.dtype("f4"), x.copy()
    steps = (
        Step(np.subtract, (0, 1), kind),
        Step(np.greater, (0, Value(50)), np.dtype(bool)),
        Step(choose, (3, 2, Value(np.nan)), kind),
    )
    want = np.where(x > 50, x - dark, np.float32(np.nan))
    kept = run_steps(x, dark, steps=steps, scratch=Scratch())
    np.testing.assert_array_equal(x, given)
    np.testing.assert_array_equal(kept, want)
    np.testing.assert_array_equal(
        run_steps(x, dark, steps=steps, scratch=Scratch(), owned=[0]), want
    )
    once = (Step(np.subtract, (0, 1), kind), Step(np.negative, (2,), kind))
    given = x.copy()
    got = run_steps(x, dark, steps=once, scratch=Scratch(), owned=[0])
    assert np.shares_memory(got, x)
    np.testing.assert_array_equal(got, -(given - dark))


def test_where_of_nothing_is_nothing():
    out = np.empty((0, 3), np.float32)
    choose(np.ones((0, 3), bool), out, np.float32(np.nan), out=out)
    choose(np.ones((3,), bool), np.empty((0, 3)), 0.0, out=out)
    assert out.shape == (0, 3)
