"""Several results in one pass: the same numbers, and every byte read once."""

import warnings
from dataclasses import replace

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from tests.support.memory_files import DIMS, READ, make_plan
from tests.support.public_calls import CALLS, call
from xfelred import ops, pairs
from xfelred.lazy import Source, lane_plan, planned, together
from xfelred.lazy import map_frames as lazy_map

TRAINS, PULSES, MODULES, PIXELS = 23, 3, 2, (6, 8)
SIZE = 4 * TRAINS * PULSES * MODULES * PIXELS[0] * PIXELS[1]
SHOTS = ("train", "pulse")
PLACES = ("slow_scan", "fast_scan")


@pytest.fixture
def frames():
    """Frames with gaps, of which nothing was read yet."""
    plan = make_plan(
        "together", TRAINS, PULSES, MODULES, PIXELS, missing=[(2, 0), (5, 1), (5, 0)]
    )
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    chunks["train"] = (7,) * 3 + (2,)
    coords = {
        "train": 1000 + np.arange(TRAINS),
        "step": ("train", np.arange(TRAINS) % 4),
    }
    READ.clear()
    return xr.DataArray(
        planned(Source(plan, DIMS), chunks), coords, DIMS, name="frames"
    )


@pytest.fixture(params=[1, 5, 100])
def lanes(request, monkeypatch):
    """Lanes of one train, of five, and one lane."""
    of_a_train = SIZE / TRAINS
    monkeypatch.setattr(lane_plan, "LANES", TRAINS / request.param)
    monkeypatch.setattr(lane_plan, "TASK", int(request.param * of_a_train) + 1)
    if request.param == 5:  # and two frames at a time, of three pulses
        for name, value in {"FRAMES": 2, "PIECES": 1, "MAX_SUB_BLOCK": 1}.items():
            monkeypatch.setattr(lane_plan, name, value)
    return request.param


def squared(block):
    return (block.astype(np.float64) ** 2).sum(axis=(-1, -2, -3))


def over_pulses(block):
    return block - block.mean(axis=-1, keepdims=True)


def results_of(frames):
    clean = (frames - 100).where(frames > 99)
    number = frames.isel(pulse=0, module=0, slow_scan=slice(0, 2)) * 1.0
    number = number.transpose("train", *PLACES)
    return {
        "frames": frames,
        "clean": clean,
        "one module": clean.isel(module=1),
        "box": frames.isel(slow_scan=slice(1, 5), fast_scan=slice(2, 6)).sum(PLACES),
        "box of a box": frames.isel(slow_scan=slice(1, 5)).isel(slow_scan=slice(1, 3)),
        "columns": frames.isel(fast_scan=slice(None, None, 3)),
        "statistics": ops.statistics(clean, SHOTS),
        "mean of a pulse": clean.mean("train"),
        "of modules": clean.std(("train", "module")),
        "of frames": clean.max(("module", *PLACES)),
        "of trains": frames.mean(("pulse", "module", *PLACES)),
        "of all": frames.sum(),
        "mapped": ops.map_frames(frames, squared, out_dims={}),
        "bins": ops.bin_frames(clean, {"step": xf.Bins(edges=np.arange(5) - 0.5)}),
        "groups": clean.groupby("step").mean(),
        "transposed": clean.transpose("module", ..., "train").mean("train"),
        "arithmetic": 2 * clean.mean("train") - frames.max("train"),
        "median": frames.isel(module=0).chunk(train=-1).median("train"),
        "over pulses": lazy_map(over_pulses, frames, core_dims=("pulse",)),
        "in memory": frames.train,
        "plain": xr.DataArray(dask.array.arange(7, chunks=3), dims="x"),
    }


def test_each_result_is_what_it_is_alone(frames, lanes):
    results = results_of(frames)
    alone = [some.compute() for some in results.values()]
    for name, one, two in zip(
        results, alone, xf.compute_together(*results.values()), strict=True
    ):
        xr.testing.assert_allclose(one, two, rtol=1e-12)
        assert (
            one.identical(two.copy(data=one.data))
            if isinstance(one, xr.DataArray)
            else one.attrs == two.attrs
        ), name


def test_every_byte_is_read_once(frames, lanes):
    results = results_of(frames)
    # Strides, and each group of trains, are selections of their own.
    del results["columns"], results["groups"]
    gaps = 3 * SIZE // (TRAINS * MODULES)
    READ.clear()
    xf.compute_together(*results.values())
    assert sum(READ) == SIZE - gaps


