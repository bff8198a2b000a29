"""What do peaks, speckle and edges cost, beside plain numpy and scipy?

    OPENBLAS_NUM_THREADS=1 python benchmarks/features.py [rounds]

One thread, float32 frames in memory; variants take turns, ratios are within a run, and
results are compared before they are timed. Peaks: 1 Mpix of 8 modules with 100 peaks on
a background; the plain version has the same five rounds of clipping with
`numpy.bincount` and labels with `scipy.ndimage`, and measures no peak. Pulses: g2 of a
train of 352 pulses of 1 Mpix in 8 modules and 10 rings, 1.5 GB, beside reading the same
bytes from a file in the page cache with h5py, and a plain loop over few pairs.
"""

import sys
import tempfile

import dask
import h5py
import numpy as np
import xarray as xr
from common import machine, median_times, table
from scipy import ndimage

from xfelred import ops
from xfelred.synth import speckle

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SHAPE = (8, 256, 512)
PIXELS = ("module", "slow_scan", "fast_scan")
PULSES, RINGS = 352, 10
GIVEN = {"adc_threshold": 60, "minimum_snr": 6, "max_n_peaks": 500}


def crystal():
    """Return a frame with peaks, and the distance of its pixels from the beam."""
    rng = np.random.default_rng(1)
    rows, columns = np.indices(SHAPE[1:])
    radius = np.stack([np.hypot(rows + 60 * m, columns) for m in range(SHAPE[0])])
    image = rng.normal(30 * np.exp(-radius / 300) + 10, 4)
    for _ in range(100):
        m, r, c = rng.integers((0, 3, 3), np.array(SHAPE) - (0, 3, 3))
        image[m, r - 1 : r + 2, c - 1 : c + 2] += rng.uniform(100, 900)
    dims = ("train", *PIXELS)
    return xr.DataArray(image[None].astype(np.float32), dims=dims), radius


def plain_peaks(frame, radius):
    """Label the pixels above the clipped background of their radius."""
    ring = np.rint(radius).astype(int)
    n = ring.max() + 1
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    for _ in range(5):
        use = (frame > low[ring]) & (frame < high[ring])
        at, values = ring[use], frame[use].astype(float)
        count = np.maximum(np.bincount(at, minlength=n), 1)
        mean = np.bincount(at, values, n) / count
        square = np.bincount(at, values**2, n) / count
        sigma = np.sqrt(np.maximum(square - mean**2, 0))
        high = np.maximum(mean + GIVEN["minimum_snr"] * sigma, GIVEN["adc_threshold"])
        low = mean - GIVEN["minimum_snr"] * sigma
    above = frame > high[ring]
    sizes = []
    for image in above:
        labels, n = ndimage.label(image, np.ones((3, 3)))
        sizes += list(np.bincount(labels.ravel())[1:])
    return sum(2 <= s <= 200 for s in sizes)


def peaks():
    frame, radius = crystal()
    frames = xr.concat([frame] * 4, "train")

    found = ops.find_peaks(frames, radius=radius, **GIVEN)
    lit_pixels = ops.lit_pixels(frames, 60)

    def ours():
        return found.compute()

    def lit():
        return lit_pixels.compute()

    def plain():
        return [plain_peaks(f, radius) for f in frames.values]

    print(f"peaks: {ours()['n_peaks_all'].values[0]} (plain: {plain()[0]})")
    times = median_times(
        {"scipy: clip and label": plain, "ops.find_peaks": ours, "ops.lit_pixels": lit},
        ROUNDS,
    )
    table(times, "scipy: clip and label", 1000 / len(frames), "ms/Mpix")


def pulses():
    small = speckle.photons(
        shape=(1, 32, 32), n_trains=1, pulses=range(PULSES), k_mean=0.3
    )
    tiles = (SHAPE[1] // 32, SHAPE[2] // 32)
    module = np.tile(small.values[0, :, 0], (1, *tiles))
    # A block of each module, as readers make them.
    one = xr.DataArray(module[None, :, None], dims=("train", "pulse", *PIXELS)).chunk()
    da = xr.concat([one] * SHAPE[0], "module")
    da = da.transpose("train", "pulse", *PIXELS)
    data = np.repeat(module[None, :, None], SHAPE[0], axis=2)
    rows = np.arange(SHAPE[1]) * RINGS // SHAPE[1]
    rings = xr.DataArray(np.broadcast_to(rows[:, None], SHAPE[1:]), dims=PIXELS[1:])
    mine = rings.values == 0

    def ours():
        return ops.correlate_pulses(da, rings, max_lag=PULSES, reduce=None).compute()

    def one_lag():
        total = []
        for i in range(0, PULSES - 1, 8):
            one, two = (data[0, k][:, mine].astype(float) for k in (i, i + 1))
            total.append((one * two).mean() / one.mean() / two.mean())
        return np.mean(total)

    with tempfile.TemporaryDirectory() as place:
        path = f"{place}/train.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=data[0], chunks=(1, 1, *SHAPE[1:]))

        def read():
            with h5py.File(path) as file:
                for i in range(PULSES):
                    file["data"][i]

        plain = sum(
            (lambda a, b: (a * b).mean() / a.mean() / b.mean())(
                *(data[0, k][:, mine].astype(float) for k in (i, i + 1))
            )
            for i in range(PULSES - 1)
        ) / (PULSES - 1)
        np.testing.assert_allclose(ours()["g2"][0, 0, 0], plain, rtol=1e-6)
        times = median_times(
            {
                "reading the train (h5py)": read,
                "numpy: 44 of 61776 pairs, 1 of 10 rings": one_lag,
                "ops.correlate_pulses: all of them": ours,
            },
            max(ROUNDS // 2, 1),
        )
    table(times, "reading the train (h5py)", 1, "s/train")


def edges():
    rng = np.random.default_rng(2)
    trace = 1 - 0.2 * (np.arange(2048) > 1000) + rng.normal(0, 0.02, (1000, 2048))
    da = xr.DataArray(trace, dims=("train", "sample")).chunk(train=100)
    weights = np.repeat([1 / 50, -1 / 50], 50)

    def plain():
        return [np.correlate(t, weights, "valid").argmax() for t in trace]

    def ours():
        return ops.find_edge(da, step=50).compute()

    np.testing.assert_allclose(ours()["position"], np.array(plain()) + 49.5, atol=1)
    times = median_times({"numpy: correlate, argmax": plain, "ops.find_edge": ours})
    table(times, "numpy: correlate, argmax", 1000, "us/shot")


if __name__ == "__main__":
    machine()
    with dask.config.set(scheduler="synchronous"):
        peaks()
        edges()
        pulses()
