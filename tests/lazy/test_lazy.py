"""Plans, recipes, PlannedArray: selecting reaches the reader and numbers stay."""

import pickle

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from dask.blockwise import Blockwise
from memory_files import (
    DATA,
    READ,
    frames_in_memory,
    make_plan,
    read_rows,
    whole,
    without_recipe,
)

from xfelred.lazy import (
    Patterns,
    PlannedArray,
    ReadPlan,
    Source,
    load,
    map_frames,
    planned,
)

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
TRAINS, PULSES, MODULES = 7, 5, 3
MISSING = ((2, 1),)
INDICES = {
    "slice of trains": np.s_[2:5],
    "stepped pulses": np.s_[:, 1:4:2],
    "pixels": np.s_[..., 1:3, 2],
    "one train": np.s_[3],
    "list of trains": np.s_[[0, 2, 5]],
    "list of pulses and one module": np.s_[:, [0, 3], 1],
    "boolean modules": np.s_[:, :, [True, False, True]],
    "reversed trains": np.s_[::-1],
    "reversed modules": np.s_[:, :, ::-1],
    "one pixel": np.s_[-1, -1, -1, -1, -1],
    "nothing": np.s_[4:2],
    "empty list": np.s_[:, []],
}


def lazy_frames(chunks=(3, 5, 3, 4, 6), missing=MISSING):
    plan = make_plan("a", TRAINS, PULSES, MODULES, missing=missing)
    normal = dask.array.core.normalize_chunks(chunks, plan.shape)
    data = planned(Source(plan, DIMS), dict(zip(DIMS, normal, strict=True)))
    coords = {
        "train": np.arange(100, 100 + TRAINS),
        "pulse": np.arange(PULSES) * 2,
        "module": np.arange(MODULES),
    }
    return xr.DataArray(data, dims=DIMS, coords=coords)


@pytest.fixture
def want():
    lazy_frames()
    return whole("a", TRAINS, PULSES, MODULES, MISSING)


def subtract(x, y):
    return x - y


def pixel_sums(x):
    return np.stack([x.sum((-2, -1)), (x * x).sum((-2, -1))], axis=-1)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 4, 6), (3, 5, 3, 4, 6), (7, 2, 2, 3, 5)])
@pytest.mark.parametrize("name", INDICES)
def test_selection_equals_numpy(name, chunks, want):
    got = lazy_frames(chunks)[INDICES[name]]
    np.testing.assert_array_equal(got.values, want[INDICES[name]])


def test_selection_reads_no_more_than_it_shows():
    frames = lazy_frames(missing=())
    for index in (np.s_[2:5], np.s_[:, 1:3], np.s_[:, :, 1], np.s_[..., 2:4, :]):
        READ.clear()
        part = frames[index].compute()
        assert sum(READ) == part.nbytes


def test_selecting_before_or_after_a_kernel_reads_the_same():
    frames = lazy_frames(missing=())
    offset = xr.DataArray(np.ones((MODULES, 4, 6), "f4"), dims=DIMS[2:])
    READ.clear()
    map_frames(subtract, frames, offset).sel(module=2)[:, :2, 1:3].compute()
    assert sum(READ) == TRAINS * 2 * 2 * 6 * 4


def test_building_computes_nothing(no_compute):
    READ.clear()
    with no_compute():
        frames = lazy_frames()
        first = frames.isel(train=0, pulse=0, drop=True)
        mapped = map_frames(subtract, frames, first)
        mapped.sel(module=1).transpose("slow_scan", ...).isel(train=[0, 3])
        frames.chunk({"train": 1})
    assert not READ


@pytest.mark.parametrize("chunks", [(1, 1, 1, 4, 6), (3, 5, 3, 4, 6), (7, 5, 3, 4, 6)])
def test_kernels_with_and_without_core_dims(chunks, want):
    frames = lazy_frames(chunks)
    offset = xr.DataArray(
        np.arange(MODULES * 24.0, dtype="f4").reshape(MODULES, 4, 6), dims=DIMS[2:]
    )
    once = map_frames(subtract, frames, offset)
    np.testing.assert_array_equal(once.values, want - offset.values)
    twice = map_frames(subtract, once, offset, core_dims=DIMS[2:])
    np.testing.assert_array_equal(twice[1:3].values, (want - 2 * offset.values)[1:3])
    sums = map_frames(
        pixel_sums, once, core_dims=DIMS[3:], out_core={"moment": 2}, dtype="f4"
    )
    assert sums.dims == (*DIMS[:3], "moment")
    np.testing.assert_allclose(
        sums.isel(moment=0).values, (want - offset.values).sum((-2, -1)), rtol=1e-5
    )


