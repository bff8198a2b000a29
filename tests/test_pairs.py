"""Pairs of shots."""

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xfelred import pairs
from xfelred.errors import ShotNameError


def trains(n=8, **coords):
    ids = 1000 + 2 * np.arange(n)
    out = xr.DataArray(ids, {"train": ids}, ("train",), name="train")
    return out.assign_coords({k: ("train", v) for k, v in coords.items()})


def listed(found):
    return [tuple(p) for p in found.values.tolist()]


def test_consecutive_and_disjoint():
    coord = trains(5)
    assert listed(pairs.consecutive(coord)) == [
        (1000, 1002), (1002, 1004), (1004, 1006), (1006, 1008),
    ]  # fmt: skip
    assert listed(pairs.disjoint(coord)) == [(1000, 1002), (1004, 1006)]


def test_result_is_labelled():
    found = pairs.consecutive(trains().astype(np.uint64))
    assert found.dims == ("pair", "member")
    assert found.member.values.tolist() == ["first", "second"]
    assert found.dtype.kind in "iu"
    assert found.attrs["units"] == "1"
    assert "long_name" in found.attrs
    assert found.attrs["history"].startswith("pairs.consecutive {")


def test_any_array_on_trains_will_do(no_compute):
    frames = xr.DataArray(
        dask.array.zeros((8, 1, 3, 4), chunks=(2, 1, 3, 4)),
        {"train": trains().values, "pulse": [0]},
        ("train", "pulse", "radius", "phi"),
    )
    with no_compute():
        found = pairs.consecutive(frames)
    np.testing.assert_array_equal(found, pairs.consecutive(trains()))
    assert (found.pulse == 0).all()
    assert "pulse" not in pairs.consecutive(frames.train).coords
    np.testing.assert_array_equal(pairs.consecutive(trains().values), found)


def test_darks_are_left_out_and_never_mix():
    is_open = np.array([0, 0, 1, 1, 0, 1, 0, 0], bool)
    coord = trains(8, shutter_open=is_open)
    found = pairs.consecutive(coord)
    assert listed(found) == [(1004, 1006), (1006, 1010)]
    assert found.attrs["n_dark"] == 5
    both = pairs.consecutive(coord, darks=True)
    state = dict(zip(coord.values.tolist(), is_open, strict=True))
    assert all(state[a] == state[b] for a, b in listed(both))
    assert len(both) == 2 + 4
    for found in (
        pairs.random(coord, 3), pairs.disjoint(coord), pairs.between(coord, coord),
        pairs.similar(xr.zeros_like(coord, float)),
    ):  # fmt: skip
        assert all(state[a] and state[b] for a, b in listed(found))


def test_pairs_stay_in_their_group():
    label = np.array([1.5, 2, 1.5, np.nan, 2, 1.5, 2, 9])
    coord = trains()
    found = pairs.consecutive(coord, groups=label)
    assert listed(found) == [(1000, 1004), (1002, 1008), (1004, 1010), (1008, 1012)]
    assert found.attrs["n_ungrouped"] == 1
    assert found.attrs["n_small_group"] == 1
    few = pairs.consecutive(
        coord, groups=xr.DataArray(label, dims="train"), min_group=4
    )
    assert len(few) == 0
    words = pairs.disjoint(coord, groups=np.array(list("abababab")))
    assert listed(words)[0] == (1000, 1004)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6), st.data())
