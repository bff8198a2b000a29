"""How long does the calibration of raw frames take, against numpy and against reading?

    python benchmarks/calibrate.py [frames]

Raw Jungfrau modules (512 x 1024, uint16 with gain bits) in blocks of 64, with 0, 0.1,
3 and 50 % of the pixels in lower gains and 1 % bad. The peer is numpy, one frame at a
time with numpy.where, which is 3 to 6 times faster than numpy.choose on the whole
block; the floors are numpy.sum of the raw block and numpy.copyto from it to float32.
Then the same with the common mode of rows and columns against numpy.ma, AGIPD with
thresholds and memory cells, and HDF5 files read, calibrated and averaged. Results are
compared before timing.
"""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import xarray as xr
from common import CACHE, machine, median_times, peak_memory, table

from xfelred import open_run, ops, synth
from xfelred.kernels.calibration.calibrate import Calibration, Rule, calibrate
from xfelred.kernels.calibration.table import pack
from xfelred.kernels.common_mode.segments import Groups

N = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 64
SHAPE = (512, 1024)
MPIX = N * SHAPE[0] * SHAPE[1] / 2**20
RULE = Rule(3, 0x3FFF, 14, 3, (0, 1, 3))


def simulated(switched, n=N):
    rng = np.random.default_rng(0)
    p = [1 - switched, 0.6 * switched, 0.4 * switched]
    code = rng.choice([0, 1, 3], p=p, size=(n, 1, *SHAPE)).astype("u2")
    return code << 14 | rng.integers(2900, 3600, code.shape).astype("u2")


def constants():
    rng = np.random.default_rng(1)
    pedestal = rng.normal(3000, 9, (1, 1, 3, *SHAPE)).astype("f4")
    gain = rng.normal(40, 1, (1, 1, 3, *SHAPE)).astype("f4")
    bad = rng.random((1, 1, 1, *SHAPE)) < 0.01
    return pedestal, gain, bad


def packed(pedestal, gain, bad, *more, names=("gain", "bad_pixels"), used=()):
    made = pack(
        pedestal, gain, bad, *more, names=names, n_ranges=3, used_ranges=used,
        per_photon=1.0, by_row=False,
    )  # fmt: skip
    return made.reshape(1, -1, 1, 1)


def ours(raw, made, calibration, n_threads=1):
    def part(some):
        return calibrate(some, made, calibration=calibration)

    if n_threads == 1:
        return lambda: part(raw)

    def run():
        with ThreadPoolExecutor(n_threads) as pool:
            return list(pool.map(part, np.split(raw, n_threads)))

    return run


def with_numpy(raw, pedestal, factor, out):
    """One frame at a time."""
    (p0, p1, p2), (f0, f1, f2) = pedestal, factor

    def run():
        for frame, to in zip(raw[:, 0], out[:, 0], strict=True):
            code = frame >> 14
            p = np.where(code == 0, p0, np.where(code == 1, p1, p2))
            f = np.where(code == 0, f0, np.where(code == 1, f1, f2))
            np.subtract(frame & 0x3FFF, p, out=to, dtype=np.float32)
            to *= f
        return out

    return run


def with_numpy_ma(raw, pedestal, factor, bad):
    """Medians of rows of 64 and columns of 256 in range 0, then the gain."""

    def run():
        code = raw[:, 0] >> 14
        p = np.choose(np.minimum(code, 2), pedestal)
        f = np.choose(np.minimum(code, 2), factor)
        adu = (raw[:, 0] & 0x3FFF) - p
        adu = np.ma.array(adu, mask=(code != 0) | bad)
        for split, axes in (((512, 1, 16, 64), (2, 4)), ((2, 256, 1024, 1), (2, 4))):
            groups = adu.reshape(len(adu), *split)
            adu = (groups - np.ma.median(groups, axis=axes, keepdims=True)).reshape(
                len(adu), *SHAPE
            )
        return adu.data * f

    return run


def jungfrau():
    pedestal, gain, bad = constants()
    factor = np.where(bad, np.nan, 1 / gain.astype("f8"))[0, 0].astype("f4")
    made = packed(pedestal, gain, bad)
    calibration = Calibration(RULE, ("table",))
    out = np.zeros((N, 1, *SHAPE), "f4")
    for switched in (0, 0.001, 0.03, 0.5):
        raw = simulated(switched)
        theirs = with_numpy(raw, pedestal[0, 0], factor, out)
        mine = ours(raw, made, calibration)
        np.testing.assert_array_equal(mine(), theirs())
        print(f"\nJungfrau, {100 * switched} % in lower gains; ms per Mpix")
        table(
            median_times(
                {
                    "xfelred, 1 thread": mine,
                    "xfelred, 2 threads": ours(raw, made, calibration, 2),
                    "numpy, frame by frame": theirs,
                    "numpy.sum of raw": raw.sum,
                    "numpy.copyto float32": lambda raw=raw: np.copyto(out, raw),
                    "raw.astype float32": lambda raw=raw: raw.astype("f4"),
                },
                3,
            ),
            "numpy.copyto float32", 1e3 / MPIX, "ms/Mpix",
        )  # fmt: skip


