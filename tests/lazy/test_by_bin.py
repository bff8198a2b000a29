"""Frames in bins, cut by bins: each frame is read once, results are made in place."""

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from memory_files import READ, make_plan, whole

from xfelred.kernels import memory
from xfelred.lazy import Source, by_bin, planned, reduce_bins, rooms
from xfelred.reductions.bins import BinStatistics

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
TRAINS, PULSES, MODULES, BINS = 60, 2, 2, 12
RESULTS = {"sum": np.float64, "mean": np.float64, "var": np.float64, "count": np.int64}


def in_one(plan):
    return {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}


def frames(chunk=(), missing=((2, 1), (5, 0))):
    plan = make_plan("bins", TRAINS, PULSES, MODULES, missing=missing)
    object.__setattr__(plan, "chunk", chunk)
    lazy = planned(Source(plan, DIMS), in_one(plan))
    full = whole("bins", TRAINS, PULSES, MODULES, missing, np.nan)
    return xr.DataArray(lazy, dims=DIMS), full


def labels(order="random"):
    some = np.arange(TRAINS) * BINS // TRAINS
    if order == "random":
        some = np.random.default_rng(4).permutation(some)
    some[some == 7] = -1  # an empty bin, and shots in none
    return xr.DataArray(some, dims="train")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of a few bins and pieces of a few rows, in pages of the system."""
    monkeypatch.setattr(by_bin, "WIDE_STATE", 24 * 5)
    monkeypatch.setattr(by_bin, "SUB_BLOCK", 800)
    monkeypatch.setattr(memory, "PAGE_BACKED", 1)
    monkeypatch.setattr(rooms, "PAGE_BACKED", 1)


def binned(lazy, bins, results=RESULTS, **options):
    made = reduce_bins(
        BinStatistics(BINS), lazy, bins, dims=("train", "pulse"), results=results,
        new_dim=("bin", BINS), **options,
    )  # fmt: skip
    return xr.Dataset(made)


def slowly(full, bins):
    out = {}
    for k in range(BINS):
        mine = full[bins.values == k].astype("f8").reshape(-1, *full.shape[2:])
        n = np.isfinite(mine).sum(0)
        total = np.where(n > 0, np.nansum(mine, 0), np.nan)
        mean = total / np.where(n > 0, n, np.nan)
        var = np.where(n > 0, np.nansum((mine - mean) ** 2, 0), np.nan) / np.maximum(
            n, 1
        )
        out[k] = {"sum": total, "mean": mean, "var": var, "count": n}
    return out


def compare(found, expected):
    for name in found:
        for k, one in expected.items():
            nothing = 0.0 if name == "sum" else np.nan
            value = np.where(one["count"] > 0, one[name], nothing)
            value = one[name] if name == "count" else value
            np.testing.assert_allclose(
                found[name].transpose(..., "bin").values[..., k],
                value,
                rtol=1e-9,
                atol=1e-9,
            )


@pytest.mark.parametrize("order", ["random", "scan"])
@pytest.mark.parametrize("chunk", [(), (1, 4, 6), (1, 2, 6)])
@pytest.mark.parametrize("goal", ["one part", "several parts"])
def test_bins_equal_a_slow_loop(order, chunk, goal, monkeypatch):
    if goal == "several parts":
        monkeypatch.setattr(by_bin, "LARGE_TASK", 1)
        monkeypatch.setattr(by_bin, "STATES", 1)
    lazy, full = frames(chunk)
    found = binned(lazy, labels(order))
    assert len(found["sum"].chunksizes["bin"]) > 1
    compare(found.compute(), slowly(full, labels(order)))


@pytest.mark.parametrize("order", ["random", "scan"])
@pytest.mark.parametrize("chunk", [(), (1, 4, 6)])
def test_every_frame_is_read_once(order, chunk):
    lazy, _ = frames(chunk, missing=())
    bins = labels(order)
    READ.clear()
    binned(lazy, bins, {"sum": np.float64}).compute()
    n = int((bins >= 0).sum()) * PULSES * MODULES
    assert sum(READ) == n * 4 * 6 * 4
    if chunk:
        # In whole frames: what is compressed is unpacked once.
        assert not any(n_bytes % (4 * 6 * 4) for n_bytes in READ)


def test_bits_do_not_depend_on_the_scheduler():
    lazy, _ = frames()
    found = binned(lazy, labels())
    one = found.compute(scheduler="sync")
    for n in (1, 2, 5):
        with dask.config.set(scheduler="threads", num_workers=n):
            xr.testing.assert_identical(found.compute(), one)


def test_blocks_are_made_where_they_belong(monkeypatch):
    lazy, full = frames()
    found = binned(lazy, labels(), {"sum": np.float64})["sum"]
    monkeypatch.setattr(dask.array.core, "concatenate3", None)
    in_one = found.compute(scheduler="threads")
    monkeypatch.undo()
    compare({"sum": in_one}, slowly(full, labels()))
    assert in_one.dims[0] == "bin"
    in_one[...] = 0  # it is the caller's own


def test_nobody_has_the_memory_of_somebody_else():
    lazy, full = frames()
    found = binned(lazy, labels(), {"sum": np.float64})["sum"]
    kept = found.persist()
    for array in (found, kept):
        one, two = dask.compute(array.data, array.data.transpose())
        three = array.compute().values
        for changed in (one, two, three):
            changed[...] = -1
            compare({"sum": array.compute()}, slowly(full, labels()))
        assert not np.shares_memory(one, two)


def test_bins_of_several_axes_stay_together():
    lazy, full = frames()
    found = binned(lazy, labels(), {"sum": np.float64}, together=4)["sum"]
    assert all(n % 4 == 0 for n in found.chunksizes["bin"])
    compare({"sum": found.compute()}, slowly(full, labels()))


@pytest.mark.parametrize(("order", "n"), [("random", 1), ("scan", 3)])
def test_pieces_of_many_frames_are_not_read_again_and_again(order, n):
    lazy, full = frames(chunk=(5, 4, 6))
    found = binned(lazy, labels(order), {"sum": np.float64})["sum"]
    assert len(found.chunksizes["bin"]) == n
    compare({"sum": found.compute()}, slowly(full, labels(order)))
