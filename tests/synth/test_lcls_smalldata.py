"""Simulated small-data runs: what is written is what the truth says."""

import ast
from pathlib import Path

import h5py
import numpy as np
import pytest

import xfelred.synth.lcls
from xfelred.synth.lcls import SmallDataConfig, write_smalldata

DETECTOR = "jungfrau1M"


def values(path, *names):
    with h5py.File(path) as file:
        found = [file[name][()] for name in names]
    return found[0] if len(found) == 1 else found


def test_the_difference_image_is_found_at_every_delay(tmp_path):
    """On minus off, scaled by intensity, is the truth within its noise."""
    truth = write_smalldata(
        tmp_path / "run.h5", n_events=900, delays=(-1.0, 0.3, 3.0), jitter=0.0,
        shape=(2, 12, 16), noise=0.2, i0_noise=0.0, difference=0.5,
    )  # fmt: skip
    frames, laser, i0, lxt, there = values(
        truth.path, f"{DETECTOR}/calib", "lightStatus/laser", "ipm2/sum", "scan/lxt",
        f"damage/{DETECTOR}",
    )  # fmt: skip
    i0 = i0 / truth.config.i0_mean
    usable = (there == 1) & (i0 > 0)
    off = usable & (laser == 0)
    good = ~truth.bad_pixels
    dark = frames[off].sum(axis=0) / i0[off].sum()
    np.testing.assert_allclose(dark[good], truth.static[good], atol=0.1)
    for delay in truth.config.delays:
        on = usable & (laser == 1) & np.isclose(lxt, delay * 1e-12, rtol=0, atol=1e-15)
        change = frames[on].sum(axis=0) / i0[on].sum() - dark
        expected = truth.difference(delay)
        sigma = truth.noise * np.sqrt(1 / on.sum() + 1 / off.sum()) * 1.1
        pull = (change - expected)[good] / sigma
        assert abs(pull.mean()) < 0.3
        assert 0.8 < pull.std() < 1.2
    assert np.abs(truth.difference(-1.0)).max() < 1e-6
    assert np.abs(truth.difference(0.3)).max() > 1


def test_true_delays_and_what_is_measured(tmp_path):
    truth = write_smalldata(tmp_path / "run.h5", n_events=400, key=None)
    correction, laser, xray = values(
        truth.path, "tt/ttCorr", "lightStatus/laser", "lightStatus/xray"
    )
    found = correction != 0
    assert not found[(laser == 0) | (xray == 0)].any()
    assert found[(laser == 1) & (xray == 1)].mean() > 0.9
    error = truth.shots.nominal + correction - truth.delay
    assert error[found].std() == pytest.approx(truth.config.tt_noise, rel=0.2)
    p = values(truth.path, "tt/FLTPOS")[found]
    np.testing.assert_allclose(-1 + 2e-3 * p + 1e-7 * p**2, correction[found])
    assert (laser == 0).sum() == 80
    np.testing.assert_array_equal(values(truth.path, "evr/code_91"), laser == 0)
    np.testing.assert_array_equal(values(truth.path, "evr/code_162"), xray == 0)


@pytest.mark.parametrize("scan", ["lxt", "fast", "motor", None])
def test_scans(tmp_path, scan):
    truth = write_smalldata(tmp_path / "run.h5", n_events=500, key=None, scan=scan)
    stage = values(truth.path, "enc/lasDelay")
    if scan == "lxt":
        lxt = values(truth.path, "scan/lxt")
        np.testing.assert_allclose(lxt * 1e12, truth.shots.nominal)
        assert len(np.unique(lxt)) == 13
    else:
        np.testing.assert_array_equal(stage, truth.shots.nominal)
    distinct = {"fast": 100, "lxt": 1, "motor": 1, None: 1}[scan]
    assert len(np.unique(stage)) >= distinct
    steps = values(truth.path, "scan/varStep")
    assert len(np.unique(steps)) == (13 if scan in ("lxt", "motor") else 1)


def calibrated(raw, truth):
    """Signal in keV by the rules of the detector, without common mode."""
    code = raw >> 14
    assert set(np.unique(code)) <= {0, 1, 3}
    gain_range = np.choose(code, [0, 1, 0, 2])
    at = (gain_range, *np.indices(raw.shape)[1:])
    adu = (raw & 0x3FFF).astype(np.float64) - truth.pixels.pedestal[at]
    return adu, truth.pixels.gain[at], gain_range


