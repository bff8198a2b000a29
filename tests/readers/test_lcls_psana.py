"""Runs of xtc2 files. Most tests need psana2, which has an environment of its own."""

import importlib.util
import pickle
import shutil
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.lazy import Rows
from xfelred.readers.lcls_psana.address import Address, is_address, parse
from xfelred.readers.lcls_psana.events import each

SHARED = Path(__file__).resolve().parents[3] / "shared" / "golden" / "lcls"
XTC2 = SHARED / "xtc2"
JUNGFRAU = XTC2 / "detector" / "test_jungfrau05M_calib.xtc2"

needs_psana = pytest.mark.skipif(
    importlib.util.find_spec("psana") is None or not XTC2.is_dir(),
    reason="psana2 (extra lcls) or the xtc2 files beside the checkout are not there",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("exp=xpptut15:run=14:dir=/a/b", Address("xpptut15", 14, "/a/b")),
        ("exp=xpptut15:run=0014", Address("xpptut15", 14)),
        ("exp=x:dir=/a:b/c:run=2", Address("x", 2, "/a:b/c")),
        ("exp=x:run=2:detectors=a,b", Address("x", 2, detectors=("a", "b"))),
        ("files=/a/b.xtc2", Address(files="/a/b.xtc2")),
        ("/a/b.xtc2", Address(files="/a/b.xtc2")),
    ],
)
def test_a_source_names_a_run(text, expected):
    assert parse(text) == expected
    assert Address.from_json(expected.text()) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exp=x", "need exp= and run="),
        ("run=3:exp=", "need exp= and run="),
        ("exp=x:run=y", "run must be a number"),
        ("exp=x:run=1:dirr=/a", "Did you mean 'dir'"),
        ("exp=x:exp=y:run=1", "names exp twice"),
        ("files=/a.xtc2:run=3", "files= stands alone"),
    ],
)
def test_a_wrong_source_is_refused(text, words):
    with pytest.raises(xf.ConfigError, match=words):
        parse(text)


def test_a_run_number_can_stand_apart():
    assert parse("exp=x", 7) == Address("x", 7)


def test_paths_of_other_files_are_no_addresses(tmp_path):
    assert not is_address(tmp_path)
    assert not is_address("run=3.h5")
    assert not is_address(str(tmp_path / "absent.xtc2"))
    assert is_address("exp=a:run=1")


def test_consecutive_rows_are_single_timestamps():
    rows = Rows(np.array([50, 4]), np.array([1, 3]), np.array([0, 1]))
    ids, place = each(rows)
    assert ids.tolist() == [4, 5, 6, 50]
    assert place.tolist() == [1, 2, 3, 0]


@pytest.mark.skipif(
    importlib.util.find_spec("psana") is not None, reason="psana is installed"
)
def test_without_psana_the_error_says_what_to_install(tmp_path):
    with pytest.raises(xf.MissingExtraError, match=r"xfelred\[lcls\].*libkrb5-dev"):
        xf.open_run(f"exp=xpptut15:run=14:dir={tmp_path}")


def opened(name, **options):
    where = f"exp=xpptut15:run=14:dir={XTC2 / name}"
    return xf.open_run(where, offline=True, **options)


def by_psana(name, detector):
    """What a plain loop of psana2 over all events gives, by timestamp."""
    from xfelred.readers.lcls_psana.session import psana

    DataSource = psana().DataSource  # noqa: N806 - a class
    from psana.psexp.serial_ds import SerialDataSource

    kept = SerialDataSource._get_file_info_from_db
    SerialDataSource._get_file_info_from_db = lambda self, runnum: {}
    try:
        source = DataSource(
            exp="xpptut15", run=14, dir=str(XTC2 / name), skip_calib_load="all"
        )
        run = next(source.runs())
        found = run.Detector(detector)
        return {e.timestamp: found.raw.calib(e) for e in run.events()}
    finally:
        SerialDataSource._get_file_info_from_db = kept


