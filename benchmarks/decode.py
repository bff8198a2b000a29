"""Is compressed data read at the speed of the library that unpacks it?

    python benchmarks/decode.py [float32|uint16]

A corrected AGIPD-1M run (16 modules, 64 frames each, 268 MB of float32 or half of that
as whole numbers in uint16), whose pixels are packed by one filter after another; one
chunk a frame. The floor calls the C function of the library on the chunks in memory and
throws the result away into one buffer that stays in the cache; "and reads" takes them
from the page cache first. "rows" reads a file in blocks of 4 MiB into memory that is
used again, as every task does; "mean" is `frames.mean` of all frames. Times are those
of the CPU, as far as it was busy for us, so that other processes matter little; "wall"
is what the clock says.
"""

import ctypes
import os
import shutil
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import deflate
import h5py
import hdf5plugin
import numpy as np
from common import CACHE, corrected_run, machine

import xfelred as xf
from xfelred.hdf5 import filters, rows
from xfelred.lazy import Rows

TRAINS, PULSES, ROUNDS = 8, 8, 3
KEY = "INSTRUMENT/SPB_DET_AGIPD1M-1/CORR/{}CH0:output/image/data"
BLOCK = 4 << 20
CODECS = {
    "gzip + shuffle": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
    "gzip": {"compression": "gzip", "compression_opts": 1},
    "bitshuffle-lz4": dict(hdf5plugin.Bitshuffle(nelems=0, cname="lz4")),
    "blosc-lz4 + shuffle": dict(hdf5plugin.Blosc("lz4", clevel=5, shuffle=1)),
    "zstd": dict(hdf5plugin.Zstd(clevel=3)),
}


def packed_run(name, how, dtype):
    """Return the directory of a run whose pixels are packed so."""
    plain = corrected_run(TRAINS, PULSES)
    path = CACHE / f"xfelred-decode-{dtype}-{name.replace(' ', '')}"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    shutil.copytree(plain, partial)
    for module, file in enumerate(sorted(partial.glob("*.h5"))):
        with h5py.File(file, "r+") as f:
            key = KEY.format(module)
            values = f[key][:]
            if dtype == "uint16":
                values = np.clip(np.rint(values), 0, 65535).astype("u2")
            del f[key]
            f.create_dataset(key, data=values, chunks=(1, *values.shape[1:]), **how)
    partial.rename(path)
    return path


def chunks_of(file, module):
    """Return the packed chunks of a file, in memory."""
    with h5py.File(file, "r") as f:
        data = f[KEY.format(module)]
        return [
            np.frombuffer(data.id.read_direct_chunk((i, 0, 0))[1], np.uint8)
            for i in range(len(data))
        ]


def places_of(file, module):
    """Return (offset, size) of the chunks of a file."""
    with h5py.File(file, "r") as f:
        data = f[KEY.format(module)].id
        infos = [data.get_chunk_info_by_coord((i, 0, 0)) for i in range(data.shape[0])]
        return [(info.byte_offset, info.size) for info in infos]


def bare(name, shape, dtype):
    """Return a function of the library alone: (packed chunk, buffer)."""
    n = int(np.prod(shape)) * dtype.itemsize
    if name.startswith("gzip"):
        library = ctypes.CDLL(deflate._deflate.__file__)
        run = library.libdeflate_zlib_decompress
        run.argtypes = [ctypes.c_void_p, *[ctypes.c_void_p, ctypes.c_size_t] * 2]
        run.argtypes += [ctypes.c_void_p]
        library.libdeflate_alloc_decompressor.restype = ctypes.c_void_p
        return lambda chunk, at, state: run(
            state, chunk.ctypes.data, len(chunk), at, n, None
        ), library.libdeflate_alloc_decompressor
    if name == "zstd":
        run = filters.function("zstd", "ZSTD_decompress")
        return lambda chunk, at, _: run(at, n, chunk.ctypes.data, len(chunk)), None
    if name.startswith("blosc"):
        run = filters.function("blosc", "blosc_decompress_ctx")
        return lambda chunk, at, _: run(chunk.ctypes.data, at, n, 1), None
    run = filters.function("bshuf", "bshuf_decompress_lz4")
    item, count = dtype.itemsize, n // dtype.itemsize

    def unshuffled(chunk, at, _):
        block = int.from_bytes(chunk[8:12].tobytes(), "big") // item
        run(chunk.ctypes.data + 12, at, count, item, block)

    return unshuffled, None


