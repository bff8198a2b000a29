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


@pytest.mark.parametrize("chunks", [None, {"train": 2}])
def test_one_gain_or_energy_that_is_none_is_nan_there_only(frames, chunks):
    frames["absolute_gain"][1] = np.nan
    frames["photon_energy"][3] = 0.0
    frames = frames if chunks is None else frames.chunk(chunks)
    energy = [*ENERGY[:3], np.nan, ENERGY[4]]
    expected = slowly(frames, [17.2, np.nan, 17.1], energy)
    np.testing.assert_allclose(ops.adu_to_photons(frames), expected, rtol=1e-6)
    frames = frames.assign_coords(absolute_gain=("module", [np.nan] * 3))
    with pytest.raises(MissingConstantError, match=r"none of its 3 values"):
        ops.adu_to_photons(frames)


@pytest.mark.parametrize("chunks", [None, {"train": 2}])
@pytest.mark.parametrize("modules", [[1, 4, 7], [7], [7, 4]])
def test_matching_refers_to_the_same_gain_whatever_is_selected(frames, chunks, modules):
    frames = frames.assign_coords(reference_gain=17.2)
    frames = frames if chunks is None else frames.chunk(chunks)
    given = frames.absolute_gain.compute().reset_coords(drop=True)
    bare = frames.drop_vars("reference_gain")
    wanted = (frames * (GAIN / 17.2)[:, None, None]).sel(module=modules)
    for found in (
        ops.match_gains(frames.sel(module=modules)),
        ops.match_gains(frames).sel(module=modules),
        ops.match_gains(bare.sel(module=modules), given),
        ops.match_gains(bare.sel(module=modules), reference=17.2),
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("chunks", [None, {"train": 2}])
def test_a_module_without_gain_is_no_reference(frames, chunks):
    frames["absolute_gain"][0] = np.nan
    frames = frames if chunks is None else frames.chunk(chunks)
    found = ops.match_gains(frames)
    assert np.isnan(found[:, :, 0]).all()
    np.testing.assert_allclose(found[:, :, 1], frames[:, :, 1], rtol=1e-6)
    np.testing.assert_allclose(found[:, :, 2], frames[:, :, 2] * 17.1 / 16.8, rtol=1e-6)


def test_matched_frames_are_the_same_photons(frames):
    frames = frames.assign_coords(reference_gain=17.0)
    matched = ops.match_gains(frames)
    np.testing.assert_allclose(matched.absolute_gain, 17.0)
    np.testing.assert_allclose(
        ops.adu_to_photons(matched), ops.adu_to_photons(frames), rtol=1e-6
    )
    np.testing.assert_allclose(ops.match_gains(matched), matched, rtol=1e-6)
    relative = xr.DataArray([1.0, 2.0, 3.0], {"module": [1, 4, 7]}, ("module",))
    with pytest.raises(MissingConstantError, match="pass gain="):
        ops.adu_to_photons(ops.match_gains(frames, relative))


def test_bad_references(frames):
    for bad in (0.0, np.nan, -3.0):
        with pytest.raises(MissingConstantError, match="reference must be positive"):
            ops.match_gains(frames, reference=bad)


@pytest.mark.parametrize("dims", [("fast_scan",), ("slow_scan", "fast_scan")])
def test_gains_per_pixel_are_refused_while_building(frames, dims):
    shape = tuple(frames.sizes[d] for d in dims)
    gain = xr.DataArray(np.full(shape, 17.0), dims=dims)
    with pytest.raises(ValueError, match="not along"):
        ops.adu_to_photons(frames, gain=gain)
    with pytest.raises(ValueError, match="not along"):
        ops.match_gains(frames.assign_coords(absolute_gain=gain))


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize("chunks", [None, {"train": 2}])
def test_what_is_not_available_is_nan(frames, dtype, chunks, no_compute):
    available = np.random.default_rng(1).random((5, 3)) < 0.7
    whole = frames.fillna(0).clip(0).astype(dtype)
    whole = whole.assign_coords(available=(("train", "module"), available))
    whole = whole if chunks is None else whole.chunk(chunks)
    with no_compute():
        photons, matched = ops.adu_to_photons(whole), ops.match_gains(whole)
    expected = np.where(available[:, None, :, None, None], slowly(whole), np.nan)
    np.testing.assert_allclose(photons, expected, rtol=1e-6)
    missing = np.isnan(matched).all(("pulse", "slow_scan", "fast_scan"))
    np.testing.assert_array_equal(missing, ~available)
    one = whole[0, 0, 0]
    assert np.isnan(ops.adu_to_photons(one)).all() == (not available[0, 0])


def test_no_frames_at_all(frames):
    none = frames[:0].assign_coords(
        available=(("train", "module"), np.zeros((0, 3), bool))
    )
    assert ops.adu_to_photons(none).compute().shape == none.shape
    assert ops.match_gains(none).compute().shape == none.shape
