"""Curved lines: numpy's roll, and smalldata_tools."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import frames
from xfelred import ops
from xfelred.errors import ArgumentError

GOLDEN = Path(__file__).parents[2] / "golden/data/lcls/curve_correction.npz"


@pytest.mark.parametrize(
    ("axis", "name"), [("fast_scan", "roll_axis0"), ("slow_scan", "roll_axis1")]
)
def test_lines_are_shifted_as_by_smalldata_tools(axis, name):
    with np.load(GOLDEN) as file:
        frame = xr.DataArray(file["image"], dims=("slow_scan", "fast_scan"))
        found = ops.correct_curvature(frame, file["coefficients"], axis)
        np.testing.assert_array_equal(found, file[name])


@pytest.mark.parametrize("chunks", [None, 1, 11])
@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_every_frame_is_shifted_alike(chunks, dtype, no_compute):
    da = frames(chunks, dtype)
    with no_compute():
        found = ops.correct_curvature(da, [-0.5, 3])
    assert found.dtype == da.dtype
    steps = np.round(0.5 * np.arange(7)[::-1]).astype(int)
    for row, step in enumerate(steps):
        wanted = np.roll(da.values[..., row, :], -step, axis=-1)
        np.testing.assert_array_equal(found.values[..., row, :], wanted)


def test_odd_arguments_are_errors():
    with pytest.raises(ArgumentError, match="some numbers"):
        ops.correct_curvature(frames(3), [np.nan])
    with pytest.raises(ArgumentError, match="axis"):
        ops.correct_curvature(frames(3), [1], "module")
