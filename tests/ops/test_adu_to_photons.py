"""Photons from adu, and modules brought to one gain."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import MissingConstantError
from xfelred.lazy.array import PlannedArray
from xfelred.readers.open import open_run
from xfelred.synth.sacla import write_run

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
GAIN = np.array([17.2, 16.8, 17.1])
ENERGY = 8600 + 10 * np.arange(5.0)


@pytest.fixture
def frames():
    data = np.random.default_rng(0).normal(20, 30, (5, 1, 3, 4, 6)).astype("f4")
    data[1, 0, 2, 0, 0] = np.nan
    coords = {
        "train": np.arange(100, 110, 2),
        "module": [1, 4, 7],
        "absolute_gain": ("module", GAIN),
        "photon_energy": ("train", ENERGY),
    }
    return xr.DataArray(data, coords, DIMS, name="image", attrs={"units": "adu"})


def slowly(frames, gain=GAIN, energy=ENERGY):
    out = np.full(frames.shape, np.nan)
    for t, m in np.ndindex(frames.sizes["train"], frames.sizes["module"]):
        out[t, :, m] = frames.values[t, :, m] * gain[m] * 3.65 / energy[t]
    return out


@pytest.mark.parametrize("frames_per_chunk", [1, 3, 5])
def test_photons_do_not_depend_on_chunks(frames, frames_per_chunk, no_compute):
    with no_compute():
        out = ops.adu_to_photons(frames.chunk({"train": frames_per_chunk}))
    assert out.dims == DIMS
    assert out.dtype == np.float32
    assert out.attrs["units"] == "photon"
    assert out.attrs["history"].startswith("adu_to_photons {")
    np.testing.assert_allclose(out, slowly(frames), rtol=1e-6)
    assert frames.attrs == {"units": "adu"}


def test_negative_values_stay(frames):
    assert (ops.adu_to_photons(frames) < 0).any()


@pytest.mark.parametrize(
    ("dtype", "expected"), [("i2", "f4"), ("u2", "f4"), ("i4", "f8"), ("f8", "f8")]
)
def test_integers_become_floats(frames, dtype, expected):
    whole = frames.fillna(0).clip(0).astype(dtype)
    out = ops.adu_to_photons(whole)
    assert out.dtype == expected
    np.testing.assert_allclose(out, slowly(whole), rtol=1e-6)


def test_given_gain_and_energy_win(frames):
    gain = xr.DataArray([3.0, 1.0, 2.0, 9.0], {"module": [7, 1, 4, 5]}, ("module",))
    out = ops.adu_to_photons(frames, gain=gain, energy=1e4)
    expected = slowly(frames, [1.0, 2.0, 3.0], np.full(5, 1e4))
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    bare = frames.drop_vars(["absolute_gain", "photon_energy"])
    np.testing.assert_allclose(
        ops.adu_to_photons(bare, gain=2.0, energy=1e4),
        slowly(frames, np.full(3, 2.0), np.full(5, 1e4)), rtol=1e-6,
    )  # fmt: skip


def test_flat_frames_and_single_images(frames):
    flat = frames.isel(pulse=0, drop=True).rename(train="frame")
    np.testing.assert_allclose(
        ops.adu_to_photons(flat), slowly(frames)[:, 0], rtol=1e-6
    )
    one = frames[2, 0, 1]
    np.testing.assert_allclose(
        ops.adu_to_photons(one), slowly(frames)[2, 0, 1], rtol=1e-6
    )


def test_match_gains(frames):
    out = ops.match_gains(frames.chunk({"train": 2}))
    np.testing.assert_allclose(out, frames * (GAIN / GAIN[0])[:, None, None], rtol=1e-6)
    assert out.attrs["units"] == "adu"
    # One gain for all: matched frames of the first module's gain are the same photons.
    np.testing.assert_allclose(
        ops.adu_to_photons(out, gain=GAIN[0]), slowly(frames), rtol=1e-5
    )


def test_what_is_missing_is_an_error(frames):
    with pytest.raises(MissingConstantError, match="pass gain="):
        ops.adu_to_photons(frames.drop_vars("absolute_gain"))
    with pytest.raises(MissingConstantError, match="pass energy="):
        ops.adu_to_photons(frames.drop_vars("photon_energy"))
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(MissingConstantError, match="must be positive"):
            ops.adu_to_photons(frames, energy=bad)
    gain = xr.DataArray([1.0, 2.0], {"module": [1, 4]}, ("module",))
    with pytest.raises(ValueError, match="no value for 1 of 3 module labels"):
        ops.adu_to_photons(frames, gain=gain)
    with pytest.raises(ValueError, match="has a dim 'tile'"):
        ops.adu_to_photons(frames, gain=xr.DataArray([1.0], dims=("tile",)))
    with pytest.raises(ValueError, match="has 2 values along 'module'"):
        ops.adu_to_photons(frames, gain=xr.DataArray([1.0, 2.0], dims=("module",)))


def test_selections_of_photons_reach_the_file(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", layout="modules", n_images=4, n_darks=0, shape=(6, 4)
    )
    run = open_run(truth.path)
    photons = ops.adu_to_photons(run.frames())
    assert isinstance(photons.data, PlannedArray)
    part = photons.sel(module=[2, 5])[1:3]
    assert run.plan(part).bytes_to_read == 2 * 2 * 6 * 4 * 4
    np.testing.assert_array_equal(part, photons.compute().sel(module=[2, 5])[1:3])
