"""Frames and results of a run, from the files of the facility to a product."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf

ROOT = Path(__file__).resolve().parents[2]
PADDING = "ignore:trains of .* differ in their pulses:UserWarning"


@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize("bad_pixels", ["apply", "keep"])
@pytest.mark.parametrize("suffix", [".zarr", ".nxs", ".nc"])
@pytest.mark.filterwarnings(PADDING)
def test_frames_come_back(ragged_run, tmp_path, layout, bad_pixels, suffix):
    run = xf.open_run(ragged_run.directory)
    frames = run.frames(layout=layout, bad_pixels=bad_pixels)
    path = xf.write(frames, tmp_path / f"a{suffix}")
    if suffix == ".zarr":
        opened = xr.open_zarr(path)
    else:
        group = "entry/data" if suffix == ".nxs" else None
        opened = xr.open_dataset(path, engine="h5netcdf", group=group)
    with opened:
        result = opened[frames.name]
        assert result.dtype == frames.dtype
        assert result.dims == frames.dims
        assert set(result.coords) == set(frames.coords)
        np.testing.assert_array_equal(result.values, frames.values)
        for name in frames.coords:
            np.testing.assert_array_equal(result[name].values, frames[name].values)
        assert opened.attrs["history"] == frames.attrs["history"]
        assert opened.attrs["source_fingerprint"] == frames.attrs["source_fingerprint"]


@pytest.mark.filterwarnings(PADDING)
def test_padded_and_flat_frames_give_the_same_cxi(ragged_run, tmp_path):
    run = xf.open_run(ragged_run.directory)
    with (
        h5py.File(xf.write(run.frames(layout="train"), tmp_path / "a.cxi")) as one,
        h5py.File(xf.write(run.frames(layout="frame"), tmp_path / "b.cxi")) as two,
    ):
        n_frames = len(list(ragged_run.frame_ids()))
        for name in ("instrument_1/detector_1/data", "trainId", "pulseId", "cellId"):
            assert len(one[f"entry_1/{name}"]) == n_frames
            np.testing.assert_array_equal(
                one[f"entry_1/{name}"], two[f"entry_1/{name}"]
            )


NAME = """
import sys, xfelred as xf
print(xf.open_run(sys.argv[1]).frames().data.name)
"""


@pytest.mark.slow
def test_another_session_finds_the_same_data_to_resume(agipd_run):
    here = xf.open_run(agipd_run.directory).frames().data.name
    done = subprocess.run(
        [sys.executable, "-c", NAME, agipd_run.directory],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == here


def test_frames_of_a_run_can_be_resumed(agipd_run, tmp_path):
    frames = xf.open_run(agipd_run.directory).frames(chunk_size="1MiB")
    path = xf.write(frames, tmp_path / "a.zarr", resume=True)
    np.testing.assert_array_equal(xr.open_zarr(path)[frames.name], frames)
    assert xf.write(frames, path, resume=True) == path


def test_scalars_of_a_run_come_back(agipd_run, tmp_path):
    run = xf.open_run(agipd_run.directory)
    scalars = run.scalars([("SPB_LAS_PPL/MOTOR/DELAY", "actualPosition")])
    (name,) = scalars.data_vars
    stored = xr.open_zarr(xf.write(scalars, tmp_path / "a.zarr"))
    np.testing.assert_array_equal(stored[name.replace("/", "__")], scalars[name])
