"""LCLS small data: IDs, values per event, tables, constants, frames, selections."""

import pickle

import dask
import h5py
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import xfelred as xf
from xfelred.cli.info import info
from xfelred.errors import (
    MissingConstantError,
    PropertyNameError,
    SelectionEmptyError,
    SourceNameError,
    SourceNotFound,
)
from xfelred.readers.xarray_backend import XfelredBackend
from xfelred.synth.lcls import write_smalldata

N = 90
DETECTOR = "jungfrau1M"
TABLE = "epix_2/var_droplet_sparse"
RAGGED = "epix_2/ragged_droplet_data"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("smalldata")


@pytest.fixture(scope="module")
def old(place):
    """LCLS1, sorted."""
    return write_smalldata(place / "xpptest01_Run0047.h5", n_events=N, shape=(2, 8, 12))


@pytest.fixture(scope="module")
def new(place):
    """LCLS2: rows in any order, a late detector."""
    return write_smalldata(
        place / "rixtest01_Run0007.h5", n_events=N, shape=(2, 8, 12), flavour="LCLS2",
        unsorted=True, late_start=20, key="raw",
    )  # fmt: skip


@pytest.fixture(scope="module", params=["old", "new"])
def truth(request):
    return request.getfixturevalue(request.param)


def opened(truth):
    return xf.open_run(truth.path)


# -- events ---------------------------------------------------------------------------


def test_events_are_sorted_and_keep_their_ids(truth):
    run = opened(truth)
    assert run.facility == "lcls"
    assert run.run_id == truth.path.stem
    assert run.ids.dtype == np.uint64
    np.testing.assert_array_equal(run.ids, truth.ids)
    assert run.train_ids == truth.ids.tolist()
    assert np.asarray(run.train_ids).dtype == run.frames().train.dtype == np.uint64


def test_times_are_utc(truth):
    """Both clocks are shifted to the unix epoch."""
    time = opened(truth).scalars(["ipm2/sum"]).time
    start = np.datetime64(truth.config.start, "s")
    seconds = (time.values - start) / np.timedelta64(1, "s")
    np.testing.assert_allclose(seconds, np.arange(N) / truth.config.rate, atol=1e-8)


def test_fiducials_of_lcls1(old, new):
    values = opened(old).scalars(["ipm2/sum"]).fiducials
    np.testing.assert_array_equal(values, old.config.fiducials)
    assert "fiducials" not in opened(new).scalars(["ipm2/sum"]).coords


def test_old_names_of_ids(tmp_path, old):
    """EvtID/time (seconds, ns) and EvtID/fid, as the first writers had."""
    path = tmp_path / "ldat_xpptest01_Run047.h5"
    with h5py.File(old.path) as source, h5py.File(path, "x") as file:
        for name in source:
            if name not in old.config.id_names:
                source.copy(name, file)
        ids = source["event_time"][:]
        file["EvtID/time"] = np.stack([ids >> 32, ids & 0xFFFFFFFF], axis=1)
        file["EvtID/fid"] = source["fiducials"][:]
        file.move("tt", "XPP_TIMETOOL_")
    run = xf.open_run(path)
    np.testing.assert_array_equal(run.ids, old.ids)
    found = run.scalars(["XPP_TIMETOOL_/FLTPOS_PS"])
    np.testing.assert_array_equal(
        found["XPP_TIMETOOL_/FLTPOS_PS"], old.columns["tt/FLTPOS_PS"]
    )
    np.testing.assert_array_equal(found.fiducials, old.config.fiducials)
    assert "EvtID" not in run.sources


def test_files_of_other_facilities_name_trains(tmp_path):
    path = tmp_path / "p2012_r0034.h5"
    with h5py.File(path, "x") as file:
        file["trainId"] = np.arange(10005, 10000, -1)
        file["xgm/intensity"] = np.arange(5.0)
    found = xf.open_run(path).scalars("xgm/*")
    assert found.train.values.tolist() == list(range(10001, 10006))
    assert found["xgm/intensity"].values.tolist() == [4, 3, 2, 1, 0]
    assert "time" not in found.coords


# -- values per event -----------------------------------------------------------------


