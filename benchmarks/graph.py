"""How long does the graph of a very long run take?

    python benchmarks/graph.py

100 000 trains x 352 pulses x 16 modules (150 TB float32), no files: the plan is built,
selected from and reduced symbolically, and the tasks of the reduction are made.
"""

import time

import dask
import numpy as np
import xarray as xr
from common import machine

from xfelred import ops
from xfelred.lazy import ReadPlan, Source, one_each, planned
from xfelred.readers.hdf5 import read_rows

TRAINS, PULSES, MODULES, FILES = 100_000, 352, 16, 400


def long_plan():
    per_file = TRAINS // FILES
    trains = np.arange(TRAINS)
    target = (trains // per_file)[:, None] + np.arange(MODULES) * FILES
    first = np.tile(((trains % per_file) * PULSES)[:, None], (1, MODULES))
    names = [
        (f"m{m}s{s}.h5", f"{m}/data") for m in range(MODULES) for s in range(FILES)
    ]
    return ReadPlan(
        read_rows=read_rows, targets=tuple(names), target=target, first=first,
        pattern=np.zeros(TRAINS, int), patterns=one_each(PULSES), slot_shape=(PULSES,),
        entry=(slice(0, 512, 1), slice(0, 128, 1)), entry_shape=(512, 128), n_inner=0,
        dtype=np.dtype("f4"), fill_value=np.float32(np.nan), flat=False, token="long",
    )  # fmt: skip


def main():
    machine()
    dims = ("train", "pulse", "module", "slow_scan", "fast_scan")
    steps = {}
    start = time.perf_counter()
    plan = long_plan()
    steps["plan"] = time.perf_counter()
    chunks = {d: (n,) for d, n in zip(dims, plan.shape, strict=True)}
    chunks |= {"train": (1,) * TRAINS, "pulse": (32,) * 11}
    frames = xr.DataArray(
        planned(Source(plan, dims), chunks), dims=dims,
        coords={
            "train": np.arange(TRAINS), "pulse": np.arange(PULSES), "module": range(16)
        },
    )  # fmt: skip
    steps["lazy array"] = time.perf_counter()
    chosen = frames.sel(module=slice(2, 9), pulse=slice(0, 200)).isel(
        train=slice(5, 90_000)
    )
    steps["selection"] = time.perf_counter()
    result = ops.statistics(chosen, dim=("train",))
    whole = ops.statistics(frames, dim=("train", "pulse"))
    steps["two reductions"] = time.perf_counter()
    tasks = len(dask.optimize(whole)[0]["mean"].data.dask)
    steps["tasks of one reduction"] = time.perf_counter()
    previous = start
    for name, at in steps.items():
        print(f"{name:<26}{at - previous:8.3f} s")
        previous = at
    print(f"built, selected, reduced  {steps['two reductions'] - start:8.3f} s")
    print(
        f"{frames.nbytes / 1e12:.0f} TB, {frames.data.npartitions} blocks,"
        f" {tasks} tasks, result {dict(result.sizes)}"
    )


if __name__ == "__main__":
    main()
