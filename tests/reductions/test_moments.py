"""Running statistics of blocks against numpy."""

import itertools

import numpy as np
import pytest

from xfelred.reductions.moments import (
    Statistics,
    accumulate,
    canonical,
    merge,
    statistic,
)

ALL = ("mean", "std", "var", "sem", "count", "sum", "min", "max")
NEEDS = frozenset(ALL)
SHAPE = (4, 3, 5, 70)
AXES = [(0,), (1,), (0, 1), (0, 2), (2, 3), (3,), (1, 3), (0, 1, 2, 3), ()]


def sample(dtype="f4"):
    rng = np.random.default_rng(8)
    x = rng.normal(100, 5, SHAPE)
    if np.dtype(dtype).kind == "f":
        x[rng.random(SHAPE) < 0.2] = np.nan
        x[:, :, 0, 0] = np.nan
    return x.astype(dtype)


def expected(x, axes, name, ddof=0):
    """One pixel of the result after the other, with the plainest numpy."""
    kept = [i for i in range(x.ndim) if i not in axes]
    out = np.empty([x.shape[i] for i in kept])
    for place in np.ndindex(out.shape):
        index = [slice(None)] * x.ndim
        for i, p in zip(kept, place, strict=True):
            index[i] = p
        v = np.asarray(x[tuple(index)], "f8").ravel()
        v = v[~np.isnan(v)]
        out[place] = of_values(v, name, ddof)
    return out


def of_values(v, name, ddof):
    if name in ("count", "sum"):
        return v.size if name == "count" else v.sum()
    if name in ("mean", "min", "max"):
        return getattr(v, name)() if v.size else np.nan
    free = 1 if name == "sem" else ddof
    if v.size <= free:
        return np.nan
    var = v.var(ddof=free)
    return {"var": var, "std": var**0.5, "sem": (var / v.size) ** 0.5}[name]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_results_equal_numpy_for_any_axes(axes, dtype):
    x = sample(dtype)
    state = accumulate(None, x, axes, NEEDS)
    for name in ALL:
        got = statistic(state, name, 0)
        want = expected(x, axes, name)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">u2", "f8", "i1", "i8"])
def test_every_dtype_is_summed_as_double(dtype):
    x = sample(dtype)
    state = accumulate(None, x, (0, 1), NEEDS)
    for name in ("mean", "std", "sum", "min"):
        np.testing.assert_allclose(
            statistic(state, name, 0), expected(x, (0, 1), name), rtol=1e-9, atol=1e-6
        )


@pytest.mark.parametrize("ddof", [0, 1, 2])
def test_degrees_of_freedom(ddof):
    x = sample()[:2, :1]
    got = statistic(accumulate(None, x, (0, 1), NEEDS), "var", ddof)
    np.testing.assert_allclose(
        got, expected(x, (0, 1), "var", ddof), rtol=1e-9, atol=1e-9
    )


def test_one_block_after_the_other_equals_all_at_once():
    x = sample()
    state = None
    for block in np.array_split(x, 3):
        state = accumulate(state, block, (0,), NEEDS)
    for name in ALL:
        np.testing.assert_allclose(
            statistic(state, name, 0), expected(x, (0,), name), rtol=1e-9, atol=1e-6
        )


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_merged_states_equal_all_at_once_in_any_order(order):
    x = sample()
    blocks = [x[:1], x[1:3], x[3:]]
    states = [accumulate(None, blocks[i], (0, 1), NEEDS) for i in order]
    copies = [{k: v.copy() for k, v in s.items()} for s in states]
    merged = merge(states)
    for name in ALL:
        np.testing.assert_allclose(
            statistic(merged, name, 0), expected(x, (0, 1), name), rtol=1e-9, atol=1e-6
        )
    for state, copy in zip(states, copies, strict=True):
        for key, value in copy.items():
            np.testing.assert_array_equal(state[key], value)


def test_counts_go_beyond_two_to_the_31():
    needs = frozenset({"mean", "count", "std"})
    state = accumulate(None, np.ones((3, 2)), (0,), needs)
    state["count"] = np.full(2, 2**30, np.int32)
    both = merge([state, state])
    assert (statistic(both, "count", 0) == 2**31).all()
    assert (statistic(merge([both, both]), "count", 0) == 2**32).all()
    only = {"count": np.array([2**31 - 1], np.int32)}
    assert merge([only, only])["count"].tolist() == [2**32 - 2]


def test_a_large_offset_costs_no_precision():
    x = np.float64(1e9) + np.arange(8.0).reshape(8, 1)
    got = statistic(accumulate(None, x, (0,), NEEDS), "std", 0)
    np.testing.assert_allclose(got, np.arange(8.0).std(), rtol=1e-12)


def test_of_no_frames_there_is_nothing_to_tell():
    state = accumulate(None, np.zeros((0, 3), "f4"), (0,), NEEDS)
    for name in ALL:
        want = 0 if name in ("count", "sum") else np.nan
        np.testing.assert_array_equal(statistic(state, name, 0), np.full(3, want))


@pytest.mark.parametrize("dtype", ["f2", ">i2", "u1", "i8", "?"])
def test_extremes_are_float64_unless_float32_holds_them(dtype):
    state = accumulate(None, np.ones((2, 3), dtype), (0,), NEEDS)
    assert statistic(state, "min", 0).dtype == ("f4" if dtype == "f2" else "f8")


def test_canonical_brings_reduced_axes_to_the_middle():
    x = np.arange(24).reshape(2, 3, 4)
    block, shape = canonical(x, (0, 2))
    assert shape == (3,)
    np.testing.assert_array_equal(block.sum((0, 1)), x.sum((0, 2)))


def test_blocks_can_be_added_to_a_state_without_axes():
    rng = np.random.default_rng(1)
    blocks = [rng.normal(100, 3, n) for n in (80, 24, 70, 5, 5)]
    blocks[1][:] = np.nan
    needs = frozenset({"mean", "std", "count"})
    state = None
    for block in blocks:
        state = accumulate(state, block, (0,), needs)
    x = np.concatenate(blocks)
    assert statistic(state, "count", 0) == 160
    np.testing.assert_allclose(statistic(state, "mean", 0), np.nanmean(x), rtol=1e-12)
    np.testing.assert_allclose(statistic(state, "std", 0), np.nanstd(x), rtol=1e-9)


@pytest.mark.parametrize("axes", [(0,), (0, 1), (1, 3), (2, 3)])
@pytest.mark.parametrize("complete", [False, True])
def test_a_mask_that_is_the_same_for_all_frames_equals_nan_in_each(axes, complete):
    x, rng = sample(), np.random.default_rng(3)
    kept = [1 if i in axes else n for i, n in enumerate(SHAPE)]
    bad = rng.random(kept) < 0.4
    other = rng.random([*kept[:-1], 1]) < 0.1
    n = int(np.prod([SHAPE[i] for i in axes])) if complete else 0
    masked = Statistics(1, False, n, fixed=2)
    plain = Statistics(1, False, n)
    state = None
    for block in (x, x[:, :, ::-1]):  # as another region, in the same memory
        state = state and masked.cleared(state)
        state = masked.partial(state, [block, bad, other], axes, NEEDS)
    none = np.where(bad | other, np.float32(np.nan), block)
    want = plain.partial(None, [none], axes, NEEDS)
    both = masked.combine([state, state]), plain.combine([want, want])
    for one, two in ((state, want), both):
        for name in ALL:
            np.testing.assert_array_equal(
                masked.finish(one, name), plain.finish(two, name), err_msg=name
            )
