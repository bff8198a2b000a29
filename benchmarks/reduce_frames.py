"""Is a lazy reduction as fast as a plain h5py loop, in constant memory?

    python benchmarks/reduce_frames.py

A corrected AGIPD-1M run (16 modules, 640 frames, 2.7 GB float32), warm cache. The
baseline reads one train of one module after the other with h5py and adds the same
sums (value, square, count) in float64 with numpy, in one thread. dask uses 2 threads.
"""

import dask
import h5py
import numpy as np
from common import corrected_run, machine, median_times, peak_memory, read_once, table

import xfelred as xf
from xfelred import ops

TRAINS, PULSES = 80, 8
KEY = "INSTRUMENT/SPB_DET_AGIPD1M-1/CORR/{}CH0:output/image/data"

MEMORY = """
import sys, dask, xfelred as xf
from xfelred import ops
frames = xf.open_run(sys.argv[1]).frames(bad_pixels=None)
dims = sys.argv[2].split("+")
with dask.config.set(scheduler="threads", num_workers=2):
    ops.statistics(frames, dim=dims).compute()
"""


def loop(path, per_pulse):
    """Add value, square and count of every pixel, one train after the other."""
    results = []
    for module, file in enumerate(sorted(path.glob("*.h5"))):
        with h5py.File(file, "r") as f:
            data = f[KEY.format(module)]
            shape = (PULSES, 512, 128) if per_pulse else (512, 128)
            total, square = np.zeros(shape), np.zeros(shape)
            count = np.zeros(shape, np.int64)
            for first in range(0, len(data), PULSES):
                x = data[first : first + PULSES]
                good = ~np.isnan(x)
                x = np.where(good, x, 0).astype(np.float64)
                if per_pulse:
                    total += x
                    square += x * x
                    count += good
                else:
                    total += x.sum(axis=0)
                    square += (x * x).sum(axis=0)
                    count += good.sum(axis=0)
            mean = total / count
            results.append(
                (mean, np.sqrt(np.maximum(square / count - mean**2, 0)), count)
            )
    return results


def fast_loop(path, per_pulse):
    """Add value and square in float64 without a look at NaN: the least one can do."""
    results = []
    for module, file in enumerate(sorted(path.glob("*.h5"))):
        with h5py.File(file, "r") as f:
            data = f[KEY.format(module)]
            shape = (PULSES, 512, 128) if per_pulse else (512, 128)
            total, square = np.zeros(shape), np.zeros(shape)
            for first in range(0, len(data), PULSES):
                x = data[first : first + PULSES]
                if per_pulse:
                    total += x
                    square += np.square(x, dtype=np.float64)
                else:
                    total += x.sum(axis=0, dtype=np.float64)
                    square += np.einsum("ijk,ijk->jk", x, x, dtype=np.float64)
            results.append((total / TRAINS, square))
    return results


def main():
    machine()
    path = corrected_run(TRAINS, PULSES)
    read_once(path)
    frames = xf.open_run(path).frames(bad_pixels=None)
    print(f"{frames.nbytes / 1e9:.2f} GB")
    for dims, per_pulse in ((("train", "pulse"), False), (("train",), True)):
        variants = {
            "h5py loop: value, square, count (baseline)": lambda p=per_pulse: loop(
                path, p
            ),
            "h5py loop: value, square, no NaN": lambda p=per_pulse: fast_loop(path, p),
        }
        for n in (1, 2):

            def ours(n=n, dims=dims):
                with dask.config.set(scheduler="threads", num_workers=n):
                    return ops.statistics(frames, dim=dims).compute()

            variants[f"xfelred statistics, {n} thread{'s' * (n > 1)}"] = ours
        ours = variants["xfelred statistics, 2 threads"]()
        want = loop(path, per_pulse)
        got = ours["mean"].sel(module=3).values
        np.testing.assert_allclose(got, want[3][0], rtol=1e-12)
        print(f"\nreduce {dims}")
        table(median_times(variants), "h5py loop: value, square, count (baseline)")
    long = corrected_run(2 * TRAINS, PULSES)
    for dims in ("train+pulse", "train"):
        short_peak = peak_memory(MEMORY, path, dims)
        long_peak = peak_memory(MEMORY, long, dims)
        print(
            f"peak memory, {dims}: {short_peak:.0f} MB;"
            f" run twice as long: {long_peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
