"""What do ten results of the same frames cost in one pass, and what alone?

    python benchmarks/together.py [rounds] [shuffle]

Two threads, AGIPD-1M, 40 trains x 8 pulses, 1.34 GB; `shuffle`: compressed by gzip.
"The dearest" is the result that takes the longest alone.
"""

import sys

import dask
import numpy as np
import xarray as xr
from common import corrected_run, machine, median_times, read_bytes, read_once
from per_frame import PANELS

import xfelred as xf
from xfelred import geometry, ops, pairs


def results_of(frames):
    """Return ten lazy results of calibrated, masked frames."""
    shape = [frames.sizes[d] for d in ("module", "slow_scan", "fast_scan")]
    bad = np.random.default_rng(1).random(shape) < 0.01
    bad = xr.DataArray(bad, dims=("module", "slow_scan", "fast_scan"))
    clean = ops.apply_bad_pixels(frames, bad.assign_coords(module=frames.module))
    located = geometry.locate(clean, PANELS)
    polar = ops.remap_polar(located, r_min=100, r_max=164, n_phi=360, unit="pixel")
    polar = polar.mean("pulse")
    steps = np.arange(frames.sizes["train"]) % 4
    clean = clean.assign_coords(step=("train", steps))
    pixels = ("slow_scan", "fast_scan")
    shots = ("train", "pulse")
    return {
        "statistics": ops.statistics(clean, shots),
        "mean of each module": clean.mean((*shots, *pixels)),
        "rings": ops.integrate_azimuthally(located, 300),
        "correlation": ops.difference_correlation(
            polar, pairs.consecutive(polar.train)
        ),
        "roi": ops.roi(clean, ((100, 400), (10, 100))),
        "project": ops.project(clean, "slow_scan"),
        "spectrum": ops.spectrum(clean, xf.Bins(range=(-50, 500), n=100)),
        "lit pixels": ops.lit_pixels(clean, threshold=100),
        "brightest": clean.max(pixels),
        "bins": ops.bin_frames(clean, {"step": xf.Bins(edges=np.arange(5) - 0.5)}),
    }


def main():
    machine()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    kind = "shuffle" if "shuffle" in sys.argv else "facility"
    path = corrected_run(40, 8, name=f"together-{kind}", compression=kind)
    read_once(path)
    frames = xf.open_run(path).detector().frames()
    results = results_of(frames)
    with dask.config.set(num_workers=2):
        variants = {
            name: (lambda some=some: dask.compute(some))
            for name, some in results.items()
        }
        variants |= {
            "read": lambda: read_bytes(path, 2),
            "dask.compute": lambda: dask.compute(*results.values()),
            "together": lambda: xf.compute_together(*results.values()),
        }
        for compute in variants.values():
            compute()
        times = median_times(variants, rounds)
    alone = {name: times[name][0] for name in results}
    dearest = max(alone.values()) + times["read"][0]
    for name, (wall, share) in times.items():
        print(f"{name:22} {wall:8.3f} s  {wall / dearest:6.2f}  cpu/wall {share:.2f}")
    print(f"{'all in turn':22} {sum(alone.values()):8.3f} s")


if __name__ == "__main__":
    main()
