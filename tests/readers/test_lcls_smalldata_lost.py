"""Images that the writer had not, in files that have no damage of the detector."""

import pickle
import warnings

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred import ops
from xfelred.errors import SelectionEmptyError
from xfelred.readers.lcls_smalldata import lost

pytestmark = pytest.mark.slow

N = 12
GONE = np.array([0, 4, 5, 11])
KEPT = np.setdiff1d(np.arange(N), GONE)
# What is left of -99999 in each type, counted by hand: 2**16 - 99999 % 2**16 and so on.
CODES = {
    "i1": 97, "u1": 97, "i2": 31073, "u2": 31073, "i4": -99999, "u4": 4294867297,
    "i8": -99999, "u8": 18446744073709451617, "f4": np.nan, "f8": np.nan,
}  # fmt: skip
SHAPE = (2, 6, 8)


def images(dtype):
    rng = np.random.default_rng(3)
    return rng.integers(0, 90, (N, *SHAPE)).astype(dtype)


@pytest.fixture
def opened(tmp_path):
    """Write a file without damage and open it."""

    def write(frames, stream="", damage=None, **storage):
        path = tmp_path / f"rixtest01_Run{len(list(tmp_path.iterdir())):04d}.h5"
        with h5py.File(path, "w") as file:
            ids = ((1_000_000_000 << 32) + np.arange(N)).astype("u8")
            file["timestamp"] = ids
            file["lightStatus/xray"] = np.ones(N, "i4")
            if stream:
                file["intg/timestamp"] = ids
            if damage is not None:
                file["damage/det"] = damage
            file.create_dataset(f"{stream}det/calib", data=frames, **storage)
        return xf.open_run(path)

    return write


def with_lost(dtype, code):
    frames = images(dtype)
    frames[GONE] = code
    return frames


@pytest.mark.parametrize(
    "storage", [{}, {"chunks": (1, *SHAPE)}, {"chunks": (5, 1, 6, 4), "compression": 1}]
)
@pytest.mark.parametrize(("dtype", "code"), [*CODES.items(), ("f4", -99999.0)])
def test_images_of_the_code_are_no_frames(opened, dtype, code, storage, no_compute):
    frames = with_lost(dtype, code)
    run = opened(frames, **storage)
    with pytest.warns(UserWarning, match=r"4 of 12 images of det/calib"), no_compute():
        da = run.frames("det")
    here = da.available.values.all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(here), KEPT)
    found = ops.statistics(da, ("train", "pulse"))
    np.testing.assert_allclose(found["mean"], frames[KEPT].astype(float).mean(0))
    np.testing.assert_array_equal(found["count"], len(KEPT))
    dropped = run.frames("det", missing="drop")
    np.testing.assert_array_equal(dropped[:, 0].values, frames[KEPT])


@pytest.mark.parametrize("dtype", [*CODES])
def test_a_real_image_has_one_other_pixel(opened, dtype):
    frames = with_lost(dtype, CODES[dtype])
    frames[GONE, 1, 3, 5] = 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert opened(frames).frames("det").available.values.all()


def test_images_with_masked_pixels_or_of_zeros_are_real(opened):
    frames = images("f4")
    for pixel in lost.probe_pixels(SHAPE):
        frames[(slice(None), *pixel)] = np.nan
    frames[:3, 1:] = np.nan
    frames[5] = 0
    assert opened(frames).frames("det").available.values.all()


def test_images_that_nobody_wrote_are_no_frames(tmp_path):
    path = tmp_path / "rixtest01_Run0001.h5"
    with h5py.File(path, "w") as file:
        file["timestamp"] = ((1_000_000_000 << 32) + np.arange(N)).astype("u8")
        shape = (N, *SHAPE)
        frames = file.create_dataset("det/calib", shape, "u2", chunks=(1, *SHAPE))
        for i in KEPT:
            frames[i] = images("u2")[i]
    with pytest.warns(UserWarning, match="4 of 12"):
        here = xf.open_run(path).frames("det").available.values.all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(here), KEPT)


def test_a_fill_value_of_its_own_is_a_code(opened):
    run = opened(with_lost("i2", -7), fillvalue=-7)
    with pytest.warns(UserWarning, match="4 of 12"):
        assert run.frames("det").available.values.sum() == 2 * len(KEPT)


