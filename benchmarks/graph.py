"""How long does the graph of a very long run take, and how large is it?

    python benchmarks/graph.py

1 000 000 trains x 352 pulses x 16 modules (1.5 PB float32), no files: the plan is made,
selected from and averaged symbolically. Then the tasks of the average are made, as a
scheduler gets them, and a run of 10 000 blocks is pickled.
"""

import pickle
import time
import tracemalloc

import dask
import numpy as np
import xarray as xr
from common import machine

from xfelred import ops
from xfelred.hdf5.rows import read_rows
from xfelred.lazy import ReadPlan, Source, one_each, planned

PULSES, MODULES, FILES = 352, 16, 400
DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")


def long_plan(n_trains):
    """Return the plan of a run with 400 files per module."""
    per_file = -(-n_trains // FILES)
    trains = np.arange(n_trains)
    target = np.empty((n_trains, MODULES), np.int16)
    first = np.empty((n_trains, MODULES), np.int32)
    for m in range(MODULES):
        target[:, m] = trains // per_file + m * FILES
        first[:, m] = trains % per_file * PULSES
    names = [
        (f"m{m}s{s}.h5", f"{m}/data") for m in range(MODULES) for s in range(FILES)
    ]
    return ReadPlan(
        read_rows=read_rows, targets=tuple(names), target=target, first=first,
        pattern=np.zeros(n_trains, np.int32), patterns=one_each(PULSES),
        slot_shape=(PULSES,), entry=(slice(0, 512, 1), slice(0, 128, 1)),
        entry_shape=(512, 128), n_inner=0, dtype=np.dtype("f4"),
        fill_value=np.float32(np.nan), flat=False, token="long", ids=trains,
    )  # fmt: skip


def lazy_frames(n_trains):
    """Return the frames of such a run in blocks of at most 128 MiB."""
    plan = long_plan(n_trains)
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    chunks |= {"train": (1,) * n_trains, "pulse": (32,) * 11}
    coords = {"train": np.arange(n_trains), "pulse": np.arange(PULSES)}
    return xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS, coords=coords)


def build(n_trains):
    """Return the frames and the mean of most of them over all trains."""
    frames = lazy_frames(n_trains)
    chosen = frames.isel(train=slice(5, None)).isel(pulse=slice(0, 200))
    return frames, chosen.mean("train")


def main():
    machine()
    start = time.perf_counter()
    frames, mean = build(1_000_000)
    built = time.perf_counter() - start
    blocks = frames.data.npartitions
    print(f"{frames.nbytes / 1e15:.2f} PB, {blocks / 1e6:.1f} million blocks")
    print(f"build, select_trains, mean('train')  {built:6.2f} s (target 5)")

    start = time.perf_counter()
    (small,) = dask.optimize(mean.data)
    made = time.perf_counter() - start
    size = len(pickle.dumps(small.dask))
    bytes_read = mean.nbytes * 2 * frames.sizes["train"] // 2
    print(
        f"tasks of the mean                    {made:6.2f} s, {len(small.dask)} tasks,"
        f" {len(small.dask) / (bytes_read / 1e12):.0f} per TB,"
        f" {size / blocks:.1f} bytes per block of the run"
    )
    del small, mean, frames

    tracemalloc.start()
    kept = build(1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"peak memory of building              {peak / 1e6:6.0f} MB (target 200)")
    del kept

    frames = lazy_frames(1000)
    n = frames.data.npartitions
    print(
        f"frames of {n} blocks, pickled:       "
        f" {len(pickle.dumps(frames.data.dask)) / n:6.1f} bytes per block (target 200)"
    )
    stats = ops.statistics(frames, dim=("train", "pulse"))
    (small,) = dask.optimize(stats)
    tasks = len(small["mean"].data.dask)
    size = len(pickle.dumps(small["mean"].data.dask))
    print(
        f"statistics of {frames.nbytes / 1e12:.2f} TB:              {tasks} tasks,"
        f" {tasks / (frames.nbytes / 1e12):.0f} per TB, {size / n:.0f} bytes per block"
    )


if __name__ == "__main__":
    main()