def test_scalars_are_those_of_the_event(truth):
    found = opened(truth).scalars(["ipm2/sum", "tt/ttCorr", "lightStatus/laser"])
    assert list(found) == ["ipm2/sum", "tt/ttCorr", "lightStatus/laser"]
    for name in found:
        np.testing.assert_array_equal(found[name], truth.columns[name])
    assert found["lightStatus/laser"].dtype == np.int64
    assert found["tt/ttCorr"].attrs["units"] == "ps"
    for variable in found.variables.values():
        assert variable.attrs["long_name"]
    assert found.attrs["history"].startswith("scalars {")


def test_globs_and_further_axes(old):
    found = opened(old).scalars("ipm2/*")
    assert set(found) == {"ipm2/sum", "ipm2/channels", "ipm2/xpos", "ipm2/ypos"}
    assert found["ipm2/channels"].dims == ("train", "ipm2/channels_dim0")


def test_everything_per_event_and_nothing_else(truth):
    names = set(opened(truth).scalars("*"))
    assert names >= {"ipm2/sum", "lightStatus/xray"}
    assert not names & {"event_time", "fiducials", "timestamp"}
    for name in names:
        assert not name.startswith(("Sums/", "UserDataCfg/", "intg/", "epix_2/var_"))
        assert "ragged_" not in name


def test_missing_integers_become_nan(old):
    run = opened(old)
    stored = old.columns["ipm3/n_photons"]
    assert (stored == -99999).any()
    found = run.scalars(["ipm3/n_photons"])["ipm3/n_photons"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(found), stored == -99999)
    kept = run.scalars(["ipm3/n_photons"], missing="keep")["ipm3/n_photons"]
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(kept, stored)


def test_zeros_before_the_first_value_of_lcls2(new):
    """The writer fills 0 there, and NaN later; damage tells both."""
    run = opened(new)
    plain = run.scalars(["ipm3/sum"])["ipm3/sum"].values
    assert (plain[:20] == 0).all()
    told = run.scalars("ipm3/*", use_damage=True)
    for values in told.values():
        np.testing.assert_array_equal(np.isnan(values), ~new.shots.has_value)
    kept = run.scalars(["damage/ipm3"], use_damage=True)["damage/ipm3"]
    np.testing.assert_array_equal(kept, new.shots.has_value)


def test_names_that_are_not_there(old):
    run = opened(old)
    with pytest.raises(PropertyNameError, match="Did you mean 'ipm2/sum'"):
        run.scalars(["ipm2/sun"])
    with pytest.raises(PropertyNameError, match="ipm9"):
        run.scalars("ipm9/*")
    found = run.scalars(["ipm9/*", "x", "ipm2/sum"], missing_keys="ignore")
    assert list(found) == ["ipm2/sum"]
    for name, says in (
        (f"{TABLE}/row", "run.table"), ("Sums/jungfrau1M_calib", "run.sums"),
        ("UserDataCfg/jungfrau1M/ped", "run.constants"), ("event_time", "'train'"),
        (RAGGED, "run.table"),
    ):  # fmt: skip
        with pytest.raises(PropertyNameError, match=says):
            run.scalars([name])
    with pytest.raises(ValueError, match="missing"):
        run.scalars("ipm2/*", missing="drop")
    with pytest.raises(ValueError, match="missing_keys"):
        run.scalars("ipm2/*", missing_keys="warn")
    with pytest.raises(ValueError, match="no stream 'intg'"):
        run.scalars("ipm2/*", stream="intg")


def test_slow_detectors(new):
    run = opened(new)
    assert run.streams == ("event", "intg")
    found = run.scalars(["andor_dir/*"], stream="intg")
    assert found.sizes["train"] == N // 10
    np.testing.assert_array_equal(found.train, new.ids[9::10])
    np.testing.assert_array_equal(
        found["andor_dir/timestamp_max"], found.train.astype(np.int64)
    )
    assert found.time.dtype == np.dtype("datetime64[ns]")
    part = run.select_trains(np.s_[:25]).scalars(["andor_dir/count"], stream="intg")
    assert part.sizes["train"] == 2
    with pytest.raises(PropertyNameError, match="stream='intg'"):
        run.scalars(["intg/andor_dir/count"])


# -- selections -----------------------------------------------------------------------


