"""Results that are gathered are put together in one memory, whoever computes them."""

import pickle

import dask
import numpy as np
import pytest
import xarray as xr
from memory_files import make_plan, whole

from xfelred import open_run, ops
from xfelred.lazy import Source, partition, planned, rooms
from xfelred.lazy.guarded import memory_of
from xfelred.lazy.rooms import Room, gathered

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
SHAPE = (7, 5, 3, 4, 6)
MISSING = {(2, 1), (5, 0)}
RESULTS = ("mean", "std", "count", "min", "sum")


@pytest.fixture(params=["one part", "several parts"])
def frames(request, monkeypatch):
    """Frames whose results are large enough, in tasks of one module."""
    monkeypatch.setattr(rooms, "PAGE_BACKED", 1)
    monkeypatch.setattr(rooms, "SMALL", 1)
    monkeypatch.setattr(partition, "SUB_STATE", 48)
    if request.param == "several parts":
        monkeypatch.setattr(partition, "TASK", 1500)
    plan = make_plan("rooms", *SHAPE[:3], missing=MISSING)
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    return xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)


def expected():
    full = whole("rooms", *SHAPE[:3], MISSING, np.nan)
    return ops.statistics(xr.DataArray(full, dims=DIMS), "train", which=RESULTS)


@pytest.fixture
def handed(monkeypatch):
    """The arrays that rooms hand out, None where blocks had to be joined."""
    found = []
    plain = Room.whole

    def spy(self, blocks):
        found.append(plain(self, blocks))
        return found[-1]

    monkeypatch.setattr(Room, "whole", spy)
    return found


@pytest.mark.parametrize("scheduler", ["threads", "sync"])
def test_blocks_are_put_into_the_memory_of_the_result(frames, handed, scheduler):
    with dask.config.set(scheduler=scheduler):
        found = ops.statistics(frames, "train", which=RESULTS).compute()
    assert len(handed) == len(RESULTS)
    for name, value in found.items():
        assert any(value.values is h or value.values.base is h for h in handed)
        np.testing.assert_allclose(
            value, expected()[name], rtol=1e-12, atol=1e-12, err_msg=name
        )
        assert value.values.flags.writeable


def test_results_have_the_same_bits_as_blocks_that_are_joined(frames, monkeypatch):
    lazy = ops.statistics(frames, "train", which=RESULTS)
    one = lazy.compute()
    two = lazy.persist()
    monkeypatch.setattr(rooms, "PAGE_BACKED", 1 << 30)
    three = ops.statistics(frames, "train", which=RESULTS).compute()
    xr.testing.assert_identical(one, two.compute())
    xr.testing.assert_identical(one, three)


def test_every_computation_has_a_memory_of_its_own(frames):
    lazy = ops.statistics(frames, "train")["mean"]
    (made,) = dask.optimize(lazy)
    for array in (lazy, made):
        one = array.compute()
        before = one.copy(deep=True)
        one.values[...] = -1
        two = array.compute()
        xr.testing.assert_identical(two, before)
        two.values[...] = -2
        assert (one == -1).all()


def test_results_of_one_name_may_differ_in_their_dtype(frames, handed):
    single, double = dask.compute(
        frames.mean("train").data, ops.statistics(frames, "train")["mean"].data
    )
    assert (single.dtype, double.dtype) == ("f4", "f8")
    np.testing.assert_array_equal(single, double.astype("f4"))
    assert all(h is not None for h in handed)


def test_part_of_a_result_gets_a_room_of_its_own(frames, handed):
    mean = ops.statistics(frames, "train")["mean"]
    part = mean.isel(module=1).compute()
    (mean + 1).compute()
    assert [h.shape for h in handed] == [part.shape, mean.shape]
    np.testing.assert_allclose(part, expected()["mean"].isel(module=1), atol=1e-12)


def test_a_dataset_that_dask_finalizes_is_joined(frames):
    lazy = ops.statistics(frames, "train", which=RESULTS)
    for found in (dask.compute(lazy)[0], dask.compute({"a": lazy})[0]["a"]):
        for name, value in found.items():
            np.testing.assert_allclose(value, expected()[name], rtol=1e-12, atol=1e-12)
    array = dask.compute(lazy["mean"])[0]
    np.testing.assert_allclose(array, expected()["mean"], rtol=1e-12, atol=1e-12)


