"""Does reading cost more than reading? get_array, one frame, one module.

    python benchmarks/read.py

A corrected AGIPD-1M run (16 modules, 640 frames, 2.7 GB float32), warm cache. The
baseline reads the same bytes with h5py into one array that was touched before, module
after module, in one thread. EXtra-data reads the same files if it is installed. Then
what people write, `frames.compute()` and `(frames - dark).compute()`, against the same
with h5py and numpy, and the peak memory of processes that compute it.
"""

import importlib.util
import os

import dask
import h5py
import numpy as np
import xarray as xr
from common import (
    corrected_run,
    machine,
    median_times,
    peak_memory,
    read_bytes,
    read_once,
    table,
)

import xfelred as xf

TRAINS, PULSES = 80, 8
KEY = "INSTRUMENT/SPB_DET_AGIPD1M-1/CORR/{}CH0:output/image/data"


def plain(files, out):
    """Read all modules with h5py."""
    for module, file in enumerate(files):
        with h5py.File(file, "r") as f:
            f[KEY.format(module)].read_direct(out[module])


def bytes_read(function):
    """Return what the process reads from files while a function runs."""

    def counter():
        with open("/proc/self/io") as f:
            return int(f.readline().split()[1])

    before = counter()
    function()
    return counter() - before


def peer_variants(path):
    """Return the same reads by EXtra-data."""
    if importlib.util.find_spec("extra_data") is None:
        return {}
    import extra_data
    from extra_data.components import AGIPD1M

    detector = AGIPD1M(extra_data.RunDirectory(path))
    return {
        "EXtra-data get_array, stacked": lambda: detector.get_array(
            "image.data", unstack_pulses=False
        ),
        "EXtra-data get_array": lambda: detector.get_array("image.data"),
    }


# What people write; a run of 16 modules as h5py reads it is turned as frames are.
GATHERED = """
import sys, dask, numpy as np, xarray as xr, xfelred as xf
path, what, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
dask.config.set(scheduler="threads", num_workers=2)
frames = xf.open_run(path).frames(bad_pixels=None)
dark = xr.DataArray(np.ones((16, 512, 128), "f4"), dims=frames.dims[2:])
some = {"frames": frames, "frames - dark": frames - dark}[what][:n]
print("BYTES", some.compute().nbytes if n else 0)
"""


def gathered(path, files):
    """Print the time of results as large as the frames, and their memory."""
    frames = xf.open_run(path).frames(bad_pixels=None)
    dark = np.ones((16, 512, 128), "f4")
    less = frames - xr.DataArray(dark, dims=frames.dims[2:])

    def loop(dark=None):
        out = np.empty((TRAINS, PULSES, 16, 512, 128), "f4")
        for module, file in enumerate(files):
            with h5py.File(file, "r") as f:
                data = f[KEY.format(module)][()].reshape(TRAINS, PULSES, 512, 128)
            out[:, :, module] = data if dark is None else data - dark[module]
        return out

    np.testing.assert_array_equal(less.compute(), loop(dark))
    with dask.config.set(scheduler="threads", num_workers=2):
        variants = {
            "h5py, module by module": loop,
            "frames.compute()": frames.compute,
            "h5py and numpy, frames - dark": lambda: loop(dark),
            "(frames - dark).compute()": less.compute,
        }
        table(median_times(variants, 3), "h5py, module by module")
    for what in ("frames", "frames - dark"):
        peaks = [peak_memory(GATHERED, path, what, n) for n in (0, 20, 40, 80)]
        text = ", ".join(f"{p - peaks[0]:.0f}" for p in peaks[1:])
        print(f"MB more than nothing for 671, 1342, 2684 MB of {what}: {text}")


def main():
    machine()
    path = corrected_run(TRAINS, PULSES)
    read_once(path)
    files = sorted(path.glob("*.h5"))
    reads(path, files)
    gathered(path, files)


def reads(path, files):
    """Print the times of plain reads, of all and of parts."""
    out = np.ones((16, TRAINS * PULSES, 512, 128), "f4")
    detector = xf.AGIPD1M(xf.open_run(path))
    plain(files, out)
    got = detector.get_array("image.data").values.reshape(out.shape)
    np.testing.assert_array_equal(got, out)
    del got
    full = np.ones_like(out)
    data = detector["image.data"]
    variants = {
        "h5py into touched memory (baseline)": lambda: plain(files, out),
        "h5py into new memory": lambda: plain(files, np.empty_like(out)),
        "preadv into small buffers, 1 thread": lambda: read_bytes(path, 1),
        "preadv into small buffers, 2 threads": lambda: read_bytes(path, 2),
        "xfelred det[key].ndarray(out=touched)": lambda: data.ndarray(out=full),
        "xfelred get_array, stacked": lambda: detector.get_array(
            "image.data", unstack_pulses=False
        ),
        "xfelred get_array": lambda: detector.get_array("image.data"),
        **peer_variants(path),
    }
    table(median_times(variants, 3), "h5py into new memory")
    print()
    frames = xf.open_run(path).frames()
    unmasked = xf.open_run(path).frames(bad_pixels=None)
    frames[0, 0].compute()
    numbers = iter(range(10_000))
    with dask.config.set(scheduler="threads", num_workers=2):
        times = median_times(
            {
                "one frame, mask applied": lambda: frames[
                    next(numbers) % 80, 3
                ].compute(),
                "one frame": lambda: unmasked[next(numbers) % 80, 3].compute(),
                "one module": lambda: unmasked.sel(module=5).compute(),
                "open_run": lambda: xf.open_run(path),
                "run.frames()": lambda: xf.open_run(path).frames(),
            },
            9,
        )
        whole = bytes_read(lambda: unmasked.isel(train=slice(0, 20)).compute())
        one = bytes_read(
            lambda: unmasked.isel(train=slice(0, 20), module=[5]).compute()
        )
    print()
    table(times, "one frame", 1000.0, "ms")
    print(f"bytes read for one module / for all: 1/{whole / one:.2f}\n")


if __name__ == "__main__":
    os.environ.setdefault("EXTRA_DATA_THREADS", "1")
    main()
