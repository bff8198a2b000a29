"""Histograms and larger pixels: numpy, frame by frame."""

from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from tests.support.step_frames import bad_pixels, frames, plain
from xfelred import ops
from xfelred.errors import ArgumentError
from xfelred.ops.image.spectrum import edges_of

GOLDEN = Path(__file__).parents[2] / "golden/data/lcls"


def values_of(frame, bad):
    return frame[~bad & ~np.isnan(frame)]


@pytest.mark.parametrize(
    "bins", [[900, 1100, 40], [950, 1050], [960, 1040, 0.7], [900, 970, 971, 1000.5]]
)
@pytest.mark.parametrize("chunks", [None, 1, 4, 11])
def test_counts_are_those_of_numpy(bins, chunks, no_compute):
    da, bad = frames(chunks, missing=0.1), bad_pixels()
    with no_compute():
        made = ops.spectrum(da, bins, bad_pixels=bad)
    edges = made.bin_edges.values
    for got, frame in zip(made.histogram.values[:, 0], plain(da), strict=True):
        wanted, _ = np.histogram(values_of(frame, bad.values[::-1]), edges)
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_allclose(made["bin"], (edges[1:] + edges[:-1]) / 2)


def test_values_on_edges_belong_to_the_upper_bin():
    edges = np.arange(0, 1.05, 0.1)
    frame = xr.DataArray(np.tile(edges, (2, 1)), dims=("slow_scan", "fast_scan"))
    counts = ops.spectrum(frame, edges)["histogram"]
    np.testing.assert_array_equal(counts, [2] * 9 + [4])
    half_open = ops.spectrum(frame, xf.Bins(edges=edges))["histogram"]
    np.testing.assert_array_equal(half_open, [2] * 10)


def test_bins_are_those_of_smalldata_tools():
    with np.load(GOLDEN / "getbins.npz") as golden:
        for given, edges in golden.items():
            # In order, which two numbers need not be in.
            found = edges_of(literal_eval(given))
            np.testing.assert_allclose(found, np.sort(edges))


@pytest.mark.parametrize(
    ("bins", "words"),
    [
        ([1], "wanted"),
        ([1, np.nan], "wanted"),
        (["a", "b"], "wanted"),
        ([0, 1, 0], "above 0"),
        ([3, 2, 1, 0], "must rise"),
        ([0, 1, 10**9], "at most"),
        ([0.0, 1.0, 1e-12], "at most"),
        (xf.Bins(unique=True), "depend on the values"),
    ],
)
def test_bins_that_are_none_are_errors(bins, words):
    with pytest.raises(ArgumentError, match=words):
        ops.spectrum(frames(3), bins)


@pytest.mark.parametrize("shape", [(7, 9), (1, 3), (3, 4), (2, 1)])
@pytest.mark.parametrize("chunks", [None, 1, 11])
def test_larger_pixels_are_means_weighted_by_area(shape, chunks, no_compute):
    da, bad = frames(chunks, missing=0.1), bad_pixels()
    with no_compute():
        made = ops.rebin(da, shape, bad_pixels=bad)
    # Every pixel as shape[0] * shape[1] small ones, which fill blocks without rest.
    for got, frame in zip(made["data"].values[:, 0], plain(da), strict=True):
        x = np.where(bad.values[::-1], np.nan, frame)
        fine = x.repeat(shape[0], axis=1).repeat(shape[1], axis=2)
        blocks = fine.reshape(2, shape[0], 7, shape[1], 9)
        n = (~np.isnan(blocks)).sum((2, 4))
        with np.errstate(invalid="ignore"):
            wanted = np.nansum(blocks, (2, 4)) / n
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_blocks_without_good_pixels_and_odd_shapes():
    da = frames(3)
    bad = xr.zeros_like(da.isel(train=0, pulse=0, drop=True), dtype=bool)
    bad[1, :3, :3] = True
    data = ops.rebin(da, (2, 3), bad_pixels=bad)["data"]
    assert data.isnull().sum() == 0
    assert ops.rebin(da, (7, 3), bad_pixels=bad)["data"][:, 0, 1, :3, 0].isnull().all()
    for shape in ((8, 1), (0, 3), (2,)):
        with pytest.raises(ArgumentError, match="whole numbers from 1"):
            ops.rebin(da, shape)