def common_mode():
    pedestal, gain, bad = constants()
    raw = simulated(0.001)
    few = raw[:2]
    made = packed(pedestal, gain, bad, used=(0,))
    stages = tuple(
        Groups(k, (*s, 1), only_used=True) for k, s in
        (("row", (1, 64)), ("column", (256, 1)))
    )  # fmt: skip
    calibration = Calibration(RULE, ("table",), stages=stages)
    factor = (1 / gain[0, 0].astype("f8")).astype("f4")
    mine = ours(few, made, calibration)()[:, 0]
    theirs = with_numpy_ma(few, pedestal[0, 0], factor, bad[0, 0])
    used = (few[:, 0] >> 14 == 0) & ~bad[0, 0, 0]
    np.testing.assert_allclose(mine[used], theirs()[used], atol=1e-3)
    print("\nJungfrau with common mode of rows and columns; ms per Mpix")
    times = median_times(
        {
            "xfelred, 1 thread": ours(raw, made, calibration),
            "xfelred, 2 threads": ours(raw, made, calibration, 2),
            "numpy.sum of raw": raw.sum,
        },
        3,
    )
    table(times, "numpy.sum of raw", 1e3 / MPIX, "ms/Mpix")
    few_times = median_times({"numpy.ma, 2 modules": theirs}, 1)
    table(few_times, "numpy.ma, 2 modules", 1e3, "ms/Mpix")


def agipd(n_cells=32):
    """Trains of as many pulses as cells, one module."""
    rng = np.random.default_rng(2)
    shape = (1, n_cells, 3, 512, 128)
    pedestal = rng.normal(50, 5, shape).astype("f4")
    gain = rng.normal(3, 0.1, shape).astype("f4")
    cuts = np.full(shape, 5500, "f4")
    cuts[:, :, 1] = 6500
    n_trains = max(N // n_cells, 1) * 8
    raw = rng.integers(4900, 5400, (n_trains, n_cells, 1, 2, 512, 128)).astype("u2")
    raw[..., 1, :, :] += (rng.random(raw[..., 1, :, :].shape) < 0.01) * np.uint16(1000)
    made = packed(pedestal, gain, cuts, names=("gain", "thresholds"))
    entry = np.arange(n_cells, dtype="i4").reshape(1, n_cells, 1, 1, 1, 1)
    calibration = Calibration(Rule(3, codes=(0, 1, 2)), ("table", "entry"), planes=2)
    factor = (1 / gain[0].astype("f8")).astype("f4")
    out = np.zeros((n_trains, n_cells, 1, 512, 128), "f4")

    def theirs():
        for train, to in zip(raw[:, :, 0], out[:, :, 0], strict=True):
            for cell in range(n_cells):
                high, low = train[cell, 1], cuts[0, cell]
                one, two = high > low[0], high > low[1]
                p, f = pedestal[0, cell], factor[cell]
                level = np.where(two, p[2], np.where(one, p[1], p[0]))
                scale = np.where(two, f[2], np.where(one, f[1], f[0]))
                np.subtract(train[cell, 0], level, out=to[cell])
                to[cell] *= scale
        return out

    def mine():
        return calibrate(
            raw, made.reshape(1, 1, 1, 1, 1, 1), entry, calibration=calibration
        )

    np.testing.assert_array_equal(mine(), theirs())
    mpix = out.size / 2**20
    print(f"\nAGIPD, {n_cells} cells, {n_trains} trains; ms per Mpix of signal")
    table(
        median_times(
            {"xfelred, 1 thread": mine, "numpy, frame by frame": theirs,
             "numpy.sum of raw": raw.sum}, 3,
        ),
        "numpy.sum of raw", 1e3 / mpix, "ms/Mpix",
    )  # fmt: skip


def raw_run():
    path = CACHE / "xfelred-jungfrau-raw-100x4"
    if not path.exists():
        partial = path.with_suffix(".partial")
        synth.euxfel.write_run(
            partial, kind="JUNGFRAU", corrected=False, modules=(1,), n_trains=100,
            pulses=4, xgm=False, motors=False,
        )  # fmt: skip
        partial.rename(path)
    return path


def means(path, corrected):
    """The mean of all frames, raw or calibrated while they are read."""
    frames = open_run(path).frames()
    if corrected:
        pedestal = xr.full_like(frames[0, 0], 3000, dtype="f4").drop_attrs()
        pixels = {"pedestal": pedestal.compute().reset_coords(drop=True)}
        pixels["gain"] = xr.full_like(pixels["pedestal"], 40)
        three = {k: xr.concat([v] * 3, "gain_range") for k, v in pixels.items()}
        code = xr.DataArray(np.uint8(0))
        frames = ops.calibrate(
            frames, xr.Dataset(three), kind="jungfrau_euxfel", gain_index=code
        )
    return ops.statistics(frames, ("train", "pulse"), which=("mean",))["mean"]


MEMORY = """
import sys, dask
sys.path.insert(0, sys.argv[1])
from calibrate import means
with dask.config.set(scheduler="threads", num_workers=1):
    means(sys.argv[2], sys.argv[3] == "yes").compute()
"""


def fused():
    path = raw_run()
    raw, signal = means(path, False), means(path, True)
    np.testing.assert_allclose(
        signal.values, (raw.values - 3000) / 40, rtol=1e-5, atol=1e-4
    )
    mpix = 400 * SHAPE[0] * SHAPE[1] / 2**20
    for n in (1, 2):
        with dask.config.set(scheduler="threads", num_workers=n):
            print(f"\nread from HDF5 and averaged, {n} threads; ms per Mpix")
            table(
                median_times({"raw": raw.compute, "calibrated": signal.compute}, 3),
                "raw", 1e3 / mpix, "ms/Mpix",
            )  # fmt: skip
    here = sys.path[-1]
    for word in ("no", "yes"):
        peak = peak_memory(MEMORY, here, path, word)
        print(f"peak memory, calibrated: {word:<4}{peak:>8.0f} MB of 400 MB of data")


def main():
    machine()
    warnings.simplefilter("ignore")
    jungfrau()
    common_mode()
    agipd()
    fused()


if __name__ == "__main__":
    main()
