"""How much memory does the client of a cluster take while workers write, and how long?

    python benchmarks/write.py [GB]

Frames of 1 Mpix that workers make, in blocks of 64 MiB, written by four workers with
one thread each: 1, 2 and 4 times as many GB, by default 1. Every file is written by a
process of its own, whose peak resident memory is that of the client; the workers are
others. Some frames of every file are compared with what they should be.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import xarray as xr
from common import CACHE, machine

import xfelred as xf

GB = float(sys.argv[1]) if len(sys.argv) == 2 else 1.0
SHAPE, PER_BLOCK, WORKERS = (1, 1024, 1024), 16, 4
WAYS = (
    (".zarr", "resume", "f4"),
    (".zarr", "", "f4"),
    (".nxs", "", "f4"),
    (".nxs", "", "u2"),
    (".cxi", "", "f4"),
    (".nc", "", "f4"),
)


def block(kind, block_info=None):
    first = block_info[None]["array-location"][0][0]
    out = np.empty(block_info[None]["chunk-shape"], kind)
    for i, frame in enumerate(out, first):
        frame[...] = i % 1000
    return out


def frames(n_bytes, kind):
    size = np.dtype(kind).itemsize * np.prod(SHAPE)
    per_block = PER_BLOCK * 4 // np.dtype(kind).itemsize
    n = max(1, round(n_bytes / size / per_block))
    chunks = ((per_block,) * n, *((m,) for m in SHAPE))
    meta = np.empty((0,) * 4, kind)
    lazy = da.map_blocks(block, kind, chunks=chunks, dtype=kind, meta=meta)
    dims = ("frame", "module", "slow_scan", "fast_scan")
    return xr.DataArray(lazy, dims=dims, name="frames")


def status(word):
    with open("/proc/self/status") as lines:
        found = next(line for line in lines if line.startswith(word))
    return int(found.split()[1]) / 1024


def worker_peak(dask_worker):
    return status("VmHWM")


def check(path, n):
    """Compare some frames of a file with what they should be."""
    if path.suffix == ".zarr":
        array = xr.open_zarr(path).frames
    else:
        file, name = h5py.File(path), "entry_1/data_1/data"
        name = {".nxs": "entry/data/frames", ".nc": "frames"}.get(path.suffix, name)
        array = file[name]
    for i in (0, n // 2, n - 1):
        np.testing.assert_array_equal(np.asarray(array[i]), i % 1000)


def one(suffix, resume, kind, size):
    """Write one file; print the seconds and the memory that it took."""
    place = Path(tempfile.mkdtemp(dir=CACHE))
    with xf.cluster.local(WORKERS, 1) as client:
        some = frames(size * 1e9, kind)
        before = status("VmRSS")
        wall = time.perf_counter()
        path = xf.write(some, place / f"a{suffix}", resume=bool(resume))
        wall = time.perf_counter() - wall
        peak, worker = status("VmHWM"), max(client.run(worker_peak).values())
    check(path, len(some))
    shutil.rmtree(place)
    print(json.dumps({"s": wall, "before": before, "peak": peak, "worker": worker}))


def main():
    machine()
    print("file                GB       s   GB/s  client MB  more  worker MB")
    for way in WAYS:
        for times in (1, 2, 4):
            arguments = [__file__, "one", *way, str(GB * times)]
            done = subprocess.run(
                [sys.executable, *arguments],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            r = json.loads(done.stdout.splitlines()[-1])
            name = " ".join(w for w in way if w)
            print(
                f"{name:16}{GB * times:6.1f}{r['s']:8.1f}{GB * times / r['s']:7.2f}"
                f"{r['peak']:11.0f}{r['peak'] - r['before']:6.0f}{r['worker']:11.0f}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        one(*sys.argv[2:5], float(sys.argv[5]))
    else:
        main()
