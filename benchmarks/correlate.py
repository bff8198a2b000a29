"""How fast are angular correlations against a plain numpy loop?

    python benchmarks/correlate.py

Polar maps of 100 rings x 1024 azimuths, float32, in memory, in blocks of 64 shots:
the mean autocorrelation of all shots, and of the differences of consecutive shots.

The floor is what the library and compiled loops need: rings without their mean, real
transforms of scipy.fft of rows that stay in the cache, and their squares added up. The
bare floor removes no mean, which single precision needs. Two real rings as one complex
row, taken apart again, are the other way that transforms of real rows can be made.
"""

import os
from itertools import pairwise

import dask
import numpy as np
import scipy.fft
import xarray as xr
from common import machine, median_times, table
from numba import njit

from xfelred import ops, pairs
from xfelred.kernels.correlation.rows import add_power

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


@njit(nogil=True, fastmath={"reassoc"})
def centre(shot, out):
    for r in range(shot.shape[0]):
        total = 0.0
        for j in range(shot.shape[1]):
            total += shot[r, j]
        mean = total / shot.shape[1]
        for j in range(shot.shape[1]):
            out[r, j] = shot[r, j] - mean


def floor(shots, centred=True):
    """Return the mean from nothing but rows without a mean, transforms and squares."""
    power = np.zeros((RINGS, PHI // 2 + 1))
    work = np.empty(shots.shape[1:], "f4")
    for shot in shots:
        if centred:
            centre(shot, work)
        rows = work if centred else shot
        add_power(scipy.fft.rfft(rows[None], workers=1), power)
    return scipy.fft.irfft(power, n=PHI) / len(shots)


@njit(nogil=True)
def add_apart(values, power):
    """Add the powers of two rings that were transformed as one complex row."""
    n = values.shape[1]
    for r in range(values.shape[0]):
        row, one, two = values[r], power[2 * r], power[2 * r + 1]
        for f in range(n // 2 + 1):
            a, b = row[f], row[(n - f) % n]
            x, y = a.real + b.real, a.imag - b.imag
            u, v = a.imag + b.imag, b.real - a.real
            one[f] += 0.25 * (x * x + y * y)
            two[f] += 0.25 * (u * u + v * v)


def two_as_one(shots):
    """Return the same from half as many complex rows."""
    power = np.zeros((RINGS, PHI // 2 + 1))
    rows = np.empty((RINGS // 2, PHI), "c8")
    for shot in shots:
        rows.real, rows.imag = shot[::2], shot[1::2]
        add_apart(scipy.fft.fft(rows, workers=1, overwrite_x=True), power)
    return scipy.fft.irfft(power, n=PHI) / len(shots)


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
        if plain is mean_of:
            variants["floor: centre, rfft, squares"] = lambda: floor(shots)
            variants["floor: rfft, squares"] = lambda: floor(shots, centred=False)
            variants["two rings as one complex row"] = lambda: two_as_one(shots)
            for run in (lambda x: floor(x, centred=False), two_as_one):
                off = abs(run(shots[:BLOCK]) - expected).max() / expected.max()
                assert off < 1e-5, off
        for function in variants.values():
            function()
        times = median_times(variants, 3)
        table(times, "numpy rfft, irfft", 1000 / SHOTS, "ms/shot")


if __name__ == "__main__":
    main()