def test_an_unoptimised_graph_is_computed(frames):
    (found,) = dask.compute(frames.mean("train").data, optimize_graph=False)
    np.testing.assert_allclose(found, expected()["mean"], rtol=1e-6)


def test_a_result_that_is_gathered_here_takes_its_memory_once(frames):
    mean = ops.statistics(frames, "train")["mean"].data
    assert mean.npartitions > 1
    assert memory_of(mean) == (mean.nbytes, mean.nbytes)
    with dask.config.set(scheduler="processes"):
        assert memory_of(mean) == (mean.nbytes, 2 * mean.nbytes)


def test_a_room_that_travelled_takes_no_blocks():
    room = Room(((2, 1), (3,)), "f8")
    away = pickle.loads(pickle.dumps(room))
    assert away.at((slice(0, 2), slice(0, 3))) is None
    blocks = [[np.ones((2, 3))], [np.ones((1, 3))]]
    assert gathered(blocks, away, lambda b: "joined") == "joined"


def test_blocks_of_other_memory_are_joined():
    room = Room(((2, 1), (3,)), "f8")
    first = room.at((slice(0, 2), slice(0, 3)))
    blocks = [[first], [np.ones((1, 3))]]
    assert gathered(blocks, room, lambda b: "joined") == "joined"


def test_a_room_is_handed_out_once():
    room = Room(((2, 1), (3,)), "f8")
    parts = [room.at((s, slice(0, 3))) for s in (slice(0, 2), slice(2, 3))]
    blocks = [[part] for part in parts]
    assert room.whole(blocks).shape == (3, 3)
    assert room.whole(blocks) is None


# What becomes of frames block by block, and the same of an array in memory.
MADE = {
    "frames": lambda f: f,
    "turned": lambda f: f.transpose("module", "fast_scan", "train", ...),
    "one module": lambda f: f.isel(module=1),
    "one train": lambda f: f.isel(train=3, pulse=slice(1, None)),
    "out of order": lambda f: f.isel(train=[4, 0, 2]),
    "doubled": lambda f: f * 2,
    "with a map": lambda f: f - f.isel(train=0, drop=True).copy(
        data=np.ones(SHAPE[1:], "f4")
    ),
    "doubled and turned": lambda f: (f * 2).transpose("fast_scan", ...),
    "polar": lambda f: ops.remap_polar(
        f.isel(module=1), centre=(2, 2), r_min=1, r_max=2, n_phi=4
    ),
    "polar of ordinary dask": lambda f: ops.remap_polar(
        f.isel(module=1).roll(train=1), centre=(2, 2), r_min=1, r_max=2, n_phi=4
    ),
    "in other blocks": lambda f: f.chunk({"train": 2, "module": 1, "fast_scan": 4}),
    "ordinary dask": lambda f: f.roll(train=1),
    "of a lazy mean": lambda f: f - f.mean("train"),
    "joined": lambda f: xr.concat([f, f], "train"),
    "of a kernel": lambda f: f.roll(train=1) * 2,
}  # fmt: skip


def in_memory():
    return xr.DataArray(whole("rooms", *SHAPE[:3], MISSING, np.nan), dims=DIMS)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("trains", [7, 2])
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_blocks_of_any_array_are_put_into_its_memory(frames, handed, name, trains):
    lazy = MADE[name](frames.chunk({"train": trains}))
    found = lazy.compute()
    assert len(handed) == 1
    assert found.values is handed[0] or found.values.base is handed[0]
    np.testing.assert_allclose(found, MADE[name](in_memory()), rtol=1e-6, atol=1e-4)
    assert found.dtype == lazy.dtype
    one = found.copy(deep=True)
    found.values[...] = -1
    xr.testing.assert_identical(lazy.compute(), one)


def test_arrays_that_are_made_of_each_other_are_computed_together(frames):
    double = frames.chunk({"train": 2}) * 2
    sums = double.data + 1.5
    ordinary = double.data.map_blocks(np.negative)
    found = dask.compute(double.data, sums, ordinary, double.data, frames.data)
    full = in_memory().values
    wanted = (full * 2, full * 2 + 1.5, -full * 2, full * 2, full)
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, two.astype("f4"))
    assert found[0] is found[3]  # by dask, which computes it once


