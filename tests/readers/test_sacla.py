"""SACLA runs: frames, selections, and the protocol that all runs have."""

import pickle

import dask
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.cli.main import run as command
from xfelred.errors import (
    InconsistentDataError,
    PropertyNameError,
    SelectionEmptyError,
    SourceNameError,
)
from xfelred.hdf5 import shot_images as images
from xfelred.lazy.array import PlannedArray
from xfelred.readers.xarray_backend import XfelredBackend
from xfelred.synth.sacla import write_run

DETECTOR = "MPCCD-8-2-002"
MISSING = ((4, 3), (4, 7), (6, 1))


@pytest.fixture(scope="module")
def assembled(tmp_path_factory):
    """17 images of 20 x 24 pixels, 4 dark, 25 rows of events."""
    path = tmp_path_factory.mktemp("sacla") / "assembled.h5"
    return write_run(path, n_images=17, n_events=25, n_darks=4, shape=(20, 24))


@pytest.fixture(scope="module")
def octal(tmp_path_factory):
    """9 tags, modules 1, 3 and 7 of 16 x 8 pixels, three images missing."""
    path = tmp_path_factory.mktemp("sacla") / "octal.h5"
    return write_run(
        path, layout="modules", modules=(1, 3, 7), n_images=9, n_darks=2,
        shape=(16, 8), missing=MISSING,
    )  # fmt: skip


def frames(truth, **options):
    return xf.open_run(truth.path).frames(**options)


# -- frames ---------------------------------------------------------------------------


def test_assembled_frames_are_those_of_the_file(assembled, no_compute):
    with no_compute():
        array = frames(assembled)
    assert array.dims == ("train", "pulse", "module", "slow_scan", "fast_scan")
    assert array.shape == (17, 1, 1, 20, 24)
    assert array.dtype == np.float32
    assert isinstance(array.data, PlannedArray)
    assert array.name == "detector_data"
    assert array.attrs["units"] == "adu"
    assert array.attrs["facility"] == "sacla"
    assert array.attrs["history"].startswith("frames {")
    np.testing.assert_array_equal(array.train, assembled.tags)
    assert array.train.dtype == np.int64
    assert array.module.values.tolist() == [0]
    assert array.pulse.values.tolist() == [0]
    np.testing.assert_array_equal(array, assembled.frames())


def test_every_coordinate_has_a_unit_and_a_name(octal):
    for name, coordinate in frames(octal).coords.items():
        assert coordinate.attrs.get("units"), name
        assert coordinate.attrs.get("long_name"), name


def test_missing_modules_are_nan_and_not_available(octal):
    array = frames(octal)
    np.testing.assert_array_equal(array, octal.frames())
    expected = np.ones((9, 3), bool)
    expected[[4, 4, 6], [1, 2, 0]] = False
    np.testing.assert_array_equal(array.available, expected)
    assert array.module.values.tolist() == [1, 3, 7]
    assert array.detector_status.dims == ("train", "module")
    np.testing.assert_array_equal(array.detector_status == 1, expected)


@pytest.mark.parametrize("tags_per_chunk", [1, 3, 17])
def test_values_do_not_depend_on_chunks(assembled, tags_per_chunk):
    array = frames(assembled, chunk_size=tags_per_chunk * 20 * 24 * 4)
    assert max(array.chunksizes["train"]) == tags_per_chunk
    np.testing.assert_array_equal(array, assembled.frames())
    mean = array.mean("train")
    expected = assembled.frames().mean(0, dtype=np.float64)
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "index",
    [
        np.s_[3:9],
        np.s_[:, 0, 1],
        np.s_[[0, 4, 6], :, :, 2:15:3],
        np.s_[::2, :, [0, 2], 1:, ::3],
        np.s_[5, 0, 2, 3, 4],
        np.s_[:, :, :, [0, 5, 6], :],
        np.s_[:, :, :, :, [1, 7]],
    ],
)
def test_selections_read_the_same_as_numpy(octal, index):
    array, truth = frames(octal), octal.frames()
    np.testing.assert_array_equal(array.data[index], truth[index])


def test_roi_and_modules_reach_the_file(octal):
    array = frames(octal, modules=[7, 1], roi=np.s_[2:9, 1::2])
    assert array.shape == (9, 1, 2, 7, 4)
    assert array.module.values.tolist() == [1, 7]
    np.testing.assert_array_equal(array.slow_scan, np.arange(2, 9))
    np.testing.assert_array_equal(array.fast_scan, [1, 3, 5, 7])
    truth = octal.frames()[:, :, [0, 2], 2:9, 1::2]
    np.testing.assert_array_equal(array, truth)
    plan = xf.open_run(octal.path).plan(array)
    assert plan.bytes_to_read == (9 + 9 - 2) * 7 * 4 * 4
    assert plan.bytes_total == (9 + 9 - 2) * 16 * 8 * 4