def test_selections(truth):
    run = opened(truth)
    ids = truth.ids
    lit = run.scalars(["lightStatus/laser"])["lightStatus/laser"] == 1
    cases = (
        (np.s_[5:20:3], ids[5:20:3]), (3, ids[3:4]), ([7, 2], ids[[2, 7]]),
        (truth.laser_on, ids[truth.laser_on]), (lit, ids[truth.laser_on]),
        (xf.by_id[int(ids[4]) : int(ids[9])], ids[4:9]),
        (xf.by_id[[int(ids[8])]], ids[[8]]), (xf.by_index[-2:], ids[-2:]),
    )  # fmt: skip
    for selection, expected in cases:
        part = run.select_trains(selection)
        np.testing.assert_array_equal(part.ids, expected)
        at = np.searchsorted(ids, expected)
        found = part.scalars(["ipm2/channels"])["ipm2/channels"]
        np.testing.assert_array_equal(found, truth.columns["ipm2/channels"][at])
        fill = 0 if truth.config.key == "raw" else None
        found = part.frames(bad_pixels=None, fill_value=fill)[:, 0]
        assert found.dtype == truth.frames.dtype
        np.testing.assert_array_equal(found, truth.images(at))
    pieces = list(run.split_trains(trains_per_part=40))
    assert [len(p.ids) for p in pieces] == [30, 30, 30]
    assert len(run.select_trains([]).scalars("ipm2/*").train) == 0


def test_sources_and_keys(old):
    run = opened(old)
    assert {"ipm2", "tt", DETECTOR} <= set(run.sources)
    assert run.keys("ipm2") == ["channels", "sum", "xpos", "ypos"]
    data = run["ipm2", "channels"]
    assert (data.shape, data.dtype) == ((N, 4), np.float64)
    np.testing.assert_array_equal(data.ndarray(), old.columns["ipm2/channels"])
    assert run["UserDataCfg", f"{DETECTOR}/ped"].shape == (3, 2, 8, 12)
    assert run["UserDataCfg", f"{DETECTOR}/ped"].ndarray().shape == (3, 2, 8, 12)
    assert ("ipm2", "sum") in run
    assert "ipm9" not in run
    with pytest.raises(SourceNameError, match="Did you mean"):
        run.keys("ipm22")
    with pytest.raises(PropertyNameError, match="no key 'x'"):
        run["ipm2", "x"]
    part = run.select(["ipm*", DETECTOR])
    assert set(part.scalars("*")) == {n for n in run.scalars("*") if "ipm" in n} | {
        f"damage/{DETECTOR}"
    }
    assert part.frames().shape == run.frames().shape
    assert set(run.select("ipm2", "?pos").scalars("ipm2/*")) == {
        "ipm2/xpos", "ipm2/ypos"
    }  # fmt: skip
    with pytest.raises(SourceNameError):
        run.select("nothing*")


# -- tables ---------------------------------------------------------------------------


@pytest.mark.parametrize("selection", [np.s_[:], np.s_[10:60:7], [3, 80], []])
def test_tables(truth, selection):
    run = opened(truth).select_trains(selection)
    found = run.table(TABLE)
    counts = truth.shots.n_droplets
    event = np.repeat(np.arange(N), counts)
    keep = np.isin(truth.ids[event], run.ids)
    np.testing.assert_array_equal(found.train, truth.ids[event][keep])
    assert set(found) == set(truth.tables)
    for name, values in truth.tables.items():
        np.testing.assert_array_equal(found[name], values[keep])
    assert (found.pulse == 0).all()
    if truth.config.flavour == "LCLS1":
        ragged = run.table(RAGGED)
        np.testing.assert_array_equal(ragged["data"], found["data"])
        np.testing.assert_array_equal(ragged.train, found.train)


def test_names_of_tables(old):
    run = opened(old)
    assert run.tables == [RAGGED, TABLE]
    with pytest.raises(PropertyNameError, match="Did you mean"):
        run.table("epix_2/var_droplet_sparze")
    length = run.scalars([f"{TABLE}_len"])[f"{TABLE}_len"]
    np.testing.assert_array_equal(length, old.shots.n_droplets)


# -- sums and constants ---------------------------------------------------------------


def test_sums(old):
    sums = opened(old).sums
    images = old.frames[old.available].astype(np.float64)
    assert sums[f"{DETECTOR}_calib"].dims == ("module", "slow_scan", "fast_scan")
    np.testing.assert_allclose(sums[f"{DETECTOR}_calib"], images.sum(0), rtol=1e-12)
    np.testing.assert_array_equal(sums[f"{DETECTOR}_calib_max"], images.max(0))


