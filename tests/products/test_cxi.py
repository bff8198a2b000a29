import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

from xfelred.errors import GeometryMismatchError
from xfelred.products import write

DETECTOR = "entry_1/instrument_1/detector_1"
PLACES = [0, 3, 7]  # of the modules of `frames`


def present(dataset):
    """The modules that the frames have, of all modules in the file."""
    return np.take(dataset[()], PLACES, axis=-3)


def test_frames_are_a_list_of_images_with_ids(frames, tmp_path):
    with h5py.File(write(frames, tmp_path / "a.cxi")) as file:
        assert file["cxi_version"][()] == 150
        detector = file[DETECTOR]
        expected = frames.values.reshape(28, 3, 8, 5)
        np.testing.assert_array_equal(present(detector["data"]), expected)
        assert detector["data"].attrs["axes"] == (
            "experiment_identifier:module_identifier:y:x"
        )
        np.testing.assert_array_equal(present(detector["mask"]), frames.bad_pixels)
        assert detector["module_identifier"][()].tolist() == list(range(8))
        trains = np.repeat(frames.train.values, 4)
        np.testing.assert_array_equal(file["entry_1/trainId"], trains)
        assert file["entry_1/trainId"].dtype == np.dtype("uint64")
        np.testing.assert_array_equal(
            file["entry_1/pulseId"], np.tile(frames.pulse.values, 7)
        )
        np.testing.assert_array_equal(
            file["entry_1/cellId"], np.tile(frames.cell.values, 7)
        )
        names = file["entry_1/experiment_identifier"].asstr()[()]
        assert names[1] == f"{2**63}:4"
        assert detector["experiment_identifier"][0] == names[0].encode()
        assert file["entry_1/data_1"] == detector


def test_flat_layout_gives_the_same_file(frames, tmp_path):
    flat = xr.DataArray(
        frames.data.reshape(28, 3, 8, 5),
        dims=("frame", "module", "slow_scan", "fast_scan"),
        coords={
            "train": ("frame", np.repeat(frames.train.values, 4)),
            "pulse": ("frame", np.tile(frames.pulse.values, 7)),
            "module": frames.module,
        },
        name="frames",
    )
    with (
        h5py.File(write(frames, tmp_path / "a.cxi")) as one,
        h5py.File(write(flat, tmp_path / "b.cxi")) as two,
    ):
        for name in (f"{DETECTOR}/data", "entry_1/trainId", "entry_1/pulseId"):
            np.testing.assert_array_equal(one[name], two[name])


def test_padding_of_ragged_trains_is_left_out(frames, tmp_path):
    recorded = np.ones((7, 4), bool)
    recorded[1, 2:] = False
    frames = frames.assign_coords(recorded=(("train", "pulse"), recorded))
    with h5py.File(write(frames, tmp_path / "a.cxi")) as file:
        expected = frames.values.reshape(28, 3, 8, 5)[recorded.ravel()]
        np.testing.assert_array_equal(present(file[f"{DETECTOR}/data"]), expected)
        assert file["entry_1/trainId"].shape == (26,)
        assert file["entry_1/experiment_identifier"].shape == (26,)


def test_bad_pixels_of_every_frame_become_a_mask_of_every_frame(frames, tmp_path):
    bad = dask.array.from_array(np.random.default_rng(0).random(frames.shape) > 0.5)
    frames = frames.assign_coords(bad_pixels=(frames.dims, bad))
    with h5py.File(write(frames, tmp_path / "a.cxi")) as file:
        mask = file[f"{DETECTOR}/mask"]
        expected = bad.compute().reshape(28, 3, 8, 5)
        np.testing.assert_array_equal(present(mask), expected)
        assert mask.dtype == np.dtype("uint32")


def test_no_frame_is_an_empty_list(frames, tmp_path):
    with h5py.File(write(frames[:0], tmp_path / "a.cxi")) as file:
        assert file[f"{DETECTOR}/data"].shape == (0, 8, 8, 5)


