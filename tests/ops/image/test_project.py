"""Projections and lines: numpy, frame by frame, and smalldata_tools."""

from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import bad_pixels, frames, plain
from xfelred import ops
from xfelred.errors import ArgumentError, OutOfRangeError

GOLDEN = Path(__file__).parents[2] / "golden/data/lcls"
AXES = ("module", "slow_scan", "fast_scan")
SOME = [*chain.from_iterable(combinations(AXES, n) for n in (1, 2, 3))]


def by_hand(da, bad, away, mean=False, low=None, high=None, photons=False, least=None):
    out = []
    for frame in plain(da):
        good = ~bad & ~np.isnan(frame)
        x = np.where(good, frame, 0)
        for cut in ([] if low is None else [x < low]) + (
            [] if high is None else [x > high]
        ):
            x = np.where(cut, 0, x)
        if least is not None:
            x = np.where(x < least, 0, x)
        if photons:
            x = (x > 0).astype(float)
        axes = tuple(AXES.index(a) for a in away)
        total, n = x.sum(axes), good.sum(axes)
        with np.errstate(invalid="ignore"):
            out.append(total / n if mean else total)
    return np.array(out)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("axis", SOME)
def test_projections_are_those_of_a_loop(axis, mean, no_compute):
    da = frames(3, missing=0.1)
    bad = bad_pixels()
    with no_compute():
        made = ops.project(da, axis, mean=mean, threshold=(990, 1010), bad_pixels=bad)
    found = made["data"]
    assert found.dims == (*da.dims[:2], *(d for d in AXES if d not in axis))
    wanted = by_hand(da, bad.values[::-1], axis, mean, 990, 1010)
    got = found.values.reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


@pytest.mark.parametrize("layout", ["train", "frame"])
@pytest.mark.parametrize("chunks", [None, 1, 11])
def test_chunks_and_layouts_make_no_difference(chunks, layout):
    da = frames(chunks, missing=0.1, layout=layout)
    found = ops.project(da, "slow_scan", bad_pixels=bad_pixels())["data"]
    wanted = ops.project(frames(3, missing=0.1), "slow_scan", bad_pixels=bad_pixels())
    np.testing.assert_array_equal(found.values.ravel(), wanted["data"].values.ravel())


def test_noise_photons_and_integers():
    da = frames(3, dtype="u2")
    noise = xr.full_like(da.isel(train=0, pulse=0, drop=True), 200.0, dtype=float)
    given = {"noise": noise, "noise_sigma": 5, "single_photon": True}
    found = ops.project(da, "fast_scan", **given)["data"]
    none = np.zeros(da.shape[-3:], bool)
    wanted = by_hand(da, none, ("fast_scan",), photons=True, least=1000)
    np.testing.assert_array_equal(plain(found.expand_dims("x", -1))[..., 0], wanted)
    assert 0 < wanted.mean() < 9
    assert found.dtype == np.int64
    with pytest.raises(ArgumentError, match="needs noise"):
        ops.project(da, noise_sigma=3)
    with pytest.raises(ArgumentError, match="slow_scan"):
        ops.project(da, "slow_scn")


def test_a_line_without_good_pixels_is_0_or_nan():
    da = frames(3)
    bad = xr.zeros_like(da.isel(train=0, pulse=0, drop=True), dtype=bool)
    bad[0, 2] = True
    lines = ops.project(da, "fast_scan", bad_pixels=bad)["data"]
    assert (lines[..., 0, 2] == 0).all()
    means = ops.project(da, "fast_scan", bad_pixels=bad, mean=True)["data"]
    assert means[..., 0, 2].isnull().all()
    assert means.notnull().sum() == means.size - len(da)


def test_regions_and_their_projections_are_those_of_smalldata_tools():
    golden = np.load(GOLDEN / "roi_projection_spectrum.npz")
    frame = xr.DataArray(golden["img3d"], dims=AXES)
    good = golden["d3_det_mask"] & golden["d3_det_cmask"]
    bad = xr.DataArray(good == 0, dims=AXES)
    bounds = golden["roi3d__cfg__ROI_0_bound"]
    area = ops.roi(frame, bounds, threshold=8, write_area=True)["area"]
    cut = dict(zip(AXES, (slice(*map(int, b)) for b in bounds), strict=True))
    bad = bad.isel(cut)
    found = ops.project(area, "slow_scan", bad_pixels=bad)["data"]
    np.testing.assert_allclose(found[0], golden["roi3d__pj_ax_0_data"], rtol=1e-5)
    found = ops.project(area, "fast_scan", bad_pixels=bad, mean=True)["data"]
    np.testing.assert_allclose(found[0], golden["roi3d__pj1_data"], rtol=1e-5)
    found = ops.project(area, bad_pixels=bad)["data"]
    np.testing.assert_allclose(found, golden["roi3d__pjs_data"], rtol=1e-5)
    edges = golden["roi3d__cfg__spectrum_bins"]
    counts = ops.spectrum(area, edges, bad_pixels=bad)["histogram"]
    np.testing.assert_array_equal(counts, golden["roi3d__spectrum_histogram"])


@pytest.mark.parametrize("index", [None, 3, -1])
@pytest.mark.parametrize("axis", AXES)
def test_lines_are_those_of_numpy(axis, index):
    da, bad = frames(3, missing=0.1), bad_pixels()
    at = index if axis != "module" or index is None else 1
    found = ops.lineout(da, axis, at, bad_pixels=bad)["data"]
    assert found.dims == (*da.dims[:2], *(d for d in AXES if d != axis))
    a = AXES.index(axis)
    for got, frame in zip(found.values[:, 0], plain(da), strict=True):
        x = np.where(bad.values[::-1], np.nan, frame)
        place = np.unravel_index(np.nanargmax(x), x.shape)[a] if at is None else at
        np.testing.assert_array_equal(got, np.take(x, place, a))


def test_lines_without_good_pixels_and_outside():
    da = frames(3)
    bad = np.ones(da.shape[-3:], bool)
    assert ops.lineout(da, "slow_scan", bad_pixels=bad)["data"].isnull().all()
    with pytest.raises(OutOfRangeError, match="0 to 6"):
        ops.lineout(da, "slow_scan", 7)
