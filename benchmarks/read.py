"""Does reading cost more than reading? get_array, one frame, one module.

    python benchmarks/read.py

A corrected AGIPD-1M run (16 modules, 640 frames, 2.7 GB float32), warm cache. The
baseline reads the same bytes with h5py into one array that was touched before, module
after module, in one thread. EXtra-data reads the same files if it is installed.
"""

import importlib.util
import os

import dask
import h5py
import numpy as np
from common import (
    corrected_run,
    machine,
    median_times,
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


def main():
    machine()
    path = corrected_run(TRAINS, PULSES)
    read_once(path)
    files = sorted(path.glob("*.h5"))
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
    print(f"bytes read for one module / for all: 1/{whole / one:.2f}")


if __name__ == "__main__":
    os.environ.setdefault("EXTRA_DATA_THREADS", "1")
    main()