@needs_psana
@pytest.mark.parametrize(
    ("name", "detector"),
    [("fakesteps", "hsd"), ("fakesteps", "andor"), ("intg_det", "epix")],
)
@pytest.mark.parametrize("per_block", [1, 3, 100])
def test_frames_equal_a_loop_of_psana(name, detector, per_block):
    expected = by_psana(name, detector)
    run = opened(name)
    frames = run.frames(detector, chunk_size=per_block * 16)
    assert frames.dims == ("train", "pulse", "module", "slow_scan", "fast_scan")
    assert frames.train.values.tolist() == sorted(expected)
    values = frames.values
    for i, t in enumerate(frames.train.values.tolist()):
        there = expected[t] is not None
        assert frames.available.values[i].all() == there
        if there:
            np.testing.assert_array_equal(values[i, 0, 0], expected[t])
        else:
            assert np.isnan(values[i]).all()


@needs_psana
def test_layout_frame_leaves_out_events_without_the_detector():
    frames = opened("intg_det").frames("epix", layout="frame")
    assert frames.train.values.tolist() == [10, 20]
    assert frames.dims == ("frame", "module", "slow_scan", "fast_scan")
    assert frames.module.values.tolist() == [2]
    assert frames.shape == (2, 1, 2, 2)


@needs_psana
def test_steps_and_scan_values():
    run = opened("fakesteps")
    assert run.run_id == "xpptut15_Run0014"
    assert run.steps.n_events.values.tolist() == [5, 5]
    assert run.steps.motor2.values.tolist() == [4200.0, 4200.0]
    frames = run.frames("hsd")
    assert frames.step.values.tolist() == [0] * 5 + [1] * 5
    assert (frames.step_value == 42.0).all()
    values = run.scalars(["scan/*", "motor1"])
    assert set(values) == {"scan/motor1", "scan/motor2", "motor1"}
    assert (values["motor1"] == 42).all()
    half = run.select_trains(np.s_[3:7])
    assert half.steps.n_events.values.tolist() == [2, 2]


@needs_psana
def test_values_of_detectors_per_event():
    run = opened("intg_det")
    found = run.scalars(["epix/raw/calib"])["epix/raw/calib"]
    assert found.shape == (17, 2, 2)
    assert np.isfinite(found.sel(train=20)).all()
    assert np.isnan(found.sel(train=11)).all()
    with pytest.raises(xf.PropertyNameError, match="no value 'epix/raw/raww'"):
        run.scalars(["epix/raw/raww"])
    assert not len(run.scalars("nothing", missing_keys="ignore"))


@needs_psana
def test_a_selection_and_a_copy_in_another_process():
    run = opened("fakesteps").select_trains(xf.by_id[[40, 130]])
    copy = pickle.loads(pickle.dumps(run))
    with dask.config.set(scheduler="processes", num_workers=2):
        there = copy.frames("hsd", chunk_size=16).compute()
    xr.testing.assert_equal(there, run.frames("hsd").compute())


@needs_psana
def test_a_run_in_several_files_is_read_through_a_filter(tmp_path):
    # The second file of a stream is enough to make the table unsafe.
    copy = tmp_path / "run"
    shutil.copytree(XTC2 / "fakesteps", copy)
    big = copy / "xpptut15-r0014-s000-c000.xtc2"
    shutil.copy(big, copy / "xpptut15-r0014-s000-c001.xtc2")
    run = xf.open_run(f"exp=xpptut15:run=14:dir={copy}", offline=True)
    assert run.survey.in_chunks
    expected = opened("fakesteps").frames("hsd")
    assert not opened("fakesteps").survey.in_chunks
    for per_block in (1, 4):
        frames = run.frames("hsd", chunk_size=16 * per_block)
        np.testing.assert_array_equal(frames.values, expected.values)
    np.testing.assert_array_equal(frames[[7, 2]].values, expected.values[[7, 2]])


