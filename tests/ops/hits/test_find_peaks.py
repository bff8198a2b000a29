"""Peaks: a slow search with scipy, known places, edges, chunks."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

from xfelred import geometry, ops
from xfelred.errors import ArgumentError, GeometryMismatchError, MissingConstantError

GOLDEN = Path(__file__).parents[2] / "golden/data/hits"
DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
SHAPE = (2, 40, 50)
CENTRE = (20.0, 18.0)
LIMITS = {
    "adc_threshold": 30,
    "minimum_snr": 5,
    "min_pixel_count": 2,
    "max_pixel_count": 20,
    "local_bg_radius": 3,
}


def radii():
    rows, columns = np.indices(SHAPE[1:])
    one = np.hypot(rows - CENTRE[1], columns - CENTRE[0])
    return np.stack([one, one + 50])


def crystals(chunks=None, dtype=np.float32):
    """Frames (5, 1, 2, 40, 50) of a round background with peaks of some widths."""
    rng = np.random.default_rng(2)
    mean = 200 * np.exp(-radii() / 20) + 20
    values = rng.normal(mean, 3, (5, 1, *SHAPE))
    rows, columns = np.indices(SHAPE[1:])
    for frame in values[1:, 0]:
        for _ in range(14):
            m, r, c = rng.integers(0, SHAPE)
            wide = rng.uniform(0.4, 1.6)
            shape = np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / (2 * wide**2))
            frame[m] += rng.uniform(60, 500) * shape
    values = np.rint(values).clip(0)
    coords = {"train": 10 + np.arange(5), "pulse": [0], "module": [3, 8]}
    da = xr.DataArray(values.astype(dtype), coords, DIMS, attrs={"units": "adu"})
    return da.chunk(train=chunks) if chunks else da


def bad():
    flags = np.random.default_rng(1).random(SHAPE) < 0.02
    return xr.DataArray(flags, {"module": [3, 8]}, DIMS[2:])


def background(frame, good, places, snr, least):
    n = places.max() + 1
    low, high = np.full(n, -np.inf), np.full(n, np.inf)
    for _ in range(5):
        use = good & (frame > low[places]) & (frame < high[places])
        count = np.bincount(places[use], minlength=n)
        total = np.bincount(places[use], frame[use], minlength=n)
        square = np.bincount(places[use], frame[use] ** 2, minlength=n)
        with np.errstate(invalid="ignore"):
            mean = np.where(count > 0, total / count, 0)
            sigma = np.sqrt(np.clip(square / count - mean**2, 0, None))
        high = np.where(count > 0, np.maximum(mean + snr * sigma, least), np.inf)
        low = np.where(count > 0, mean - snr * sigma, 0)
    return mean, high


def by_hand(frame, good, limits):
    """Peaks of one frame (module, row, column), in the order of their first pixel."""
    places = np.rint(radii()).astype(int)
    mean, high = background(
        frame, good, places, limits["minimum_snr"], limits["adc_threshold"]
    )
    out = []
    for m, image in enumerate(frame):
        ring = places[m]
        above = good[m] & (image > high[ring])
        labels, n = ndimage.label(above, np.ones((3, 3)))
        inner = np.zeros_like(above)
        inner[1:-1, 1:-1] = True
        firsts = {}
        for k in range(1, n + 1):
            at = np.flatnonzero((labels == k) & inner)
            if len(at):
                firsts[at[0]] = k
        seen = np.zeros(n + 1, bool)
        for _, k in sorted(firsts.items()):
            seen[k] = True
            mine = labels == k
            if not limits["min_pixel_count"] <= mine.sum() <= limits["max_pixel_count"]:
                continue
            r, c = np.nonzero(mine)
            w = image[mine] - mean[ring][mine]
            r0, c0 = (int(np.rint((w * x).sum() / w.sum())) for x in (r, c))
            reach = 2 * limits["local_bg_radius"]
            y, x = np.indices(image.shape)
            y, x = y - r0, x - c0
            near = (y**2 + x**2 <= reach**2) & (y < reach) & (x < reach)
            near &= good[m] & ~seen[labels] | (good[m] & near & (labels == 0))
            near &= image < high[ring]
            local = image[near].mean()
            spread = image[near].std()
            v = image[mine]
            total = (v - local).sum()
            if total / spread < limits["minimum_snr"]:
                continue
            if v.max() - local < max(image[near].max(), 0) - local:
                continue
            out.append(
                (total, v.max() - local, (v * r).sum() / v.sum(),
                 (v * c).sum() / v.sum(), [3, 8][m], mine.sum(), total / spread,
                 local, spread)
            )  # fmt: skip
    return np.array(out).reshape(-1, 9)


NAMES = (
    "intensity", "max_intensity", "row", "col", "module", "n_pixels", "snr",
    "background", "sigma",
)  # fmt: skip


@pytest.mark.parametrize("snr", [4, 8])
def test_peaks_are_those_of_a_slow_search(snr, no_compute):
    da, limits = crystals(2), {**LIMITS, "minimum_snr": snr}
    with no_compute():
        made = ops.find_peaks(
            da, radius=radii(), bad_pixels=bad(), max_n_peaks=40, **limits
        )
    found = made.compute()
    assert found["row"].dims == ("train", "pulse", "peak")
    n_all = 0
    for i, frame in enumerate(da.values[:, 0].astype(float)):
        wanted = by_hand(frame, ~bad().values, limits)
        n = int(found["n_peaks"][i, 0])
        n_all += n
        assert n == len(wanted)
        for name, column in zip(NAMES, wanted.T, strict=True):
            got = found[name][i, 0].values
            np.testing.assert_allclose(got[:n], column, rtol=1e-9)
            rest = {"module": -1, "n_pixels": 0}.get(name, np.nan)
            np.testing.assert_array_equal(got[n:], rest)
    assert n_all >= {4: 20, 8: 1}[snr]


def test_peaks_are_those_of_peakfinder8():
    golden = np.load(GOLDEN / "peakfinder8.npz")
    frames = xr.DataArray(golden["frames"].astype("f4"), dims=("train", *DIMS[2:]))
    limits = {**LIMITS, "minimum_snr": 4}
    found = ops.find_peaks(
        frames, radius=golden["radius"], bad_pixels=~golden["good"], **limits
    )
    # Rows of all modules on top of each other.
    found["row"] = found["row"] + SHAPE[1] * found["module"]
    names = ("intensity", "max_intensity", "row", "col", "n_pixels", "snr", "sigma")
    for i in range(2):
        wanted = golden["peaks"][golden["peaks"][:, 0] == i, 1:]
        n = int(found["n_peaks"][i])
        assert n == len(wanted) > 0
        for name, column in zip(names, wanted.T, strict=True):
            np.testing.assert_allclose(found[name][i, :n], column, rtol=1e-5)


@pytest.mark.parametrize("chunks", [1, 5])
def test_chunks_and_dtypes_make_no_difference(chunks):
    given = {"radius": radii(), "max_n_peaks": 30, **LIMITS}
    wanted = ops.find_peaks(crystals(), **given)
    found = ops.find_peaks(crystals(chunks, np.uint8 if chunks == 1 else "f4"), **given)
    small = crystals(dtype=np.uint8) if chunks == 1 else crystals()
    wanted = wanted if chunks == 5 else ops.find_peaks(small, **given)
    xr.testing.assert_equal(found.compute(), wanted.compute())


def test_more_peaks_than_there_is_room_are_counted():
    all_of_them = ops.find_peaks(crystals(), radius=radii(), **LIMITS)
    found = ops.find_peaks(crystals(), radius=radii(), max_n_peaks=3, **LIMITS)
    assert found["row"].sizes["peak"] == 3
    np.testing.assert_array_equal(found["n_peaks_all"], all_of_them["n_peaks"])
    np.testing.assert_array_equal(found["n_peaks"], found["n_peaks_all"].clip(max=3))
    np.testing.assert_array_equal(found["row"], all_of_them["row"][..., :3])


def test_distances_follow_from_a_geometry():
    flat = geometry.Geometry.flat(
        SHAPE[1:], centre=CENTRE, distance=0.1, pixel_size=1e-4, energy=9e3
    )
    da = crystals()[:, :, 0].drop_vars("module")
    given = {"max_n_peaks": 30, **LIMITS}
    wanted = ops.find_peaks(da, radius=radii()[0], **given)
    found = ops.find_peaks(geometry.locate(da, flat), **given)
    xr.testing.assert_allclose(found[[*NAMES]], wanted[[*NAMES]])
    cut = ops.find_peaks(geometry.locate(da, flat), max_res=20, **given)
    away = np.hypot(cut["row"] - CENTRE[1], cut["col"] - CENTRE[0])
    assert 0 < cut["n_peaks"].sum() < found["n_peaks"].sum()
    assert away.max() < 21


def test_nothing_is_found_in_noise_or_nothing():
    da = crystals()
    empty = ops.find_peaks(da * np.nan, radius=radii(), **LIMITS)
    assert not empty["n_peaks"].any()
    assert int(ops.find_peaks(da[:1], radius=radii(), **LIMITS)["n_peaks"].sum()) == 0
    assert ops.find_peaks(da[:0], radius=radii(), **LIMITS)["row"].shape[0] == 0


def test_bad_input_is_refused():
    da = crystals()
    with pytest.raises(MissingConstantError, match="locate"):
        ops.find_peaks(da, **LIMITS)
    with pytest.raises(ArgumentError, match="min_pixel_count=9"):
        ops.find_peaks(da, radius=radii(), **{**LIMITS, "min_pixel_count": 9}
                       | {"max_pixel_count": 3})  # fmt: skip
    with pytest.raises(ArgumentError, match="min_res=9"):
        ops.find_peaks(da, radius=radii(), min_res=9, max_res=3, **LIMITS)
    with pytest.raises(GeometryMismatchError, match="radius"):
        ops.find_peaks(da, radius=np.zeros((3, 3)), **LIMITS)
    with pytest.raises(ArgumentError, match="max_n_peaks=0"):
        ops.find_peaks(da, radius=radii(), max_n_peaks=0, **LIMITS)


def test_lit_pixels_are_those_of_numpy(no_compute):
    da = crystals(2).where(crystals() != 20)
    with no_compute():
        made = ops.lit_pixels(da, 60, bad_pixels=bad())
    good = ~bad().values & ~np.isnan(da.values)
    lit = good & (da.values >= 60)
    np.testing.assert_array_equal(made["n_lit"], lit.sum((-2, -1)))
    np.testing.assert_array_equal(made["n_good"], good.sum((-2, -1)))
    share = lit.sum((-3, -2, -1)) / good.sum((-3, -2, -1))
    np.testing.assert_allclose(made["score"], share, rtol=1e-12)
    with pytest.raises(ArgumentError, match="threshold"):
        ops.lit_pixels(da, np.nan)


def test_rates_are_of_the_frames_that_were_recorded(no_compute):
    there = [[True, True], [True, True], [False, False], [True, False], [True, True]]
    there = xr.DataArray(there, dims=("train", "module"))
    da = crystals(2).assign_coords(available=there)
    with no_compute():
        peaks = ops.find_peaks(da, radius=radii(), max_n_peaks=30, **LIMITS)
        found = ops.find_hits(peaks["n_peaks"], 5)
    score = ops.lit_pixels(da.where(there), 60)["score"]
    assert score.isnull().values[:, 0].tolist() == [False, False, True, False, False]
    hit = (peaks["n_peaks"] >= 5).values
    assert not hit[2, 0]
    assert not hit[0, 0]
    np.testing.assert_array_equal(found["is_hit"], hit)
    assert float(found["hit_rate"]) == hit.sum() / 4
    assert int(found["n_hits"]) == hit.sum() > 1
    with pytest.raises(ArgumentError, match="score"):
        ops.find_hits(xr.DataArray(["a"], dims="train"), 3)