def test_what_is_not_a_list_of_frames_is_refused(frames, dataset, tmp_path):
    with pytest.raises(ValueError, match=r"one variable on module.*got none"):
        write(frames.isel(module=0), tmp_path / "a.cxi")
    with pytest.raises(ValueError, match="got mean, std"):
        write(xr.Dataset({"mean": frames, "std": frames}), tmp_path / "a.cxi")
    with pytest.raises(ValueError, match="has the axis 'gain' too"):
        write(frames.expand_dims(gain=3), tmp_path / "a.cxi")
    with h5py.File(write(dataset, tmp_path / "a.cxi")) as file:
        assert file[f"{DETECTOR}/data"].shape == (28, 8, 8, 5)


# Absent modules keep their place.


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i4"])
@pytest.mark.parametrize("masked", [False, True])
def test_absent_modules_are_filled_and_masked(masked, dtype, frames, tmp_path):
    frames = frames.fillna(1).astype(dtype).drop_vars("available")
    frames.attrs |= {"n_modules": 10, "first_module": 0}
    if not masked:
        frames = frames.drop_vars("bad_pixels")
    with h5py.File(write(frames.isel(module=[1, 2]), tmp_path / "a.cxi")) as file:
        data, mask = file[f"{DETECTOR}/data"][()], file[f"{DETECTOR}/mask"][()]
    assert data.shape == (28, 10, 8, 5)
    gone = [m for m in range(10) if m not in (3, 7)]
    nothing = np.nan if np.dtype(dtype).kind == "f" else 0
    np.testing.assert_array_equal(data[:, gone], nothing)
    assert (mask[..., gone, :, :] == 2**32 - 1).all()
    np.testing.assert_array_equal(data[:, 7], frames[:, :, 2].values.reshape(28, 8, 5))
    assert (mask[..., 7, :, :] == (frames.bad_pixels[2] if masked else 0)).all()


def test_whole_numbers_that_were_not_recorded_are_masked(frames, tmp_path):
    frames = frames.fillna(0).astype("i2")
    with h5py.File(write(frames, tmp_path / "a.cxi")) as file:
        mask = file[f"{DETECTOR}/mask"]
        got = present(mask).reshape(7, 4, 3, 8, 5)
        np.testing.assert_array_equal(got[2, :, 1], 2**32 - 1)
        np.testing.assert_array_equal(got[0, 2], frames.bad_pixels)


@pytest.mark.parametrize(
    ("numbers", "attrs", "want"),
    [
        ([0, 1, 2], {}, [0, 1, 2]), ([1, 2, 3], {}, [1, 2, 3]),
        ([2, 0, 1], {}, [0, 1, 2]), ([1, 4, 2], {}, [0, 1, 2, 3, 4]),
        ([2, 3, 4], {"n_modules": 6, "first_module": 1}, [1, 2, 3, 4, 5, 6]),
    ],
)  # fmt: skip
def test_places_follow_from_the_numbers_of_modules(
    numbers, attrs, want, frames, tmp_path
):
    frames = frames.assign_coords(module=numbers)
    frames.attrs |= attrs
    with h5py.File(write(frames, tmp_path / "a.cxi")) as file:
        assert file[f"{DETECTOR}/module_identifier"][()].tolist() == want
        for i, number in enumerate(numbers):
            np.testing.assert_array_equal(
                file[f"{DETECTOR}/data"][:, want.index(number)],
                frames[:, :, i].values.reshape(28, 8, 5),
            )


@pytest.mark.parametrize(
    ("numbers", "attrs"),
    [([0, 1, 1], {}), ([-1, 0, 1], {}), ([0, 3, 7], {"n_modules": 4})],
)
def test_modules_without_a_place_are_refused(numbers, attrs, frames, tmp_path):
    frames = frames.assign_coords(module=numbers)
    frames.attrs |= attrs
    with pytest.raises(GeometryMismatchError, match=r"module=\[\.\.\.\]"):
        write(frames, tmp_path / "a.cxi")