@needs_psana
def test_a_single_file_is_read_forward_and_backward():
    with np.load(SHARED / "psana2_jungfrau_testxtc_calib.npz") as golden:
        raw = golden["raw"]
    run = xf.open_run(JUNGFRAU, offline=True)
    frames = run.frames()
    assert frames.dtype == np.uint16
    assert frames.shape == (2, 1, 1, 512, 1024)
    backward = frames[::-1].compute()
    np.testing.assert_array_equal(backward.values[1, 0], raw)
    np.testing.assert_array_equal(frames[0, 0].values, raw)
    cut = run.frames(roi=np.s_[10:20, 5:7])
    np.testing.assert_array_equal(cut.values[0, 0], raw[:, 10:20, 5:7])
    assert str(frames.time.values[0]).startswith("2025-03-28T19:08:11")


@needs_psana
def test_constants_are_given_or_asked_for():
    with pytest.raises(xf.MissingConstantError, match="constants="):
        xf.open_run(JUNGFRAU, offline=True).constants()
    given = xr.Dataset({"pedestal": ("x", [1.0])})
    run = xf.open_run(JUNGFRAU, offline=True, constants={"jungfrau": given})
    assert run.constants() is given


@needs_psana
def test_constants_of_psana_have_our_shapes():
    from xfelred.readers.lcls_psana.session import LOCK, session

    run = xf.open_run(JUNGFRAU, offline=True)
    shape = (3, 1, 512, 1024)
    meta = {"experiment": "mfx101332224", "run": 7}
    status = np.zeros(shape, np.uint64)
    status[1, 0, 5, 6] = 2
    with LOCK:
        opened = session(run.address)
        opened.detectors.clear()
        opened.run.dsparms.calibconst["jungfrau"] = {
            "pedestals": (np.full(shape, 7.0, np.float32), meta),
            "pixel_gain": (np.full(shape, 2.0, np.float32), meta),
            "pixel_status": (status, meta),
        }
    found = run.constants()
    assert found.pedestal.dims == ("gain_range", "module", "slow_scan", "fast_scan")
    assert (found.pedestal == 7).all()
    assert (found.gain == 2).all()
    assert np.argwhere(found.bad_pixels.values).tolist() == [[0, 5, 6]]


@needs_psana
def test_raw_frames_and_constants_give_what_psana_calibrates():
    with np.load(SHARED / "psana2_jungfrau_testxtc_calib.npz") as golden:
        made = dict(golden)
    shape = (3, 1, 512, 1024)

    def ranges(name):
        return np.broadcast_to(made[name].reshape(3, 1, 1, 1), shape).astype(float)

    bad = np.zeros(shape[1:], bool)
    module, top, bottom, left, right = made["status_bad"].tolist()
    bad[module, top:bottom, left:right] = True
    dims = ("gain_range", "module", "slow_scan", "fast_scan")
    constants = xr.Dataset(
        {
            "pedestal": (dims, ranges("pedestal_scalar_per_gain")),
            "gain": (dims, ranges("gain_per_range")),
            "bad_pixels": (dims[1:], bad),
        },
        coords={"module": [0]},
    )
    frames = xf.open_run(JUNGFRAU, offline=True).frames()[0, 0]
    got = xf.ops.calibrate(frames, constants, kind="jungfrau", bad_value=0.0)
    np.testing.assert_allclose(got.values, made["v0_nocm"], rtol=1e-5)


@needs_psana
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("exp=xpptut15:run=15:dir={}", "no xpptut15-r0015-s.*smd"),
        ("exp=other:run=14:dir={}", "no other-r0014"),
    ],
)
def test_a_run_that_is_not_there(source, words):
    with pytest.raises(xf.BrokenFileError, match=words):
        xf.open_run(source.format(XTC2 / "fakesteps"), offline=True)


@needs_psana
def test_wrong_names():
    run = opened("fakesteps")
    with pytest.raises(xf.SourceNameError, match="Did you mean 'andor'"):
        run.frames("andorr")
    with pytest.raises(xf.PropertyNameError, match="has no 'raw'"):
        run.frames("andor", "raw")
    with pytest.raises(TypeError, match=r"'ofline'.*options are"):
        xf.open_run(f"exp=xpptut15:run=14:dir={XTC2}", ofline=True)
    assert "hsd" in repr(run)
    assert "2, scan variables motor1, motor2" in repr(run)
