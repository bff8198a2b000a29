"""How fast is azimuthal integration against pyFAI and against a plain sum?

    python benchmarks/azimuthal.py

1000 bins, no pixel splitting, frames in memory in batches, through the public API with
dask. pyFAI gives four sums (signal, norm, variance, count); so does ours with
``errors="poisson"`` and solid angles. The floor is `np.sum` of the same frames.
"""

import importlib.util

import dask
import numpy as np
import xarray as xr
from common import machine, median_times, table

from xfelred import geometry, ops

BINS = 1000
CASES = (
    (1024, "f4", 64, 16),
    (1024, "f4", 64, 8),
    (1024, "u2", 64, 16),
    (2048, "f4", 32, 8),
    (2048, "u2", 32, 8),
)
PIXEL, DISTANCE, ENERGY = 1e-4, 0.1, 9300.0


def located(side, dtype, n_frames):
    """Return frames with scattering coordinates, and their geometry."""
    rng = np.random.default_rng(0)
    images = rng.poisson(100, (n_frames, side, side)).astype(dtype)
    centre = (side / 2 - 1.7, side / 2 + 2.8)
    flat = geometry.Geometry.flat((side, side), centre, DISTANCE, PIXEL, energy=ENERGY)
    frames = xr.DataArray(images, dims=("frame", "slow_scan", "fast_scan"))
    return geometry.locate(frames, flat), centre, flat.wavelength


def ours(frames, n_threads, **options):
    """Return a function that integrates all frames, all results at once."""
    found = ops.integrate_azimuthally(frames, BINS, **options)

    def run():
        with dask.config.set(scheduler="threads", num_workers=n_threads):
            return dask.compute(found)[0]

    return run


def theirs(frames, centre, wavelength):
    """Return a function that integrates frame by frame with pyFAI's fastest engine."""
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    foot = [(c + 0.5) * PIXEL for c in centre]
    peer = AzimuthalIntegrator(
        dist=DISTANCE, poni1=foot[1], poni2=foot[0], pixel1=PIXEL, pixel2=PIXEL,
        wavelength=wavelength * 1e-10,
    )  # fmt: skip
    method = ("no", "csc", "cython")

    def run():
        return [
            peer.integrate1d(
                i, BINS, unit="q_A^-1", method=method, error_model="poisson"
            )
            for i in frames.values
        ]

    return run


def check(mine, peer):
    """Raise unless totals agree and most bins hold the same pixels."""
    signal = (mine["intensity"] * mine["norm"]).sum("q").values
    np.testing.assert_allclose(signal, [p.sum_signal.sum() for p in peer], rtol=1e-6)
    norm = mine["norm"].sum("q").values
    np.testing.assert_allclose(
        norm, [p.sum_normalization.sum() for p in peer], rtol=1e-6
    )
    a, b = mine["intensity"].values, np.array([p.intensity for p in peer])
    far = ~np.isclose(a, b, rtol=2e-3)
    assert far.mean() < 0.05, far.mean()


def main():
    machine()
    for side, dtype, n_frames, batch in CASES:
        frames, centre, wavelength = located(side, dtype, n_frames)
        batches = frames.chunk({"frame": batch})
        full = {"errors": "poisson"}
        variants = {
            "np.sum": lambda i=frames.values: [np.sum(f) for f in i],
            "signal, norm, count; 1 thread": ours(batches, 1),
            "signal, norm, count; 2 threads": ours(batches, 2),
            "and variance; 1 thread": ours(batches, 1, **full),
            "and variance; 2 threads": ours(batches, 2, **full),
            "one batch of all frames; 1 thread": ours(frames, 1),
        }
        if importlib.util.find_spec("pyFAI"):
            peer = theirs(frames, centre, wavelength)
            check(variants["and variance; 1 thread"](), peer())
            variants["pyFAI no/csc/cython"] = peer
        for function in variants.values():
            function()
        print(f"\n{n_frames} frames of {side} x {side}, {dtype}, {batch} a batch")
        table(median_times(variants, 5), "np.sum", 1000 / n_frames, "ms/frame")


if __name__ == "__main__":
    main()