def test_layout_frame_is_flat(octal):
    flat = frames(octal, layout="frame")
    assert flat.dims == ("frame", "module", "slow_scan", "fast_scan")
    np.testing.assert_array_equal(flat, octal.frames()[:, 0])
    np.testing.assert_array_equal(flat.train, octal.tags)
    assert {"pulse", "cell", "shutter_open", "available"} <= set(flat.coords)
    np.testing.assert_array_equal(flat[3:5].compute(), octal.frames()[3:5, 0])


def test_missing_and_require(octal):
    run = xf.open_run(octal.path)
    whole = [0, 1, 2, 3, 5, 7, 8]
    for options in ({"missing": "drop"}, {"require": "all"}):
        np.testing.assert_array_equal(run.frames(**options).train, octal.tags[whole])
    # A missing module that was not asked for does not matter.
    assert run.frames(modules=1, missing="drop").sizes["train"] == 8
    with pytest.raises(InconsistentDataError, match=r"3 images.*module 3.*166762148"):
        run.frames(missing="raise")
    with pytest.raises(ValueError, match=r"require.* must be one of"):
        run.frames(require="some")
    with pytest.raises(SelectionEmptyError, match="missing='fill'"):
        run.select_trains(4).frames(missing="drop")


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32"])
def test_integers_with_gaps_have_nan_unless_there_is_a_fill_value(tmp_path, dtype):
    truth = write_run(
        tmp_path / "a.h5", layout="modules", modules=(2, 5), n_images=3, n_darks=1,
        shape=(6, 4), dtype=dtype, missing={(1, 5)},
    )  # fmt: skip
    array = frames(truth)
    assert array.dtype == ("float64" if dtype == "int32" else "float32")
    assert array.attrs["stored_dtype"] == dtype
    assert np.isnan(array[1, 0, 1]).all()
    filled = frames(truth, fill_value=0)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled, truth.frames())
    np.testing.assert_array_equal(array.where(array.available, 0), truth.frames())
    assert (frames(truth, fill_value=7)[1, 0, 1] == 7).all()
    assert frames(truth, modules=2).dtype == dtype
    wide = frames(truth, astype="float32")
    assert wide.dtype == np.float32
    assert np.isnan(wide[1, 0, 1]).all()
    with pytest.raises(ValueError, match="fill value"):
        frames(truth, fill_value=np.nan)


def test_pulses_are_one_per_tag(assembled):
    assert frames(assembled, pulses=xf.by_id[0]).sizes["pulse"] == 1
    assert frames(assembled, pulses=xf.by_id[3]).sizes["pulse"] == 0
    assert frames(assembled, pulses=[1], layout="frame").sizes["frame"] == 0


def test_unknown_words_are_errors(assembled, octal):
    run = xf.open_run(assembled.path)
    with pytest.raises(PropertyNameError, match=r"run\.scalars"):
        run.frames(key="detector_status")
    with pytest.raises(ValueError, match="layout='images' must be one of"):
        run.frames(layout="images")
    with pytest.raises(TypeError, match="no option mask"):
        run.frames(mask=3)
    with pytest.raises(SourceNameError, match=DETECTOR):
        run.frames("MPCCD-8-2-003")
    with pytest.raises(SelectionEmptyError, match=r"no module \[2\]"):
        xf.open_run(octal.path).frames(modules=[1, 2])
    with pytest.raises(TypeError, match="module numbers"):
        xf.open_run(octal.path).frames(modules=["1"])
    with pytest.raises(IndexError, match="outside"):
        run.frames(roi=np.s_[40])


# -- run ------------------------------------------------------------------------------


def test_run_describes_itself(assembled, octal):
    run = xf.open_run(assembled.path)
    assert run.facility == "sacla"
    assert run.run_id == "run_300001"
    assert run.train_ids == assembled.tags.tolist()
    assert run.detectors == {DETECTOR: "assembled"}
    assert run.sources == [DETECTOR, "event_info"]
    assert run.keys(DETECTOR) == ["detector_data", "detector_status"]
    assert "bl_3/oh_2/photon_energy_in_eV" in run.keys("event_info")
    assert run.tag_step == 2
    text = repr(run)
    assert len(text.splitlines()) <= 20
    assert "17 (166762140 to 166762172, step 2)" in text
    assert "4 dark, 13 lit" in text
    assert "<table>" in run._repr_html_()
    assert xf.open_run(octal.path).detectors == {DETECTOR: "octal"}
    assert "3 gaps" in repr(xf.open_run(octal.path))


def test_info_prints_everything(assembled, capsys):
    xf.open_run(assembled.path).info()
    out = capsys.readouterr().out
    assert "  - bl_3/lh_1/electrical_delay_in_psec" in out
    xf.open_run(assembled.path).info(details_for_sources="MPCCD*")
    assert "      detector_status" in capsys.readouterr().out


