"""Small data of runs of every facility, and on every scheduler."""

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from tests.recipes.test_smalldata import EVERYTHING, SHAPE, N, recipe, same, stored
from tests.support.euxfel_files import LPD, Fast, lpd, write_file
from tests.support.sacla_runs import written
from xfelred import synth
from xfelred.errors import ConfigError
from xfelred.synth.lcls import write_smalldata, write_suite

ROI = {"function": "roi", "name": "all"}


def test_pulses_of_the_european_xfel_are_an_axis(tmp_path):
    trains, pulses = [100, 101, 103], [1, 3]
    values = np.array([[7, 1], [2, 8], [0, 9]], float)
    place = tmp_path / "run"
    write_file(place / "LPD.h5", trains, lpd(0, [2] * 3, pulses * 3, values.ravel()))
    energy = Fast("XGM:output", "data", [1] * 3, {"energy": np.array([5.0, 6, 7])})
    write_file(place / "DA.h5", trains, energy)
    run = xf.open_run(place)
    drops = {
        "function": "droplets", "threshold": 5.0, "use_noise": False,
        "max_droplets": 60, "functions": [{"function": "sparsify", "name": "s"}],
    }  # fmt: skip
    made = recipe(
        detectors={LPD: {"functions": [ROI, drops], "sums": ["calib", "calib_lit"]}},
        variables=["XGM:output.data.energy"],
        flags={"lit": "XGM:output.data.energy > 5.5"},
        light_status={"xray": "XGM:output.data.energy > 5.5"},
        block_trains=2,
    )
    path = xf.reduce_run(run, made, tmp_path / "out")
    out = stored(path)
    np.testing.assert_array_equal(out["trainId"], trains)
    np.testing.assert_array_equal(out[f"{LPD}/all_max"], values)
    np.testing.assert_array_equal(out[f"Sums/{LPD}_calib_lit"][0, 0, 0], 19)
    np.testing.assert_array_equal(out["lightStatus/xray"], [0, 1, 1])
    np.testing.assert_array_equal(out[f"UserDataCfg/{LPD}/pulse"], pulses)
    again = xf.open_run(path)
    table = again.table(f"{LPD}/var_droplets_s")
    np.testing.assert_array_equal(table.train, trains)
    np.testing.assert_array_equal(table.pulse, [1, 3, 3])
    found = again.scalars(["XGM:output.data.energy"])
    np.testing.assert_array_equal(found["XGM:output.data.energy"], [5, 6, 7])


def test_tags_of_sacla(tmp_path):
    truth = written(tmp_path)
    run = xf.open_run(truth.path)
    (name,) = run.detectors
    path = xf.reduce_run(
        run,
        recipe(detectors={name: {"functions": [ROI]}}, variables=["photon_energy"]),
        tmp_path / "out",
    )
    again = xf.open_run(path)
    assert again.train_ids == [int(t) for t in run.train_ids]
    frames = run.frames(name)
    found = again.scalars([f"{name}/all_sum"])[f"{name}/all_sum"]
    expected = frames.sum(("pulse", "module", "slow_scan", "fast_scan"))
    there = found.sel(train=expected.train)
    np.testing.assert_allclose(there, expected.astype(float), rtol=1e-5)
    assert found.isnull().sum() == found.size - expected.size


def test_events_of_a_calibration_suite_begin_with_zero(tmp_path):
    write_suite(tmp_path / "suite.h5")
    run = xf.open_run(tmp_path / "suite.h5")
    name = next(iter(run.detectors))
    path = xf.reduce_run(
        run, recipe(detectors={name: {"functions": [ROI]}}), tmp_path / "out"
    )
    assert xf.open_run(path).train_ids == run.train_ids


def test_events_of_lcls2_have_timestamps(tmp_path):
    source = tmp_path / "rixtest01_Run0007.h5"
    write_smalldata(source, n_events=12, shape=SHAPE, n_banks=2, flavour="LCLS2")
    run = xf.open_run(source)
    path = xf.reduce_run(run, recipe(ROI, variables=["timing/*"]), tmp_path / "out")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["timestamp"], run.train_ids)
    one, two = (r.scalars(["timing/*"]) for r in (run, xf.open_run(path)))
    xr.testing.assert_equal(one, two)


def test_frames_of_another_file_are_joined_by_id(tmp_path):
    for name, events in (("xpptest01_Run0047", 20), ("other", 12)):
        write_smalldata(
            tmp_path / f"{name}.h5", n_events=events, shape=SHAPE, n_banks=2
        )
    run = xf.open_run(tmp_path / "xpptest01_Run0047.h5")
    frames = xf.open_run(tmp_path / "other.h5").frames("jungfrau1M")
    shifted = frames.assign_coords(train=frames.train + 1)
    given = {"jungfrau1M": xr.concat([frames[:6], shifted[6:]], "train")}
    with pytest.warns(UserWarning, match="of shots that xpptest01_Run0047 does not"):
        path = xf.reduce_run(run, recipe(ROI), tmp_path / "out", frames=given)
    found = stored(path)["jungfrau1M/all_max"]
    expected = frames[:6].max(("pulse", "module", "slow_scan", "fast_scan"))
    np.testing.assert_array_equal(found[:6], expected)
    assert np.isnan(found[6:]).all()


