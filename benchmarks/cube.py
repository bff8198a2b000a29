"""How long does a cube take, and how much memory, against a plain loop over events?

    python benchmarks/cube.py [events]

Frames of 1 Mpix (float32) in one piece of an uncompressed HDF5 file in the cache, by
default 2000 of them, into 100 bins in random order and in the order of a scan. The
peer adds one event after the other to the sum of its bin with numpy: from memory, which
is the same file mapped, or after reading the event with h5py. The floor reads the same
bytes with preadv. Then the peak memory of `write_cube`, scalars of 1e6 events, and the
plan of a cube of 1e6 events. Results are compared before timing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import h5py
import numpy as np
import xarray as xr
from common import CACHE, machine, median_times, peak_memory, table

import xfelred as xf
from xfelred import ops
from xfelred.recipes.cube_estimate import estimate_cube

N = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 2000
SHAPE, BINS, DISTINCT = (1024, 1024), 100, 64
DATA = "epix/calib"
DIMS = ("train", "slow_scan", "fast_scan")

MEMORY = """
import sys, dask, json, xfelred as xf
recipe = json.loads(sys.argv[2])
with dask.config.set(scheduler="threads", num_workers=2):
    xf.write_cube(xf.open_run(sys.argv[1]), recipe, sys.argv[3])
"""

# As a user meets it: one process, one call, and again.
FRESH = """
import sys, time, dask, xfelred as xf
from xfelred import ops
path, axis, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
def binned():
    run = xf.open_run(path)
    frames = run.frames("epix", "calib", bad_pixels=None)
    values = run.scalars([f"order/{axis}"])[f"order/{axis}"]
    by = {"x": xf.Bins(edges=list(range(n + 1)), values=values)}
    made = ops.bin_frames(frames, by, quantities=("sum", "count"), skipna=False)
    with dask.config.set(scheduler="threads", num_workers=2):
        return made.compute()
for call in ("first", "second"):
    found = None
    wall, cpu = time.perf_counter(), time.process_time()
    found = binned()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{axis}, {call} call: {wall:.2f} s, of the CPU {cpu:.2f} s")