def test_constants(truth):
    found = opened(truth).constants(DETECTOR)
    assert found.pedestal.dims == ("gain_range", "module", "slow_scan", "fast_scan")
    np.testing.assert_array_equal(found.pedestal, truth.pixels.pedestal)
    np.testing.assert_array_equal(found.gain, truth.pixels.gain)
    np.testing.assert_array_equal(found.bad_pixels, truth.bad_pixels)
    assert found.bad_pixels.dtype == bool
    x, y = truth.pixels.xy
    np.testing.assert_allclose(found.x, x * 75e-6, rtol=1e-12)
    np.testing.assert_allclose(found.y, y * 75e-6, rtol=1e-12)
    assert found.x.attrs["units"] == "m"
    assert found.attrs["common_mode"] == 0
    assert found.attrs["image_shape"] == [24, 12]
    assert found.module.values.tolist() == [0, 1]


def test_constants_of_a_single_segment(tmp_path):
    truth = write_smalldata(tmp_path / "run.h5", n_events=6, shape=(8, 12))
    found = xf.open_run(truth.path).constants()
    assert found.pedestal.shape == (3, 1, 8, 12)
    assert found.bad_pixels.shape == (1, 8, 12)
    frames = xf.open_run(truth.path).frames()
    assert frames.shape == (6, 1, 1, 8, 12)
    expected = np.where(truth.bad_pixels, np.nan, truth.frames)
    np.testing.assert_array_equal(frames[:, 0], expected)


@pytest.mark.parametrize(
    ("present", "bad"),
    [({"cmask", "mask"}, "cmask"), ({"mask", "statusMask"}, "mask"),
     ({"statusMask"}, "statusMask"), (set(), None)],
)  # fmt: skip
def test_which_mask_tells_bad_pixels(tmp_path, present, bad):
    masks = {"cmask", "mask", "statusMask"}
    truth = write_smalldata(
        tmp_path / "run.h5", n_events=4, shape=(8, 12),
        without={f"UserDataCfg/{DETECTOR}/{m}" for m in masks - present},
    )  # fmt: skip
    found = xf.open_run(truth.path).constants()
    if bad is None:
        assert "bad_pixels" not in found
        return
    with h5py.File(truth.path) as file:
        good = file[f"UserDataCfg/{DETECTOR}/{bad}"][()]
    np.testing.assert_array_equal(found.bad_pixels, good[None] == 0)


def test_missing_constants_say_what_there_is(tmp_path, old):
    run = opened(old)
    with pytest.raises(MissingConstantError, match=r"epix_2.*jungfrau1M"):
        run.constants("epix_2")
    with pytest.raises(SourceNameError, match="no detector 'jungfrau4M'"):
        run.constants("jungfrau4M")
    bare = write_smalldata(
        tmp_path / "run.h5", n_events=4, shape=(8, 12), without={"UserDataCfg"}
    )
    with pytest.raises(MissingConstantError, match="no UserDataCfg at all"):
        xf.open_run(bare.path).constants(DETECTOR)
    assert xf.open_run(bare.path).frames().shape == (4, 1, 1, 8, 12)


# -- frames ---------------------------------------------------------------------------


def test_frames(truth, no_compute):
    with no_compute():
        frames = opened(truth).frames()
    assert frames.dims == ("train", "pulse", "module", "slow_scan", "fast_scan")
    assert frames.name == truth.config.key
    assert frames.attrs["detector"] == DETECTOR
    assert frames.attrs["detector_kind"] == "jungfrau"
    assert frames.attrs["run"] == truth.path.stem
    expected = truth.frames
    if truth.config.key == "raw":
        assert frames.attrs["stored_dtype"] == expected.dtype
        frames = frames.where(frames.available, 0)
    if truth.config.key == "calib":
        expected[:, truth.bad_pixels] = np.nan
    np.testing.assert_array_equal(frames[:, 0], expected)
    np.testing.assert_array_equal(frames.available[:, 0], truth.available)
    np.testing.assert_array_equal(frames.train, truth.ids)
    assert "time" in frames.coords