def test_traces_of_something_without_frames(tmp_path):
    source = tmp_path / "xpptest01_Run0047.h5"
    write_smalldata(source, n_events=10, shape=SHAPE, n_banks=2)
    traces = np.random.default_rng(0).normal(0, 1, (10, 30))
    with h5py.File(source, "r+") as file:
        file["adq/wave"] = traces
    functions = [
        {"function": "waveform_integrate", "name": "w", "signal": [5, 12]},
        {"function": "waveform_hits", "name": "h", "threshold": 1.0},
    ]
    made = recipe(detectors={"adq": {"key": "wave", "functions": functions}})
    out = stored(xf.reduce_run(xf.open_run(source), made, tmp_path / "out"))
    np.testing.assert_allclose(out["adq/w_integral"], traces[:, 5:12].sum(1))
    np.testing.assert_array_equal(out["adq/h_hits"], traces > 1)
    made["detectors"]["adq"]["key"] = "wove"
    with pytest.raises(ConfigError, match="no detector 'adq'"):
        xf.reduce_run(xf.open_run(source), made, tmp_path / "out")


@pytest.mark.nightly
def test_a_cluster_gives_the_same_bits(tmp_path):
    source = tmp_path / "xpptest01_Run0047.h5"
    write_smalldata(source, n_events=N, shape=SHAPE, n_banks=2)
    run = xf.open_run(source)
    one = xf.reduce_run(run, EVERYTHING, tmp_path / "one", scheduler="synchronous")
    with xf.cluster.local(2):
        two = xf.reduce_run(run, EVERYTHING, tmp_path / "two")
    same(stored(one), stored(two))


def test_pulses_of_a_train_may_have_light_and_others_not(tmp_path):
    trains, pulses = [100, 101, 103], [1, 3, 5]
    values = np.array([[7, 1, 4], [2, 8, 3], [0, 9, 6]], float)
    place = tmp_path / "run"
    write_file(place / "LPD.h5", trains, lpd(0, [3] * 3, pulses * 3, values.ravel()))
    run = xf.open_run(place)
    first_and_last = {"start": 1, "step": 4, "n": 2}
    light = {"xray": {"pulses": [3]}, "laser": {"pulses": first_and_last}}
    spec = {"functions": [ROI], "sums": ["calib_dropped", "calib_pumped"]}
    made = recipe(
        detectors={LPD: spec},
        flags={"pumped": "lightStatus/laser == 1"}, light_status=light, block_trains=2,
    )  # fmt: skip
    out = stored(xf.reduce_run(run, made, tmp_path / "out"))
    np.testing.assert_array_equal(out["lightStatus/xray"], [[0, 1, 0]] * 3)
    np.testing.assert_array_equal(out["lightStatus/laser"], [[1, 0, 1]] * 3)
    for name in ("dropped", "pumped"):  # both have pulses 1 and 5
        total = out[f"Sums/{LPD}_calib_{name}"]
        np.testing.assert_array_equal(total[0, 0, 0], values[:, [0, 2]].sum())
    made["light_status"]["laser"] = {"pulses": [1, 4]}
    with pytest.raises(ConfigError, match="no pulses 4, but 1, 3, 5") as caught:
        xf.reduce_run(run, made, tmp_path / "other")
    assert caught.value.key == "light_status.laser.pulses"


@pytest.mark.filterwarnings("ignore:.*is padding")
def test_nobody_knows_of_light_in_pulses_that_were_not_recorded(tmp_path):
    place = tmp_path / "run"
    synth.euxfel.write_run(
        place, n_trains=3, pulses=[[0, 4, 8], [0], [4]], modules=[0, 1],
        missing={(0, 10000)},
    )  # fmt: skip
    run = xf.open_run(place)
    (name,) = run.detectors
    light = {"xray": {"pulses": [0, 8]}}
    made = recipe(detectors={name: {"functions": [ROI]}}, light_status=light)
    out = stored(xf.reduce_run(run, made, tmp_path / "out"))
    wanted = [[1, 0, 1], [1, -1, -1], [-1, 0, -1]]
    np.testing.assert_array_equal(out["lightStatus/xray"], wanted)


def test_event_codes_of_psana2_are_those_of_its_timing(tmp_path, monkeypatch):
    source = tmp_path / "xpptest01_Run0047.h5"
    write_smalldata(source, n_events=6, shape=SHAPE, n_banks=2)
    run = xf.open_run(source)
    codes = np.zeros((6, 288), np.uint16)
    codes[:, 272] = seen = [1, 0, 0, 1, 0, 1]
    dims = ("train", "timing/raw/eventcodes_dim0")

    def read(asked, name):
        if name != "timing/raw/eventcodes":
            return asked.scalars([name])
        return xr.Dataset({name: (dims, codes)}, {"train": run.train_ids})

    monkeypatch.setattr("xfelred.recipes.cube_shots.read_scalar", read)
    made = recipe(detectors={}, light_status={"xray": [-272], "laser": [272]})
    out = stored(xf.reduce_run(run, made, tmp_path / "out"))
    np.testing.assert_array_equal(out["lightStatus/xray"], seen)
    np.testing.assert_array_equal(out["lightStatus/laser"], 1 - np.array(seen))
