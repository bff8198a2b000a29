"""Sums by name: numpy, frame by frame."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import frames
from xfelred import ops
from xfelred.errors import ArgumentError
from xfelred.geometry import Geometry

FLAGS = {
    "dropped": xr.DataArray(np.arange(11) % 10 == 0, {"train": np.arange(60, 49, -1)}),
    "laser_on": xr.DataArray(np.arange(11) % 2, {"train": np.arange(60, 49, -1)}) == 0,
}


def chosen(name, da):
    x = da.values.astype(float)
    if "thresADU990" in name:
        x = np.where(x < 990, 0, x)
    if "thresADU1000.5" in name:
        x = np.where(x < 1000.5, 0, x)
    if "nhits" in name:
        x = np.where(np.isnan(x), 0, x > 0)
    if "square" in name:
        x = x**2
    keep = np.ones(len(x), bool)
    if "dropped" in name:
        keep &= np.isin(da.train, [50, 60])
    if "laser_on" in name:
        keep &= da.train.values % 2 == 0
    if "skip" in name:
        keep[0] = False
    x = x[keep]
    return x.max((0, 1)) if "max" in name else x.sum((0, 1))


NAMES = [
    "calib", "calib_dropped", "calib_thresADU990", "calib_max", "calib_square",
    "calib_dropped_square", "calib_skip", "calib_thresADU1000.5_nhits",
    "calib_laser_on_thresADU990_max", "raw_dropped_laser_on_skip",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_sums_are_those_of_numpy(name, dtype, no_compute):
    da = frames(3, dtype)
    with no_compute():
        made = ops.detector_sum(da, name, flags=FLAGS)
    np.testing.assert_allclose(made, chosen(name, da), rtol=1e-12)
    whole = dtype == "u2" and "max" not in name and "square" not in name
    assert made.dtype == ("i8" if whole else made.dtype)
    assert made.dims == da.dims[2:]


@pytest.mark.parametrize("chunks", [None, 1, 11])
def test_chunks_and_layouts_make_no_difference(chunks):
    wanted = ops.detector_sum(frames(3), "calib_dropped_skip", flags=FLAGS)
    for layout in ("train", "frame"):
        da = frames(chunks, layout=layout)
        found = ops.detector_sum(da, "calib_dropped_skip", flags=FLAGS)
        np.testing.assert_array_equal(found, wanted)
        assert found.attrs["n_frames"] == 1


def test_flags_by_pulse_and_none_at_all():
    da = frames(3, "u2")
    twice = xr.concat([da, da.assign_coords(pulse=[4])], "pulse")
    first = xr.DataArray(
        np.tile([True, False], (11, 1)), {"train": da.train, "pulse": [0, 4]}
    )
    found = ops.detector_sum(twice, "calib_first", flags={"first": first})
    np.testing.assert_array_equal(found, da.values.astype(int).sum((0, 1)))
    none = {"none": first & False}
    assert (ops.detector_sum(twice, "calib_none", flags=none) == 0).all()
    assert ops.detector_sum(twice, "calib_none_max", flags=none).isnull().all()


def test_frames_stay_as_they_are_and_images_are_assembled():
    da = frames(None)
    before = da.values.copy()
    ops.detector_sum(da, "calib_thresADU1000_nhits").compute()
    np.testing.assert_array_equal(da, before)
    flat = Geometry.flat(
        (2, 7, 9), centre=(4, 3), distance=0.1, pixel_size=1e-4, energy=9e3
    )
    found = ops.detector_sum(da, "calib_img_dropped", flags=FLAGS, geometry=flat)
    assert found.dims == ("y", "x")
    with pytest.raises(ArgumentError, match="give geometry"):
        ops.detector_sum(da, "calib_img")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("calib_droped", "Did you mean 'dropped'"),
        ("calib_thresADUx", "neither a flag"),
        ("calib_max_square_max", "says max twice"),
        ("calib_dropped_dropped", "says dropped twice"),
        ("calib_thresADU1_thresADU5", "says thresADU twice"),
    ],
)
def test_unknown_parts_are_errors(name, words):
    with pytest.raises(ArgumentError, match=words):
        ops.detector_sum(frames(3), name, flags=FLAGS)
