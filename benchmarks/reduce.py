"""Is a lazy reduction faster than a plain h5py loop, in constant memory?

    python benchmarks/reduce.py

A corrected AGIPD-1M run (16 modules, 640 frames, 2.7 GB float32), warm cache, and a
quarter of it stored with shuffle + gzip. The baseline reads one train of one module
after the other with h5py and adds up what is asked in float64 with numpy, in one
thread; the floor reads the same bytes with preadv into a small buffer.
"""

import dask
import h5py
import numpy as np
from common import (
    corrected_run,
    machine,
    median_times,
    peak_memory,
    read_bytes,
    read_once,
    table,
)

import xfelred as xf
from xfelred import ops

TRAINS, PULSES = 80, 8
KEY = "INSTRUMENT/SPB_DET_AGIPD1M-1/CORR/{}CH0:output/image/data"
TOTAL, PER_PULSE = ("train", "pulse"), ("train",)

MEMORY = """
import sys, dask, xfelred as xf
from xfelred import ops
frames = xf.open_run(sys.argv[1]).frames(bad_pixels=None)
dims = sys.argv[2].split("+")
with dask.config.set(scheduler="threads", num_workers=2):
    ops.statistics(frames, dim=dims).compute()
"""


def trains(path):
    """Yield (module, data of one train) as a plain loop reads them."""
    for module, file in enumerate(sorted(path.glob("*.h5"))):
        with h5py.File(file, "r") as f:
            data = f[KEY.format(module)]
            for first in range(0, len(data), PULSES):
                yield module, data[first : first + PULSES]


def mean_loop(path, dims):
    """Add up values, without a look at NaN: the least that a mean can do."""
    shape = (16, PULSES, 512, 128) if dims == PER_PULSE else (16, 512, 128)
    total = np.zeros(shape)
    for module, x in trains(path):
        if dims == PER_PULSE:
            total[module] += x
        else:
            total[module] += x.sum(axis=0, dtype=np.float64)
    return total


def full_loop(path, dims):
    """Add up value, square and count without NaN."""
    shape = (16, PULSES, 512, 128) if dims == PER_PULSE else (16, 512, 128)
    total, square, count = (np.zeros(shape) for _ in range(3))
    for module, x in trains(path):
        good = ~np.isnan(x)
        x = np.where(good, x, 0).astype(np.float64)
        parts = (x, x * x, good)
        if dims == TOTAL:
            parts = (p.sum(axis=0) for p in parts)
        for sums, part in zip((total, square, count), parts, strict=True):
            sums[module] += part
    mean = total / count
    return mean, np.sqrt(np.maximum(square / count - mean**2, 0)), count


def computed(array, n_threads):
    """Return a function that computes with some threads."""

    def run():
        with dask.config.set(scheduler="threads", num_workers=n_threads):
            return array.compute()

    return run


def variants(path, dims):
    """Return what to time for one kind of reduction."""
    frames = xf.open_run(path).frames(bad_pixels=None)
    full = ops.statistics(frames, dim=dims)
    mean = full["mean"]
    expected = mean_loop(path, dims)
    got = computed(mean, 2)().values
    n = frames.sizes["train"] * (PULSES if dims == TOTAL else 1)
    wanted = np.moveaxis(expected, 0, -3) / n
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    return {
        "h5py loop: mean (baseline)": lambda: mean_loop(path, dims),
        "preadv, 1 thread": lambda: read_bytes(path, 1),
        "preadv, 2 threads": lambda: read_bytes(path, 2),
        "mean, 1 thread": computed(mean, 1),
        "mean, 2 threads": computed(mean, 2),
        "frames.mean(...), 2 threads": computed(frames.mean(dims), 2),
        "h5py loop: mean, std, count": lambda: full_loop(path, dims),
        "mean, std, count, 1 thread": computed(full, 1),
        "mean, std, count, 2 threads": computed(full, 2),
    }


def main():
    machine()
    path = corrected_run(TRAINS, PULSES)
    packed = corrected_run(TRAINS // 4, PULSES, "packed", "shuffle+gzip")
    for title, run in (("2.7 GB", path), ("shuffle + gzip, 0.67 GB", packed)):
        read_once(run)
        for dims in (TOTAL, PER_PULSE):
            print(f"\n{title}, over {dims}")
            table(median_times(variants(run, dims), 3), "h5py loop: mean (baseline)")
    print()
    for dims in ("train+pulse", "train"):
        peaks = [
            peak_memory(MEMORY, corrected_run(n * TRAINS, PULSES), dims)
            for n in (1, 2, 4)
        ]
        print(
            f"peak memory, {dims}, runs of 1x, 2x, 4x: "
            + ", ".join(f"{p:.0f} MB" for p in peaks)
        )


if __name__ == "__main__":
    main()
