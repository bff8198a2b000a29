"""Frames of several arrays in bins, against those of one array."""

import itertools

import numpy as np
import pytest

from xfelred.reductions.bins import BinStatistics, in_one_memory, joined

N, PIXELS, BINS = 40, (3, 5), 6
RNG = np.random.default_rng(9)
LABEL = RNG.integers(-1, BINS - 1, N)  # the last bin stays empty
RESULTS = ("sum", "mean", "var", "count", "min", "max")


def parts_of(x, how):
    parts = [x[a:b] for a, b in itertools.pairwise([0, 7, 8, 8, 30, N])]
    if how == "copies":
        parts = [np.asfortranarray(p) for p in parts]
    if how == "bytes apart":  # by no whole number of elements
        for i, part in enumerate(parts):
            memory = np.empty(part.nbytes + 1, "u1")[i % 2 :]
            parts[i] = memory[: part.nbytes].view(x.dtype).reshape(part.shape)
            parts[i][...] = part
    return parts


@pytest.mark.parametrize("how", ["views", "copies", "bytes apart"])
@pytest.mark.parametrize("dtype", ["f4", "u2", "i4"])
def test_frames_of_several_arrays_are_frames_of_one(how, dtype):
    x = (RNG.random((N, *PIXELS)) * 100).astype(dtype)
    frames = [in_one_memory(p, 1) for p in parts_of(x, how) if len(p)]
    found = joined(frames)
    for i in range(N):
        start = found.start[i]
        np.testing.assert_array_equal(found.flat[start : start + 15], x[i].ravel())


@pytest.mark.parametrize("how", ["views", "copies"])
@pytest.mark.parametrize("with_nan", [False, True])
@pytest.mark.parametrize("first", ["whole", "none"])
def test_blocks_added_at_once_equal_a_loop(how, with_nan, first):
    x = RNG.random((N, *PIXELS)).astype("f4")
    if with_nan:
        x[RNG.random(x.shape) < 0.2] = np.nan
    reduction, needs = BinStatistics(BINS, nothing=np.nan), frozenset(RESULTS)
    state = reduction.whole(PIXELS, x.dtype, needs) if first == "whole" else None
    parts, at = parts_of(x, how), 0
    for some in (parts[:3], parts[3:]):
        n = sum(map(len, some))
        labels = np.split(LABEL[at : at + n], np.cumsum([len(p) for p in some])[:-1])
        blocks = [[p, k[:, None, None]] for p, k in zip(some, labels, strict=True)]
        state, at = reduction.partials(state, blocks, (0,), needs), at + n
    for name in RESULTS:
        got = reduction.finish(state, name)
        for k in range(BINS):
            mine = x[np.equal(LABEL, k)].astype("f8")
            for place in np.ndindex(PIXELS):
                v = mine[(slice(None), *place)]
                v = v[~np.isnan(v)]
                want = v.size if name == "count" else np.nan
                if v.size and name != "count":
                    want = getattr(v, name)()
                np.testing.assert_allclose(got[(*place, k)], want, 1e-6, 1e-12)


def test_sums_of_all_bins_are_not_copied():
    x = np.ones((N, *PIXELS), "f4")
    reduction, needs = BinStatistics(BINS, nothing=np.nan), frozenset({"sum"})
    state = reduction.whole(PIXELS, x.dtype, needs)
    state = reduction.partials(state, [[x, LABEL[:, None, None]]], (0,), needs)
    found = reduction.finish(state, "sum")
    assert np.shares_memory(found, state["s1"])
    assert np.isnan(found[..., -1]).all()
