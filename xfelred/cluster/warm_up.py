"""Compile the usual kernels before anybody waits for them.

Numba compiles a kernel when it first meets a kind of array, for up to some seconds, and
keeps the result in a cache of this user: beside the package, else in the user's home,
or where NUMBA_CACHE_DIR says. Each task here does one usual thing with a tiny run.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import dask
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from xfelred import geometry, ops, pairs, synth
from xfelred.errors import ArgumentError, did_you_mean
from xfelred.names import FAST, FRAME, PIXEL_DIMS, PULSE, SLOW, TRAIN
from xfelred.ops.reductions.bins import Bins
from xfelred.readers.open import open_run

KERNELS = "xfelred.kernels"
SIDE = 256  # pixels; large enough for a ring


@dataclass(frozen=True)
class Warmed:
    """What a task did: how long it took, and how many kernels it compiled."""

    name: str
    seconds: float
    compiled: int


def warm_up(
    only: Sequence[str] = (), *, processes: int | None = None
) -> Iterator[Warmed]:
    """Compile the kernels of usual tasks, some at a time, each in a process of its own.

    Parameters
    ----------
    only : sequence of str, optional
        Names in `TASKS`; all by default.
    processes : int, optional
        How many work at a time; by default as many as there are cores. 0: this one.

    Yields
    ------
    Warmed
        What was done, task by task as they end. Kernels that are in the cache already
        are loaded and not compiled.

    Raises
    ------
    ArgumentError
        If a name is unknown.
    """
    names = tuple(only) or tuple(TASKS)
    for name in names:
        if name not in TASKS:
            raise ArgumentError(
                f"nothing to warm up is called {name!r}.{did_you_mean(name, TASKS)}"
                f" There are: {', '.join(TASKS)}"
            )
    n = min(CPU_COUNT if processes is None else processes, len(names))
    if n < 1:
        yield from map(warmed, names)
        return
    # Not forked: a copy of this process would share locks that other threads hold.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n, mp_context=spawn) as pool:
        for done in as_completed([pool.submit(warmed, name) for name in names]):
            yield done.result()


def warmed(name: str) -> Warmed:
    start, before = time.perf_counter(), n_compiled()
    with (
        tempfile.TemporaryDirectory(prefix="xfelred-warm-up-") as directory,
        warnings.catch_warnings(),
        dask.config.set(scheduler="synchronous"),
    ):
        # About data of which there are hardly any.
        warnings.simplefilter("ignore")
        TASKS[name](Path(directory))
    return Warmed(name, time.perf_counter() - start, n_compiled() - before)


def n_compiled() -> int:
    """Return how many kernels this process has compiled: those not in the cache."""
    modules = [m for name, m in sys.modules.items() if name.startswith(KERNELS)]
    kernels = {id(k): k for m in modules for k in vars(m).values()}
    known = (getattr(k, "stats", None) for k in kernels.values())
    return sum(sum(getattr(s, "cache_misses", {}).values()) for s in known)


def corrected_frames(directory: Path) -> xr.DataArray:
    place = directory / "corrected"
    if not place.exists():
        synth.euxfel.write_run(
            place, modules=[0], n_trains=4, pulses=4, corrected=True, xgm=False,
            motors=False,
        )  # fmt: skip
    frames: xr.DataArray = open_run(place).frames()
    return frames


def raw_frames(directory: Path) -> xr.DataArray:
    place = directory / "raw"
    if not place.exists():
        synth.euxfel.write_run(
            place, kind="JUNGFRAU", corrected=False, modules=(1,), n_trains=2,
            pulses=2, xgm=False, motors=False,
        )  # fmt: skip
    frames: xr.DataArray = open_run(place).frames()
    return frames


def images() -> xr.DataArray:
    """Return a few images with a ring."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    away = np.hypot(x - SIDE / 2, y - SIDE / 2) - SIDE / 3
    ring = 5 + 500 * np.exp(-0.5 * (away / 1.5) ** 2)
    numbers = np.random.default_rng(0).poisson(ring, (8, SIDE, SIDE))
    dims = (FRAME, SLOW, FAST)
    coords = {FRAME: np.arange(8)}
    return xr.DataArray(numbers.astype(np.float32), coords, dims).chunk({FRAME: 4})