def test_what_has_no_pulses_is_added_once(frames, lanes):
    plan = replace(make_plan("energies", TRAINS, 1, 1, ()), slot_shape=())
    dims = ("train", "module")
    chunks = {d: (n,) for d, n in zip(dims, plan.shape, strict=True)}
    energy = xr.DataArray(planned(Source(plan, dims), chunks), dims=dims)
    energy = energy.isel(module=0)
    results = (frames * energy).mean("train"), energy.sum("train"), energy.count()
    alone = [some.compute() for some in results]
    for one, two in zip(alone, xf.compute_together(*results), strict=True):
        xr.testing.assert_allclose(one, two, rtol=1e-12)


def test_pairs_take_their_frames_from_the_pass(frames, lanes):
    radii = frames.isel(module=0, drop=True).rename(slow_scan="radius", fast_scan="phi")
    polar = radii.assign_coords(phi=np.arange(8) * np.pi / 4).mean("pulse")
    polar.attrs |= {"phi_period": 2 * np.pi}
    found = pairs.consecutive(polar.train)
    results = (
        ops.difference_correlation(polar, found),
        ops.difference_correlation(polar, found, reduce=None),
        polar,
    )
    alone = [some.compute() for some in results]
    READ.clear()
    both = xf.compute_together(*results)
    assert sum(READ) < SIZE
    for one, two in zip(alone, both, strict=True):
        xr.testing.assert_allclose(one, two, rtol=1e-12)


def test_equal_bits_on_any_scheduler(frames, lanes):
    results = [v for v in results_of(frames).values() if isinstance(v, xr.DataArray)]
    with dask.config.set(scheduler="sync"):
        one = xf.compute_together(*results)
    with dask.config.set(scheduler="threads", num_workers=4):
        two = xf.compute_together(*results)
    for a, b in zip(one, two, strict=True):
        assert a.identical(b)


def test_nothing_of_the_arguments_changes(frames):
    mean = frames.mean("train").to_dataset(name="mean")
    (found,) = xf.compute_together(mean)
    assert mean["mean"].chunks is not None
    assert found["mean"].chunks is None
    assert xf.compute_together() == ()


def test_large_sums_read_on_their_own_and_say_so(frames, monkeypatch):
    monkeypatch.setattr(together, "STATES", 1 << 10)
    results = frames.mean("train"), frames.mean(PLACES), frames.max(PLACES)
    alone = [some.compute() for some in results]
    with pytest.warns(UserWarning, match=r"1 of the results read.*too large"):
        both = xf.compute_together(*results)
    for one, two in zip(alone, both, strict=True):
        xr.testing.assert_allclose(one, two, rtol=1e-12)


def test_a_kernel_over_the_run_reads_on_its_own(frames):
    late = ops.modified_z(frames.mean(("pulse", "module", *PLACES)), "train")
    results = frames.mean("train"), frames.max("train"), late
    alone = [some.compute() for some in results]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        both = xf.compute_together(*results)
    for one, two in zip(alone, both, strict=True):
        xr.testing.assert_allclose(one, two, rtol=1e-12)


def test_other_selections_and_no_trains(frames):
    few, none = frames.isel(train=slice(3, 9)), frames.isel(train=slice(0, 0))
    dark = frames.isel(pulse=slice(0, 0))
    results = (
        few.mean("train"), few.max(PLACES), frames.mean("train"), none.sum("train"),
        none.max(PLACES), frames.isel(train=[1, 4]).sum(PLACES),
        dark.sum("train"), dark.sum(PLACES), dark.sum(("pulse", *PLACES)),
    )  # fmt: skip
    alone = [some.compute() for some in results]
    for one, two in zip(alone, xf.compute_together(*results), strict=True):
        xr.testing.assert_allclose(one, two, rtol=1e-12)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(n for n in CALLS if n.startswith("ops.")))
def test_dask_computes_what_an_operation_returns(name):
    found = call(name, CALLS[name])
    some = found if isinstance(found, tuple) else (found,)
    lazy = [x for x in some if isinstance(x, (xr.DataArray, xr.Dataset))]
    # dask 2026.8 loses a variable of a Dataset that another one is made of.
    for one, two in zip(dask.compute(*lazy), lazy, strict=True):
        xr.testing.assert_identical(one, two.compute())


def test_a_result_asked_for_twice_is_two_arrays(frames):
    mean = frames.mean("train")
    one, two = xf.compute_together(mean, mean)
    one.values[...] = 0
    assert two.values.any()
