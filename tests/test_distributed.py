"""Worker processes give the same bytes as threads."""

import dask
import distributed
import numpy as np
import pytest

import xfelred as xf
from xfelred import open_run, ops

ALL = ("mean", "std", "var", "sem", "count", "sum", "min", "max")
DIMS = [("train",), ("train", "pulse"), ("module",), ("slow_scan", "fast_scan")]

# `test_faults.py` always asks workers that know nothing of us for the same.
pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            processes=True, n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as made,
    ):
        yield made


def bytes_of(dataset):
    return {name: array.values.tobytes() for name, array in dataset.items()}


@pytest.mark.parametrize("dims", DIMS)
def test_statistics_have_the_same_bytes(dims, client, agipd_run):
    frames = open_run(agipd_run.directory).frames(chunk_size="1MiB")
    lazy = ops.statistics(frames, dims, which=ALL)
    with dask.config.set(scheduler="threads"):
        here = lazy.compute()
    there = client.compute(lazy).result()
    assert bytes_of(there) == bytes_of(here)


def test_frames_of_all_layouts_have_the_same_bytes(client, ragged_run):
    run = open_run(ragged_run.directory)
    lazy = run.frames(layout="frame", chunk_size="1MiB")
    with dask.config.set(scheduler="threads"):
        here = lazy.compute()
    assert client.compute(lazy).result().values.tobytes() == here.values.tobytes()


def test_dark_statistics_have_the_same_bytes(client, dssc_run):
    lazy = ops.dark_statistics(open_run(dssc_run.directory).frames(chunk_size="1MiB"))
    with dask.config.set(scheduler="threads"):
        here = lazy.compute()
    assert bytes_of(client.compute(lazy).result()) == bytes_of(here)


def test_a_worker_opens_the_files_of_pickled_frames(client, agipd_run):
    frames = open_run(agipd_run.directory).frames()
    with dask.config.set(scheduler="threads"):
        here = float(frames.isel(train=1).mean())

    def mean_of(array):
        return float(array.isel(train=1).mean().compute(scheduler="synchronous"))

    assert client.submit(mean_of, frames).result() == here


def brightest(frame):
    return frame.max()


def written(frames):
    """Return what people write with frames, of every kind of graph."""
    signal = np.sqrt((frames - 2).where(frames > 3))
    label = frames.train % 9
    bins = {"bin": xf.Bins(edges=np.arange(10) - 0.5, values=label)}
    apart = signal.copy(data=signal.data.map_blocks(np.positive)).chunk(train=1)
    return {
        "mean": signal.mean(("train", "pulse")),
        "some": signal.isel(train=[1, 3], module=0),
        "any": (signal > 2).any("pulse"),
        "own": ops.map_frames(signal, brightest, out_dims={}),
        # Blocks of dask that are added in turn.
        "binned": ops.bin_frames(apart.rename("f"), bins)["f_mean"],
    }


def test_arithmetic_has_the_same_bytes(client, agipd_run):
    lazy = written(open_run(agipd_run.directory).frames(chunk_size="1MiB"))
    for name, array in lazy.items():
        with dask.config.set(scheduler="threads"):
            here = array.compute()
        there = client.compute(array).result()
        assert there.values.tobytes() == here.values.tobytes(), name