def on_threads(n, work, jobs):
    """Return a function that does jobs with so many threads."""
    if n == 1:
        return lambda: [work(job) for job in jobs]

    def run():
        with ThreadPoolExecutor(n) as pool:
            list(pool.map(work, jobs))

    return run


def library(name, files, shape, dtype, reads=False):
    """Return what unpacks all chunks of one file into one buffer."""
    packed = [chunks_of(f, m) for m, f in enumerate(files)]
    places = [places_of(f, m) for m, f in enumerate(files)]
    numbers = [os.open(f, os.O_RDONLY) for f in files]
    run, make_state = bare(name, shape, dtype)

    def work(module):
        out = np.empty(shape, dtype)
        memory = np.empty(2 * out.nbytes, np.uint8)
        state, at = make_state() if make_state else None, out.ctypes.data
        for chunk, (offset, size) in zip(packed[module], places[module], strict=True):
            if reads:
                chunk = memory[:size]
                os.preadv(numbers[module], [chunk], offset)
            run(chunk, at, state)

    return work


def through_rows(files, shape, dtype):
    """Return what reads one file in blocks, as tasks do."""
    n = max(1, BLOCK // (int(np.prod(shape)) * dtype.itemsize))
    total = TRAINS * PULSES
    kept = threading.local()

    def work(module):
        out = kept.out if hasattr(kept, "out") else np.ones((n, *shape), dtype)
        kept.out = out
        whole = tuple(slice(0, k, 1) for k in shape)
        for i in range(0, total, n):
            one = Rows(np.array([i]), np.array([n]), np.array([0]))
            rows.read_rows(str(files[module]), KEY.format(module), one, whole, out)

    return work


def through_h5py(files, shape, dtype):
    out = np.empty((TRAINS * PULSES, *shape), dtype)

    def work(module):
        with h5py.File(files[module], "r") as f:
            f[KEY.format(module)].read_direct(out)

    return work


def mean_of(path, threads):
    mean = xf.open_run(path).frames(bad_pixels=None).mean(("train", "pulse"))

    def run():
        with dask.config.set(scheduler="threads", num_workers=threads):
            mean.compute()

    return run


def cpu_times(variants):
    """Return {name: (CPU seconds, wall seconds)}, medians of rounds in turn."""
    found = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, run in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            found[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: tuple(statistics.median(t[i] for t in times) for i in range(2))
        for name, times in found.items()
    }


def main(dtype="float32"):
    machine()
    print(
        f"{dtype}; GB/s of unpacked bytes for each CPU second, and part of the library"
    )
    for name, how in CODECS.items():
        path = packed_run(name, how, dtype)
        files = sorted(path.glob("*.h5"))
        with h5py.File(files[0], "r") as f:
            data = f[KEY.format(0)]
            shape, kind = data.shape[1:], data.dtype
            part = data.id.get_storage_size() / data.nbytes
        n_bytes = TRAINS * PULSES * int(np.prod(shape)) * kind.itemsize * len(files)
        jobs = range(len(files))
        work = {
            "library": library(name, files, shape, kind),
            "and reads": library(name, files, shape, kind, reads=True),
            "rows": through_rows(files, shape, kind),
        }
        variants = {
            f"{what}, {n} threads": on_threads(n, job, jobs)
            for what, job in work.items()
            for n in (1, 2)
        }
        variants |= {f"mean, {n} threads": mean_of(path, n) for n in (1, 2)}
        variants["h5py"] = on_threads(1, through_h5py(files, shape, kind), jobs)
        for run in variants.values():
            run()
        times = cpu_times(variants)
        print(f"\n{name}: {part:.2f} of the size")
        for what, (cpu, wall) in times.items():
            same = "library, 2 threads" if "2 threads" in what else "library, 1 threads"
            print(
                f"{what:<22}{n_bytes / cpu / 1e9:>7.2f}"
                f"{100 * times[same][0] / cpu:>6.0f} %  wall {wall:.3f} s"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
