"""Calibration-suite files that we write: h5py and our reader find what went in."""

import dask
import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.synth.lcls.calibsuite import write_suite

COUNTS = (3, 0, 5, 1)
PIXELS = ("module", "slow_scan", "fast_scan")


def arrays(counts=COUNTS, shape=(2, 6, 7), dtype=np.uint16, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 60000, (n, *shape)).astype(dtype) for n in counts]


def on_train(listed, chunks=None, steps=None):
    steps = range(len(listed)) if steps is None else steps
    values = np.concatenate(listed)[:, None]
    coords = {
        "train": 100 + np.arange(len(values)),
        "step": ("train", np.repeat(list(steps), [len(a) for a in listed])),
        "event": ("train", np.concatenate([np.arange(len(a)) for a in listed])),
    }
    da = xr.DataArray(values, coords, ("train", "pulse", *PIXELS))
    da.attrs["detector"] = "epixM"
    return da.chunk(train=chunks) if chunks else da


def read(path, name="epixM"):
    with h5py.File(path) as file:
        group = file["detectorData"]
        return {k: group[k][name][()] for k in group}


def check(path, listed, name="epixM"):
    found = read(path, name)
    assert sorted(found) == [f"step{i}" for i in range(len(listed))]
    for i, wanted in enumerate(listed):
        np.testing.assert_array_equal(found[f"step{i}"], wanted)
        assert found[f"step{i}"].dtype == wanted.dtype
    run = xf.open_run(path)
    for array, wanted in zip(run.frames(name, layout="list"), listed, strict=True):
        np.testing.assert_array_equal(array, wanted)
    return run


def test_arrays_by_step_and_all_header_fields(tmp_path):
    listed = arrays()
    path = xf.write_calibration_suite(
        listed, tmp_path / "a.h5", script_type="delayScan", detector="epixM",
        ancillary={"delay": [0.0, 1.5, 3.0, 4.5]}, acquisition_script="acquire",
        command_line="acquire -n 4", version="v2", location="ASC", run=1727740803,
        timestamp=[np.arange(n) + 0.5 for n in COUNTS],
        secondary={"wave8": [np.ones((n, 8)) * n for n in COUNTS]},
    )  # fmt: skip
    run = check(path, listed)
    assert run.metadata == {
        "scriptType": "delayScan", "ancillaryDataType": "delay", "version": "v2",
        "acquisitionScript": "acquire", "commandLine": "acquire -n 4",
        "location": "ASC", "run": 1727740803, "date": "2024-10-01",
    }  # fmt: skip
    np.testing.assert_array_equal(run.steps.n_events, COUNTS)
    np.testing.assert_array_equal(run.steps.step_value, [0, 1.5, 3, 4.5])
    found = run.scalars(["wave8", "timestamp"])
    np.testing.assert_array_equal(found.wave8[:, 0], np.repeat(COUNTS, COUNTS))
    np.testing.assert_array_equal(found.timestamp[:3], [0.5, 1.5, 2.5])


def test_run_number_is_the_time_by_default(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 86400.9)
    path = xf.write_calibration_suite(arrays(), tmp_path / "a.h5", script_type="dark")
    metadata = xf.open_run(path).metadata
    assert (metadata["run"], metadata["date"]) == (86400, "1970-01-02")
    assert list(xf.open_run(path).detectors) == ["detector"]


@pytest.mark.parametrize("chunks", [None, 1, 3, 100])
def test_frames_on_train(tmp_path, chunks):
    listed = arrays((3, 2, 5))
    da = on_train(listed, chunks)
    path = xf.write_calibration_suite(da, tmp_path / "a.h5", script_type="x")
    check(path, listed)


def test_steps_that_take_turns_are_sorted(tmp_path):
    listed = arrays((4, 4))
    da = on_train(listed, 3).isel(train=[0, 4, 1, 5, 2, 6, 3, 7])
    stamp = xr.DataArray(np.arange(8), dims="train")
    path = xf.write_calibration_suite(
        da, tmp_path / "a.h5", script_type="x", timestamp=stamp
    )
    run = check(path, listed)
    np.testing.assert_array_equal(
        run.scalars("timestamp").timestamp, [0, 2, 4, 6, 1, 3, 5, 7]
    )


def test_padded_frames(tmp_path):
    listed = arrays()
    padded = np.zeros((4, 5, 2, 6, 7), np.uint16)
    for i, a in enumerate(listed):
        padded[i, : len(a)] = a
    coords = {"step": np.arange(4), "n_events": ("step", list(COUNTS))}
    da = xr.DataArray(padded, coords, ("step", "event", *PIXELS)).chunk(step=1, event=2)
    path = xf.write_calibration_suite(
        {"epixM": da}, tmp_path / "a.h5", script_type="x",
        timestamp=xr.DataArray(np.arange(20).reshape(4, 5), dims=("step", "event")),
    )  # fmt: skip
    run = check(path, listed)
    np.testing.assert_array_equal(
        run.scalars("timestamp").timestamp, [0, 1, 2, 10, 11, 12, 13, 14, 15]
    )


def test_round_trip_of_runs(tmp_path):
    truth = write_suite(tmp_path / "a.h5", detectors=("epixM", "epixHR"), chunks=True)
    run = xf.open_run(truth.path)
    frames = {n: run.frames(n, layout="step") for n in run.detectors}
    values = run.scalars(["wave8", "timestamp"])
    path = xf.write_calibration_suite(
        frames, tmp_path / "b.h5", script_type="delayScan",
        ancillary={"delay": run.steps.delay}, secondary={"wave8": values.wave8},
        timestamp=values.timestamp,
    )  # fmt: skip
    again = xf.open_run(path)
    for name in run.detectors:
        for layout in ("train", "frame", "step"):
            old = run.frames(name, layout=layout)
            xr.testing.assert_equal(again.frames(name, layout=layout), old)
    xr.testing.assert_equal(again.scalars("*"), run.scalars("*"))
    xr.testing.assert_equal(again.steps, run.steps)


