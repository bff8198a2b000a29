"""What does plain xarray cost beside the mean of the frames themselves?

    python benchmarks/arithmetic.py

A corrected AGIPD-1M run (16 modules, 320 frames, 1.3 GB float32), warm cache, two
threads: means over train and pulse of what people write, in turn, and the peak memory
of a process that computes one of them; bins of ``frames * 2`` beside those of
``frames``; and bins of an ordinary dask array beside a loop of numpy.
"""

from pathlib import Path

import dask
import dask.array as da
import numpy as np
import xarray as xr
from common import corrected_run, machine, median_times, peak_memory, read_once, table

import xfelred as xf
from xfelred import ops

TRAINS, PULSES, N_BINS = 40, 8, 100
DIMS = ("train", "pulse")
WRITTEN = {
    "frames": lambda x, m: x,
    "frames - dark": lambda x, m: x - m["dark"],
    "frames - dark, float64": lambda x, m: x - m["dark"].astype("f8"),
    "((frames - dark) * gain).where(good)": lambda x, m: (
        (x - m["dark"]) * m["gain"]
    ).where(m["good"]),
    "frames.where(frames > 5)": lambda x, m: x.where(x > 5),
}
MEMORY = """
import sys
sys.path.append(sys.argv[3])
import arithmetic
arithmetic.computed(arithmetic.mean_of(sys.argv[1], sys.argv[2]))()
"""


def opened(path):
    """Return (frames, maps of their pixels)."""
    frames = xf.open_run(path).frames(bad_pixels=None)
    rng, shape = np.random.default_rng(0), frames.shape[2:]
    maps = {
        "dark": rng.normal(size=shape).astype("f4"),
        "gain": rng.normal(1, 0.1, shape).astype("f4"),
        "good": rng.random(shape) > 0.05,
    }
    return frames, {k: xr.DataArray(v, dims=frames.dims[2:]) for k, v in maps.items()}


def mean_of(path, name):
    return WRITTEN[name](*opened(path)).mean(DIMS)


def computed(array):
    def run():
        with dask.config.set(scheduler="threads", num_workers=2):
            return array.compute()

    return run


def by_bin(frames, label):
    """Return the sums and numbers of the frames in bins."""
    values = xr.DataArray(label, {"train": frames.train}, "train")
    bins = {"delay": xf.Bins(edges=np.arange(N_BINS + 1) - 0.5, values=values)}
    found = ops.bin_frames(frames.rename("f"), bins, quantities=("sum", "count"))
    return found[["f_sum", "f_count"]]


def loop(values, label):
    sums = np.zeros((N_BINS, *values.shape[1:]))
    for frame, k in zip(values, label, strict=True):
        sums[k] += frame
    return sums


def main():
    machine()
    path = corrected_run(TRAINS, PULSES)
    read_once(path)
    print("\nmean over train and pulse")
    means = {name: computed(mean_of(path, name)) for name in WRITTEN}
    table(median_times(means, 5), "frames")
    frames, _ = opened(path)
    label = np.random.default_rng(1).integers(0, N_BINS, TRAINS)
    one = frames.isel(module=slice(0, 4))
    bins = {
        n: computed(by_bin(f, label))
        for n, f in (("frames", one), ("frames * 2", one * 2))
    }
    print("\n100 bins of 4 modules, pulses apart")
    table(median_times(bins, 5), "frames")
    shape = (1000, 1, 512, 512)
    values = np.random.default_rng(2).random(shape, "f4")
    dims = ("train", *frames.dims[2:])
    memory = xr.DataArray(values, {"train": np.arange(1000)}, dims)
    blocks = memory.copy(data=da.from_array(values, chunks=(32, 1, 512, 512)))
    label = np.random.default_rng(3).integers(0, N_BINS, 1000)
    found = by_bin(blocks, label)["f_sum"].transpose("delay", ...).values
    np.testing.assert_allclose(found, loop(values, label), rtol=1e-12)
    print("\n1000 frames of 512 x 512 float32 into 100 bins in random order")
    table(median_times({
        "numpy loop": lambda: loop(values, label),
        "dask array of 32 frames a block": computed(by_bin(blocks, label)),
        "array in memory": computed(by_bin(memory, label)),
    }, 3), "numpy loop")  # fmt: skip
    print()
    for name in WRITTEN:
        runs = [corrected_run(n * TRAINS, PULSES) for n in (1, 2, 4)]
        here = Path(__file__).parent
        peaks = [peak_memory(MEMORY, run, name, here) for run in runs]
        text = ", ".join(f"{p:.0f} MB" for p in peaks)
        print(f"peak memory, runs of 1x, 2x, 4x, {name}: {text}")


if __name__ == "__main__":
    main()