def test_selecting_tags(assembled):
    run = xf.open_run(assembled.path)
    tags = assembled.tags
    for selection, expected in (
        (np.s_[2:7], tags[2:7]),
        (-1, tags[-1:]),
        ([5, 1, 5], tags[[1, 5]]),
        (xf.by_id[[int(tags[3]), 17]], tags[[3]]),
        (xf.by_id[int(tags[2]) : int(tags[5])], tags[2:5]),
        (xf.by_index[4:6], tags[4:6]),
        (np.arange(17) % 5 == 0, tags[::5]),
        (run.darks, tags[:4]),
    ):
        chosen = run.select_trains(selection)
        assert chosen.train_ids == expected.tolist()
        np.testing.assert_array_equal(chosen.frames().train, expected)
    assert len(run.train_ids) == 17
    assert run[3:5].train_ids == tags[3:5].tolist()
    with pytest.raises(IndexError, match="out of range"):
        run.select_trains([17])
    with pytest.raises(ValueError, match="boolean selection"):
        run.select_trains(np.ones(25, bool))


def test_selecting_tags_selects_rows_of_events(assembled):
    run = xf.open_run(assembled.path)
    assert run.scalars(["delay"]).sizes["train"] == 25
    assert run.select_trains(np.s_[:]).scalars(["delay"]).sizes["train"] == 25
    assert run.select_trains(np.s_[3:6]).scalars(["delay"]).sizes["train"] == 3
    # By label, shots without an image are selected too.
    late = run.select_trains(xf.by_id[int(assembled.config.tags[15]) :])
    assert late.train_ids == assembled.tags[15:].tolist()
    assert late.scalars(["delay"]).sizes["train"] == 10
    strong = run.scalars(["I0"])["I0"] > 0
    assert run.select_trains(strong).train_ids == assembled.tags[4:].tolist()


def test_empty_selection_gives_an_empty_array(octal):
    run = xf.open_run(octal.path).select_trains([])
    array = run.frames()
    assert array.shape == (0, 1, 3, 16, 8)
    assert array.compute().shape == array.shape
    assert run.frames(layout="frame").compute().shape == (0, 3, 16, 8)
    assert "0" in repr(run)
    assert run.darks.shape == (0,)


def test_splitting(octal):
    run = xf.open_run(octal.path)
    parts = list(run.split_trains(parts=2))
    assert [t for p in parts for t in p.train_ids] == octal.tags.tolist()
    assert [len(p.train_ids) for p in run.split_trains(trains_per_part=4)] == [3, 3, 3]
    pieces = run.detector().split_trains(trains_per_part=5)
    joined = xr.concat([p.frames() for p in pieces], "train")
    np.testing.assert_array_equal(joined, octal.frames())


def test_select_sources(octal):
    run = xf.open_run(octal.path)
    only = run.select("event_info", "bl_3/lh_1/*")
    assert only.detectors == {}
    assert only.keys("event_info") == [
        "bl_3/lh_1/electrical_delay_in_psec",
        "bl_3/lh_1/laser_pulse_selector_status",
    ]
    with pytest.raises(PropertyNameError):
        only.scalars(["time"])
    images = run.select("MPCCD*")
    assert images.sources == [DETECTOR]
    np.testing.assert_array_equal(images.frames(), octal.frames())
    both = run.select([("MPCCD*", "*"), ("event_info", "*delay*")])
    assert both.sources == [DETECTOR, "event_info"]
    with pytest.raises(SourceNameError, match="AGIPD"):
        run.select("AGIPD*")


def test_keys_have_shape_dtype_and_values(octal):
    run = xf.open_run(octal.path)
    column = run["event_info", "bl_3/oh_2/photon_energy_in_eV"]
    assert (column.shape, column.dtype, column.units) == ((9,), np.float32, "eV")
    images = run[DETECTOR, "detector_data"]
    assert (images.shape, images.units) == ((9, 3, 16, 8), "adu")
    temperature = run[DETECTOR, "temperature"].xarray()
    assert temperature.dims == ("train", "module")
    here = np.isfinite(temperature.values)
    np.testing.assert_array_equal(here, run.frames().available)
    np.testing.assert_allclose(temperature.values[here], -21.27, rtol=1e-6)
    assert (DETECTOR, "temperature") in run
    assert (DETECTOR, "humidity") not in run
    with pytest.raises(PropertyNameError, match="temperature"):
        run[DETECTOR, "temprature"]


