"""How fast are angular correlations against a plain numpy loop?

    python benchmarks/correlate.py

Polar maps of 100 rings x 1024 azimuths, float32, in memory, in blocks of 64 shots:
the mean autocorrelation of all shots, and of the differences of consecutive shots.
"""

import os
from itertools import pairwise

import dask
import numpy as np
import xarray as xr
from common import machine, median_times, table

from xfelred import ops, pairs

SHOTS = int(os.environ.get("XFELRED_BENCHMARK_SHOTS", "2000"))
RINGS, PHI, BLOCK = 100, 1024, 64


def mean_of(shots):
    """The mean autocorrelation, shot by shot."""
    total = 0
    for shot in shots:
        spectrum = np.fft.rfft(shot)
        total = total + np.fft.irfft(spectrum * spectrum.conj(), n=PHI)
    return total / len(shots)


def differences(shots):
    """The same of consecutive differences, which are made one by one."""
    total = 0
    for first, second in pairwise(shots):
        spectrum = np.fft.rfft(first - second)
        total = total + np.fft.irfft(spectrum * spectrum.conj(), n=PHI)
    return total / (len(shots) - 1)


def blocks(shots):
    """Shots as a dask array on memory that is there: no copy, no hash of all bytes."""
    dims = ("train", "radius", "phi")
    lazy = dask.array.from_array(shots, chunks=(BLOCK, RINGS, PHI), name="shots")
    return xr.DataArray(lazy, {"train": 2 * np.arange(len(shots))}, dims)


def on_threads(lazy, threads):
    """Compute with a number of threads."""
    scheduler = "synchronous" if threads == 1 else "threads"

    def run():
        with dask.config.set(scheduler=scheduler, num_workers=threads):
            return lazy.compute()

    return run


def main():
    machine()
    rng = np.random.default_rng(0)
    shots = np.empty((SHOTS, RINGS, PHI), "f4")
    for shot in shots:
        shot[:] = rng.poisson(100, (RINGS, PHI))
    polar = blocks(shots)
    consecutive = pairs.consecutive(polar.train)
    for name, plain, how in (
        ("mean of shots", mean_of, ops.correlate_angular),
        ("consecutive differences", differences, ops.difference_correlation),
    ):
        extra = () if plain is mean_of else (consecutive,)
        lazy = {
            n: how(polar, *extra, normalization=n, reduce="mean")["correlation"]
            for n in ("none", "pairs")
        }
        expected = plain(shots[:BLOCK].astype("f8"))
        few = polar[:BLOCK]
        again = () if plain is mean_of else (pairs.consecutive(few.train),)
        found = how(few, *again, normalization="none", reduce="mean")["correlation"]
        off = abs(found.values - expected).max() / expected.max()
        print(f"\n{name}, {SHOTS} shots; largest deviation {off:.1e} of C[0]")
        variants = {
            f"xfelred, {n}, {t} threads": on_threads(array, t)
            for n, array in lazy.items()
            for t in (1, 2)
        }
        variants["numpy rfft, irfft"] = lambda plain=plain: plain(shots)
        for function in variants.values():
            function()
        times = median_times(variants, 3)
        table(times, "numpy rfft, irfft", 1000 / SHOTS, "ms/shot")


if __name__ == "__main__":
    main()