def test_result_of_operations_and_value_of_the_step(tmp_path):
    truth = write_suite(tmp_path / "a.h5")
    frames = xf.open_run(truth.path).frames()
    corrected = ops.subtract_common_mode_below(frames, "row", cut=5000)
    path = xf.write_calibration_suite(corrected, tmp_path / "b.h5", script_type="x")
    run = xf.open_run(path)
    np.testing.assert_array_equal(run.frames().values, corrected.values)
    np.testing.assert_array_equal(run.frames().step_value, frames.step_value)
    assert run.frames().dtype == np.float32


def test_value_of_every_event(tmp_path):
    listed = arrays((2, 3))
    per_event = {"step0": [1.0, 1.0], 1: [2.0, 2.5, 3.0]}
    path = xf.write_calibration_suite(
        listed, tmp_path / "a.h5", script_type="x", ancillary={"flux": per_event}
    )
    run = xf.open_run(path)
    np.testing.assert_array_equal(run.scalars("flux").flux, [1, 1, 2, 2.5, 3])
    np.testing.assert_array_equal(run.steps.step_value, [1, 2.5])


def test_a_file_is_written_block_by_block(tmp_path):
    alive = {"now": 0, "most": 0}

    def block(n, block_info=None):
        alive["now"] += 1
        alive["most"] = max(alive["most"], alive["now"])
        return np.full((1, 1, 1, 64, 64), n.flat[0], np.float32)

    n = dask.array.arange(40, chunks=1)[:, None, None, None, None]
    lazy = n.map_blocks(
        block, chunks=((1,) * 40, 1, 1, 64, 64), dtype="f4", meta=np.empty((), "f4")
    )
    coords = {"step": ("train", np.arange(40) // 10)}
    da = xr.DataArray(lazy, coords, ("train", "pulse", *PIXELS))
    with dask.config.set(scheduler="sync"):
        path = xf.write_calibration_suite(da, tmp_path / "a.h5", script_type="x")
    assert alive["most"] == 40  # every block once
    found = xf.open_run(path).frames()
    np.testing.assert_array_equal(found[:, 0, 0, 0, 0], np.arange(40))


def test_nothing_is_left_after_a_failure(tmp_path):
    def fail(block):
        raise RuntimeError("no such frame")

    da = on_train(arrays((2, 3)), 2)
    broken = da.copy(data=da.data.map_blocks(fail, dtype=da.dtype))
    with pytest.raises(RuntimeError, match="no such frame"):
        xf.write_calibration_suite(broken, tmp_path / "a.h5", script_type="x")
    assert not list(tmp_path.glob("*.h5*"))


def test_an_existing_file_is_kept_unless_told(tmp_path):
    listed = arrays((2,))
    path = xf.write_calibration_suite(listed, tmp_path / "a.h5", script_type="x")
    with pytest.raises(xf.OutputExistsError):
        xf.write_calibration_suite(arrays((3,)), path, script_type="x")
    check(path, listed, "detector")
    xf.write_calibration_suite(arrays((3,)), path, script_type="x", overwrite=True)
    check(path, arrays((3,)), "detector")


two = arrays((2, 3))
WRONG = {
    "no step": (([],), {}, "no step"),
    "three axes": (([np.zeros((3, 4, 5))],), {}, "step 0 of detector has shape"),
    "no numbers": (([np.full((1, 1, 2, 2), "a")],), {}, "wanted numbers"),
    "other shape": (([two[0], two[1][:, :1]],), {}, "from step to step"),
    "other events": (
        ({"a": two, "b": [two[0], two[1][:2]]},), {}, "the same events",
    ),
    "name twice": (({"a": two},), {"secondary": {"a": [1]}}, "detector and a value"),
    "short timestamps": (
        (two,), {"timestamp": [np.zeros(2), np.zeros(2)]}, r"step 1, which has 3",
    ),
    "too many timestamps": ((two,), {"timestamp": np.zeros(6)}, "each of 5 events"),
    "short ancillary": (
        (two,), {"ancillary": {"delay": [1.0]}}, "1 values for 2 steps",
    ),
    "ancillary of events": (
        (two,), {"ancillary": {"delay": {0: [1.0], 1: 2.0}}}, "1 values for step 0",
    ),
    "ancillary of other steps": (
        (two,), {"ancillary": {"delay": {0: 1.0, 2: 2.0}}}, "has the steps",
    ),
    "script": ((two,), {"script_type": ""}, "script_type is empty"),
    "detector of several": (({"a": two},), {"detector": "b"}, "one detector"),
    "pulses": (
        (xr.DataArray(np.zeros((3, 2, 1, 4, 4)), dims=("train", "pulse", *PIXELS)),),
        {}, "one image",
    ),
    "values as steps": ((on_train(two, steps=(0.5, 1.5)),), {}, "whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_input_that_does_not_go_together(tmp_path, case):
    args, options, text = WRONG[case]
    options = {"script_type": "x", **options}
    with pytest.raises(ValueError, match=text):
        xf.write_calibration_suite(*args, tmp_path / "a.h5", **options)
    assert not list(tmp_path.iterdir())


def test_a_single_module_without_the_axis(tmp_path):
    da = xr.DataArray(np.ones((3, 4, 5)), dims=("train", "slow_scan", "fast_scan"))
    path = xf.write_calibration_suite(da, tmp_path / "a.h5", script_type="dark")
    assert read(path, "detector")["step0"].shape == (3, 1, 4, 5)