def test_detectors_and_default_keys(old, new, tmp_path):
    assert opened(old).detectors == {DETECTOR: "jungfrau"}
    assert opened(new).frames().name == "raw"
    run = opened(old)
    with pytest.raises(SourceNotFound, match=r"seldom holds frames.*frames="):
        run.frames("epix_2")
    with pytest.raises(PropertyNameError, match=r"no 'calb'.*Did you mean 'calib'"):
        run.frames(key="calb")
    with pytest.raises(PropertyNameError, match=r"run\.scalars"):
        run.frames("ipm2", "channels")
    with pytest.raises(SourceNameError, match="no detector 'jungfrau4M'"):
        run.frames("jungfrau4M")
    without = write_smalldata(tmp_path / "run.h5", n_events=9, key=None)
    assert xf.open_run(without.path).detectors == {DETECTOR: "jungfrau"}
    with pytest.raises(SourceNotFound, match="no frames of 'jungfrau1M'"):
        xf.open_run(without.path).frames()
    nothing = write_smalldata(tmp_path / "none.h5", n_events=9, detector=None)
    with pytest.raises(SourceNameError, match="no detector"):
        xf.open_run(nothing.path).frames()


def test_a_mean_over_laser_on_shots_is_that_of_the_truth(old):
    run = opened(old)
    laser = run.scalars(["lightStatus/laser"])["lightStatus/laser"] == 1
    mean = run.select_trains(laser).frames(bad_pixels=None).mean("train")
    wanted = old.frames[old.laser_on & old.available].astype(np.float64)
    np.testing.assert_allclose(mean[0], wanted.mean(0), rtol=1e-5)


def test_detector_objects(old):
    detector = opened(old)[DETECTOR]
    assert detector.modules == [0, 1]
    assert detector.module_shape == (8, 12)
    assert detector.kind == "jungfrau"
    part = detector.select_trains(np.s_[:3])
    assert part.frames(modules=1).shape == (3, 1, 1, 8, 12)
    assert len(list(detector.split_trains(3))) == 3
    assert "pedestal" in detector.constants()
    assert DETECTOR in repr(detector)


def test_images_of_slow_detectors(tmp_path):
    truth = write_smalldata(
        tmp_path / "rixtest01_Run0008.h5", n_events=60, flavour="LCLS2", shape=(8, 12)
    )
    values = np.random.default_rng(0).normal(size=(6, 5, 7))
    with h5py.File(truth.path, "r+") as file:
        file["intg/andor_vls/full_area"] = values
    run = opened(truth)
    assert run.detectors == {"intg/andor_vls": "andor", DETECTOR: "jungfrau"}
    frames = run.frames("intg/andor_vls")
    assert frames.shape == (6, 1, 1, 5, 7)
    np.testing.assert_array_equal(frames.train, truth.ids[9::10])
    np.testing.assert_array_equal(frames[:, 0, 0], values)
    part = run.select_trains(np.s_[25:50]).frames("intg/andor_vls")
    np.testing.assert_array_equal(part[:, 0, 0], values[2:5])


def test_the_number_of_the_run(old):
    for run in (47, "47", "run0047", "Run47"):
        assert xf.open_run(old.path, run).run_id == "xpptest01_Run0047"
    with pytest.raises(ValueError, match="not of run 48"):
        xf.open_run(old.path, 48)


# -- joining --------------------------------------------------------------------------


def test_alignment_of_two_files(old, tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "x") as file:
        file["event_time"] = old.ids[20:].astype(np.int64)
        file["fiducials"] = old.config.fiducials[20:]
        file["new/value"] = np.arange(N - 20.0)
    a, b = opened(old).select_trains(np.s_[:50]).align(xf.open_run(path))
    np.testing.assert_array_equal(a.ids, old.ids[20:50])
    np.testing.assert_array_equal(b.ids, a.ids)
    both = [a.scalars(["ipm2/sum"]), b.scalars(["new/value"])]
    joined = xr.merge(both, "no_conflicts", join="exact", combine_attrs="drop")
    assert joined["new/value"].values.tolist() == list(range(30))


def test_events_with_other_fiducials_are_others(old, tmp_path):
    path = tmp_path / "other.h5"
    fiducials = old.config.fiducials.copy()
    fiducials[3] += 3
    with h5py.File(path, "x") as file:
        file["event_time"] = old.ids.astype(np.int64)
        file["fiducials"] = fiducials
        file["new/value"] = np.arange(N)
    a, b = opened(old).align(xf.open_run(path))
    np.testing.assert_array_equal(a.ids, np.delete(old.ids, 3))
    np.testing.assert_array_equal(a.ids, b.ids)


