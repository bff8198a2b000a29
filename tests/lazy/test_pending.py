"""Operands that are computed first, such as a mean of the frames themselves."""

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from memory_files import DIMS, READ, make_plan, whole

import xfelred as xf
from xfelred import ops
from xfelred.lazy import Source, elementwise, map_frames, planned
from xfelred.lazy.estimate import estimate
from xfelred.lazy.nodes import pendings

TRAINS, PULSES, MODULES = 7, 5, 3
PIXELS = ("module", "slow_scan", "fast_scan")
ONES = dask.array.ones((MODULES, 4, 6), chunks=2)


def frames(chunks=(3, 5, 3, 4, 6)):
    """Return (planned array, the same numbers in memory)."""
    plan = make_plan("pending", TRAINS, PULSES, MODULES)
    normal = dask.array.core.normalize_chunks(chunks, plan.shape)
    data = planned(Source(plan, DIMS), dict(zip(DIMS, normal, strict=True)))
    full = whole("pending", TRAINS, PULSES, MODULES)
    return xr.DataArray(data, dims=DIMS), xr.DataArray(full, dims=DIMS)


# What has the same bits in any order, of float32.
CHAINS = {
    "map": lambda x: x - x.max("train"),
    "map first": lambda x: x.max("train") - x,
    "number": lambda x: x * x.min(),
    "frame": lambda x: x / x.max(PIXELS),
    "pulse": lambda x: x + x.min(("train", *PIXELS)),
    "kept axis": lambda x: x.copy(data=x.data - x.data.max(axis=0, keepdims=True)),
    "condition": lambda x: x.where(x < x.max(("train", "pulse")), 0),
    "twice": lambda x: (x - x.min("train")) / (x.max("train") - x.min("train") + 1),
    "of a chain": lambda x: (x * 2 - 1) - (x * 2 - 1).max("train"),
    "dask": lambda x: x.copy(data=x.data + ONES if x.chunks else x.data + 1),
    "other axes": lambda x: x.transpose("pulse", ..., "train") - x.max("train"),
}


@pytest.mark.parametrize("chunks", [(3, 5, 3, 4, 6), (7, 2, 1, 3, 5)])
@pytest.mark.parametrize("name", CHAINS)
def test_they_stream_with_the_numbers_of_numpy(name, chunks, no_compute):
    x, full = frames(chunks)
    with no_compute():
        got, again = CHAINS[name](x), CHAINS[name](x)
        some = got.isel(train=[0, 3, 4], module=1, slow_scan=slice(1, 3))
        top, mean = got.max("train"), got.mean(("train", "pulse"))
    assert got.data.node is not None
    assert pendings(got.data.node)
    assert got.data.name == again.data.name
    want = CHAINS[name](full)
    np.testing.assert_array_equal(got.values, want.values)
    np.testing.assert_array_equal(
        some.values, want.isel(train=[0, 3, 4], module=1, slow_scan=slice(1, 3)).values
    )
    np.testing.assert_array_equal(top.values, want.max("train").values)
    exact = want.astype("f8").mean(("train", "pulse"))
    np.testing.assert_allclose(mean.values, exact.values, 1e-6)


def test_frames_are_read_twice_and_a_selection_reads_its_module():
    x, full = frames()
    got = x - x.max("train")
    READ.clear()
    got.mean("train").compute(scheduler="sync")
    assert sum(READ) == 2 * full.nbytes
    READ.clear()
    got.isel(module=1, train=0).compute(scheduler="sync")
    assert sum(READ) <= (TRAINS + 1) * PULSES * 24 * 4


def test_what_is_too_large_is_left_to_dask(monkeypatch):
    x, full = frames()
    assert not hasattr((x - x.copy(data=x.data + ONES).shift(train=1)).data, "node")
    monkeypatch.setattr(elementwise, "FIRST", 4 * 24 * MODULES - 1)
    got = x - x.max("train")
    assert getattr(got.data, "node", None) is None
    np.testing.assert_array_equal(got.values, (full - full.max("train")).values)


def doubled(block, *, factor):
    return block * factor


def test_operations_and_one_pass_take_them():
    x, full = frames()
    got, want = x - x.max("train"), full - full.max("train")
    twice = map_frames(doubled, got, factor=2)
    np.testing.assert_array_equal(twice.values, want.values * 2)
    label = xr.DataArray(np.arange(TRAINS) % 2, dims="train", name="odd")
    trains = {"train": np.arange(TRAINS)}
    got, label = got.assign_coords(trains), label.assign_coords(trains)
    means = ops.statistics(got, "train", which=["mean"], by=label)["mean"]
    for k in (0, 1):
        mine = want.isel(train=np.arange(TRAINS) % 2 == k).mean("train")
        np.testing.assert_allclose(means.sel(odd=k).values, mine.values, 1e-5)
    with pytest.warns(UserWarning, match="computed from it"):
        one, two = xf.compute_together(got.mean("train"), x.sum("train"))
    np.testing.assert_allclose(one.values, want.mean("train").values, 1e-5)
    np.testing.assert_allclose(two.values, full.sum("train").values, 1e-5)


def test_the_plan_counts_both_passes():
    x, full = frames()
    plan = estimate((x - x.max("train")).mean("train"))
    assert plan.bytes_to_read == 2 * full.nbytes
