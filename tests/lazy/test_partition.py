"""How large frames are cut, so that a few of them lie side by side."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from memory_files import make_plan, whole

from xfelred.lazy import Source, map_frames, planned
from xfelred.lazy.blocks import node_of
from xfelred.lazy.partition import FRAMES, partition
from xfelred.ops.reductions.statistics import statistics

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
LARGE = (1024, 512)  # 2 MiB of float32


def frames(name, trains=10, chunk=(), pixels=LARGE, modules=1):
    plan = replace(make_plan(name, trains, 1, modules, pixels), chunk=chunk)
    chunks = {"train": (4, trains - 4), "pulse": (1,), "module": (modules,)}
    chunks |= {d: (n,) for d, n in zip(DIMS[3:], pixels, strict=True)}
    return xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)


def inside(da, kept=("train", "pulse")):
    return partition(node_of(da), kept).inside


def test_frames_that_are_read_in_pieces_are_cut_along_slow_scan():
    cut = inside(frames("a"))
    assert cut == {
        "train": FRAMES, "pulse": 1, "module": 1, "slow_scan": 256, "fast_scan": 512,
    }  # fmt: skip


def test_stored_pieces_stay_whole():
    cut = inside(frames("b", chunk=(1, 1024, 512)))
    assert (cut["train"], cut["slow_scan"]) == (FRAMES, 1024)
    cut = inside(frames("c", chunk=(1, 400, 512)))
    assert cut["slow_scan"] == 400


def centred(block):
    return block - block.mean(axis=(-2, -1), keepdims=True)


def test_a_map_that_needs_whole_frames_gets_them():
    da = map_frames(centred, frames("d"), core_dims=("slow_scan", "fast_scan"))
    cut = inside(da)
    assert (cut["train"], cut["slow_scan"]) == (FRAMES, 1024)


def unrolled(block):
    return block.reshape(*block.shape[:-2], 8, -1)


def test_a_map_may_put_other_axes_in_the_place_of_pixels():
    da = map_frames(
        unrolled, frames("h"), core_dims=("slow_scan", "fast_scan"),
        out_core={"radius": 8, "phi": 65536},
    )  # fmt: skip
    assert inside(da)["train"] == FRAMES
    out = statistics(da, ("radius", "phi"), which=("mean",))["mean"]
    expected = whole("h", 10, 1, 1).mean((3, 4), dtype="f8")
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_small_frames_and_sums_over_frames_are_not_cut():
    assert inside(frames("e", pixels=(64, 64)))["slow_scan"] == 64
    cut = inside(frames("f"), kept=("module", "slow_scan", "fast_scan"))
    assert (cut["train"], cut["slow_scan"]) == (2, 1024)


@pytest.mark.parametrize("chunk", [(), (1, 1024, 512)])
def test_cut_frames_give_the_same_numbers(chunk):
    da = frames("g", trains=9, chunk=chunk, modules=2)
    out = statistics(da, ("module", "slow_scan", "fast_scan"), which=("mean", "std"))
    expected = whole("g", 9, 1, 2).astype("f8")
    np.testing.assert_allclose(out["mean"], expected.mean((2, 3, 4)), rtol=1e-12)
    np.testing.assert_allclose(out["std"], expected.std((2, 3, 4)), rtol=1e-9)
