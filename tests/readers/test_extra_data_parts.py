"""Sources, keys and detectors as scripts written for EXtra-data use them."""

import h5py
import numpy as np
import pytest

import xfelred as xf
from tests.support.euxfel_files import LPD, Fast, Slow, lpd, write_file
from xfelred import H5File, RunDirectory, by_id, by_index, open_run
from xfelred.errors import (
    InconsistentDataError,
    MultiRunError,
    NoAxisError,
    NoDataError,
    PropertyNameError,
)
from xfelred.readers.euxfel.extra_data.stack import StackView
from xfelred.synth.euxfel import write_run
from xfelred.synth.lcls import write_suite
from xfelred.synth.sacla import write_run as write_sacla_run

CAMERA, GAUGE = "SQS_EXP/CAM/TOP:output", "SQS_EXP/VAC/GAUGE"
IMAGES = np.arange(4 * 5 * 6).reshape(4, 5, 6)
ROI = {
    "slices": (np.s_[1:3, ::2], np.s_[:, 1:3, ::2], [1, 2], [0, 2, 4]),
    "by_index": (by_index[2:, -2:], np.s_[:, 2:, -2:], [2, 3, 4], [4, 5]),
    "one item": (by_index[3:], np.s_[:, 3:], [3, 4], range(6)),
    "ellipsis": (np.s_[..., 4:], np.s_[..., 4:], range(5), [4, 5]),
    "list": (np.s_[[0, 3, 4]], np.s_[:, [0, 3, 4]], [0, 3, 4], range(6)),
    "lists": (np.s_[[0, -1], [1, 2, 5]], np.ix_(range(4), [0, 4], [1, 2, 5]),
              [0, 4], [1, 2, 5]),
    "booleans": (np.s_[1:, [True, False] * 3], np.s_[:, 1:, ::2], range(1, 5),
                 [0, 2, 4]),
    "negative": (np.s_[-2, 1:4], np.s_[:, -2, 1:4], 3, [1, 2, 3]),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """Trains 30, 31 and 32 with 1, 0 and 3 images, and 1, 1 and 2 entries of beside."""
    return write_file(
        tmp_path / "CORR-R0001-SQS01-S00003.h5", [30, 31, 32],
        Fast(CAMERA, "data", [1, 0, 3], {"image": IMAGES, "t": np.arange(4)}),
        Fast(CAMERA, "beside", [1, 1, 2], {"u": np.arange(4)}),
        Slow(GAUGE, {"p": [3, 3, 3], "name.q": [1.0, 1.0, 1.5]}),
    )  # fmt: skip


@pytest.fixture
def run(path):
    return H5File(path)


@pytest.mark.parametrize("name", ROI)
def test_a_region_has_the_positions_of_its_pixels(name, run):
    roi, index, rows, columns = ROI[name]
    key = run[CAMERA, "data.image"]
    got = key.xarray(extra_dims=["y", "x"], roi=roi)
    np.testing.assert_array_equal(got, IMAGES[index])
    np.testing.assert_array_equal(got.y, rows)
    np.testing.assert_array_equal(got.x, columns)
    assert key.ndarray(roi=roi).shape == got.shape
    assert key.xarray(roi=roi, extra_coords=True).dims[-1] == "dim_1"
    assert set(key.xarray(roi=roi).coords) == {"trainId"}


def test_axes_and_coordinates_are_named_by_the_caller(run):
    key = run[CAMERA, "data.image"]
    own = key.xarray(["y", "x"], np.s_[1:3], extra_coords={"y": [10.0, 20.0]})
    assert own.y.values.tolist() == [10, 20]
    assert "x" not in own.coords
    assert key.xarray(["x"], np.s_[2]).dims == ("trainId", "x")
    assert set(key.xarray(["y", "x"], extra_coords=False).coords) == {"trainId"}
    with pytest.raises(ValueError, match="extra_dims names 3 axes"):
        key.xarray(["a", "b", "c"])


@pytest.mark.parametrize(
    ("roi", "error"),
    [(by_id[1:3], TypeError), ([2, 1], TypeError), ([1, 1], TypeError),
     ([True, False], IndexError), ([9], IndexError), ([0.5], TypeError)],
)  # fmt: skip
def test_a_region_that_is_none_is_an_error(roi, error, run):
    with pytest.raises(error):
        run[CAMERA, "data.image"].ndarray(roi=roi)


def test_frames_of_every_facility_take_regions_by_index(tmp_path):
    truth = write_run(tmp_path / "eu", modules=(3,), n_trains=2, pulses=2)
    frames = open_run(truth.directory).frames(roi=by_index[5:7, [2, 4, 9]])
    want = truth.frames()[..., 5:7, :][..., [2, 4, 9]]
    np.testing.assert_array_equal(frames.values, want)
    sacla = write_sacla_run(tmp_path / "s.h5", n_images=2)
    whole = open_run(sacla.path).frames(bad_pixels=None)
    part = open_run(sacla.path).frames(bad_pixels=None, roi=by_index[:3, [0, 5]])
    np.testing.assert_array_equal(part, whole[..., :3, [0, 5]])
    suite = open_run(write_suite(tmp_path / "l.h5").path)
    part = suite.frames(roi=by_index[[0, 2, 5], [1, 2, 7]])
    whole = suite.frames().isel(slow_scan=[0, 2, 5], fast_scan=[1, 2, 7])
    np.testing.assert_array_equal(part, whole)


def test_keys_of_a_source_are_selected_by_names_and_globs(run):
    source = run[CAMERA]
    assert source.select_keys("data.*").keys() == {"data.image", "data.t"}
    assert source.select_keys("*").keys() == source.keys()
    assert source.select_keys("data.*").select_keys("*.t").keys() == {"data.t"}
    gauge = run[GAUGE]
    assert gauge.select_keys("n*.q").keys() == {"name.q.value"}
    assert gauge.select_keys(["p"]).keys() == {"p.value"}
    assert gauge.select_keys([]).keys() == gauge.keys()
    for wrong in ("x.*", "x", ["x"]):
        with pytest.raises(PropertyNameError):
            source.select_keys(wrong)
    assert source.select_keys("data.t").index_groups == {"data"}
    assert gauge.index_groups == {""}
    assert gauge.one_key("").endswith(".value")
    assert source.one_key("beside") == "beside.u"
    with pytest.raises(NoDataError, match=r"no selected key.*'data'"):
        source.select_keys("beside.u").one_key("data")


def test_entries_are_counted_by_group(run):
    source = run[CAMERA]
    assert source.data_counts(labelled=False).tolist() == [1, 1, 3]
    assert source.drop_empty_trains().train_ids == [30, 31, 32]
    assert source.drop_empty_trains("data").train_ids == [30, 32]
    assert source.train_id_coordinates("data").tolist() == [30, 32, 32, 32]
    assert source.select_keys("beside.u").train_id_coordinates().tolist() == [
        30, 31, 32, 32,
    ]  # fmt: skip
    with pytest.raises(InconsistentDataError, match="Name the group"):
        source.train_id_coordinates()
    assert run[GAUGE].train_id_coordinates().tolist() == [30, 31, 32]
    for count in ("data_counts", "train_id_coordinates", "drop_empty_trains"):
        with pytest.raises(NoDataError, match="'image'"):
            getattr(source, count)(index_group="image")


def test_selections_of_a_source_are_joined_by_train(run):
    source = run[CAMERA].select_keys("data.t")
    both = source[2] | source.select_trains(by_id[[30]])
    assert both.train_ids == [30, 32]
    assert both["data.t"].ndarray().tolist() == [0, 1, 2, 3]
    with pytest.raises(InconsistentDataError, match=GAUGE):
        source.union(run[GAUGE])


def test_sources_of_two_runs_are_joined_without_values_of_their_start(path, tmp_path):
    other = write_file(
        tmp_path / "b.h5", [40], Slow(GAUGE, {"p": [9], "name.q": [2.0]}), run=2
    )
    one, two = H5File(path)[GAUGE], H5File(other)[GAUGE]
    both = one.union(two)
    assert both["p"].ndarray().tolist() == [3, 3, 3, 9]
    for ask in (both.run_values, both.run_keys, both.run_metadata):
        with pytest.raises(MultiRunError):
            ask()
    with pytest.raises(MultiRunError):
        both["p"].run_value()
    assert both["p"].run_value(allow_multi_run=True) == 3
    again = write_file(tmp_path / "c.h5", [30], Slow(GAUGE, {"p": [0]}), run=3)
    three = H5File(again)[GAUGE]
    with pytest.raises(InconsistentDataError, match="train 30 twice"):
        one.union(three)


def test_a_source_tells_what_it_is(run):
    gauge, camera = run[GAUGE], run[CAMERA]
    assert gauge.run_keys() == {"p.value", "name.q.value"}
    assert gauge.run_keys(False) == {"p", "name.q"}
    assert gauge.run_metadata()["runNumber"] == 1
    assert (camera.aggregator, camera.data_category) == ("SQS01", "CORR")
    assert camera.storage_class is None
    assert not gauge.is_run_only
    assert camera.is_single_run
    assert gauge["name.q"].run_value() == 1.0
    for ask in (camera.run_values, camera.run_keys, camera["data.t"].run_value):
        with pytest.raises(NoDataError, match="no values at the start"):
            ask()
    for part in (gauge, gauge["p"]):
        with pytest.raises(TypeError):
            iter(part)


def test_a_source_of_start_values_alone_has_no_data(tmp_path):
    path = write_file(tmp_path / "a.h5", [1, 2], Slow("A/B/C", {"x": [1, 1]}))
    with h5py.File(path, "r+") as f:
        del f["CONTROL/A/B/C"]
        del f["INDEX/A/B/C"]
    source = H5File(path)["A/B/C"]
    assert source.is_run_only
    assert source.one_key() is None
    assert source.data_counts().tolist() == [0, 0]
    assert source.run_value("x") == 1


def test_trains_without_entries_come_as_none(run):
    key = run[CAMERA, "data.t"]
    assert [t for t, _ in key.trains()] == [30, 32]
    found = dict(key.trains(include_empty=True))
    assert found[31] is None
    assert found[32].tolist() == [1, 2, 3]
    kept = dict(key.trains(include_empty=True, keep_dims=True))
    assert [len(v) for v in kept.values()] == [1, 0, 3]
    start, stop = key.train_index_bounds()
    assert (start[[0, 2]].tolist(), stop[[0, 2]].tolist()) == ([0, 1], [1, 4])
    assert key.train_index_bounds(labelled=True).stop[32] == 4
    assert key.train_from_id(31)[1].shape == (0,)
    assert key.source_file_paths[0].name == "CORR-R0001-SQS01-S00003.h5"


def test_text_attributes_come_as_str(path):
    with h5py.File(path, "r+") as f:
        f[f"CONTROL/{GAUGE}/p"].attrs["unitName"] = np.bytes_("pascal")
        f[f"CONTROL/{GAUGE}/p/value"].attrs["n"] = 3
    assert H5File(path)[GAUGE, "p"].attributes() == {"unitName": "pascal", "n": 3}


def test_sources_of_one_train_are_stacked_by_their_numbers():
    train = {f"A/{n}/B": {"x": np.full((2, 3), n), "y": n} for n in (10, 9, 2)}
    got = xf.stack_data(train, "x", axis=0)
    assert got[:, 0, 0].tolist() == [2, 9, 10]
    assert xf.stack_data(train, "x", xcept=["A/9/B"]).shape == (2, 2, 3)
    with pytest.raises(NoDataError, match="nothing to stack"):
        xf.stack_data(train, "x", xcept=train)
    with pytest.raises(PropertyNameError, match="stack_detector_data"):
        xf.stack_data(train, "z")
    train["A/9/B"]["x"] = np.zeros((2, 3))
    with pytest.raises(InconsistentDataError, match="float64"):
        xf.stack_data(train, "x")


def test_a_view_of_one_module_loses_that_axis():
    one = StackView({0: np.arange(3.0).reshape(1, 3)}, 1, 0, 0.0)
    assert one.squeeze().tolist() == [0, 1, 2]
    assert one.squeeze(axis=0).shape == (1, 3)
    assert one.squeeze(axis=1).shape == (1, 3)
    with pytest.raises(NoAxisError):
        one.squeeze(axis=3)
    two = StackView({0: np.zeros((1, 3))}, 2, 0, 0.0)
    with pytest.raises(ValueError, match="cannot select an axis"):
        two.squeeze(axis=0)


# -- detectors ------------------------------------------------------------------------


def modules_that_disagree(tmp_path):
    """Module 2 starts one pulse later than module 5 in the second of two trains."""
    for m, pulses in ((2, [4, 6, 5, 7]), (5, [4, 6, 4, 5])):
        values = 10 * m + np.arange(4)
        write_file(
            tmp_path / f"CORR-R0001-LPD{m:02}-S00000.h5", [1, 2],
            lpd(m, [2, 2], pulses, values),
        )  # fmt: skip
    return RunDirectory(tmp_path).detector()


def test_modules_that_disagree_are_joined_by_pulse_in_trains(tmp_path):
    detector = modules_that_disagree(tmp_path)
    with pytest.raises(InconsistentDataError, match=r"inconsistent image\.pulseId"):
        detector.get_array("image.data")
    (_, one), (_, two) = detector.trains()
    pixels = one["image.data"][:, 0, :, 0, 0]
    assert pixels.pulse.values.tolist() == [4, 6]
    np.testing.assert_array_equal(pixels, [[20, 21], [50, 51]])
    pixels = two["image.data"][:, 0, :, 0, 0]
    assert pixels.pulse.values.tolist() == [4, 5, 7]
    nan = np.nan
    np.testing.assert_array_equal(pixels, [[nan, 22, 23], [52, 53, nan]])
    _, (_, few) = detector.trains(pulses=by_id[:5])
    assert few["image.data"].module.values.tolist() == [2, 5]
    np.testing.assert_array_equal(few["image.data"][:, 0, :, 0, 0], [[nan], [52]])


def test_own_rows_of_modules_that_disagree_are_written(tmp_path):
    detector = modules_that_disagree(tmp_path / "run")
    detector.write_frames(tmp_path / "out.h5", [2, 2, 1], [5, 7, 6])
    out = H5File(tmp_path / "out.h5")
    for m, pulses, values in ((2, [6, 5, 7], [21, 22, 23]), (5, [6, 5], [51, 53])):
        source = out[f"{LPD}/CORR/{m}CH0:output"]
        assert source["image.pulseId"].ndarray().tolist() == pulses
        assert source["image.data"].ndarray()[:, 0, 0].tolist() == values
        assert source["image.data"].data_counts().tolist() == [1, len(pulses) - 1]


def test_a_module_without_frames_stays_in_its_train(tmp_path):
    truth = write_run(
        tmp_path, modules=(0, 3, 7), n_trains=2, pulses=2,
        missing=[(3, 10001)], absent=[(7, 10000)],
    )  # fmt: skip
    detector = open_run(truth.directory).detector()
    (_, one), (_, two) = detector.trains(require_all=False)
    assert one["image.data"].module.values.tolist() == [0, 3]
    assert two["image.data"].module.values.tolist() == [0, 3, 7]
    pixels = two["image.data"][:, 0, :, 0, 0]
    np.testing.assert_array_equal(np.isnan(pixels), [[0, 0], [1, 1], [0, 0]])
    assert np.isnan(two["image.mask"].sel(module=3)).all()
    assert [t for t, _ in detector.trains()] == []


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [({"parts": 4, "frames_per_part": 20}, [2, 2, 2, 3]),
     ({"trains_per_part": 4, "frames_per_part": 6}, [3, 3, 3]),
     ({"frames_per_part": 1}, [1] * 9), ({"frames_per_part": 7}, [3, 3, 3])],
)  # fmt: skip
def test_trains_of_equal_frames_are_split_evenly(limits, sizes, tmp_path):
    truth = write_run(tmp_path, modules=(1,), n_trains=9, pulses=2)
    pieces = list(open_run(truth.directory).detector().split_trains(**limits))
    assert [len(p.train_ids) for p in pieces] == sizes
    assert [t for p in pieces for t in p.train_ids] == truth.train_ids.tolist()
