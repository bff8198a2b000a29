"""``xr.open_dataset(engine=...)`` gives what ``Run.frames`` gives."""

import dask
import numpy as np
import pytest
import xarray as xr

from xfelred import open_run
from xfelred.readers.xarray_backend import XfelredBackend


def opened(path, **options):
    # The class stands for its name where the package is not installed.
    return xr.open_dataset(path, engine=XfelredBackend, **options)


@pytest.mark.parametrize("chunks", [{}, None, "auto", {"train": -1}])
def test_pixels_are_the_truth_for_any_chunks(chunks, agipd_run):
    got = opened(agipd_run.directory, chunks=chunks, options={"bad_pixels": None})
    assert list(got.data_vars) == ["data"]
    np.testing.assert_array_equal(got["data"].values, agipd_run.frames())


def test_the_dataset_equals_frames_of_the_run(agipd_run):
    got = opened(agipd_run.directory, chunks={})
    frames = open_run(agipd_run.directory).frames()
    xr.testing.assert_equal(got["data"], frames)
    assert set(got.coords) == set(frames.coords)
    assert got["data"].chunks == frames.chunks


def test_opening_computes_nothing(agipd_run, no_compute):
    with no_compute():
        got = opened(str(agipd_run.directory), chunks={})
    assert dask.is_dask_collection(got["data"].data)


def test_options_of_frames_are_passed_on(agipd_run):
    options = {"layout": "frame", "roi": np.s_[:4, :6], "modules": [3]}
    got = opened(
        agipd_run.directory, chunks={}, detector="SPB_DET_AGIPD1M-1", options=options
    )
    sizes = {"frame": 15, "module": 1, "slow_scan": 4, "fast_scan": 6}
    assert dict(got["data"].sizes) == sizes


def test_bits_that_are_kept_become_a_coordinate(agipd_run):
    got = opened(agipd_run.directory, chunks={}, options={"bad_pixels": "keep"})
    assert "bad_pixels" in got.coords
    np.testing.assert_array_equal(got.bad_pixels[0, 0], agipd_run.bad_pixels)


def test_variables_can_be_dropped(agipd_run):
    got = opened(agipd_run.directory, chunks={}, drop_variables=["cell", "n_pulses"])
    assert not {"cell", "n_pulses"} & set(got.variables)


def test_one_file_is_a_run_of_one_module(agipd_run):
    path = agipd_run.file(3)
    got = opened(path, chunks={}, options={"bad_pixels": None})
    n = got.sizes["train"]
    np.testing.assert_array_equal(got["data"][:, :, 0], agipd_run.frames()[:n, :, 1])


def test_data_files_are_recognised_and_others_are_not(agipd_run, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(b"nothing")
    guess = XfelredBackend().guess_can_open
    assert guess(agipd_run.file(0))
    assert guess(str(agipd_run.file("DA01")))
    for wrong in (other, agipd_run.directory, "no/such.h5", 3, None):
        assert not guess(wrong)
