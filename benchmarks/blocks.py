"""What does a block cost that has next to nothing in it?

    python benchmarks/blocks.py

64 frames of 8 x 8 pixels in a block; CPU time of 72 blocks without that of 8, for each
of the 64: what dask, xarray and we add to every block, with one thread.
"""

import statistics
import time

import dask
import numpy as np
import xarray as xr
from common import machine

from xfelred import geometry, ops

FEW, MANY, ROUNDS = 8, 72, 9
CENTRE = (3.5, 3.5)


def frames(n_blocks):
    flat = geometry.Geometry.flat((8, 8), CENTRE, 0.1, 1e-4, energy=9300.0)
    ones = np.ones((n_blocks * 64, 8, 8), "f4")
    array = xr.DataArray(ones, dims=("frame", "slow_scan", "fast_scan"))
    return geometry.locate(array, flat).chunk({"frame": 64})


def polar(n_blocks):
    options = {"centre": CENTRE, "r_min": 1, "r_max": 3, "n_phi": 8}
    return ops.remap_polar(frames(n_blocks), method="nearest", **options)


OPERATIONS = {
    "remap_polar": polar,
    "integrate_azimuthally, intensity": lambda n: integrated(n)["intensity"],
    "integrate_azimuthally, all": lambda n: integrated(n),
    "remap, correlate_angular, mean": lambda n: correlated(n, reduce="mean"),
    "remap, correlate_angular": lambda n: correlated(n),
}


def integrated(n_blocks):
    return ops.integrate_azimuthally(frames(n_blocks), 10)


def correlated(n_blocks, **options):
    return ops.correlate_angular(polar(n_blocks), **options)["correlation"]


def cpu(lazy):
    begin = time.thread_time()
    lazy.compute()
    return time.thread_time() - begin


def main():
    machine()
    with dask.config.set(scheduler="synchronous"):
        for name, operation in OPERATIONS.items():
            few, many = operation(FEW), operation(MANY)
            cpu(few), cpu(many)
            more = [cpu(many) - cpu(few) for _ in range(ROUNDS)]
            each = statistics.median(more) / (MANY - FEW)
            print(f"{name:<36}{each * 1000:>7.2f} ms a block")


if __name__ == "__main__":
    main()
