"""Frames of one image per shot: plans, selections that reach the file, reductions."""

import pickle
import tracemalloc

import h5py
import numpy as np
import pytest

from xfelred import ops
from xfelred.errors import InconsistentDataError, SelectionEmptyError
from xfelred.hdf5.rows import read_rows
from xfelred.lazy.array import PlannedArray
from xfelred.readers import shot_frames as module
from xfelred.readers.frames import FrameTexts
from xfelred.readers.request import FramesRequest
from xfelred.readers.shot_frames import ShotImages, shot_frames

N = 20
IDS = np.arange(N, dtype=np.uint64) * np.uint64(7) + np.uint64(2**62)
TEXTS = FrameTexts("lcls", "run", "fingerprint")
GONE = 5
ASKED = []


def counted_rows(path, dataset, rows, entry, out):
    """Read rows and remember how many bytes were asked for."""
    ASKED.append(out.nbytes)
    read_rows(path, dataset, rows, entry, out)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A file with stacks of 3 modules and with single images."""
    path = str(tmp_path_factory.mktemp("shots") / "images.h5")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, 3, 8, 12)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "stack", data=values, chunks=(1, 3, 8, 12), compression="gzip"
        )
        file["plain"] = values
        file["single"] = values[:, 1]
    return path, values, rng.permutation(N)


def images(stored, name="stack", **changes):
    path, _, row = stored
    target = np.zeros(N, np.int32)
    target[GONE] = -1
    single = name == "single"
    fields = {
        "name": "det",
        "ids": IDS,
        "targets": ((path, name),),
        "target": target,
        "row": row,
        "shape": (8, 12) if single else (3, 8, 12),
        "dtype": np.dtype(np.float32),
        "modules": (4,) if single else (0, 2, 5),
        "token": "token",
        "chunk": (1, 3, 8, 12) if name == "stack" else (),
    }
    return ShotImages(**{**fields, **changes})


def request(**changes):
    fields = {
        "key": "calib", "pulses": np.s_[:], "layout": "train", "modules": None,
        "roi": (), "fill_value": None, "astype": None, "bad_pixels": "apply",
        "chunk_size": "16kB", "missing": "fill",
    }  # fmt: skip
    return FramesRequest(**{**fields, **changes})


def expected(stored, name="stack"):
    _, values, row = stored
    out = values[row].copy()
    out[GONE] = np.nan
    return (out if name != "single" else out[:, 1:2])[:, None]


@pytest.mark.parametrize("name", ["stack", "plain", "single"])
def test_rows_go_to_their_shots(stored, name, no_compute):
    with no_compute():
        array = shot_frames(images(stored, name), request(), TEXTS)
    assert array.dims == ("train", "pulse", "module", "slow_scan", "fast_scan")
    assert isinstance(array.data, PlannedArray)
    assert array.train.dtype == np.uint64
    np.testing.assert_array_equal(array.train, IDS)
    np.testing.assert_array_equal(array, expected(stored, name))
    assert array.available.values.sum() == (N - 1) * array.sizes["module"]
    assert array.n_pulses.values[GONE] == 0
    for coordinate in array.coords.values():
        assert coordinate.attrs["units"]
        assert coordinate.attrs["long_name"]


@pytest.mark.parametrize("name", ["stack", "single"])
def test_flat_layout_leaves_out_shots_without_image(stored, name):
    array = shot_frames(images(stored, name), request(layout="frame"), TEXTS)
    assert array.dims == ("frame", "module", "slow_scan", "fast_scan")
    dense = expected(stored, name)
    np.testing.assert_array_equal(array, np.delete(dense[:, 0], GONE, axis=0))
    np.testing.assert_array_equal(array.train, np.delete(IDS, GONE))


def test_modules_and_roi_are_read_alone(stored):
    ASKED.clear()
    part = images(stored, "plain", reader=counted_rows)
    roi = np.s_[2:6, 1:9:2]
    array = shot_frames(part, request(modules=[0, 5], roi=roi), TEXTS)
    assert array.module.values.tolist() == [0, 5]
    assert array.slow_scan.values.tolist() == [2, 3, 4, 5]
    np.testing.assert_array_equal(
        array, expected(stored)[:, :, [0, 2], 2:6, 1:9:2]
    )  # fmt: skip
    assert sum(ASKED) == N * 2 * 4 * 4 * 4


def test_selections_behind_frames_reach_the_file(stored):
    ASKED.clear()
    array = shot_frames(images(stored, "plain", reader=counted_rows), request(), TEXTS)
    part = array.sel(module=2, train=IDS[[3, 8]])[..., 1:3, :]
    np.testing.assert_array_equal(part, expected(stored)[[3, 8], :, 1, 1:3])
    assert sum(ASKED) == 2 * 2 * 12 * 4


def test_every_frame_is_read_once_by_a_mean(stored):
    ASKED.clear()
    part = images(stored, "stack", reader=counted_rows)
    array = shot_frames(part, request(), TEXTS)
    mean = ops.statistics(array)["mean"].values
    there = np.delete(expected(stored), GONE, axis=0).astype(np.float64)
    np.testing.assert_allclose(mean, there.mean(axis=0), rtol=1e-6, atol=1e-7)
    assert sum(ASKED) == N * 3 * 8 * 12 * 4  # one buffer, of which one row is filled


@pytest.mark.parametrize("size", [1152, 3456, 10**9])
def test_any_chunks_give_the_same(stored, size):
    array = shot_frames(images(stored), request(chunk_size=size), TEXTS)
    np.testing.assert_array_equal(array, expected(stored))
    flat = shot_frames(images(stored), request(chunk_size=size, layout="frame"), TEXTS)
    assert flat.shape[0] == N - 1
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(flat)), flat)


def test_bad_pixels(stored):
    bad = np.zeros((3, 8, 12), bool)
    bad[1, 2, 3] = True
    dense = expected(stored)
    whole = images(stored, bad=bad)
    kept = shot_frames(whole, request(bad_pixels="keep"), TEXTS)
    np.testing.assert_array_equal(kept, dense)
    np.testing.assert_array_equal(kept.bad_pixels, bad)
    dense[:, :, bad] = np.nan
    applied = shot_frames(whole, request(), TEXTS)
    np.testing.assert_array_equal(applied, dense)
    part = shot_frames(whole, request(modules=2, roi=np.s_[1:4, 3]), TEXTS)
    np.testing.assert_array_equal(part, dense[:, :, [1], 1:4, 3:4])
    alone = shot_frames(whole, request(bad_pixels=None), TEXTS)
    assert "bad_pixels" not in alone.coords
    assert np.isfinite(alone.values[0]).all()


def test_integers_keep_their_bits(stored, tmp_path):
    path = str(tmp_path / "raw.h5")
    values = np.arange(N * 6, dtype=np.uint16).reshape(N, 2, 3)
    with h5py.File(path, "w") as file:
        file["raw"] = values
    part = images(
        stored, targets=((path, "raw"),), row=np.arange(N), shape=(2, 3),
        dtype=np.dtype(np.uint16), modules=(0,), chunk=(), bad=np.ones((1, 2, 3), bool),
    )  # fmt: skip
    array = shot_frames(part, request(fill_value=0), TEXTS)
    assert array.dtype == np.uint16
    values[GONE] = 0
    np.testing.assert_array_equal(array.values[:, 0, 0], values)
    other = shot_frames(part, request(fill_value=9, astype="int32"), TEXTS)
    assert other.dtype == np.int32
    assert (other.values[GONE] == 9).all()


def test_what_is_missing(stored):
    with pytest.raises(InconsistentDataError, match="1 of 20 shots"):
        shot_frames(images(stored), request(missing="raise"), TEXTS)
    dropped = shot_frames(images(stored), request(missing="drop"), TEXTS)
    assert dropped.sizes["train"] == N - 1
    nothing = images(stored, target=np.full(N, -1, np.int32))
    with pytest.raises(SelectionEmptyError, match="none of 20 shots"):
        shot_frames(nothing, request(missing="drop"), TEXTS)
    assert np.isnan(shot_frames(nothing, request(), TEXTS).values).all()
    with pytest.raises(SelectionEmptyError, match="no module \\[1\\]"):
        shot_frames(images(stored), request(modules=[1, 2]), TEXTS)
    with pytest.raises(TypeError, match="module numbers"):
        shot_frames(images(stored), request(modules=["a"]), TEXTS)


def test_empty_selections(stored):
    assert shot_frames(images(stored), request(modules=[]), TEXTS).compute().size == 0
    array = shot_frames(images(stored), request(pulses=[1]), TEXTS)
    assert array.sizes["pulse"] == 0
    none = images(stored).of(slice(0, 0))
    assert shot_frames(none, request(), TEXTS).compute().shape == (0, 1, 3, 8, 12)


def test_several_files(stored, tmp_path):
    """Each shot has a dataset and a row of its own."""
    first, values, _ = stored
    second = str(tmp_path / "more.h5")
    with h5py.File(second, "w") as file:
        file["other"] = -values
    target = (np.arange(N) % 2).astype(np.int32)
    row = np.arange(N)[::-1].copy()
    targets = ((first, "plain"), (second, "other"))
    part = images(stored, "plain", targets=targets, target=target, row=row)
    array = shot_frames(part, request(), TEXTS)
    sign = np.where(target, -1, 1)[:, None, None, None]
    np.testing.assert_array_equal(array[:, 0], sign * values[::-1])


def test_planning_a_million_shots_is_cheap():
    n = 1_000_000
    part = ShotImages(
        "det", np.arange(n, dtype=np.uint64), (("nowhere.h5", "calib"),),
        np.zeros(n, np.int32), np.arange(n), (2, 512, 1024), np.dtype(np.float32),
        (0, 1), "token",
    )  # fmt: skip
    tracemalloc.start()
    array = shot_frames(part, request(chunk_size="128MiB"), TEXTS)
    lean = array.sel(module=1)[:, 0].drop_vars(["train", "available", "n_pulses"])
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()
    assert lean.shape == (n, 512, 1024)
    assert array.dims[-3:] == module.PIXEL_DIMS
