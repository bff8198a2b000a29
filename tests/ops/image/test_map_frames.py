"""ops.map_frames: functions of users on frames."""

import dask
import numpy as np
import pytest
import xarray as xr
from memory_files import DIMS, READ, frames_in_memory, without_recipe

from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError

GAIN = xr.DataArray(np.linspace(1, 2, 7), {"train": np.arange(100, 107)}, ["train"])
DARK = xr.DataArray(np.arange(72.0).reshape(3, 4, 6), dims=DIMS[2:])


def corrected(frame, dark, gain, power=1):
    assert frame.shape == dark.shape == (3, 4, 6)
    assert np.ndim(gain) == 0
    return (frame - dark) * gain**power


def profile(frames):
    return frames.sum((1, 2))


@pytest.mark.parametrize("kind", ["recipe", "dask", "memory"])
@pytest.mark.parametrize("chunks", [(3, 5, 3, 4, 6), (1, 2, 1, 3, 5)])
def test_every_frame_with_what_belongs_to_it(kind, chunks):
    frames = frames_in_memory(chunks)
    full = frames.compute()
    made = {"recipe": frames, "dask": without_recipe(frames), "memory": full}[kind]
    # Companions are found by labels, not by position.
    gain = GAIN.isel(train=slice(None, None, -1))
    got = ops.map_frames(made, corrected, DARK, gain, dtype="f8", options={"power": 2})
    want = (full - DARK) * GAIN**2
    assert got.dims == frames.dims
    np.testing.assert_array_equal(got.values, want.values)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_batches_and_other_axes(batch):
    frames = frames_in_memory()
    got = ops.map_frames(
        frames, profile, dims=("module", "slow_scan", "fast_scan"),
        out_dims={"column": 6}, batch=batch, dtype="f8",
    )  # fmt: skip
    want = frames.compute().values.sum((2, 3))
    assert got.dims == ("train", "pulse", "column")
    np.testing.assert_allclose(got.values, want, rtol=1e-6)


def test_it_streams_and_a_selection_reaches_the_reader(no_compute):
    frames = frames_in_memory()
    with no_compute():
        got = ops.map_frames(frames - 1, np.sort, dims=("fast_scan",))
        mean = got.mean("train")
    READ.clear()
    got.isel(train=[2], module=1).compute()
    assert sum(READ) == frames.nbytes // 21
    READ.clear()
    want = np.sort(frames.compute().values - 1, axis=-1).mean(0, dtype="f8")
    READ.clear()
    np.testing.assert_allclose(mean.values, want, rtol=1e-6)
    assert sum(READ) == frames.nbytes


def test_equal_calls_have_equal_names_on_workers_and_threads():
    frames = frames_in_memory()
    one, two = (ops.map_frames(frames, np.sort, dims=("fast_scan",)) for _ in "ab")
    assert one.data.name == two.data.name
    with dask.config.set(scheduler="sync"):
        want = one.values
    with dask.config.set(scheduler="threads", num_workers=3):
        np.testing.assert_array_equal(two.values, want)


def test_frames_cannot_be_changed():
    def spoil(frame):
        frame[0] = 0

    with pytest.raises(ValueError, match="read-only"):
        ops.map_frames(frames_in_memory(), spoil).compute()


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"dims": ("slow_scam",)}, ArgumentError, "Did you mean 'slow_scan'"),
        ({"batch": 0}, ArgumentError, "at least one frame"),
        ({"out_dims": {"train": 2}}, ArgumentError, "give it another name"),
        ({"func": 3}, TypeError, "func"),
    ],
)
def test_wrong_arguments(options, error, text):
    with pytest.raises(error, match=text):
        ops.map_frames(frames_in_memory(), **{"func": np.sort, **options})


def test_a_result_of_another_shape_says_what_to_give():
    with pytest.raises(ValueError, match="out_dims="):
        ops.map_frames(frames_in_memory(), np.sum).compute()
    with pytest.raises(GeometryMismatchError):
        ops.map_frames(frames_in_memory(), corrected, DARK.isel(slow_scan=[0]), GAIN)
