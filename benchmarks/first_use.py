"""How long does a user wait for the first result of a new process?

    python benchmarks/first_use.py [call ...]

One call each, as a user makes it, in processes of their own: with an empty cache of
compiled kernels, with that cache, and once more in the same process, in seconds of the
CPU, as all of it is one thread's work and other processes may be running. Import is the
time of `import xfelred` with everything that the call needs. Runs are tiny, so that
nothing but the first use is measured. ``python benchmarks/first_use.py tasks`` measures
the tasks of `xfelred warm-up` instead, each of which covers several dtypes and options.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine

CODE = """
import sys, time
sys.path.append(sys.argv[2])
import first_use
start = time.process_time()
from xfelred.cluster import warm_up
opening = time.process_time() - start
print(opening, *first_use.first_and_second(sys.argv[1]))
"""
BOTH = ("train", "pulse")
# What is there before, and what is called of it.
CALLS = {
    "frames.mean": ("corrected_frames", lambda x: x.mean(BOTH)),
    "frames.mean, uint16": ("raw_frames", lambda x: x.mean(BOTH)),
    "mean of each pulse": ("corrected_frames", lambda x: x.mean("train")),
    "((x - dark) * gain).where(good)": (
        "corrected_frames",
        lambda x: ((x - x[0, 0]) * x[1, 0]).where(x[0, 1] > 0).mean(BOTH),
    ),
    "x - x.mean": ("corrected_frames", lambda x: (x - x.mean("train")).std("train")),
    "statistics": ("corrected_frames", lambda x: ops().statistics(x, BOTH)),
    "bin_frames": ("corrected_frames", lambda x: binned(x)),
    "bin_frames, sum and count": (
        "corrected_frames",
        lambda x: binned(x, quantities=("sum", "count")),
    ),
    "bin_frames, uint16": ("raw_frames", lambda x: binned(x)),
    "integrate_azimuthally": (
        "located",
        lambda x: ops().integrate_azimuthally(x, 50),
    ),
    "remap_polar": (
        "images",
        lambda x: ops().remap_polar(x, centre=(128, 128), r_min=20, r_max=60, n_phi=64),
    ),
    "calibrate": ("raw_frames", lambda x: calibrated(x)),
    "subtract_common_mode, row": (
        "images",
        lambda x: ops().subtract_common_mode(
            x, "row", segment=ops().Segment((256, 256), banks=4, halves=2)
        ),
    ),
    "fit_ring, guess": ("image", lambda x: ops().fit_ring(x, (129, 127, 85))),
    "fit_ring": ("image", lambda x: ops().fit_ring(x)),
    "find_centre": ("image", lambda x: ops().find_centre(x)),
}


def ops():
    from xfelred import ops

    return ops


def binned(x, **options):
    import numpy as np
    import xarray as xr

    from xfelred import Bins

    position = xr.DataArray(np.arange(x.sizes["train"]) + 0.5, dims="train")
    position = position.assign_coords(train=x.train)
    return ops().bin_frames(x, {"x": Bins([0, 2, 4], values=position)}, **options)


def calibrated(x):
    import numpy as np
    import xarray as xr

    pedestal = xr.full_like(x[0, 0], 3000, dtype="f4").drop_attrs().compute()
    one = {"pedestal": pedestal.reset_coords(drop=True)}
    one["gain"] = xr.full_like(one["pedestal"], 40)
    constants = {k: xr.concat([v] * 3, "gain_range") for k, v in one.items()}
    code = xr.DataArray(np.uint8(0))
    kind = "jungfrau_euxfel"
    return ops().calibrate(x, xr.Dataset(constants), kind=kind, gain_index=code)


def first_and_second(name):
    """Return CPU seconds of a call and of the next one, and what the first compiled."""
    import warnings

    import dask

    from xfelred.cluster import warm_up

    took, compiled = [], 0
    warnings.simplefilter("ignore")
    with (
        tempfile.TemporaryDirectory() as place,
        dask.config.set(scheduler="synchronous"),
    ):
        for _ in range(2):
            before, start = warm_up.n_compiled(), time.process_time()
            if name in warm_up.TASKS:
                warm_up.TASKS[name](Path(place))
            else:
                given, call = CALLS[name]
                data = given_of(given, Path(place))
                before, start = warm_up.n_compiled(), time.process_time()
                found = call(data)
                if hasattr(found, "compute"):
                    found.compute()
            took.append(time.process_time() - start)
            compiled = compiled or warm_up.n_compiled() - before
    return *took, compiled


def given_of(name, place):
    from xfelred.cluster import warm_up

    if name == "image":
        return warm_up.images()[0].values
    make = getattr(warm_up, name)
    return make(place) if name.endswith("frames") else make()


def measured(name, cache):
    """Return seconds of import, first and second use, and what the first compiled."""
    found = subprocess.run(
        [sys.executable, "-c", CODE, name, Path(__file__).parent],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    opening, first, second, compiled = map(float, found.stdout.split())
    return opening, first, int(compiled), second


def main():
    from xfelred.cluster.warm_up import TASKS

    machine()
    print(
        f"{'call':<34}{'import':>8}{'cold':>8}{'compiled':>10}{'warm':>8}{'again':>8}"
    )
    names = list(TASKS) if sys.argv[1:] == ["tasks"] else sys.argv[1:] or list(CALLS)
    with tempfile.TemporaryDirectory() as cache:
        measured("mean", cache)  # the files of the package into the page cache
    for name in names:
        with tempfile.TemporaryDirectory() as empty:
            _, cold, compiled, _ = measured(name, empty)
            opening, warm, again, second = measured(name, empty)
        assert not again, f"{name} compiles again"
        print(
            f"{name:<34}{opening:>8.2f}{cold:>8.2f}{compiled:>10}{warm:>8.2f}"
            f"{second:>8.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
