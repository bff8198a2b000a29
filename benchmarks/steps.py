"""How long do the operations of the calibration suite take, against plain loops?

    python benchmarks/steps.py [events per step]

A nested file of 8 steps of epixM frames (4 x 192 x 384, uint16), written once and in
the page cache. Per-step mean and rms, and correlation with one pixel, against a loop of
h5py and numpy over blocks of events; clusters against numpy and against a plain Python
loop over the seeds. Results are compared before timing.
"""

import os
import sys

import dask
import h5py
import numpy as np
import xarray as xr
from common import CACHE, machine, median_times, table

import xfelred as xf
from xfelred import ops
from xfelred.synth.lcls.calibsuite import write_suite

N = int(sys.argv[1]) if len(sys.argv) > 1 else 100
SHAPE = (4, 192, 384)
BLOCK = 20  # events that the loops hold at once
DIMS = ("module", "slow_scan", "fast_scan")


def suite():
    path = CACHE / f"xfelred-suite-8x{N}.h5"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        write_suite(partial, n_events=(N,) * 8, shape=SHAPE)
        os.replace(partial, path)
    return path


def loop_mean_rms(path):
    with h5py.File(path) as file:
        out = []
        for step in range(8):
            frames = file[f"detectorData/step{step}/epixM"]
            total, squares = np.zeros(SHAPE), np.zeros(SHAPE)
            for i in range(0, N, BLOCK):
                block = frames[i : i + BLOCK].astype(float)
                total += block.sum(axis=0)
                squares += (block * block).sum(axis=0)
            mean = total / N
            out.append((mean, np.sqrt(np.maximum(squares / N - mean**2, 0))))
    return out


def loop_correlation(path, at):
    with h5py.File(path) as file:
        out = []
        for step in range(8):
            frames = file[f"detectorData/step{step}/epixM"]
            sums = [np.zeros(SHAPE) for _ in range(3)]
            one = frames[(slice(None), *at)].astype(float)
            for i in range(0, N, BLOCK):
                block = frames[i : i + BLOCK].astype(float)
                for total, part in zip(
                    sums,
                    (
                        block,
                        block * block,
                        block * one[i : i + BLOCK, None, None, None],
                    ),
                    strict=True,
                ):
                    total += part.sum(axis=0)
            x, xx, xy = (s / N for s in sums)
            spread = np.sqrt(xx - x * x) * one.std()
            out.append((xy - x * one.mean()) / spread)
    return np.array(out)


def numpy_clusters(frames, seed, neighbour):
    """Energies of the clusters of each frame, by whole-array shifts."""
    out = []
    for frame in frames:
        inner = frame[:, 1:-1, 1:-1]
        top = inner >= seed
        count, energy = np.zeros(inner.shape, int), np.zeros(inner.shape)
        for i in range(3):
            for j in range(3):
                h, w = frame.shape[1:]
                near = frame[:, i : h - 2 + i, j : w - 2 + j]
                top &= near <= inner
                part = near > neighbour
                count += part
                energy += near * part
        out.append(energy[top & (count < 6)])
    return out


def looped_clusters(frames, seed, neighbour):
    """The same, one seed after the other."""
    out = []
    for frame in frames:
        found = []
        for m, r, c in np.argwhere(frame >= seed):
            if not (0 < r < SHAPE[1] - 1 and 0 < c < SHAPE[2] - 1):
                continue
            box = frame[m, r - 1 : r + 2, c - 1 : c + 2]
            part = box > neighbour
            if (box > box[1, 1]).any() or part.sum() >= 6:
                continue
            found.append(box[part].sum(dtype=float))
        out.append(np.array(found))
    return out


def photons(n):
    rng = np.random.default_rng(0)
    frames = rng.normal(0, 0.3, (n, *SHAPE)).astype("f4")
    for frame in frames:
        m, r, c = (
            rng.integers(1, s - 1, 800) if s > 4 else rng.integers(0, 4, 800)
            for s in SHAPE
        )
        frame[m, r, c] += 7
        frame[m, r, c - 1] += 3
    return frames


def compare_clusters(frames, seed, neighbour):
    da = xr.DataArray(frames, dims=("train", *DIMS))
    found = ops.find_clusters(da, seed=seed, neighbour=neighbour).compute()
    for loop in (numpy_clusters, looped_clusters):
        for i, wanted in enumerate(loop(frames, seed, neighbour)):
            got = found.energy.values[i, : int(found.n_clusters[i])]
            np.testing.assert_allclose(got, wanted, rtol=1e-5)


def main():
    machine()
    path, at = suite(), (0, 3, 5)
    frames = xf.open_run(path).frames("epixM")
    both = ("train", "pulse")

    def mean_rms():
        return ops.statistics(frames, both, which=("mean", "rms"), by="step").compute()

    def correlation():
        return ops.correlate_pixel(frames, at, by="step").compute()

    found = mean_rms()
    for i, (mean, rms) in enumerate(loop_mean_rms(path)):
        np.testing.assert_allclose(found["mean"][i], mean, rtol=1e-9)
        np.testing.assert_allclose(found["rms"][i], rms, rtol=1e-6)
    np.testing.assert_allclose(correlation(), loop_correlation(path, at), atol=1e-6)

    def on(n_threads, function):
        def run():
            with dask.config.set(scheduler="threads", num_workers=n_threads):
                return function()

        return run

    megabytes = frames.nbytes / 1e6
    for name, ours, loop in (
        ("mean and rms", mean_rms, lambda: loop_mean_rms(path)),
        ("correlation", correlation, lambda: loop_correlation(path, at)),
    ):
        print(f"\n{name} of 8 steps of {N} events, {megabytes:.0f} MB")
        variants = {
            f"xfelred {name}, 1 thread": on(1, ours),
            f"xfelred {name}, 2 threads": on(2, ours),
            "h5py and numpy, step by step": loop,
        }
        table(median_times(variants, 3), f"xfelred {name}, 1 thread", 1, "s")

    some = photons(64)
    compare_clusters(some[:8], 4, 1.5)
    # In blocks, as frames of a run are: dask reads an array in memory to name it.
    da = xr.DataArray(some, dims=("train", *DIMS)).chunk(train=16)
    print(f"\nclusters of {len(some)} frames, 800 photons each; ms per frame")
    variants = {
        "xfelred find_clusters": on(
            1, lambda: ops.find_clusters(da, seed=4, neighbour=1.5).compute()
        ),
        "xfelred find_clusters, 2 threads": on(
            2, lambda: ops.find_clusters(da, seed=4, neighbour=1.5).compute()
        ),
        "numpy, whole-array shifts": lambda: numpy_clusters(some, 4, 1.5),
        "python loop over the seeds": lambda: looped_clusters(some, 4, 1.5),
        "numpy.sum of the same": some.sum,
    }
    table(median_times(variants, 3), "xfelred find_clusters", 1e3 / len(some), "ms")


if __name__ == "__main__":
    main()
