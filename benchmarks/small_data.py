"""What do ten functions of a detector cost, beside the dearest of them alone?

    OPENBLAS_NUM_THREADS=1 python benchmarks/small_data.py [rounds]

One thread; calibrated frames of a Jungfrau, 1 Mpix of 2 modules; CPU seconds of
`reduce_run` into an empty directory, its start included (where the pixels are takes
`azimuthal` 1 s); variants take turns. "no function" is reading and bad pixels. Values
of ten functions are compared with those of each one alone before anything is timed.
"""

import os
import sys
import tempfile
import time

import dask
import h5py
import numpy as np
from common import CACHE, machine

import xfelred as xf
from xfelred.synth.lcls import write_smalldata

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
N_SHOTS, SHAPE = 64, (2, 512, 1024)
DETECTOR = "jungfrau1M"
AREA = [[0, 1], [100, 228], [200, 328]]
FUNCTIONS = {
    "roi": {"function": "roi", "bounds": AREA, "functions": [
        {"function": "spectrum", "bins": [0, 100, 50]}]},
    "project": {"function": "project", "axis": "slow_scan"},
    "spectrum": {"function": "spectrum", "bins": [0, 100, 50]},
    "rebin": {"function": "rebin", "shape": [64, 128]},
    "lineout": {"function": "lineout", "axis": "slow_scan", "index": 40},
    "azimuthal": {"function": "azimuthal", "centre": [0, 0], "distance": 0.1,
                  "energy": 9500, "q_step": 0.01, "n_phi": 4},
    "photon_counts": {"function": "photon_counts", "adu_per_photon": 20.0},
    "droplets": {"function": "droplets", "threshold": 5.0, "use_noise": False},
    "all": {"function": "roi", "name": "all"},
    "background": {"function": "roi", "name": "background", "bounds":
                   [[1, 2], [100, 228], [200, 328]]},
}  # fmt: skip


def source():
    path = CACHE / f"xfelred-small-data-{N_SHOTS}" / "xpptest01_Run0047.h5"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_smalldata(path, n_events=N_SHOTS, shape=SHAPE, n_banks=16)
    return path


def reduced(run, names):
    spec = {"functions": [FUNCTIONS[n] for n in names]}
    recipe = {"schema_version": 1, "kind": "smalldata", "detectors": {DETECTOR: spec}}
    with tempfile.TemporaryDirectory() as place:
        start = time.process_time()
        path = xf.reduce_run(run, recipe, place)
        cpu = time.process_time() - start
        with h5py.File(path) as file:
            return cpu, {k: v[()] for k, v in file.get(DETECTOR, {}).items()}


def main():
    run = xf.open_run(source())
    variants = {"no function": [], **{n: [n] for n in FUNCTIONS}}
    variants["all ten"] = list(FUNCTIONS)
    found = {n: reduced(run, names)[1] for n, names in variants.items()}
    for name in FUNCTIONS:
        for key, values in found[name].items():
            np.testing.assert_array_equal(values, found["all ten"][key])
    times = {n: [] for n in variants}
    for _ in range(ROUNDS):
        for name, names in variants.items():
            times[name].append(reduced(run, names)[0])
    cpu = {n: float(np.median(t)) for n, t in times.items()}
    dearest = max(cpu[n] for n in FUNCTIONS)
    machine()
    print(f"{'variant':<20}{'CPU s':>8}{'ratio':>8}")
    for name, seconds in cpu.items():
        print(f"{name:<20}{seconds:>8.2f}{seconds / dearest:>8.2f}")


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with dask.config.set(scheduler="synchronous"):
        main()
