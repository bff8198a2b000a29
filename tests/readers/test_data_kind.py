"""Frames of every facility say whether they are raw, corrected or calibrated."""

import warnings

import h5py
import numpy as np
import pytest
import xarray as xr

from tests.support.euxfel_files import LPD, lpd, write_file
from xfelred import open_run, ops, synth, write


def euxfel(tmp_path, **options):
    synth.euxfel.write_run(tmp_path / "r", modules=(1, 2), n_trains=2, **options)
    return open_run(tmp_path / "r")


KINDS = {
    "AGIPD raw": {"kind": "AGIPD1M", "corrected": False},
    "AGIPD": {"kind": "AGIPD1M"},
    "LPD raw": {"kind": "LPD1M", "corrected": False},
    "LPD of old names": {"kind": "LPD1M", "source": "{detector}/DET/{module}CH0:xtdf"},
    "JUNGFRAU raw": {"kind": "JUNGFRAU", "corrected": False},
    "JUNGFRAU": {"kind": "JUNGFRAU"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_european_xfel_data_say_what_they_are(kind, tmp_path):
    run = euxfel(tmp_path, pulses=1, **KINDS[kind])
    want = "raw" if "raw" in kind else "corrected"
    frames = run.frames(bad_pixels=None)
    assert frames.attrs["data_kind"] == want
    assert f"{want} data" in repr(run)
    assert f"{want} data" in run._repr_html_()
    for same in (frames * 2, frames.isel(module=0), ops.statistics(frames)):
        assert same.attrs["data_kind"] == want
    product = write(ops.statistics(frames, which=("mean",)), tmp_path / "m.zarr")
    with xr.open_zarr(product) as stored:
        assert stored.attrs["data_kind"] == want


def test_lcls_data_say_what_they_are(tmp_path):
    truth = synth.lcls.write_smalldata(tmp_path / "s.h5", n_events=4)
    run = open_run(truth.path)
    for name in run.detectors:
        for key in run.keys(name):
            if key in ("calib", "raw"):
                kind = {"calib": "calibrated", "raw": "raw"}[key]
                assert run.frames(name, key).attrs["data_kind"] == kind


def test_sacla_data_are_raw_as_far_as_the_file_tells(tmp_path):
    truth = synth.sacla.write_run(tmp_path / "s.h5", n_images=3, shape=(4, 5))
    assert open_run(truth.path).frames().attrs["data_kind"] == "raw"


def test_calibration_changes_the_kind():
    raw = xr.DataArray(
        np.ones((2, 1, 1, 4, 4), "f4"),
        dims=("train", "pulse", "module", "slow_scan", "fast_scan"),
        attrs={"data_kind": "raw"},
    )
    constants = xr.Dataset({"pedestal": (raw.dims[2:], np.zeros((1, 4, 4), "f4"))})
    out = ops.calibrate(raw, constants, kind="camera")
    assert out.attrs["data_kind"] == "calibrated"


@pytest.fixture
def proposal(tmp_path, monkeypatch):
    """Raw and corrected data under the same names, as they were until 2023."""
    monkeypatch.setenv("EXTRA_DATA_DATA_ROOT", str(tmp_path))
    for kind, dtype in (("raw", "u2"), ("proc", "f4")):
        part = lpd(4, [2], [0, 1], 7, dtype=dtype)
        part.source = f"{LPD}/DET/4CH0:xtdf"
        write_file(tmp_path / f"FXE/202001/p000042/{kind}/r0003/x.h5", [9], part)
    return 42, 3


def test_raw_data_that_the_default_found_are_told_once(proposal):
    run = open_run(*proposal)
    with pytest.warns(UserWarning, match=r"raw data.*data='all'") as said:
        frames = run.frames()
    assert len(said) == 1
    assert frames.attrs["data_kind"] == "raw"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.select_trains([0]).frames()
        assert open_run(*proposal, data="raw").frames().attrs["data_kind"] == "raw"
        assert open_run(*proposal).frames(raw=True).attrs["data_kind"] == "raw"
        for data in ("all", "proc", ["raw", "proc"]):
            frames = open_run(*proposal, data=data).frames()
            assert frames.attrs["data_kind"] == "corrected"


@pytest.mark.parametrize("kind", ["AGIPD1M", "JUNGFRAU"])
def test_a_mean_image_keeps_every_module_in_its_place(kind, tmp_path):
    run = euxfel(tmp_path, kind=kind, pulses=1)  # modules 1 and 2
    mean = ops.statistics(run.frames(bad_pixels=None), ("train", "pulse"))
    first, n = {"AGIPD1M": (0, 16), "JUNGFRAU": (1, 2)}[kind]
    for i, what in enumerate((mean["mean"], mean[["mean"]])):
        write(what, tmp_path / f"{i}.cxi")
        with h5py.File(tmp_path / f"{i}.cxi") as f:
            detector = f["entry_1/instrument_1/detector_1"]
            assert detector["data"].shape[-3] == n
            got = detector["data"][()].reshape(n, *mean["mean"].shape[1:])
            np.testing.assert_array_equal(got[1 - first : 3 - first], mean["mean"])
            assert detector["data"].attrs["data_kind"] == "corrected"