"""


def recipe(axis, quantities=("sum", "count")):
    return {
        "schema_version": 1,
        "kind": "cube",
        "bins": {f"order/{axis}": {"edges": list(range(BINS + 1))}},
        "detectors": {"epix": {"key": "calib"}},
        "quantities": list(quantities),
        "output": {"formats": ["zarr"], "report": False},
    }


def positions(n):
    """Return what events are binned by: in random order, and in that of a scan."""
    scan = np.arange(n) * BINS // n
    return {"random": np.random.default_rng(2).permutation(scan), "scan": scan}


def small_data(n, written=True):
    """Return the path of a small-data file with a scan and frames of 1 Mpix."""
    path = CACHE / f"xfelred-cube-{n}{'' if written else '-virtual'}_Run0001.h5"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    ns = np.arange(n) * 8_333_333
    rng = np.random.default_rng(1)
    tile = rng.normal(10, 3, (DISTINCT, *SHAPE)).astype("f4") if written else None
    with h5py.File(partial, "w") as file:
        file["event_time"] = ((1_700_000_000 + ns // 10**9) << 32) | (ns % 10**9)
        file["fiducials"] = np.arange(n)
        file["lightStatus/xray"] = np.ones(n, "i4")
        file["lightStatus/laser"] = np.ones(n, "i4")
        for name, values in positions(n).items():
            file[f"order/{name}"] = values + rng.random(n)
        file["order/odd"] = np.arange(n) % 2
        # In one piece: of chunks the file would tell that nobody wrote them.
        data = file.create_dataset(DATA, (n, *SHAPE), "f4")
        if written:
            for first in range(0, n, DISTINCT):
                m = min(DISTINCT, n - first)
                data[first : first + m] = tile[:m]
    partial.rename(path)
    return path


def mapped(path):
    """Return the frames of a file as an array in memory."""
    with h5py.File(path, "r") as file:
        data = file[DATA]
        offset, shape = data.id.get_offset(), data.shape
    return np.asarray(np.memmap(path, "f4", "r", offset, shape))


def loop(frames, labels):
    """Add up one event after the other."""
    total, count = np.zeros((BINS, *SHAPE)), np.zeros(BINS, np.int64)
    for i, label in enumerate(labels):
        total[label] += frames[i]
        count[label] += 1
    return total, count


def loop_var(frames, labels):
    """Add up values and squares."""
    total, square = np.zeros((2, BINS, *SHAPE))
    count = np.zeros(BINS, np.int64)
    for i, label in enumerate(labels):
        frame = frames[i].astype(np.float64)
        total[label] += frame
        square[label] += frame * frame
        count[label] += 1
    mean = total / count[:, None, None]
    return total, mean, square / count[:, None, None] - mean**2


def loop_h5(path, labels, function=loop):
    with h5py.File(path, "r") as file:
        return function(file[DATA], labels)


def read_bytes(path, n_threads, size=1 << 20):
    """Read the file into small buffers: the floor."""
    end = os.path.getsize(path)

    def read(thread):
        buffer = memoryview(bytearray(size))
        for offset in range(thread * size, end, n_threads * size):
            os.preadv(file, [buffer], offset)

    file = os.open(path, os.O_RDONLY)
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(read, range(n_threads)))
    os.close(file)


def computed(make, n_threads):
    """Return a function that builds and computes with some threads."""

    def run():
        with dask.config.set(scheduler="threads", num_workers=n_threads):
            return make().compute()

    return run


def written(path, axis, quantities, n_threads):
    """Return a function that writes a cube and deletes it."""

    def run(read=False):
        place = tempfile.mkdtemp(dir=CACHE)
        try:
            with dask.config.set(scheduler="threads", num_workers=n_threads):
                run = xf.open_run(path)
                found = xf.write_cube(run, recipe(axis, quantities), place)
            if read:
                return xr.open_zarr(found.paths[0], consolidated=False).load()
        finally:
            shutil.rmtree(place)

    return run


def from_memory(path, axis):
    """Time arrays in memory."""
    frames, labels = mapped(path), positions(N)[axis]
    array = xr.DataArray(frames, dims=DIMS, name="f", coords={"train": np.arange(N)})
    values = xr.DataArray(labels + 0.5, dims="train", coords={"train": np.arange(N)})
    by = {"x": xf.Bins(edges=list(range(BINS + 1)), values=values)}

    def binned(*quantities, skipna=False):
        return lambda: ops.bin_frames(array, by, quantities=quantities, skipna=skipna)

    simple, full = binned("sum", "count"), binned("sum", "mean", "var")
    compare(computed(simple, 2)(), computed(full, 2)(), "f", frames, labels)
    title = f"from memory, {axis} order, {N} events"
    hand, more = "numpy loop: sum, count", "numpy loop: sum, mean, var"
    variants = {
        hand: lambda: loop(frames, labels),
        "numpy.sum of the frames: the floor": lambda: [f.sum() for f in frames],
    }
    for n in (1, 2):
        variants[f"bin_frames: sum, count; threads: {n}"] = computed(simple, n)
    counted = "bin_frames: sum, count of every pixel; threads: 2"
    variants[counted] = computed(binned("sum", "count", skipna=True), 2)
    variants[more] = lambda: loop_var(frames, labels)
    variants["bin_frames: sum, mean, var; threads: 2"] = computed(full, 2)
    return title, variants, hand


def from_file(path, axis):
    """Time HDF5 files."""
    labels = positions(N)[axis]

    def binned(*quantities):
        def make():
            run = xf.open_run(path)
            frames = run.frames("epix", "calib", bad_pixels=None)
            values = run.scalars([f"order/{axis}"])[f"order/{axis}"]
            by = {"x": xf.Bins(edges=list(range(BINS + 1)), values=values)}
            return ops.bin_frames(
                frames.rename("f"), by, quantities=quantities, skipna=False
            )

        return make

    simple, full = binned("sum", "count"), binned("sum", "mean", "var")
    frames = mapped(path)
    compare(computed(simple, 2)(), computed(full, 2)(), "f", frames, labels)
    quantities = ("sum", "count", "mean", "var")
    cube = written(path, axis, quantities, 2)(read=True)
    compare(cube, cube, "epix", frames, labels)
    del frames, cube
    title = f"from HDF5, {axis} order, {N} events"
    hand, more = "h5py loop: sum, count", "h5py loop: sum, mean, var"
    variants = {hand: lambda: loop_h5(path, labels)}
    for n in (1, 2):
        variants[f"preadv: the floor; threads: {n}"] = lambda n=n: read_bytes(path, n)
    for n in (1, 2):
        variants[f"bin_frames: sum, count; threads: {n}"] = computed(simple, n)
    variants["write_cube: sum, count; threads: 2"] = written(
        path, axis, ("sum", "count"), 2
    )
    variants[more] = lambda: loop_h5(path, labels, loop_var)
    variants["bin_frames: sum, mean, var; threads: 2"] = computed(full, 2)
    variants["write_cube: all; threads: 2"] = written(path, axis, quantities, 2)
    return title, variants, hand


def compare(simple, full, name, frames, labels):
    """Raise unless a few bins are what a loop gives."""
    for label in (0, BINS // 2, BINS - 1):
        mine = frames[labels == label].astype("f8")
        one, all_of = (d.isel({next(iter(d[f"{name}_sum"].dims)): label})
                       for d in (simple, full))  # fmt: skip
        assert (one[f"{name}_count"] == len(mine)).all()
        for got, expected in (
            (one[f"{name}_sum"], mine.sum(0)),
            (all_of[f"{name}_mean"], mine.mean(0)),
            (all_of[f"{name}_var"], mine.var(0)),
        ):
            np.testing.assert_allclose(got.squeeze(), expected, rtol=1e-6, atol=1e-6)


def scalars(n=1_000_000, columns=50):
    """Time columns of numbers."""
    rng = np.random.default_rng(3)
    ids = np.arange(n)
    labels = rng.integers(0, BINS, n)
    names = [f"c{i}" for i in range(columns)]
    data = xr.Dataset(
        {name: ("train", rng.normal(size=n)) for name in names}, coords={"train": ids}
    ).assign(x=("train", labels + 0.5))
    by = {"x": xf.Bins(edges=list(range(BINS + 1)))}

    def hand():
        return [np.bincount(labels, data[k].values, minlength=BINS) for k in names]

    def make():
        return ops.bin_frames(data, by)

    got = computed(make, 2)()
    for name, expected in zip(names, hand(), strict=True):
        np.testing.assert_allclose(got[f"{name}_sum"], expected, rtol=1e-9, atol=1e-9)
    base = "numpy.bincount: sums"
    variants = {base: hand}
    for threads in (1, 2):
        what = f"bin_frames: sum, count, mean, var; threads: {threads}"
        variants[what] = computed(make, threads)
    print(f"\n{n} events x {columns} columns")
    table(median_times(variants, 3), base)


def planned(n=1_000_000):
    """Print how long the plan of a large cube takes, and what it says."""
    path = small_data(n, written=False)
    for axis in ("random", "scan"):
        for fine in (False, True):
            start = time.perf_counter()
            wanted = fine_recipe(axis) if fine else recipe(axis)
            run = xf.open_run(path)
            found = estimate_cube(run, wanted, CACHE / "none")
            took = time.perf_counter() - start
            print(
                f"dry run, {n} events x 1 Mpix, {axis} order,"
                f" {'300 bins x 2 laser states' if fine else '100 bins'}: {took:.1f} s;"
                f" {found.blocks} blocks, {found.tasks} tasks,"
                f" {found.bytes_read / 1e12:.2f} TB to read,"
                f" memory {found.memory_estimate / 1e6:.0f} MB,"
                f" of a client {found.client_memory / 1e6:.0f} MB"
            )


def fine_recipe(axis):
    """Return a recipe of 300 bins and two laser states, with variances."""
    more = {"bins": {f"order/{axis}": {"n": 300, "range": [0, BINS]}}}
    more |= {"laser": "split", "laser_variable": "order/odd"}
    return recipe(axis, ("sum", "count", "mean", "var")) | more


def memory():
    """Print the peak memory of write_cube for once and twice as many events."""
    import json

    for n in (N // 2, N):
        path = small_data(n)
        for what in (("sum", "count"), ("sum", "count", "mean", "var")):
            place = tempfile.mkdtemp(dir=CACHE)
            for axis in ("random", "scan"):
                text = json.dumps(recipe(axis, what))
                peak = peak_memory(MEMORY, path, text, place)
                print(
                    f"peak memory, {n} events, {axis}, {'+'.join(what)}: {peak:.0f} MB"
                )
            shutil.rmtree(place)


def fresh():
    """Print what the first calls of a new process take, beside a loop."""
    path = small_data(N)
    for axis in ("random", "scan"):
        cpu = time.process_time()
        loop_h5(path, positions(N)[axis])
        print(f"{axis}, h5py loop: of the CPU {time.process_time() - cpu:.2f} s")
        more = [str(path), axis, str(BINS)]
        subprocess.run([sys.executable, "-c", FRESH, *more], check=True)
        print(f"peak memory: {peak_memory(FRESH, *more):.0f} MB", flush=True)


def main():
    machine()
    parts = sys.argv[2:] or ["scalars", "planned", "memory", "fresh", "times"]
    if "scalars" in parts:
        scalars()
    if "planned" in parts:
        planned()
    if "memory" in parts:
        memory()
    if "fresh" in parts:
        fresh()
    if "times" in parts:
        path = small_data(N)
        for source in (from_memory, from_file):
            for axis in ("random", "scan"):
                title, variants, base = source(path, axis)
                print(f"\n{title}")
                table(median_times(variants, 3), base)


if __name__ == "__main__":
    main()
