"""How long do exact medians of groups take, against numpy and bottleneck?

    python benchmarks/common_mode.py

Batches of 64 Jungfrau modules (512 x 1024, float32, 3 % photons, 1 % bad pixels). The
peers are vectorised numpy.nanmedian and bottleneck.nanmedian on the same groups, and
numpy.ma for 4 modules; the floor is numpy.sum. Results are compared before timing.
"""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import bottleneck
import numpy as np
from common import machine, median_times, table

from xfelred.kernels.common_mode.segments import (
    Correction,
    Groups,
    Unbonded,
    ZeroPeak,
    subtract_common_mode,
)

KINDS = {"bank": (256, 64), "row": (1, 64), "column": (256, 1)}
N = int(sys.argv[1]) if len(sys.argv) > 1 else 64
MPIX = N * 512 * 1024 / 2**20


def simulated(n):
    rng = np.random.default_rng(0)
    images = rng.normal(0, 3, (n, 512, 1024)).astype("f4")
    images[rng.random(images.shape) < 0.03] += 60
    return images, (rng.random((1, 512, 1024)) < 0.01).astype("u1")


def correction(kinds):
    """The groups of a kind, no limits."""
    stages = tuple(Groups(k, (*KINDS[k], 1), only_used=True) for k in kinds)
    return Correction(stages, ("bad_pixels",))


def ours(images, bad, kinds, n_threads=1):
    setup = correction(kinds)

    def part(some):
        return subtract_common_mode(some, bad, correction=setup)

    if n_threads == 1:
        return lambda: part(images)

    def run():
        with ThreadPoolExecutor(n_threads) as pool:
            return np.concatenate(list(pool.map(part, np.split(images, n_threads))))

    return run


def theirs(images, bad, kinds, nanmedian):
    """Reshape into groups, then one vectorised median for each kind."""

    def run():
        work = np.where(bad, np.nan, images)
        out = images.copy()
        for kind in kinds:
            h, w = KINDS[kind]
            split = (len(work), 512 // h, h, 1024 // w, w)
            groups = work.reshape(split).swapaxes(2, 3)
            groups = groups.reshape(*groups.shape[:3], h * w)
            offset = nanmedian(groups, axis=-1).astype("f4")
            image = offset[:, :, None, :, None]
            work = (work.reshape(split) - image).reshape(work.shape)
            out = (out.reshape(split) - image).reshape(work.shape)
        return np.where(bad, images, out)

    return run


def with_numpy_ma(images, bad, kinds):
    def run():
        out = np.ma.array(images, mask=np.broadcast_to(bad, images.shape) != 0)
        for kind in kinds:
            h, w = KINDS[kind]
            split = (len(images), 512 // h, h, 1024 // w, w)
            median = np.ma.median(out.reshape(split), axis=(2, 4))
            out = (out.reshape(split) - median[:, :, None, :, None]).reshape(out.shape)
        return out

    return run


def main():
    machine()
    warnings.simplefilter("ignore")
    images, bad = simulated(N)
    few = images[:4]
    for kinds in (("row",), ("bank",), ("column",), ("bank", "row", "column")):
        mine = ours(few, bad, kinds)()
        for peer in (np.nanmedian, bottleneck.nanmedian):
            np.testing.assert_allclose(mine, theirs(few, bad, kinds, peer)(), atol=1e-4)
        name = "+".join(kinds)
        variants = {
            f"xfelred {name}, 1 thread": ours(images, bad, kinds),
            f"xfelred {name}, 2 threads": ours(images, bad, kinds, 2),
            "numpy.sum of the same": images.sum,
        }
        print(f"\n{name}: {N} modules, {MPIX:.0f} Mpix; ms per Mpix")
        table(median_times(variants, 3), "numpy.sum of the same", 1e3 / MPIX, "ms/Mpix")
        peers = {
            f"xfelred {name}": ours(few, bad, kinds),
            "bottleneck.nanmedian": theirs(few, bad, kinds, bottleneck.nanmedian),
            "numpy.nanmedian": theirs(few, bad, kinds, np.nanmedian),
        }
        if len(kinds) == 3:
            peers["numpy.ma.median"] = with_numpy_ma(few, bad, kinds)
        table(median_times(peers, 3), f"xfelred {name}", 1e3 / 2, "ms/Mpix")
    rng = np.random.default_rng(1)
    sensors = rng.normal(3, 4, (32, 185, 388)).astype("f4")
    for stage in (ZeroPeak(25, 40, 100), Unbonded(100)):
        setup = Correction((stage,))
        times = median_times(
            {
                stage.name: lambda setup=setup: subtract_common_mode(
                    sensors, correction=setup
                ),
                "numpy.sum": sensors.sum,
            }
        )
        table(times, "numpy.sum", 1e3 / (sensors.size / 2**20), "ms/Mpix")


if __name__ == "__main__":
    main()
