"""How fast are features of frames against the same in numpy and scipy?

    python benchmarks/frame_features.py

Frames of 1 Mpix (16 modules of 512 x 128) float32 in one dask block, through the public
operations, one thread; sparse frames with single photons for droplets. Every baseline
does one frame at a time, in numpy or scipy, and the results are compared before.
"""

import dask
import numpy as np
import xarray as xr
from common import machine, median_times, table
from scipy import ndimage

from xfelred import ops

FRAMES, SHAPE = 8, (16, 512, 128)
DIMS = ("train", "module", "slow_scan", "fast_scan")
CROSS = ndimage.generate_binary_structure(2, 1)
EDGES = np.linspace(50, 150, 101)
HIGH, LOW, ADU = 40.0, 15.0, 160.0


def simulated():
    rng = np.random.default_rng(0)
    dense = rng.normal(100, 5, (FRAMES, *SHAPE)).astype("f4")
    hits = rng.random((FRAMES, *SHAPE)) < 0.01
    sparse = ndimage.gaussian_filter(hits * ADU, (0, 0, 0.45, 0.45))
    return dense, (sparse + rng.normal(0, 3, sparse.shape)).astype("f4")


def labelled(frame):
    """Droplets of a frame as a user of scipy finds them: (adu, row, col) of each."""
    out = []
    for image in frame:
        label, _ = ndimage.label(np.where(image < HIGH, 0, image))
        image = np.where(image < LOW, 0, image)
        label = ndimage.maximum_filter(label, footprint=CROSS) * (image != 0)
        label, n = ndimage.label(label)
        each = np.arange(1, n + 1)
        adu = ndimage.sum(image, label, each)
        centre = ndimage.center_of_mass(image, label, each)
        out += [(a, *c) for a, c in zip(adu, centre, strict=True)]
    return np.array(out)


def correlated(frame):
    out = np.empty(frame.shape)
    ones = np.fft.rfft2(np.ones(frame.shape[1:]))
    n = np.fft.irfft2(ones * ones.conj(), frame.shape[1:])
    for i, image in enumerate(frame):
        f = np.fft.rfft2(image)
        top = np.fft.irfft2(f * f.conj(), image.shape) * n
        below = np.fft.irfft2(f * ones.conj(), image.shape)
        below = below * np.fft.irfft2(ones * f.conj(), image.shape)
        out[i] = np.fft.fftshift(top / below)
    return out


def main():
    dense, sparse = simulated()
    da, drops = (
        xr.DataArray(x, dims=DIMS).chunk(train=FRAMES) for x in (dense, sparse)
    )
    limits = {"threshold": HIGH, "threshold_low": LOW}
    lazy = {
        "np.sum": None,
        "roi (sum, mean, max, com)": ops.roi(da),
        "project to columns": ops.project(da, "slow_scan"),
        "project to one number": ops.project(da),
        "spectrum, 100 bins": ops.spectrum(da, EDGES),
        "rebin 4 x 4": ops.rebin(da, (128, 32)),
        "autocorrelate": ops.autocorrelate(da),
        "find_droplets": ops.find_droplets(drops, **limits),
        "droplets_to_photons": ops.droplets_to_photons(
            drops, adu_per_photon=ADU, **limits
        ),
        "count_photons": ops.count_photons(drops, adu_per_photon=ADU),
    }
    plain = {
        "np.sum": lambda f, _: f.sum(),
        "roi (sum, mean, max, com)": lambda f, _: (
            f.sum(), f.max(), (f.sum((0, 2)) * np.arange(512)).sum(),
            (f.sum((0, 1)) * np.arange(128)).sum(),
        ),
        "project to columns": lambda f, _: f.sum(1, dtype=float),
        "project to one number": lambda f, _: f.sum(dtype=float),
        "spectrum, 100 bins": lambda f, _: np.histogram(f, EDGES)[0],
        "rebin 4 x 4": lambda f, _: f.reshape(16, 128, 4, 32, 4).mean((2, 4)),
        "autocorrelate": lambda f, _: correlated(f),
        "find_droplets": lambda _, f: labelled(f),
    }  # fmt: skip
    found = lazy["find_droplets"].isel(train=0).compute(scheduler="synchronous")
    wanted = labelled(sparse[0])
    n = int(found.n_droplets)
    assert n == len(wanted)
    np.testing.assert_allclose(found.adu[:n], wanted[:, 0], rtol=1e-6)
    image = lazy["autocorrelate"].isel(train=0).compute(scheduler="synchronous")
    np.testing.assert_allclose(image, correlated(dense[0].astype(float)), rtol=1e-7)
    variants = {}
    for name, result in lazy.items():
        if name in plain:
            variants[f"{name}: numpy, scipy"] = lambda f=plain[name]: [
                f(a, b) for a, b in zip(dense, sparse, strict=True)
            ]
        if result is not None:
            variants[f"{name}: ops"] = lambda r=result: r.compute()
    with dask.config.set(scheduler="synchronous"):
        for run in variants.values():
            run()
        times = median_times(variants, repeats=3)
    machine()
    print(f"{n} droplets a frame; ms per frame, ratio to np.sum")
    table(times, "np.sum: numpy, scipy", unit=1e3 / FRAMES, label="ms")


if __name__ == "__main__":
    main()
