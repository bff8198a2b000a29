"""Calibration-suite files: every layout against what was written, and h5py."""

import pickle
import re

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.readers.xarray_backend import XfelredBackend
from xfelred.synth.lcls.calibsuite import write_suite

LAYOUTS = ("nested", "by_detector", "at_root", "flat")


def written(path, layout="nested", **options):
    if layout == "flat":
        options.setdefault("n_events", (4, 4, 4))
    return write_suite(path / "run.h5", layout=layout, **options)


def everything(truth):
    name = truth.config.detectors[0]
    return np.concatenate(truth.frames[name])


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Steps 8 to 11 of 5, 9, 3 and 7 events; step 9 has its value for each event."""
    path = tmp_path_factory.mktemp("suite")
    return written(path, first_step=8, per_event=(1,), detectors=("epixM", "epixHR"))


@pytest.fixture(scope="module")
def run(suite):
    return xf.open_run(suite.path)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_of_every_layout(tmp_path, layout, chunks):
    truth = written(tmp_path, layout, chunks=chunks)
    run = xf.open_run(truth.path)
    name = "frames" if layout == "flat" else "epixM"
    assert (run.facility, run.run_id, list(run.detectors)) == ("lcls", "run", [name])
    for size in ("1B", "8KiB", "128MiB"):
        frames = run.frames(chunk_size=size)
        np.testing.assert_array_equal(frames[:, 0], everything(truth))
    assert frames.dims == ("train", "pulse", "module", "slow_scan", "fast_scan")
    assert frames.dtype == np.uint16
    counts = truth.config.n_events
    np.testing.assert_array_equal(frames.train, np.arange(sum(counts)))
    np.testing.assert_array_equal(frames.step, np.repeat(range(len(counts)), counts))
    np.testing.assert_array_equal(
        frames.event, np.concatenate(list(map(range, counts)))
    )
    values = np.repeat(truth.config.values, counts)
    np.testing.assert_array_equal(frames.step_value, values)
    for step in ("step", "event", "step_value"):
        assert frames[step].attrs["units"] == "1"
        assert frames[step].attrs["long_name"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_steps_are_in_the_order_of_numbers_not_names(tmp_path, layout):
    counts = (2,) * 12
    truth = written(tmp_path, layout, n_events=counts, shape=(1, 4, 4))
    run = xf.open_run(truth.path)
    np.testing.assert_array_equal(run.steps.step, np.arange(12))
    np.testing.assert_array_equal(run.frames().values[:, 0], everything(truth))


def test_steps_may_be_named_by_numbers(tmp_path):
    truth = written(tmp_path, step_name="{}", step_stride=5)
    run = xf.open_run(truth.path)
    np.testing.assert_array_equal(run.steps.step, [0, 5, 10, 15])
    np.testing.assert_array_equal(run.frames().values[:, 0], everything(truth))


def test_building_computes_and_reads_nothing(suite, no_compute):
    run = xf.open_run(suite.path)
    with no_compute():
        run.frames("epixM")
        run.frames("epixM", layout="step")
        run.frames("epixM", layout="list")


def test_layout_by_step_is_padded(suite, run):
    frames = run.frames("epixM", layout="step", fill_value=7)
    assert frames.dims == ("step", "event", "module", "slow_scan", "fast_scan")
    assert frames.shape == (4, 9, 2, 12, 16)
    np.testing.assert_array_equal(frames.step, [8, 9, 10, 11])
    np.testing.assert_array_equal(frames.n_events, [5, 9, 3, 7])
    np.testing.assert_array_equal(frames.step_value, [0, 1.5, 3, 4.5])
    for i, wanted in enumerate(suite.frames["epixM"]):
        np.testing.assert_array_equal(frames[i, : len(wanted)], wanted)
        assert (frames[i, len(wanted) :] == 7).all()
    real = np.arange(9) < np.array([[5], [9], [3], [7]])
    np.testing.assert_array_equal(frames.recorded, real)
    padded = run.frames("epixM", layout="step", astype="float32")
    np.testing.assert_array_equal(np.isnan(padded[..., 0, 0, 0]), ~real)


def test_statistics_leave_padding_out(suite, run):
    frames = run.frames("epixM", layout="step")
    found = ops.statistics(frames, "event", which=("mean", "count")).compute()
    wanted = [f.mean(axis=0) for f in suite.frames["epixM"]]
    np.testing.assert_allclose(found["mean"], wanted, rtol=1e-12)
    same = ops.statistics(run.frames("epixM"), by="step", which=("mean",)).compute()
    np.testing.assert_allclose(same["mean"][:, 0], wanted, rtol=1e-12)


def test_list_of_steps(suite, run):
    listed = run.frames("epixM", layout="list")
    assert isinstance(listed, list)
    for array, wanted in zip(listed, suite.frames["epixM"], strict=True):
        assert array.dims == ("event", "module", "slow_scan", "fast_scan")
        np.testing.assert_array_equal(array, wanted)
    assert [int(a.step) for a in listed] == [8, 9, 10, 11]


def test_several_detectors_have_the_same_events(suite, run):
    assert list(run.detectors) == ["epixHR", "epixM"]
    with pytest.raises(xf.SourceNameError, match="several detectors"):
        run.frames()
    a, b = run.frames("epixM"), run.frames("epixHR")
    xr.testing.assert_equal(a.train, b.train)
    np.testing.assert_array_equal(
        b.values[:, 0], np.concatenate(suite.frames["epixHR"])
    )


def test_selections_reach_the_file(suite, run):
    whole = run.frames("epixM").values
    few = run.select_trains([3, 4, 20])
    np.testing.assert_array_equal(few.frames("epixM"), whole[[3, 4, 20]])
    np.testing.assert_array_equal(few.steps.n_events, [2, 0, 0, 1])
    by_id = run.select_trains(xf.by_id[5:9])
    assert by_id.train_ids == [5, 6, 7, 8]
    np.testing.assert_array_equal(
        few.frames("epixM", layout="step").n_events, [2, 0, 0, 1]
    )
    np.testing.assert_array_equal(
        few.frames("epixM", layout="step")[0, :2], whole[[3, 4], 0]
    )
    part = run.frames("epixM", modules=[1], roi=np.s_[2:5, ::2])
    np.testing.assert_array_equal(part, whole[:, :, 1:2, 2:5, ::2])
    stepped = run.frames("epixM", modules=1, roi=np.s_[2:5, 3:], layout="list")
    np.testing.assert_array_equal(stepped[2], suite.frames["epixM"][2][:, 1:2, 2:5, 3:])
    np.testing.assert_array_equal(
        run.frames("epixM", layout="frame").sel(module=1)[5], whole[5, 0, 1]
    )
    assert sum(len(r.train_ids) for r in run.split_trains(5)) == 24


def test_steps_are_selected_by_number_or_position(suite, run):
    for some in (run.select_steps([1, 3]), run.select_steps(xf.by_id[[9, 11]])):
        np.testing.assert_array_equal(some.steps.step, [9, 11])
        np.testing.assert_array_equal(some.steps.n_events, [9, 7])
        wanted = np.concatenate([suite.frames["epixM"][i] for i in (1, 3)])
        np.testing.assert_array_equal(some.frames("epixM").values[:, 0], wanted)
        assert some.frames("epixM", layout="step").sizes["step"] == 2


def test_values_of_events_and_steps(suite, run):
    found = run.scalars(["timestamp", "wave8", "delay"])
    np.testing.assert_array_equal(found.timestamp, np.concatenate(suite.timestamps))
    np.testing.assert_array_equal(found.wave8, np.concatenate(suite.flux))
    assert found.wave8.dims == ("train", "wave8_dim0")
    np.testing.assert_array_equal(
        found.delay, np.repeat([0, 1.5, 3, 4.5], [5, 9, 3, 7])
    )
    np.testing.assert_array_equal(found.step, run.frames("epixM").step)
    assert set(run.scalars("*")) == {"timestamp", "wave8", "delay"}
    some = run.select_trains(slice(4, 16, 3)).scalars("wave8").wave8
    np.testing.assert_array_equal(some, found.wave8[4:16:3])
    assert not run.scalars("nothing", missing_keys="ignore")
    with pytest.raises(KeyError, match=r"no values 'wave9'.*wave8"):
        run.scalars("wave9")
    with pytest.raises(ValueError, match="stream"):
        run.scalars("wave8", stream="intg")


def test_steps_table_and_metadata(run):
    steps = run.steps
    np.testing.assert_array_equal(steps.n_events, [5, 9, 3, 7])
    np.testing.assert_array_equal(steps.step_value, [0, 1.5, 3, 4.5])
    np.testing.assert_array_equal(steps.delay, steps.step_value)
    assert steps.step_value.attrs["long_name"] == "delay"
    metadata = run.metadata
    assert metadata["scriptType"] == "delayScan"
    assert metadata["run"] == 1727740800
    assert all(isinstance(v, (str, int)) for v in metadata.values())


def test_run_protocol(suite, run, capsys):
    again = pickle.loads(pickle.dumps(run))
    np.testing.assert_array_equal(again.frames("epixM"), run.frames("epixM"))
    assert len(repr(run).splitlines()) <= 20
    assert "delayScan" in repr(run)
    assert "epixM" in run._repr_html_()
    run.info("wave8")
    assert "wave8" in capsys.readouterr().out
    assert run.sources == ["epixHR", "epixM", "timestamp", "wave8", "delay"]
    assert run.keys("epixM") == ["frames"]
    assert run["epixM"].modules == [0, 1]
    np.testing.assert_array_equal(
        run["timestamp", "value"], np.concatenate(suite.timestamps)
    )
    assert run.select("epix*").sources == ["epixHR", "epixM"]
    assert run[:3].train_ids == [0, 1, 2]
    with pytest.raises(xf.MissingConstantError, match=r"epixM.*dark_statistics"):
        run.constants("epixM")
    plan = run.plan(run.frames("epixM").mean("train"))
    assert plan.bytes_to_read == plan.bytes_total == 24 * 2 * 12 * 16 * 2


def test_xarray_opens_the_file(tmp_path):
    truth = written(tmp_path)
    with xr.open_dataset(truth.path, engine=XfelredBackend, chunks={}) as ds:
        np.testing.assert_array_equal(ds.frames[:, 0], everything(truth))


# -- odd input ------------------------------------------------------------------------


def edited(path, edit, layout="nested", **options):
    truth = written(path, layout, **options)
    with h5py.File(truth.path, "a") as file:
        edit(file)
    return truth


def test_step_without_events_stays_in_the_table(tmp_path):
    def edit(file):
        file.create_group("detectorData/step4")
        file["ancillaryData/delay/step4"] = 9.0

    truth = edited(tmp_path, edit, n_events=(2, 0, 3, 1))
    run = xf.open_run(truth.path)
    np.testing.assert_array_equal(run.steps.n_events, [2, 0, 3, 1, 0])
    np.testing.assert_array_equal(run.steps.step_value, [0, 1.5, 3, 4.5, 9])
    np.testing.assert_array_equal(run.frames().values[:, 0], everything(truth))
    assert run.frames(layout="step").shape[:2] == (5, 3)
    assert [len(a) for a in run.frames(layout="list")] == [2, 0, 3, 1, 0]
    assert run.scalars("timestamp").sizes["train"] == 6


def test_file_without_header(tmp_path):
    truth = written(tmp_path, script_type="", ancillary="")
    run = xf.open_run(truth.path)
    assert "scriptType" not in run.metadata
    assert "not told" in repr(run)
    assert np.isnan(run.steps.step_value).all()
    assert np.isnan(run.frames().step_value).all()


def test_flat_file_in_the_order_of_its_step_numbers(tmp_path):
    def edit(file):
        file["step"][...] = [30, 10, 20]

    truth = edited(tmp_path, edit, "flat")
    run = xf.open_run(truth.path)
    np.testing.assert_array_equal(run.steps.step, [10, 20, 30])
    np.testing.assert_array_equal(run.steps.step_value, [1.5, 3, 0])
    wanted = np.concatenate([truth.frames["epixM"][i] for i in (1, 2, 0)])
    np.testing.assert_array_equal(run.frames().values[:, 0], wanted)
    np.testing.assert_array_equal(run.frames(layout="step")[0], wanted[:4])


def test_value_that_differs_within_a_step_is_averaged(tmp_path):
    def edit(file):
        del file["ancillaryData/delay/step1"]
        file["ancillaryData/delay/step1"] = np.arange(9.0)

    run = xf.open_run(edited(tmp_path, edit).path)
    np.testing.assert_array_equal(run.steps.step_value, [0, 4, 3, 4.5])
    np.testing.assert_array_equal(run.scalars("delay").delay[5:14], np.arange(9.0))
    assert "delay" not in run.steps


def remake(name, shape, dtype=np.uint16):
    def edit(file):
        if name in file:
            del file[name]
        file[name] = np.zeros(shape, dtype)

    return edit


BROKEN = {
    "detectors differ": (
        remake("detectorData/step1/epixHR", (4, 2, 12, 16)),
        {"detectors": ("epixM", "epixHR")}, "step 1 .* 4 events of epixHR, 9 events",
    ),
    "detector missing in steps": (
        remake("detectorData/step1/epixHR", (9, 2, 12, 16)), {},
        "step 0 .* 5 events of epixM, 0 events of epixHR",
    ),
    "value too short": (
        remake("detectorData/step1/wave8", (8, 8)), {}, "8 values of wave8 for the 9",
    ),
    "ancillary too short": (
        remake("ancillaryData/delay/step1", (3,)), {}, "3 values of delay for the 9",
    ),
    "other shape": (
        remake("detectorData/step1/epixM", (9, 2, 12, 8)), {}, "from step to step",
    ),
    "other dtype": (
        remake("detectorData/step1/epixM", (9, 2, 12, 16), "f4"), {}, "step to step",
    ),
    "three axes": (
        remake("detectorData/step0/epixM", (5, 12, 16)), {"n_events": (5,)},
        "module, row,",
    ),
    "unknown name": (
        remake("detectorData/third/epixM", (5, 2, 12, 16)), {}, "third .* is no step",
    ),
    "step twice": (remake("detectorData/1/epixM", (9, 2, 12, 16)), {}, "step 1 twice"),
    "flat, four axes": (
        remake("frames", (4, 2, 12, 16)), {"layout": "flat"}, "step, event",
    ),
    "flat, too few values": (
        remake("step_value", (2,)), {"layout": "flat"}, "3 steps",
    ),
    "flat, step twice": (remake("step", (3,), int), {"layout": "flat"}, "twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_file_that_contradicts_itself(tmp_path, case):
    edit, options, text = BROKEN[case]
    truth = edited(tmp_path, edit, **options)
    with pytest.raises(xf.InconsistentDataError, match=text):
        xf.open_run(truth.path)


def test_truncated_file(tmp_path):
    truth = written(tmp_path, shape=(2, 40, 40))
    truth.path.write_bytes(truth.path.read_bytes()[:20_000])
    with pytest.raises((xf.BrokenFileError, xf.UnknownFormatError)):
        xf.open_run(truth.path)
    with pytest.raises(xf.BrokenFileError, match=re.escape(str(truth.path))):
        xf.open_run(truth.path, facility="lcls")


def test_questions_without_an_answer(suite, run):
    with pytest.raises(xf.SourceNameError, match=r"epixN.*Did you mean 'epixM'"):
        run.frames("epixN")
    with pytest.raises(KeyError, match="no 'raw' of epixM"):
        run.frames("epixM", "raw")
    with pytest.raises(ValueError, match="layout"):
        run.frames("epixM", layout="steps")
    with pytest.raises(xf.SelectionEmptyError, match="no module"):
        run.frames("epixM", modules=[5], layout="step")
    with pytest.raises(xf.MultiRunError, match="one run"):
        xf.open_run(suite.path, 3)


def test_runs_without_events_or_steps(tmp_path):
    truth = written(tmp_path, n_events=(0, 0))
    run = xf.open_run(truth.path)
    assert run.frames().shape == (0, 1, 2, 12, 16)
    assert run.frames().compute().size == 0
    assert run.frames(layout="step").shape == (2, 0, 2, 12, 16)
    assert [a.shape[0] for a in run.frames(layout="list")] == [0, 0]
    assert run.scalars("*").sizes["train"] == 0
    assert "2 of 0 events" in repr(run)
    with h5py.File(tmp_path / "empty.h5", "x") as file:
        file.create_group("detectorData")
    empty = xf.open_run(tmp_path / "empty.h5")
    assert "0 of 0 events" in repr(empty)
    assert empty.steps.sizes == {"step": 0}
    with pytest.raises(xf.SourceNameError, match="no detector"):
        empty.frames()
