"""Joining values of shots by ID: what matches, what is absent, what has no IDs."""

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.errors import InconsistentDataError
from xfelred.shots import at_shots

IDS = np.array([11, 12, 15, 20], np.uint64)
PULSES = np.array([0, 4, 9])


def array(dims=("train", "pulse"), **drop):
    sizes = {"train": 4, "pulse": 3, "module": 2}
    coords = {"train": IDS, "pulse": PULSES}
    values = np.arange(1.0, np.prod([sizes[d] for d in dims]) + 1)
    return xr.DataArray(
        values.reshape([sizes[d] for d in dims]),
        {k: v for k, v in coords.items() if k in dims and k not in drop}, dims,
    )  # fmt: skip


def flat():
    """Frames in a list, in another order than the values."""
    train, pulse = [20, 11, 15, 15], [9, 0, 4, 0]
    return xr.DataArray(
        np.ones(4), {"train": ("frame", train), "pulse": ("frame", pulse)}, "frame"
    )


def test_another_order_and_more_shots():
    values = array().isel(train=[3, 1, 0, 2])
    found = at_shots(values, array().isel(train=[1, 2]), "x")
    np.testing.assert_array_equal(found, array()[1:3])
    np.testing.assert_array_equal(
        at_shots(values, flat(), "x"), [array()[3, 2], 1, array()[2, 1], array()[2, 0]]
    )


def test_whole_numbers_keep_every_digit():
    big = xr.DataArray(np.array([2**60 + i for i in range(4)]), {"train": IDS}, "train")
    found = at_shots(big[::-1], array(), "x")
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, big)


def test_values_on_frames_are_joined_by_both_ids():
    frames = flat()
    values = frames.copy(data=[1.0, 2, 3, 4]).isel(frame=[2, 0, 3, 1])
    np.testing.assert_array_equal(at_shots(values, frames, "x"), [1, 2, 3, 4])
    with pytest.warns(UserWarning, match=r"no value for 1 of 4 frame IDs"):
        found = at_shots(values[1:], frames, "x")
    np.testing.assert_array_equal(found, [1, 2, np.nan, 4])


@pytest.mark.parametrize("frames", [array(), flat()], ids=["train", "frame"])
def test_nothing_in_common_is_an_error_with_both_ranges(frames):
    other = array().assign_coords(train=IDS + 1000)
    with pytest.raises(InconsistentDataError, match=r"4 from 1011 to 1020 .*11 to 20"):
        at_shots(other, frames, "x")
    cut = other[:, 0] > 0
    with pytest.raises(InconsistentDataError, match="no train ID in common"):
        ops.bin_frames(frames, {}, where=cut)


def test_absent_shots_are_counted_and_said():
    with pytest.warns(UserWarning, match=r"x: no value for 2 of 4 .*2 from 12 to 20"):
        found = at_shots(array()[[0, 2]], array(), "x")
    assert np.isnan(found[[1, 3]]).all()
    with pytest.warns(UserWarning, match="no value for 1 of 4"):
        found = at_shots(array()[:3] > 0, array(), "x")
    assert found.dtype == bool
    assert found.values[:, 0].tolist() == [True, True, True, False]


@pytest.mark.parametrize("dim", ["train", "pulse"])
@pytest.mark.parametrize("which", ["values", "frames"])
def test_what_has_no_ids_is_refused(dim, which):
    values = array(**({dim: True} if which == "values" else {}))
    frames = array(**({dim: True} if which == "frames" else {}))
    with pytest.raises(InconsistentDataError, match=f"no {dim} IDs.*label_by_position"):
        ops.normalize(frames, by=values)
    with pytest.raises(ValueError, match=f"no {dim} IDs"):
        ops.bin_frames(frames, {"x": xf.Bins(n=2, range=(0, 9), values=values)})
    with pytest.raises(ValueError, match=f"no {dim} IDs"):
        ops.bin_frames(frames, {}, where=values > 3)
    with pytest.raises(ValueError, match=f"no {dim} IDs"):
        ops.statistics(frames, ["train", "pulse"], by=values.rename("x"))


@pytest.mark.parametrize("values", [[1.0, 2, 3, 4], np.ones(4), pd.Series(np.ones(4))])
def test_bare_numbers_are_refused(values):
    for attempt in (
        lambda: ops.normalize(array(), by=values),
        lambda: ops.bin_frames(array(), {"x": xf.Bins(edges=[0, 9], values=values)}),
        lambda: ops.fit_linear(array(), values),
    ):
        with pytest.raises(ValueError, match="train IDs"):
            attempt()


def test_where_nothing_has_ids_their_order_is_said():
    values, frames = array(("train",), train=1), array(("train",), train=1)
    with pytest.warns(UserWarning, match="neither .* have train IDs.*in their order"):
        found = ops.normalize(frames, by=values)
    assert (found == 1).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = frames.assign_coords(x=values)
        assert (ops.normalize(named, by="x") == 1).all()  # its own coordinate