def test_detector_by_name_of_its_group(octal):
    run = xf.open_run(octal.path)
    assert run.detector("detector_2d_3").detector_name == DETECTOR
    part = run.detector(DETECTOR, modules=[3])
    assert part.modules == [3]
    assert part.module_shape == (16, 8)
    # The axis is that of the whole detector: the module has no image of tag 4.
    np.testing.assert_array_equal(part.frames(), octal.frames()[:, :, 1:2])
    assert np.flatnonzero(~part.frames().available[:, 0]).tolist() == [4]
    xr.testing.assert_identical(part.frames(), run.frames(modules=[3]))
    assert part.select_trains([3, 4]).frames().train.values.tolist() == [
        part.train_ids[3], part.train_ids[4],
    ]  # fmt: skip
    assert "1 modules, 9 tags" in repr(part)


def test_constants(octal):
    found = xf.open_run(octal.path).constants()
    np.testing.assert_allclose(found.absolute_gain, [17.2, 16.8, 17.0818])
    np.testing.assert_allclose(found.relative_gain, [1, 16.8 / 17.2, 17.0818 / 17.2])
    np.testing.assert_allclose(found.pixel_size, 0.0512 / 16)
    np.testing.assert_allclose(found.rotation, [-89.9062, -89.98, 90.0])
    np.testing.assert_allclose(found.coordinate[1], [817e-6, -1808e-6, 0])
    assert found.absolute_gain.attrs["units"] == "electron/adu"


def test_a_pickled_run_reads_the_same(octal):
    run = pickle.loads(pickle.dumps(xf.open_run(octal.path)[2:]))
    np.testing.assert_array_equal(run.frames(), octal.frames()[2:])
    np.testing.assert_array_equal(run.lit, octal.shutter_open[2:])


def test_a_process_that_knows_nothing_reads_the_same(octal):
    """Workers get the plan, not the places of images that were found meanwhile."""
    array = frames(octal)
    images.PLAIN.clear()
    np.testing.assert_array_equal(array[:, :, :, 1:, ::2], octal.frames()[..., 1:, ::2])
    np.testing.assert_array_equal(array, octal.frames())
    assert images.PLAIN


def test_blocks_travel_light(tmp_path):
    """A task of a distributed scheduler names its tags in a few bytes."""
    truth = write_run(tmp_path / "a.h5", n_images=600, shape=(4, 4), n_crystals=0)
    array = frames(truth, chunk_size=64 * 4 * 4 * 4)
    assert array.data.npartitions == 10
    plan = array.data.node.plan.narrow(
        (slice(0, 64, 1), *(slice(0, n, 1) for n in (1, 1, 4, 4)))
    )
    assert len(pickle.dumps(plan.compact())) < 2500


def test_equal_requests_have_equal_names(octal):
    one, two = frames(octal), frames(octal)
    assert one.data.name == two.data.name
    assert one.data.name != frames(octal, modules=[1, 3]).data.name
    assert one.attrs["source_fingerprint"] == two.attrs["source_fingerprint"]


def test_threads_read_the_same(octal):
    with dask.config.set(scheduler="threads", num_workers=4):
        array = frames(octal, chunk_size="1kiB").compute()
    np.testing.assert_array_equal(array, octal.frames())


def test_xarray_engine(octal):
    opened = xr.open_dataset(octal.path, engine=XfelredBackend, chunks={})
    np.testing.assert_array_equal(opened.detector_data, octal.frames())


def test_command_shows_a_run(octal, capsys):
    assert command(["info", str(octal.path), "--json"]) == 0
    assert '"facility": "sacla"' in capsys.readouterr().out
    assert command(["info", str(octal.path), "--source", "event_info"]) == 0
    assert "time_stamp" in capsys.readouterr().out


# -- several runs in one file ---------------------------------------------------------


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    path = tmp_path_factory.mktemp("sacla") / "two.h5"
    first = write_run(path, n_images=3, n_darks=1, shape=(6, 5))
    second = write_run(
        path, append=True, run=300002, n_images=4, n_darks=1, shape=(7, 5), seed=1
    )
    return first, second


@pytest.mark.parametrize("name", [300002, "300002", "run_300002", np.int64(300002)])
def test_one_of_several_runs(two_runs, name):
    run = xf.open_run(two_runs[1].path, run=name)
    assert run.run_id == "run_300002"
    np.testing.assert_array_equal(run.frames(), two_runs[1].frames())


def test_several_runs_are_named_in_the_error(two_runs):
    path = two_runs[0].path
    with pytest.raises(xf.MultiRunError, match=r"run=300001, run=300002"):
        xf.open_run(path)
    with pytest.raises(ValueError, match=r"no run 7 .* run=300001"):
        xf.open_run(path, run=7)
    with pytest.raises(ValueError, match="run_300001"):
        xf.open_run(path, run="first")
    np.testing.assert_array_equal(
        xf.open_run(str(path), 300001).frames(), two_runs[0].frames()
    )
