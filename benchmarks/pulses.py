"""Is the mean of each pulse faster than a plain h5py loop in a process that just began?

    python benchmarks/pulses.py [rounds]

A corrected AGIPD-1M run of 10 trains x 32 pulses x 16 modules, 1.3 GB float32, warm
cache: every number of the result, 268 MB in float64, has 10 values, so that memory
that is touched for the first time costs as much as reading. Each figure is of a process
of its own, which computes a tiny selection first, so that everything is imported and
compiled; processes of the loop and of ours take turns, ratios are of neighbours. The
loop reads one train of a module after the other into new memory, adds it up in float64
and divides in place; for std and count it is that of `reduce.py`.
"""

import json
import statistics
import subprocess
import sys

from common import corrected_run, machine, read_once

TRAINS, PULSES = 10, 32

HEAD = """
import json, sys, time
path, threads = sys.argv[1], int(sys.argv[2])
def timed(function):
    times = []
    for _ in range(2):
        start = time.perf_counter()
        found = function()
        times.append(time.perf_counter() - start)
        size = sum(
            1 if v.strides[-1] == 0 else v.nbytes
            for v in (found.values() if isinstance(found, dict) else [found])
        )
        del found
    with open("/proc/self/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    print(json.dumps([*times, peak / 1000, size / 1e6]))
"""

LOOP = """
import h5py, numpy as np
from pathlib import Path
KEY = "INSTRUMENT/SPB_DET_AGIPD1M-1/CORR/{}CH0:output/image/data"
def trains(pulses):
    for module, file in enumerate(sorted(Path(path).glob("*.h5"))):
        with h5py.File(file, "r") as f:
            data = f[KEY.format(module)]
            for first in range(0, len(data), pulses):
                yield module, data[first : first + pulses]
def mean():
    total = np.zeros((16, PULSES, 512, 128))
    for module, x in trains(PULSES):
        total[module] += x
    total /= TRAINS
    return total
def full():
    total, square, count = (np.zeros((16, PULSES, 512, 128)) for _ in range(3))
    for module, x in trains(PULSES):
        good = ~np.isnan(x)
        x = np.where(good, x, 0).astype(np.float64)
        total[module] += x
        square[module] += x * x
        count[module] += good
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 0))
    return {"mean": mean, "std": std, "count": count}
"""

OURS = """
import dask, xfelred as xf
from xfelred import ops
dask.config.set(scheduler="threads", num_workers=threads)
frames = xf.open_run(path).frames(bad_pixels=None)
tiny = frames.isel(train=slice(0, 2), pulse=slice(0, 2), module=[0])
def values(dataset):
    return {name: variable.values for name, variable in dataset.compute().items()}
def mean(frames=frames):
    return ops.statistics(frames, "train")["mean"].compute().values
def mean_float32(frames=frames):
    return frames.mean("train").compute().values
def full(frames=frames):
    return values(ops.statistics(frames, "train"))
"""


def measured(code, what, path, threads):
    """Return seconds of the first and second call, peak and size of the result, MB."""
    counts = f"TRAINS, PULSES = {TRAINS}, {PULSES}\n"
    tail = f"{what}(tiny)\n" * (code is OURS) + f"timed({what})"
    done = subprocess.run(
        [sys.executable, "-c", counts + HEAD + code + tail, str(path), str(threads)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def main(rounds=5):
    machine()
    path = corrected_run(TRAINS, PULSES, "pulses")
    read_once(path)
    print(
        f"{'variant':<34}{'first':>7}{'ratio':>7}{'second':>8}{'ratio':>7}"
        f"{'peak':>7}{'result':>8}"
    )
    for loop, variants in (("mean", ("mean", "mean_float32")), ("full", ("full",))):
        tasks = [(LOOP, loop, 1), *((OURS, v, n) for v in variants for n in (1, 2))]
        found = [[measured(c, w, path, n) for c, w, n in tasks] for _ in range(rounds)]
        for i, (code, what, threads) in enumerate(tasks):
            mine = [row[i] for row in found]
            bases = [row[0] for row in found]
            first, second, peak, size = map(statistics.median, zip(*mine, strict=True))
            ratio = [
                statistics.median(m[k] / b[k] for m, b in zip(mine, bases, strict=True))
                for k in (0, 1)
            ]
            name = f"h5py loop: {what}" if code is LOOP else f"{what}, {threads} thread"
            print(
                f"{name:<34}{first:>7.2f}{ratio[0]:>7.2f}{second:>8.2f}{ratio[1]:>7.2f}"
                f"{peak:>7.0f}{size:>8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
