"""Objects of LCLS files that hold other things than their names say."""

import shutil

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.errors import InconsistentDataError
from xfelred.synth.lcls import write_smalldata, write_suite

DETECTOR = "jungfrau1M"
CONFIG = f"UserDataCfg/{DETECTOR}"
COMPOUND = np.dtype([("a", "<f4"), ("b", "<i2")])
ODD = {
    "text": np.full(12, b"\xff", "S3"),
    "records": np.zeros(12, COMPOUND),
    "opaque": np.zeros(12, "V7"),
    "complex": np.ones(12, np.complex64),
}
NULL, ZERO_AXIS = h5py.Empty("f4"), np.zeros((3, 0), np.float32)


def replace(path, name, data):
    """Copy a file, with something else under a name: the first one may be open."""
    path = shutil.copy(path, path.with_name("other") / path.name)
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = data
    return path


@pytest.fixture
def small(tmp_path):
    """A small-data file of 12 events, of which some have no image."""
    path = tmp_path / "xpptest01_Run0047.h5"
    (tmp_path / "other").mkdir()
    write_smalldata(path, n_events=12, shape=(2, 6, 8), n_banks=2)
    return path


@pytest.mark.parametrize("what", [*ODD, "null", "zero axis"])
@pytest.mark.parametrize("name", ["x", "ped", "ix"])
def test_a_constant_that_holds_no_numbers_is_left_out(small, name, what):
    intact = xf.open_run(small).constants(DETECTOR).load()
    data = {**ODD, "null": NULL, "zero axis": ZERO_AXIS}[what]
    run = xf.open_run(replace(small, f"{CONFIG}/{name}", data))
    with pytest.warns(UserWarning, match=rf"{name} \(.*hold no numbers"):
        found = run.constants(DETECTOR).load()
    gone = {"x": "x", "ped": "pedestal", "ix": "ix"}[name]
    assert set(found) == set(intact) - {gone}
    for key in found:
        np.testing.assert_array_equal(found[key], intact[key])


@pytest.mark.parametrize("what", ODD)
def test_a_mask_that_holds_no_numbers_gives_way_to_the_next(small, what):
    data = np.zeros((2, 6, 8), ODD[what].dtype)
    run = xf.open_run(replace(small, f"{CONFIG}/cmask", data))
    with pytest.warns(UserWarning, match="cmask .*hold no numbers"):
        frames = run.frames(DETECTOR, bad_pixels="keep")
    with h5py.File(small) as file:
        expected = file[f"{CONFIG}/mask"][()] == 0
    np.testing.assert_array_equal(frames.bad_pixels != 0, expected)


@pytest.mark.parametrize(
    "values",
    [
        np.full(12, -1), np.full(12, np.nan), np.full(12, np.inf), np.full(12, 7),
        np.full(12, 2**64 - 1, np.uint64), np.full(12, -(2**63)),
        np.full(12, -99999), np.r_[np.ones(11), 0.25],
    ],
)  # fmt: skip
def test_damage_that_says_neither_yes_nor_no_is_said(small, values):
    run = xf.open_run(replace(small, f"damage/{DETECTOR}", values))
    n = int((values != 1).sum())
    with pytest.warns(UserWarning, match=f"says of {n} of 12 events neither"):
        frames = run.frames(DETECTOR)
    assert int((~frames.available.all("module")).sum()) == n


def test_damage_that_says_yes_no_or_nothing_needs_no_words(small, recwarn):
    values = np.array([0, 1, np.nan, -99999, *[1] * 8])
    xf.open_run(replace(small, f"damage/{DETECTOR}", values)).frames(DETECTOR)
    assert not [w for w in recwarn if "neither" in str(w.message)]


@pytest.mark.parametrize(
    "values", [np.zeros((12, 0)), np.zeros((12, 2, 2)), ODD["text"], ODD["records"]]
)
def test_fiducials_that_are_no_numbers_are_left_out(small, values):
    intact = xf.open_run(small).frames(DETECTOR)
    run = xf.open_run(replace(small, "fiducials", values))
    with pytest.warns(UserWarning, match="fiducials of .* is left out"):
        frames = run.frames(DETECTOR)
    assert set(frames.coords) == set(intact.coords) - {"fiducials"}
    np.testing.assert_array_equal(frames, intact)


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_frames_of_the_suite_that_are_no_numbers_are_an_error(tmp_path, layout, what):
    path = tmp_path / "run.h5"
    (tmp_path / "other").mkdir()
    write_suite(path, layout=layout, n_events=(3, 3))
    name = "frames" if layout == "flat" else "detectorData/step1/epixM"
    with h5py.File(path) as file:
        data = np.zeros(file[name].shape, ODD[what].dtype)
    path = replace(path, name, data)
    with pytest.raises(InconsistentDataError, match=r"run\.h5 holds .*are numbers"):
        xf.open_run(path)


def test_steps_of_a_flat_file_that_are_a_group_are_an_error(tmp_path):
    path = tmp_path / "run.h5"
    write_suite(path, layout="flat", n_events=(3, 3))
    with h5py.File(path, "r+") as file:
        del file["step"]
        file["step"] = h5py.SoftLink("/")
    with pytest.raises(InconsistentDataError, match="is a group; wanted 2 whole"):
        xf.open_run(path)