def test_random_pairs_are_different_and_within_groups(n, seed, data):
    label = np.random.default_rng(seed).integers(0, 3, n)
    possible = sum(k * (k - 1) // 2 for k in np.bincount(label))
    wanted = data.draw(st.integers(0, possible))
    found = pairs.random(np.arange(n), wanted, seed=seed, groups=label)
    assert len(set(listed(found))) == wanted
    assert all(a < b and label[a] == label[b] for a, b in listed(found))
    again = pairs.random(np.arange(n), wanted, seed=seed, groups=label)
    np.testing.assert_array_equal(found, again)


def test_all_possible_pairs_can_be_drawn():
    found = pairs.random(np.arange(40), 780)
    assert len(set(listed(found))) == 780
    assert len(pairs.random(np.arange(40))) == 40
    assert len(pairs.random(np.arange(2))) == 1
    with pytest.raises(ValueError, match="make 780 different pairs"):
        pairs.random(np.arange(40), 781)


def test_numbers_of_large_pairs_are_exact():
    from xfelred.pairs.makers import triangle

    high = np.array([3, 10**5, 10**8, 10**9], np.int64)
    for low in (np.zeros(4, np.int64), high - 1):
        code = high * (high - 1) // 2 + low
        found = triangle(code)
        np.testing.assert_array_equal(found[0], low)
        np.testing.assert_array_equal(found[1], high)


def test_similar_carries_distances_and_leaves_out_nan():
    features = xr.DataArray(
        [[0, 0], [9, 9], [0.1, 0], [np.nan, 0], [9, 8.5], [4, 4]],
        {"train": np.arange(6)},
        ("train", "feature"),
    )
    for method in ("greedy", "minimum"):
        found = pairs.similar(features, method=method)
        assert listed(found) == [(0, 2), (1, 4)]
        np.testing.assert_allclose(found.distance, [0.1, 0.5])
        assert found.attrs["n_unusable"] == 1
    near = pairs.similar(features, max_distance=0.2)
    assert listed(near) == [(0, 2)]
    assert near.attrs["n_too_far"] == 1
    turned = pairs.similar(features.T)
    np.testing.assert_array_equal(turned, found)
    plain = pairs.similar(features.values, coord=np.arange(6))
    np.testing.assert_array_equal(plain, found)


def test_between_two_sets():
    first, second = np.array([10, 20, 30]), np.array([12, 13, 30, 31])
    assert listed(pairs.between(first, second)) == [(10, 12), (20, 13), (30, 31)]
    assert listed(pairs.between(first, second, method="order")) == [
        (10, 12), (20, 13),
    ]  # fmt: skip
    every = pairs.between(first, second, method="all")
    assert len(every) == 11
    assert (30, 30) not in listed(every)
    assert listed(pairs.between([5], [5])) == []
    # Distances of unsigned IDs do not wrap.
    found = pairs.between(np.array([5], np.uint64), np.array([1, 7], np.uint64))
    assert listed(found) == [(5, 7)]


def test_pulses_of_a_train_are_shots():
    frames = xr.DataArray(
        np.zeros((2, 3)), {"train": [5, 6], "pulse": [0, 4, 8]}, ("train", "pulse")
    )
    found = pairs.consecutive(frames)
    assert listed(found)[:3] == [(5, 5), (5, 5), (5, 6)]
    assert found.pulse.values.tolist()[:3] == [[0, 4], [4, 8], [8, 0]]
    flat = frames.stack(frame=("train", "pulse")).reset_index("frame")
    again = pairs.consecutive(flat)
    xr.testing.assert_equal(found, again)
    pumped = frames[:, 1:]
    nearest = pairs.between(frames[:, :1], pumped)
    assert nearest.pulse.values.tolist() == [[0, 4], [0, 4]]
    assert listed(nearest) == [(5, 5), (6, 6)]


def test_pairs_from_a_list():
    found = pairs.from_list([(1000, 1004), (1002, 7)], trains())
    assert listed(found) == [(1000, 1004)]
    assert found.attrs["n_dropped"] == 1
    four = pairs.from_list([(5, 0, 5, 4)])
    assert listed(four) == [(5, 5)]
    assert four.pulse.values.tolist() == [[0, 4]]
    same = pairs.from_list(pairs.consecutive(trains()))
    np.testing.assert_array_equal(same, pairs.consecutive(trains()))
    assert pairs.from_list([]).shape == (0, 2)


def test_no_shots_make_no_pairs():
    for make in (pairs.consecutive, pairs.disjoint, pairs.random):
        assert make(np.array([], int)).shape == (0, 2)
        assert make(np.array([3])).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pairs.consecutive(np.zeros((2, 2), int)), "one axis"),
        (lambda: pairs.consecutive([1.5, 2.5]), "must be integers"),
        (lambda: pairs.consecutive(xr.DataArray([1, 2], dims="x")), "no coordinate"),
        (lambda: pairs.consecutive([1, 2, 3], groups=[0, 1]), "2 labels for 3 shots"),
        (lambda: pairs.consecutive([1, 2, 3], min_group=0), "min_group=0"),
        (lambda: pairs.similar([1.0, 2.0]), "pass coord="),
        (lambda: pairs.similar(3.0, coord=[1]), "one number"),
        (lambda: pairs.similar([1.0], coord=[1], method="best"), "method='best'"),
        (lambda: pairs.similar([1.0], coord=[1, 2]), "1 shots, coord has 2"),
        (lambda: pairs.similar(trains().chunk() * 1.0), "features.compute()"),
        (lambda: pairs.between([1], [2], method="far"), "method='far'"),
        (lambda: pairs.from_list([1, 2, 3]), r"shape \(3,\)"),
        (lambda: pairs.from_list([(1.5, 2.5)]), "must be integers"),
    ],
)
def test_bad_input_is_an_error_that_says_what_to_do(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_groups_are_joined_by_train_id():
    coord = xr.DataArray([10, 12, 14, 16], dims="train", name="train")
    coord = coord.assign_coords(train=coord)
    labels = xr.DataArray(["b", "a", "b", "a"], {"train": [14, 12, 16, 10]}, ("train",))
    found = pairs.consecutive(coord, groups=labels)
    assert found.values.tolist() == [[10, 12], [14, 16]]
    other = labels.assign_coords(train=[90, 91, 92, 93])
    with pytest.raises(ValueError, match="groups has nothing for 4 of 4 shots"):
        pairs.consecutive(coord, groups=other)


def test_groups_of_trains_hold_for_their_pulses():
    frames = xr.DataArray(
        np.zeros((2, 3)), {"train": [5, 6], "pulse": [0, 1, 2]}, ("train", "pulse")
    )
    labels = xr.DataArray([1, 0], {"train": [6, 5]}, ("train",))
    found = pairs.consecutive(frames, groups=labels)
    assert found.values.tolist() == [[5, 5], [5, 5], [6, 6], [6, 6]]
    assert found.pulse.values.tolist() == [[0, 1], [1, 2], [0, 1], [1, 2]]


def test_shots_that_nobody_knows_or_without_beam_are_left_out():
    tags = np.arange(6)
    coord = xr.DataArray(tags, {"train": tags}, ("train",)).assign_coords(
        shutter_open=("train", np.array([0, 1, 1, 1, 1, 1], bool)),
        in_event_table=("train", np.array([1, 1, 0, 1, 1, 1], bool)),
        beam=("train", np.array([1, 1, 1, 1, 0, 1], bool)),
    )
    known = np.array([1, 0, 1, 1, 1, 1], bool)
    some = pairs.consecutive(coord.assign_coords(shutter_known=("train", known)))
    assert some.values.tolist() == [[3, 5]]
    assert some.attrs["n_unknown"] == 2
    found = pairs.consecutive(coord)
    assert found.values.tolist() == [[1, 3], [3, 5]]
    counts = {k: found.attrs[k] for k in ("n_unknown", "n_no_beam", "n_dark")}
    assert counts == {"n_unknown": 1, "n_no_beam": 1, "n_dark": 1}


@pytest.mark.parametrize("make", [pairs.consecutive, pairs.random, pairs.disjoint])
def test_a_shot_that_is_named_twice_is_refused(make):
    with pytest.raises(ValueError, match=r"shots 1 stand more than once among the 3"):
        make([1, 1, 2])


def test_features_are_joined_by_train_id():
    ids = [10, 12, 14, 16]
    features = xr.DataArray([1.0, 5.0, 1.1, 5.1], {"train": ids}, ("train",))
    coord = trains(4).assign_coords(train=ids[::-1]).train
    found = pairs.similar(features, coord=coord)
    assert {frozenset(p) for p in found.values.tolist()} == {
        frozenset({10, 14}), frozenset({12, 16}),
    }  # fmt: skip
    with pytest.raises(ValueError, match="features has nothing for 1 of 1 shots: 99"):
        pairs.similar(features, coord=[99])


@pytest.mark.parametrize(
    "listed",
    [
        [("tag_10", "tag_12"), ("tag_14", "tag_0012")],
        [["10", "12"], ["14", "12"]],
        [(b"tag_10", b"tag_12"), (b"tag_14", b"tag_12")],
        [("tag-10", 12), (14, "tag_12")],
        np.array([["tag_10", "tag_12"], ["tag_14", "tag_12"]], object),
        xr.DataArray([["tag_10", "tag_12"], ["tag_14", "tag_12"]], dims=("p", "m")),
    ],
)  # fmt: skip
def test_shots_may_be_named_as_in_files(listed):
    found = pairs.from_list(listed)
    assert found.values.tolist() == [[10, 12], [14, 12]]
    assert found.dtype.kind in "iu"
    assert pairs.consecutive(["tag_10", "tag_9", "tag_300"]).values.tolist() == [
        [10, 9],
        [9, 300],
    ]


@pytest.mark.parametrize("name", ["run_5", "tag_", "tag_1.5", "shot 3", "", "-3", None])
def test_names_of_no_shot_are_errors(name):
    with pytest.raises(ShotNameError, match="such as 'tag_12'"):
        pairs.from_list([(name, "tag_12")])


def test_numbers_of_shots_with_all_their_digits():
    big = 2**62 + 1
    found = pairs.from_list([(f"tag_{big}", f"tag_{big + 2}")])
    assert found.values.tolist() == [[big, big + 2]]