def mean(directory: Path) -> None:
    for frames in (corrected_frames(directory), raw_frames(directory)):
        frames.mean((TRAIN, PULSE)).compute()
        frames.mean(TRAIN).compute()
        frames.mean(PIXEL_DIMS).compute()


def statistics(directory: Path) -> None:
    for frames in (corrected_frames(directory), raw_frames(directory)):
        for dims in ((TRAIN, PULSE), (TRAIN,), PIXEL_DIMS):
            ops.statistics(frames, dims).compute()


def bins(directory: Path) -> None:
    for frames in (corrected_frames(directory), raw_frames(directory)):
        position = xr.DataArray(np.arange(len(frames[TRAIN])) + 0.5, dims=TRAIN)
        position = position.assign_coords({TRAIN: frames[TRAIN]})
        by = {"x": Bins(edges=[0, 2, 4], values=position)}
        for skipna in (True, False):
            ops.bin_frames(frames, by, skipna=skipna).compute()
            some = ("sum", "count")
            ops.bin_frames(frames, by, quantities=some, skipna=skipna).compute()
        ops.bin_frames(position.rename("x").to_dataset(), by).compute()


def located() -> xr.DataArray:
    centre = (SIDE / 2, SIDE / 2)
    flat = geometry.Geometry.flat((SIDE, SIDE), centre, 0.1, 1e-4, energy=9300.0)
    return geometry.locate(images(), flat)


def azimuthal(directory: Path) -> None:
    frames = located()
    ops.integrate_azimuthally(frames, 50).compute()
    ops.integrate_azimuthally(frames, 50, errors="poisson").compute()


def polar(directory: Path) -> None:
    for method in ("nearest", "linear", "area"):
        ops.remap_polar(
            images(), centre=(SIDE / 2, SIDE / 2), method=method, r_min=20, r_max=60,
            n_phi=64,
        ).compute()  # fmt: skip


def correlation(directory: Path) -> None:
    numbers = np.random.default_rng(0).poisson(100, (8, 4, 64)).astype(np.float32)
    dims = (TRAIN, "radius", "phi")
    rings = xr.DataArray(numbers, {TRAIN: np.arange(8)}, dims).chunk({TRAIN: 4})
    both = pairs.consecutive(rings[TRAIN])
    for how in ("none", "pairs"):
        ops.correlate_angular(rings, normalization=how, reduce="mean").compute()
        ops.difference_correlation(
            rings, both, normalization=how, reduce="mean"
        ).compute()


def calibrate(directory: Path) -> None:
    frames = raw_frames(directory)
    pedestal = xr.full_like(frames[0, 0], 3000, dtype="f4").drop_attrs().compute()
    one = {"pedestal": pedestal.reset_coords(drop=True)}
    one["gain"] = xr.full_like(one["pedestal"], 40)
    constants = xr.Dataset(
        {k: xr.concat([v] * 3, "gain_range") for k, v in one.items()}
    )
    code = xr.DataArray(np.uint8(0))
    found = ops.calibrate(frames, constants, kind="jungfrau_euxfel", gain_index=code)
    found.compute()
    ops.statistics(found, (TRAIN, PULSE), which=("mean",)).compute()


def common_mode(directory: Path) -> None:
    segment = ops.Segment((SIDE, SIDE), banks=4, halves=2)
    for groups in ("row", "column", "bank"):
        ops.subtract_common_mode(images(), groups, segment=segment).compute()


def rings(directory: Path) -> None:
    image = images()[0].values
    bad = np.zeros(image.shape, bool)
    guess = (SIDE / 2 + 1, SIDE / 2 - 1, SIDE / 3)
    ops.fit_ring(image, guess, bad_pixels=bad)
    ops.fit_ring(image, bad_pixels=bad)
    ops.find_centre(image, bad_pixels=bad)


TASKS: dict[str, Callable[[Path], None]] = {
    "mean": mean,
    "statistics": statistics,
    "bins": bins,
    "azimuthal": azimuthal,
    "polar": polar,
    "correlation": correlation,
    "calibrate": calibrate,
    "common_mode": common_mode,
    "rings": rings,
}
