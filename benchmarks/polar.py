"""How fast are polar maps against numpy indexing with a ready index, and scipy?

    python benchmarks/polar.py

64 frames of 1 Mpix float32 in one dask block, rings of 100 x 1024 samples and the whole
image (500 x 3141), through the public operation. The graph is built once; the empty
block below shows what dask and xarray add.
"""

import dask
import numpy as np
import xarray as xr
from common import machine, median_times, table
from scipy import ndimage

from xfelred import ops

FRAMES, SIZE = 64, 1024
CENTRE = (511.3, 510.8)
MAPS = {
    "ring 100 x 1024": {"r_min": 300, "r_max": 400, "n_phi": 1024},
    "whole 500 x 3141": {"r_min": 5, "r_max": 505, "n_phi": 3141},
}


def sample_index(radii, phi):
    """Return the flat index of every sample, as the peers make it once."""
    x = CENTRE[0] + radii[:, None] * np.cos(phi)
    y = CENTRE[1] + radii[:, None] * np.sin(phi)
    return (np.ceil(y - 0.5) * SIZE + np.ceil(x - 0.5)).astype(np.intp), x, y


def run(lazy, threads):
    """Return a function that computes a lazy array on so many threads."""
    scheduler = "threads" if threads > 1 else "synchronous"

    def compute():
        with dask.config.set(scheduler=scheduler, num_workers=threads):
            return lazy.compute()

    return compute


def compare(name, options, images, frames):
    """Print one table."""
    lazy = {
        m: ops.remap_polar(frames, centre=CENTRE, method=m, **options)
        for m in ("nearest", "linear", "area")
    }
    at = lazy["nearest"]
    index, x, y = sample_index(at.radius.values, at.phi.values)
    flat = images.reshape(FRAMES, -1)

    def fancy():
        return [frame[index] for frame in flat]

    def fancy_at_once():
        return flat[:, index]

    def spline():
        at = np.stack([y, x])
        return [ndimage.map_coordinates(image, at, order=1) for image in images[:4]]

    np.testing.assert_array_equal(fancy(), lazy["nearest"].compute())
    np.testing.assert_allclose(spline(), lazy["linear"][:4].compute(), rtol=1e-4)
    variants = {
        "numpy, all frames with a ready index": fancy_at_once,
        "numpy, frame by frame with a ready index": fancy,
        **{f"xfelred {m}": run(v, 1) for m, v in lazy.items()},
    }
    for function in variants.values():
        function()
    print(name)
    table(median_times(variants, 5), next(iter(variants)), 1000 / FRAMES, "ms/frame")
    wall = median_times({"spline": spline}, 3)["spline"][0]
    print(f"{'scipy map_coordinates, order 1':<52}{wall / 4 * 1000:>9.3f}\n")


def two_threads(frames):
    """Print how 4 blocks scale with threads."""
    lazy = ops.remap_polar(
        frames.chunk({"frame": FRAMES // 4}), centre=CENTRE, method="nearest",
        **MAPS["whole 500 x 3141"],
    )  # fmt: skip
    variants = {f"nearest, {n} threads": run(lazy, n) for n in (1, 2)}
    table(median_times(variants, 5), "nearest, 1 threads", 1000 / FRAMES, "ms/frame")


def overhead():
    """Print what one block costs when there is next to nothing to sample."""
    tiny = xr.DataArray(
        np.ones((FRAMES, 8, 8), "f4"), dims=("frame", "slow_scan", "fast_scan")
    )
    options = {"centre": (3.5, 3.5), "r_min": 1, "r_max": 3, "n_phi": 8}
    for n_blocks in (1, 16):
        frames = xr.concat([tiny] * n_blocks, "frame").chunk({"frame": FRAMES})
        lazy = ops.remap_polar(frames, method="nearest", **options)
        done = median_times(
            {
                "compute": run(lazy, 1),
                "build": lambda f=frames: ops.remap_polar(
                    f, method="nearest", **options
                ),
            },
            9,
        )
        wall, build = done["compute"][0], done["build"][0]
        print(
            f"{n_blocks} empty blocks: compute {wall * 1000:.2f} ms,"
            f" {wall / n_blocks * 1000:.2f} ms per block; build {build * 1000:.1f} ms"
        )


def main():
    machine()
    rng = np.random.default_rng(0)
    images = rng.random((FRAMES, SIZE, SIZE), dtype="f4")
    frames = xr.DataArray(images, dims=("frame", "slow_scan", "fast_scan"))
    frames = frames.chunk({"frame": FRAMES})
    for name, options in MAPS.items():
        compare(name, options, images, frames)
    two_threads(frames)
    overhead()


if __name__ == "__main__":
    main()