def test_plain_dask_arrays_give_the_same_as_recipes(want):
    frames = lazy_frames()
    offset = xr.DataArray(np.full((4, 6), 3, "f4"), dims=DIMS[3:])
    plain = without_recipe(frames)
    assert not isinstance(plain.data, PlannedArray)
    got = map_frames(subtract, plain, offset)
    np.testing.assert_array_equal(got.values, want - 3)


def test_one_layer_per_kernel_fused_with_the_read():
    frames = lazy_frames()
    offset = xr.DataArray(np.ones((MODULES, 4, 6), "f4"), dims=DIMS[2:])
    mapped = map_frames(subtract, map_frames(subtract, frames, offset), offset)
    (optimised,) = dask.optimize(mapped)
    assert len(optimised.data.dask) == mapped.data.npartitions + 1  # and the constant


def test_rechunking_a_recipe_moves_no_data(want):
    frames = lazy_frames().chunk({"train": 2, "module": 1})
    assert isinstance(frames.data, PlannedArray)
    assert frames.chunks[0] == (2, 2, 2, 1)
    np.testing.assert_array_equal(frames.values, want)


def test_pickled_recipe_is_the_same(want):
    frames = pickle.loads(pickle.dumps(lazy_frames().transpose("module", ...)))
    assert isinstance(frames.data, PlannedArray)
    np.testing.assert_array_equal(frames.values, np.moveaxis(want, 2, 0))


def test_assigned_array_forgets_its_recipe(want):
    frames = lazy_frames()
    frames.data[0] = -1.0
    want[0] = -1.0
    np.testing.assert_array_equal(frames.isel(train=slice(0, 2)).values, want[:2])


def test_equal_selections_have_equal_names():
    one, two = lazy_frames(), lazy_frames()
    assert one.data.name == two.data.name
    assert one[1:3].data.name == two[1:3].data.name
    assert one[1:3].data.name != two[1:4].data.name


def test_companion_that_does_not_fit_is_refused():
    wrong = xr.DataArray(np.ones((MODULES, 5, 6), "f4"), dims=DIMS[2:], name="offset")
    with pytest.raises(ValueError, match="offset has slow_scan=5"):
        map_frames(subtract, lazy_frames(), wrong)


def test_plan_of_a_block_is_small():
    frames = lazy_frames((1, 5, 3, 4, 6))
    (layer,) = (v for k, v in frames.data.dask.layers.items() if k.startswith("read-"))
    sizes = [len(pickle.dumps(task)) for task in dict(layer).values()]
    assert max(sizes) < 3000


def test_flat_plan_with_ragged_shots():
    counts = [3, 0, 2, 4]
    DATA["r"] = np.arange(40.0).reshape(20, 2)
    ptr = np.cumsum([0, *counts])
    offset = np.concatenate([np.arange(n) for n in counts])
    plan = ReadPlan(
        read_rows=read_rows, targets=(("r", "x"),), target=np.zeros((4, 1), int),
        first=np.array([[10], [0], [4], [0]]), pattern=np.arange(4),
        patterns=Patterns(ptr, offset, offset), slot_shape=(), entry=(slice(0, 2, 1),),
        entry_shape=(2,), n_inner=0, dtype=np.dtype("f8"), fill_value=0.0, flat=True,
        token="ragged",
    )  # fmt: skip
    rows = [10, 11, 12, 4, 5, 0, 1, 2, 3]
    full = DATA["r"][rows][:, None]
    np.testing.assert_array_equal(load(plan), full)
    for lo in range(10):
        for hi in range(lo, 10):
            cut = plan.narrow((slice(lo, hi, 1), slice(0, 1, 1), slice(0, 2, 1)))
            np.testing.assert_array_equal(load(cut), full[lo:hi])
    some = plan.narrow((np.array([0, 4, 8]), slice(0, 1, 1), slice(1, 2, 1)))
    np.testing.assert_array_equal(load(some), full[[0, 4, 8]][..., 1:])


@pytest.mark.parametrize(
    "index", [(0,), (slice(1, None),), (slice(None, None, 2),), (slice(0, 0),)]
)
def test_part_of_what_a_kernel_returns_is_one_layer_of_blocks(index):
    da = map_frames(
        both_ends, frames_in_memory(), core_dims=DIMS[3:], out_core={"end": 3}
    )
    part = da[(..., *index)]
    np.testing.assert_array_equal(part, da.compute().values[(..., *index)])
    (layer,) = set(part.data.dask.layers) - set(da.data.dask.layers)
    assert isinstance(part.data.dask.layers[layer], Blockwise)


def both_ends(block):
    return np.stack([block.min((-2, -1)), block.max((-2, -1)), block[..., 0, 0]], -1)
