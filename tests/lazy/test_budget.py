"""Graphs of very long runs stay small, whatever the length: counts, not times."""

import pickle
import tracemalloc

import dask
import numpy as np
import pytest
import xarray as xr
from memory_files import read_rows

from xfelred import ops
from xfelred.lazy import ReadPlan, Source, map_frames, one_each, planned

pytestmark = pytest.mark.slow

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
PULSES, MODULES, FILES = 352, 16, 50
TERABYTE = 1e12


def long_frames(n_trains, trains_per_file=None):
    """A run in blocks of 118 MB: 11 for each train."""
    per_file = trains_per_file or -(-n_trains // FILES)
    trains = np.arange(n_trains)
    n_files = trains[-1] // per_file + 1
    target = np.empty((n_trains, MODULES), np.int16)
    first = np.empty((n_trains, MODULES), np.int32)
    for m in range(MODULES):
        target[:, m] = trains // per_file + m * n_files
        first[:, m] = trains % per_file * PULSES
    plan = ReadPlan(
        read_rows=read_rows,
        targets=tuple(
            (f"/data/r0001/m{m}-s{s}.h5", "data")
            for m in range(MODULES)
            for s in range(n_files)
        ),
        target=target,
        first=first,
        pattern=np.zeros(n_trains, np.int32),
        patterns=one_each(PULSES),
        slot_shape=(PULSES,),
        entry=(slice(0, 512, 1), slice(0, 128, 1)),
        entry_shape=(512, 128),
        n_inner=0,
        dtype=np.dtype("f4"),
        fill_value=np.float32(np.nan),
        flat=False,
        token=f"long-{n_trains}-{per_file}",
        ids=trains + 10**9,
    )
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    chunks |= {"train": (1,) * n_trains, "pulse": (32,) * 11}
    return xr.DataArray(
        planned(Source(plan, DIMS), chunks), dims=DIMS, coords={"train": trains}
    )


def size_of(array):
    """What a client sends to a scheduler."""
    return len(pickle.dumps(array.data.dask))


def culled(array):
    (small,) = dask.optimize(array)
    return small.data.dask


def halved(x):
    return x / 2


def test_a_block_of_frames_is_less_than_200_bytes():
    frames = long_frames(800)
    corrected = map_frames(halved, frames)
    for array in (frames, corrected, frames.isel(train=slice(5, None), module=[1, 3])):
        assert array.data.npartitions >= 800
        assert size_of(array) < 200 * array.data.npartitions


@pytest.mark.parametrize(
    "dim",
    ["train", pytest.param(("train", "pulse"), marks=pytest.mark.nightly), DIMS[2:]],
)
def test_a_reduction_is_less_than_200_bytes_for_each_block_that_it_reads(dim):
    frames = long_frames(2000)
    result = ops.statistics(frames, dim=dim)["mean"]
    graph = culled(result)
    assert len(pickle.dumps(dict(graph))) < 200 * frames.data.npartitions


def test_there_are_few_tasks_for_each_terabyte():
    for n_trains in (400, 3000):
        frames = long_frames(n_trains)
        tasks = len(culled(frames.mean(("train", "pulse"))))
        # One for half a GB and one in 8 to combine; never more than 10 000.
        assert tasks < 3000 * frames.nbytes / TERABYTE
        assert tasks < 10_000


def test_the_plan_of_a_task_names_only_its_files():
    frames = long_frames(800, trains_per_file=1)
    graph = culled(frames.mean(("train", "pulse")))
    assert max(len(pickle.dumps(task)) for task in graph.values()) < 20_000


def test_a_long_run_takes_little_memory_to_reduce():
    def peak(n_trains):
        tracemalloc.start()
        kept = long_frames(n_trains).isel(train=slice(5, None)).mean("train")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        del kept
        return found

    peak(1000)
    # 200 MB for a million trains.
    assert peak(100_000) < 200e6 / 10 + 10e6