def test_runs_that_cannot_be_joined(old, new):
    with pytest.raises(ValueError, match="cannot be joined"):
        opened(old).align(opened(new))
    with pytest.raises(SelectionEmptyError, match="share no event"):
        opened(old).select_trains([0]).align(opened(old).select_trains([1]))
    with pytest.raises(TypeError, match="another LCLS run"):
        opened(old).align(3)


# -- description and other ways in ----------------------------------------------------


def test_descriptions(truth, capsys):
    run = opened(truth)
    text = repr(run)
    assert len(text.splitlines()) <= 20
    assert truth.config.flavour in text
    assert "raw of 2x8x12" in text or "calib of 2x8x12" in text
    assert "<table>" in run._repr_html_()
    run.info("ipm2")
    assert "xpos" in capsys.readouterr().out


def test_command_line(old):
    result = CliRunner().invoke(info, [str(old.path), "--source", "ipm2"])
    assert result.exit_code == 0, result.output
    assert "channels" in result.output
    assert CliRunner().invoke(info, [str(old.path), "--json"]).exit_code == 0


def test_xarray_backend(truth):
    assert XfelredBackend().guess_can_open(str(truth.path))
    found = xr.open_dataset(truth.path, engine=XfelredBackend, chunks={})
    np.testing.assert_array_equal(
        found[truth.config.key], opened(truth).frames()
    )  # fmt: skip


def test_runs_and_frames_travel(truth):
    run = opened(truth)
    run.scalars(["ipm2/sum"])
    again = pickle.loads(pickle.dumps(run))
    xr.testing.assert_identical(again.scalars(["ipm2/sum"]), run.scalars(["ipm2/sum"]))
    frames = pickle.loads(pickle.dumps(run.frames()))
    np.testing.assert_array_equal(frames, run.frames())


def test_plans(truth):
    run = opened(truth)
    plan = run.plan(run.frames(bad_pixels=None).mean("train"))
    shape = truth.config.stack
    size = truth.frames.dtype.itemsize
    assert plan.bytes_to_read == int(truth.available.sum()) * np.prod(shape) * size
    assert plan.bytes_total == N * np.prod(shape) * size


def test_same_result_on_any_scheduler(new):
    frames = opened(new).frames(chunk_size="10kB")
    with dask.config.set(scheduler="synchronous"):
        one = frames.sum("train").values
    np.testing.assert_array_equal(one, frames.sum("train").values)


def with_mask_of(tmp_path, name, shape):
    truth = write_smalldata(tmp_path / "run.h5", n_events=4, shape=(2, 8, 12))
    with h5py.File(truth.path, "r+") as file:
        del file[f"UserDataCfg/{DETECTOR}/{name}"]
        file[f"UserDataCfg/{DETECTOR}/{name}"] = np.ones(shape, np.uint8)
    return xf.open_run(truth.path)


@pytest.mark.parametrize("shape", [(2, 8, 11), (8, 12), (3, 8, 12)])
def test_mask_of_a_wrong_shape_is_said(tmp_path, shape):
    run = with_mask_of(tmp_path, "cmask", shape)
    with pytest.warns(UserWarning, match=r"mask of jungfrau1M.*no bad pixels"):
        frames = run.frames(DETECTOR)
    assert "bad_pixels" not in frames.coords
    np.testing.assert_array_equal(
        frames, xf.open_run(run.files[0].path).frames(DETECTOR, bad_pixels=None)
    )


def test_constant_of_a_wrong_shape_is_said_and_left_out(tmp_path):
    run = with_mask_of(tmp_path, "rms", (3, 2, 8, 11))
    with pytest.warns(UserWarning, match=r"noise is \(3, 2, 8, 11\).*left out"):
        found = run.constants(DETECTOR)
    assert "noise" not in found
    assert {"pedestal", "gain", "bad_pixels"} <= set(found)


def test_mask_without_calibration_is_kept_apart(tmp_path):
    path = write_smalldata(tmp_path / "run.h5", n_events=4, shape=(2, 8, 12)).path
    found = xf.open_run(path).constants(DETECTOR)
    with h5py.File(path) as file:
        group = file[f"UserDataCfg/{DETECTOR}"]
        np.testing.assert_array_equal(found.bad_pixels, group["cmask"][()] == 0)
        np.testing.assert_array_equal(found.bad_in_mask, group["mask"][()] == 0)
