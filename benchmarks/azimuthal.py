"""How fast is azimuthal integration against pyFAI, per frame of 1 Mpix?

    python benchmarks/azimuthal.py

1000 bins, float32, no pixel splitting, one thread, data in memory.
"""

import importlib.util

import dask
import numpy as np
import xarray as xr
from common import machine, median_times, table

from xfelred import geometry, ops

FRAMES = 32


def main():
    machine()
    rng = np.random.default_rng(0)
    images = rng.poisson(100, (FRAMES, 1024, 1024)).astype("f4")
    flat = geometry.Geometry.flat(
        (1024, 1024), centre=(510.3, 514.8), distance=0.1, pixel_size=1e-4, energy=9300
    )
    frames = geometry.locate(
        xr.DataArray(images, dims=("frame", "slow_scan", "fast_scan")), flat
    )
    lazy = ops.integrate_azimuthally(frames.chunk({"frame": 16}), 1000)

    def ours():
        with dask.config.set(scheduler="synchronous"):
            return lazy["intensity"].compute()

    variants = {"xfelred, no split": ours}
    if importlib.util.find_spec("pyFAI"):
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        peer = AzimuthalIntegrator(
            dist=0.1, poni1=515.3e-4, poni2=510.8e-4, pixel1=1e-4, pixel2=1e-4,
            wavelength=flat.wavelength * 1e-10,
        )  # fmt: skip
        for engine in ("csr", "csc"):

            def theirs(engine=engine):
                return [
                    peer.integrate1d(
                        i, 1000, unit="q_A^-1", method=("no", engine, "cython")
                    ).intensity
                    for i in images
                ]

            variants[f"pyFAI no/{engine}/cython"] = theirs
    for function in variants.values():
        function()
    times = median_times(variants, 5)
    base = [n for n in times if "csc" in n] or list(times)
    table(times, base[0], 1000 / FRAMES, "ms/frame")


if __name__ == "__main__":
    main()
