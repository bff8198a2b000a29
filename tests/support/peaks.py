"""Run as a script: compute large things; print their estimates and peak memories.

The numbers come from a reader that makes them up, so that no large files are needed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import dask
import numpy as np
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops
from xfelred.kernels.image.masking import masked
from xfelred.lazy import Map, ReadPlan, Source, block_chunks, one_each, planned
from xfelred.lazy.estimate import estimate

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
PULSES, MODULES = 8, 16
QUADRANTS = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]


def read_rows(path, dataset, rows, entry, out):
    for place, count in zip(rows.place, rows.count, strict=True):
        out[place : place + count] = 0


def source(name, trains, dtype):
    plan = ReadPlan(
        read_rows=read_rows, targets=((name, "data"),),
        target=np.zeros((trains, MODULES), int),
        first=np.tile(np.arange(trains)[:, None] * PULSES, (1, MODULES)),
        pattern=np.zeros(trains, int), patterns=one_each(PULSES), slot_shape=(PULSES,),
        entry=(slice(0, 512, 1), slice(0, 128, 1)), entry_shape=(512, 128), n_inner=0,
        dtype=np.dtype(dtype), fill_value=0, flat=False, token=f"{name}-{trains}",
    )  # fmt: skip
    return Source(plan, DIMS)


def frames(trains, with_mask=False, size=128 << 20):
    node = source("data", trains, "f4")
    if with_mask:
        params = {"bits": None, "value": float("nan")}
        args = (node, source("mask", trains, "u4"))
        kind = np.dtype("f4")
        node = Map(masked, args, DIMS, (), (), kind, "apply_bad_pixels", params)
    coords = {"module": range(MODULES)}
    return xr.DataArray(
        planned(node, block_chunks(node, size)), dims=DIMS, coords=coords
    )


def integrated(x):
    panels = geometry.Geometry.from_quad_positions(
        "AGIPD1M", QUADRANTS, distance=0.2, energy=9300
    )
    return ops.integrate_azimuthally(geometry.locate(x, panels), 200)


def write(result):
    with tempfile.TemporaryDirectory() as directory:
        xf.write(result, Path(directory) / "out.zarr")


CASES = {
    "statistics": (
        lambda: ops.statistics(frames(16, True), ("train", "pulse")), dask.compute,
    ),
    "statistics per pulse": (lambda: ops.statistics(frames(24), "train"), write),
    "azimuthal": (lambda: integrated(frames(16, True)), dask.compute),
    "frames to zarr": (lambda: frames(12, True), write),
    "user's arithmetic": (
        lambda: ops.statistics(2 * frames(12), ("train", "pulse")), dask.compute,
    ),
}  # fmt: skip


def measured(case):
    make, finish = CASES[case]
    with dask.config.set(num_workers=2):
        lazy = make()
        found = estimate(lazy, threads=2).to_dict()
        finish(lazy)
    status = Path("/proc/self/status").read_text()
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return {"peak": int(peak.split()[1]) * 1024, **found}


if __name__ == "__main__":
    # A child for each: its peak is its own, and all was imported once, which is slow.
    for case in CASES:
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            sys.stdout.write(json.dumps({case: measured(case)}) + "\n")
            sys.stdout.flush()
            os._exit(0)