def test_blocks_that_are_not_as_announced_are_joined_as_dask_does(frames):
    wrong = frames.chunk({"train": 2}).data.map_blocks(
        lambda b: b[:1].astype("f8"), meta=np.empty((0,) * 5, "f4")
    )
    assert wrong.compute().shape == (4, *SHAPE[1:])


def test_what_is_more_than_its_numbers_is_joined_as_dask_does(frames):
    lazy = frames.chunk({"train": 2}).data
    masked = lazy.map_blocks(lambda b: np.ma.masked_less(b, 100), dtype="f4")
    found = masked.compute()
    assert isinstance(found, np.ma.MaskedArray)
    np.testing.assert_array_equal(found.mask, in_memory().values < 100)
    times = (
        lazy.map_blocks(np.nan_to_num)[..., 0]
        .astype("i8")
        .map_blocks(lambda b: b.astype("M8[s]"))
    )
    wanted = np.nan_to_num(in_memory().values)[..., 0].astype("i8").astype("M8[s]")
    np.testing.assert_array_equal(times.compute(), wanted)


@pytest.mark.parametrize("make", ["frames", "ordinary dask", "polar of ordinary dask"])
def test_a_scheduler_that_only_this_call_names(agipd_run, monkeypatch, make):
    monkeypatch.setattr(rooms, "PAGE_BACKED", 1)
    frames = open_run(agipd_run.directory).detector().frames()
    if make != "frames":
        frames = in_memory().chunk({"train": 2})
    lazy = MADE[make](frames)
    xr.testing.assert_identical(lazy.compute(scheduler="processes"), lazy.compute())


def test_a_graph_that_came_from_elsewhere_is_computed(frames):
    for make in ("doubled", "polar of ordinary dask"):
        lazy = MADE[make](frames.chunk({"train": 2}))
        away = pickle.loads(pickle.dumps(lazy))
        assert len(pickle.dumps(lazy.data.dask.layers[lazy.data.name].recipe)) < 100
        xr.testing.assert_identical(away.compute(), lazy.compute())


def test_many_small_blocks_are_joined(frames, handed, monkeypatch):
    ordinary = frames.chunk({"train": 2}).roll(train=1)
    monkeypatch.setattr(rooms, "SMALL", 1 << 16)
    one = ordinary.compute()
    assert handed == [None]
    monkeypatch.setattr(rooms, "SMALL", 1)
    xr.testing.assert_identical(ordinary.compute(), one)
    assert handed[1] is not None


def test_blocks_that_a_cache_of_dask_keeps_are_not_handed_out(frames, handed):
    class Kept:
        def __init__(self):
            self.data = {}

        def put(self, key, value, **_):
            self.data[key] = value

    from dask.cache import Cache

    cache = Cache.__new__(Cache)
    cache._nbytes, cache.cache, cache.starttimes = lambda _: 1, Kept(), {}
    lazy = frames.chunk({"train": 2}) * 2
    with cache:
        one = lazy.compute()
        one.values[...] = -1
        two = lazy.compute()
    assert not handed
    np.testing.assert_array_equal(two, in_memory() * 2)


def test_other_schedulers_and_graphs_without_rooms_give_the_same(frames):
    lazy = frames.chunk({"train": 2}) * 2
    one = lazy.compute()
    xr.testing.assert_identical(lazy.compute(optimize_graph=False), one)
    xr.testing.assert_identical(dask.compute(lazy)[0], one)
    xr.testing.assert_identical(lazy.persist().compute(), one)
    np.testing.assert_array_equal(dask.compute({"a": lazy.data})[0]["a"], one)


def one_block():
    plan = make_plan("rooms", *SHAPE[:3], missing=MISSING)
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    return xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)


@pytest.mark.parametrize("make", [lambda f: f, lambda f: f.isel(train=3, pulse=1)])
def test_numbers_that_were_kept_are_not_handed_out(make):
    lazy = make(one_block())
    kept = lazy.persist()
    for array in (lazy, kept):
        one = array.compute()
        before = one.copy(deep=True)
        one.values[...] = -1
        xr.testing.assert_identical(array.compute(), before)