def test_position_can_be_said_and_is_in_the_history():
    said = ops.label_by_position([1.0, 2.0, 4.0, 8.0], array())
    found = ops.normalize(array(), by=said.isel(train=[2, 0, 1, 3]))
    np.testing.assert_array_equal(found, array() / np.array([1, 2, 4, 8])[:, None])
    assert "label_by_position" in found.attrs["history"]
    whole = ops.label_by_position(array(train=1, pulse=1), array())
    assert (ops.normalize(array(), by=whole) == 1).all()
    binned = ops.bin_frames(array(), {"x": xf.Bins(edges=[0, 3, 9], values=said)})
    assert "label_by_position" in binned.attrs["history"]
    with pytest.raises(InconsistentDataError, match=r"shape \(5,\)"):
        ops.label_by_position(np.ones(5), array())
    with pytest.raises(InconsistentDataError, match="no IDs"):
        ops.label_by_position(np.ones(4), array(train=1, pulse=1))


@pytest.mark.parametrize("name", ["trainId", "train", "tag", None])
def test_pandas_series_are_joined_by_their_index(name):
    index = pd.Index(IDS[[2, 0, 3, 1]], name=name)
    series = pd.Series([15.0, 11, 20, 12], index)
    np.testing.assert_array_equal(at_shots(series, array(("train",)), "x"), IDS)
    frames = array()
    np.testing.assert_allclose(
        ops.normalize(frames, by=series), frames / IDS.astype(float)[:, None]
    )


def test_pandas_series_of_pulses():
    index = pd.MultiIndex.from_product([IDS, PULSES], names=["trainId", "pulseId"])
    series = pd.Series(array().values.ravel(), index).sample(frac=1, random_state=0)
    np.testing.assert_array_equal(at_shots(series, array(), "x"), array())


def test_arrays_of_other_tools_name_their_dims_otherwise():
    theirs = array(("train",)).rename(train="trainId")[::-1]
    np.testing.assert_array_equal(at_shots(theirs, array(), "x"), [1, 2, 3, 4])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    xf.synth.sacla.write_run(place / "7.h5", shape=(4, 4), n_images=8, n_darks=2)
    return xf.open_run(place / "7.h5")


def test_trains_selected_by_labels(run):
    ids = np.array(run.train_ids)
    mask = xr.DataArray(ids > ids[4], {"train": ids}, "train")
    for selection in (mask[::-1], mask.to_series(), mask.rename(train="trainId")):
        assert run.select_trains(selection).train_ids == ids[5:].tolist()
    with pytest.warns(UserWarning, match=f"no value for 2 of {len(ids)} train IDs"):
        assert run.select_trains(mask[2:]).train_ids == ids[5:].tolist()
    with pytest.raises(InconsistentDataError, match="no train ID in common"):
        run.select_trains(mask.assign_coords(train=ids + 10**6))
    with pytest.raises(ValueError, match="one value and an ID for each train"):
        run.select_trains(mask.astype(float))


def marked(name="i8"):
    """Integers that no float holds; nothing was recorded in the third train."""
    big = 2**60 + np.array([1, 3, 0, 5])
    big[2] = 0
    return xr.DataArray(
        big, {"train": IDS, f"{name}_recorded": ("train", IDS != 15)}, "train",
        name=name, attrs={"recorded_by": f"{name}_recorded"},
    )  # fmt: skip


def test_integers_that_were_not_recorded_count_nowhere():
    i8 = marked()
    found = ops.statistics(i8, "train", which=("mean", "count", "sum", "min"))
    assert int(found["count"]) == 3
    assert int(found["sum"]) == 3 * 2**60 + 9
    assert float(found["min"]) == 2**60
    binned = ops.bin_frames(i8.to_dataset(), {})
    assert binned.i8_count.values.tolist() == [3]
    assert binned.i8_mean.values[0] == pytest.approx(2**60)
    frames = array(("train",)).assign_coords(t=i8)
    by = ops.bin_frames(frames, {"t": xf.Bins(edges=[-1, 5, 2.0**61])})
    assert by.n_shots.values.tolist() == [0, 3]
    low = ops.bin_frames(frames, {}, where=i8 < 5)
    assert low.n_shots.values.tolist() == [0]
    assert np.isnan(
        ops.delay(i8.rename("lxt").to_dataset(), nominal="lxt", use_tt=False)[2]
    )


def test_a_selection_leaves_out_what_was_not_recorded(run):
    ids = np.array(run.train_ids)
    values = xr.DataArray(
        np.zeros(len(ids), np.int64),
        {"train": ids, "v_recorded": ("train", ids != ids[1])}, "train", name="v",
    )  # fmt: skip
    chosen = run.select_trains(values < 5)
    assert chosen.train_ids == np.delete(ids, 1).tolist()