def test_raw_images_calibrate_to_the_truth(tmp_path):
    truth = write_smalldata(
        tmp_path / "run.h5", n_events=60, key="raw", shape=(2, 16, 32), noise=0.1
    )
    raw = values(truth.path, f"{DETECTOR}/raw")
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, truth.frames)
    adu, gain, gain_range = calibrated(raw, truth)
    use = np.broadcast_to(~truth.bad_pixels, raw.shape).copy()
    use[~truth.available] = False
    assert {1, 2} <= set(np.unique(gain_range[use]))
    offsets = np.repeat(truth.common_mode(np.arange(60)), 32 // 4, axis=-1)
    corrected = (adu - np.where(gain_range == 0, offsets, 0)) / gain
    expected = truth.expected(np.arange(60))
    low = use & (gain_range == 0)
    error = (corrected - expected)[low]
    # Rounding to whole adu adds 1/12 adu^2.
    assert error.std() == pytest.approx(truth.noise, rel=0.05)
    assert abs(error.mean()) < 0.01
    before = (adu / gain - expected)[low]
    assert before.std() > 3 * truth.noise
    high = use & (gain_range > 0)
    tolerance = 6 * truth.noise * 40 + 1
    assert (np.abs(corrected - expected) * np.abs(gain))[high].max() < tolerance


def test_common_mode_has_the_size_that_was_asked_for(tmp_path):
    truth = write_smalldata(tmp_path / "run.h5", n_events=40, key="raw")
    offsets = truth.common_mode(np.arange(40))
    assert offsets.shape == (40, 2, 32, 4)
    assert offsets.std() == pytest.approx(0.5 * 40, rel=0.05)
    np.testing.assert_array_equal(truth.common_mode([7, 3]), offsets[[7, 3]])


@pytest.mark.parametrize("key", ["calib", "raw"])
def test_single_images_are_those_of_the_whole(tmp_path, key):
    truth = write_smalldata(tmp_path / "run.h5", n_events=70, key=key, shape=(8, 12))
    events = [69, 2, 40, 40]
    np.testing.assert_array_equal(truth.images(events), truth.frames[events])
    stored = values(truth.path, f"{DETECTOR}/{key}")
    np.testing.assert_array_equal(stored, truth.frames[:, 0])


def test_sums_leave_out_repeats_and_missing_images(tmp_path):
    truth = write_smalldata(
        tmp_path / "run.h5", n_events=50, repeats=5, unsorted=True, without_image=0.2
    )
    total, dropped = values(
        truth.path, f"Sums/{DETECTOR}_calib", f"Sums/{DETECTOR}_calib_dropped"
    )
    images = truth.frames.astype(np.float64)
    np.testing.assert_allclose(total, images[truth.available].sum(0), rtol=1e-12)
    none = truth.available & ~truth.xray_on
    np.testing.assert_allclose(dropped, images[none].sum(0), rtol=1e-12, atol=1e-9)


def test_the_two_flavours(tmp_path):
    old = write_smalldata(tmp_path / "old.h5", n_events=30)
    new = write_smalldata(tmp_path / "new.h5", n_events=30, flavour="LCLS2")
    ids, stamps = values(old.path, "event_time"), values(new.path, "timestamp")
    assert ids[0] >> 32 == old.config.start
    assert stamps[0] >> 32 == old.config.start - 631152000
    assert values(new.path, "timing/eventcodes").shape == (30, 288)
    assert values(new.path, "scan/step_value").min() == 1
    slow, count = values(new.path, "intg/timestamp", "intg/andor_dir/count")
    np.testing.assert_array_equal(slow, stamps[9::10])
    assert (count == 10).all()
    with h5py.File(old.path) as file:
        assert "timestamp" not in file
        assert file["epix_2/ragged_droplet_data"].dtype == object


def test_parts_hold_every_event_once(tmp_path):
    truth = write_smalldata(tmp_path / "run.h5", n_events=31, parts=3)
    assert len(list(tmp_path.glob("run_part?.h5"))) == 3
    joined = values(truth.path, "event_time")
    assert not (np.diff(joined) > 0).all()
    np.testing.assert_array_equal(np.sort(joined), truth.ids.astype(np.int64))
    with h5py.File(truth.path) as file:
        assert file["event_time"].is_virtual
        assert file[f"{DETECTOR}/calib"].is_virtual


def test_the_same_seed_gives_the_same_run(tmp_path):
    one, two, other = (
        write_smalldata(tmp_path / f"{i}.h5", n_events=9, seed=s)
        for i, s in enumerate((3, 3, 4))
    )
    np.testing.assert_array_equal(one.frames, two.frames)
    assert (one.delay != other.delay).any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"flavour": "LCLS3"}, "LCLS3"), ({"key": "image"}, "image"),
        ({"scan": "x"}, "known: lxt"), ({"shape": (3,)}, "axes"),
        ({"shape": (4, 6)}, "n_banks"), ({"delays": ()}, "delays"),
        ({"repeats": 700}, "repeats"), ({"n_events": -1}, "negative"),
        ({"parts": 3, "n_events": 2}, "part"),
    ],
)  # fmt: skip
def test_contradictions(options, says):
    with pytest.raises(ValueError, match=says):
        SmallDataConfig(**options)


def test_files_are_not_overwritten(tmp_path):
    write_smalldata(tmp_path / "run.h5", n_events=2)
    with pytest.raises(FileExistsError):
        write_smalldata(tmp_path / "run.h5", n_events=2)


def test_writers_do_not_know_readers():
    folder = Path(xfelred.synth.lcls.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert "readers" not in str(node.module)
