"""What do ten results of the same frames cost in one pass, and what alone?

    python benchmarks/together.py [rounds] [gzip]

Two threads, AGIPD-1M, 40 trains x 8 pulses, 1.34 GB; `gzip`: compressed.
Ratios are of CPU time, to that of all results one after the other, and to the dearest
of them and a plain read.
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
    kind = "shuffle+gzip" if "gzip" in sys.argv else "facility"
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
    cpu = {name: wall * share for name, (wall, share) in times.items()}
    alone = sum(cpu[name] for name in results)
    dearest = max(cpu[name] for name in results) + cpu["read"]
    for name, (wall, _) in times.items():
        share = cpu[name] / alone
        print(
            f"{name:20} {wall:7.2f} s, CPU {cpu[name]:6.2f} s, {share:.2f} of all alone"
        )
    for name in ("dask.compute", "together"):
        print(f"{name}: {cpu[name] / dearest:.2f} of the dearest and the read")


if __name__ == "__main__":
    main()