@pytest.mark.parametrize("at_once", [2, 3])
def test_many_images_are_looked_at_by_several_threads(opened, monkeypatch, at_once):
    monkeypatch.setattr(lost, "AT_ONCE", at_once)
    with pytest.warns(UserWarning, match="4 of 12"):
        da = opened(with_lost("u2", CODES["u2"])).frames("det")
    assert np.flatnonzero(da.available[:, 0]).tolist() == KEPT.tolist()


def test_it_is_said_once_and_goes_with_selections(opened):
    run = opened(with_lost("i4", -99999))
    with pytest.warns(UserWarning, match="4 of 12"):
        run.frames("det")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.frames("det")
        part = pickle.loads(pickle.dumps(run.select_trains(np.s_[3:7])))
        here = part.frames("det").available.values.all(axis=1)
    np.testing.assert_array_equal(here, [True, False, False, True])
    with pytest.raises(SelectionEmptyError):
        run.select_trains(np.s_[4:6]).frames("det", missing="drop")


def test_slow_detectors_lose_images_too(opened):
    run = opened(with_lost("i4", -99999), stream="intg/")
    with pytest.warns(UserWarning, match="4 of 12 images of intg/det/calib"):
        da = run.frames("intg/det")
    assert int(da.available.all("module").sum()) == len(KEPT)


def test_a_cube_leaves_lost_images_out(opened):
    run = opened(with_lost("i4", -99999))
    recipe = {"schema_version": 1, "kind": "cube", "detectors": {"det": {}}}
    with pytest.warns(UserWarning, match="4 of 12"):
        cube = xf.make_cube(run, recipe)
    assert (cube.n_shots, cube.det_shots) == (N, len(KEPT))
    mean = images("i4")[KEPT].mean(0)
    np.testing.assert_allclose(cube.det_mean[0], mean)


def test_what_is_packed_and_large_is_looked_at_by_its_size(opened, monkeypatch):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 60000, (N, 1, 128, 128)).astype("u2")
    frames[GONE] = CODES["u2"]
    monkeypatch.setattr(lost, "QUICK", 5 * 2 * 128 * 128)
    run = opened(frames, chunks=(1, 1, 128, 128), compression="gzip")
    with pytest.warns(UserWarning, match="4 of 12"):
        assert int(run.frames("det").available.sum()) == len(KEPT)
    run = opened(frames, chunks=(2, 1, 128, 128), compression="gzip")
    with pytest.warns(UserWarning, match="was not looked at"):
        assert run.frames("det").available.values.all()


@pytest.mark.parametrize(
    ("dtype", "shape", "missing"),
    [
        ("i4", (), True), ("u4", (), True), ("u8", (3,), True), ("i2", (), False),
        ("u1", (4,), False), ("u2", (40,), True), ("u1", (288,), True),
    ],
)  # fmt: skip
def test_codes_in_scalars_of_any_integer(tmp_path, dtype, shape, missing):
    path = tmp_path / "rixtest01_Run0001.h5"
    values = np.arange(N).reshape(N, *[1] * len(shape)) + np.zeros(shape)
    values = values.astype(dtype)
    values[GONE] = CODES[dtype]
    with h5py.File(path, "w") as file:
        file["timestamp"] = ((1_000_000_000 << 32) + np.arange(N)).astype("u8")
        file["a/b"] = values
    got = xf.open_run(path).scalars("a/b")["a/b"].values
    if not missing:
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, values)
        return
    assert np.isnan(got[GONE]).all()
    np.testing.assert_array_equal(got[KEPT], values[KEPT])


def test_damage_that_does_not_tell_all_is_completed(opened):
    damage = np.ones(N, "i4")
    damage[GONE[:2]], damage[1] = 0, -99999
    run = opened(with_lost("i4", -99999), damage=damage)
    with pytest.warns(UserWarning, match="2 of 9 images"):
        here = run.frames("det").available.values.all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(here), np.setdiff1d(KEPT, [1]))


def test_where_damage_tells_nothing_is_said_of_what_is_not_looked_at(
    opened, monkeypatch
):
    monkeypatch.setattr(lost, "QUICK", 0)
    frames = with_lost("u2", CODES["u2"])
    run = opened(frames, damage=np.ones(N, int), chunks=(2, *SHAPE), compression="gzip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run.frames("det").available.values.all()
