"""Does what azimuthal integration of every frame holds grow with the run?

    python benchmarks/per_frame.py

Plans of 1 Mpix runs of 1000 and 100 000 trains, without files; then peak memory of runs
of 1x to 8x the length, whose frames are zeros that nobody stored: each in a new
process, with two threads, reduced to a mean and written to zarr.
"""

import gc
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from common import machine
from graph import DIMS, lazy_frames, long_plan

import xfelred as xf
from xfelred import geometry, ops
from xfelred.lazy import Source, planned
from xfelred.lazy.estimate import estimate

PANELS = geometry.Geometry.from_quad_positions(
    "AGIPD1M", [(-525, 625), (-550, -10), (520, -160), (542.5, 475)], distance=0.2,
    energy=9300,
)  # fmt: skip
GIB = 1 << 30


def rings(frames, q=300, phi=36):
    numbered = frames.assign_coords(module=range(frames.sizes["module"]))
    return ops.integrate_azimuthally(geometry.locate(numbered, PANELS), q, phi_bins=phi)


def zeros(path, dataset, rows, entry, out):
    for start, n in zip(rows.place, rows.count, strict=True):
        out[start : start + n] = 0


def small_frames(n_trains):
    """Return frames of 4 pulses and all modules, which need no files."""
    plan = replace(long_plan(n_trains), read_rows=zeros, token=f"zeros-{n_trains}")
    chunks = dict(zip(DIMS, ((n,) for n in plan.shape), strict=True))
    chunks["train"] = (1,) * n_trains
    frames = planned(Source(plan, DIMS), chunks)
    return xr.DataArray(frames, dims=DIMS)[:, :4]


def measured(what, n_trains):
    """Return the peak memory of one computation, and what it was before, in bytes."""
    with tempfile.TemporaryDirectory() as place, dask.config.set(num_workers=2):
        rings(small_frames(2)).compute()
        found = rings(small_frames(n_trains))["intensity"]
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        if what == "mean":
            found.mean(("train", "pulse")).compute()
        else:
            xf.write(found.to_dataset(name="i"), f"{place}/out.zarr")
    return before, peak()


def peak():
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def main():
    machine()
    for q, phi in ((300, None), (300, 36)):
        for n in (1000, 100_000):
            plan = estimate(rings(lazy_frames(n), q, phi), threads=4)
            each = plan.bytes_to_read / plan.blocks
            print(
                f"{q} x {phi or 1} bins, {n:7} trains: {plan.blocks:8} reading tasks of"
                f" {each / 1e9:.2f} GB, {plan.peak_memory_per_worker / GIB:.2f} GiB"
            )
    for what in ("mean", "write"):
        for n in (100, 200, 400, 800):
            done = subprocess.run(
                [sys.executable, __file__, what, str(n)],
                capture_output=True, text=True, check=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
            before, most = np.array(json.loads(done.stdout)) / 1e6
            print(f"{what}, {n} trains x 4: {before:.0f} MB before, {most:.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measured(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
