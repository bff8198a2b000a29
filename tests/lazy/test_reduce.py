"""Reductions: through recipes, by blocks, by bins, and as numpy's functions."""

import itertools

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr
from memory_files import READ, make_plan, whole, without_recipe

from xfelred.lazy import (
    PlannedArray,
    Source,
    map_frames,
    partition,
    planned,
    reduce_frames,
)
from xfelred.reductions.bins import BinStatistics
from xfelred.reductions.moments import Statistics

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
TRAINS, PULSES, MODULES = 7, 5, 3
MISSING = {(2, 1), (5, 0)}


def frames(name="reduce", trains_per_chunk=2, dtype="f4", chunk=()):
    missing = MISSING if dtype == "f4" else ()
    plan = make_plan(name, TRAINS, PULSES, MODULES, dtype=dtype, missing=missing)
    object.__setattr__(plan, "chunk", chunk)
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    n = trains_per_chunk
    chunks["train"] = (n,) * (TRAINS // n) + ((TRAINS % n,) if TRAINS % n else ())
    lazy = xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)
    fill = np.nan if dtype == "f4" else 0
    full = whole(name, TRAINS, PULSES, MODULES, missing, fill)
    return lazy, xr.DataArray(full, dims=DIMS)


@pytest.fixture(params=["small pieces", "one piece"])
def pieces(request, monkeypatch):
    """Sub-blocks and tasks of a few frames, or one for everything."""
    if request.param == "small pieces":
        monkeypatch.setattr(partition, "SUB_BLOCK", 300)
        monkeypatch.setattr(partition, "SUB_STATE", 24)
        monkeypatch.setattr(partition, "TASK", 1500)


SKIPPING = ["mean", "std", "var", "min", "max"]
SUBSETS = [dims for n in (1, 2, 3, 5) for dims in itertools.combinations(DIMS, n)]


# Of the oracle, with older versions of xarray.
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize("name", SKIPPING)
@pytest.mark.parametrize("dims", SUBSETS)
def test_xarray_reductions_stream_and_equal_those_in_memory(name, dims, pieces):
    lazy, full = frames()
    found = getattr(lazy, name)(dims)
    assert found.data.dask.layers.keys().isdisjoint(lazy.data.dask.layers)
    expected = getattr(full.astype("f8"), name)(dims)
    assert found.dims == expected.dims
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*SKIPPING, "sum"])
@pytest.mark.parametrize("dtype", ["u2", "i4"])
def test_integers_keep_the_types_of_numpy(name, dtype, pieces):
    lazy, full = frames(name="ints", dtype=dtype)
    found, expected = (getattr(a, name)(("train", "pulse")) for a in (lazy, full))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "reduce",
    [
        lambda a: a.mean("train", skipna=False),
        lambda a: a.sum("train"),
        lambda a: a.count("train"),
        lambda a: a.median("train"),
        lambda a: a.mean("train", dtype="f8"),
        lambda a: a.mean("train", keepdims=True),
        lambda a: a.prod("pulse"),
        lambda a: (a + 1).mean("train"),
        lambda a: a.any("train"),
        lambda a: a.std("train", ddof=1),
        lambda a: a.argmax("pulse"),
    ],
)
def test_other_reductions_equal_those_in_memory(reduce):
    lazy, full = frames(trains_per_chunk=7)
    if reduce(xr.DataArray([1.0], dims="train").expand_dims("pulse")).dtype == int:
        lazy, full = lazy.fillna(0), full.fillna(0)
    np.testing.assert_allclose(reduce(lazy), reduce(full), rtol=2e-6)


def test_a_reduction_reads_every_byte_once(pieces):
    lazy, _ = frames()
    READ.clear()
    with dask.config.set(scheduler="sync"):
        lazy.std(("train", "pulse")).compute()
    missing = len(MISSING) / (TRAINS * MODULES)
    assert sum(READ) == round(lazy.nbytes * (1 - missing))


def test_the_mean_of_selected_frames_reads_only_these():
    lazy, full = frames()
    READ.clear()
    chosen = {"train": slice(0, 2), "module": 2, "pulse": [0, 3]}
    found = lazy.isel(chosen).mean("train").compute()
    assert sum(READ) == lazy.isel(chosen).nbytes
    np.testing.assert_allclose(found, full.isel(chosen).mean("train"), rtol=1e-6)


def test_frames_that_are_stored_together_are_read_together(monkeypatch):
    monkeypatch.setattr(partition, "SUB_BLOCK", 300)
    monkeypatch.setattr(partition, "SUB_STATE", 24)
    one, _ = frames()
    together, _ = frames(chunk=(4, 4, 6))
    calls = []
    for lazy in (one, together):
        READ.clear()
        lazy.mean("train").compute(scheduler="sync")
        calls.append(len(READ))
    assert calls[1] < calls[0]


# Bins.

QUANTITIES = ("count", "sum", "mean", "var", "min")


def binned(array, labels, dims, n_bins=6):
    found = reduce_frames(
        BinStatistics(n_bins), array, labels, dims=dims,
        results={q: np.int64 if q == "count" else np.float64 for q in QUANTITIES},
        new_dims={"bin": n_bins},
    )  # fmt: skip
    return xr.Dataset(found)


def looped(full, labels, dims, n_bins=6):
    out = []
    for b in range(n_bins):
        chosen = full.where(labels == b).astype("f8")
        out.append(
            xr.Dataset(
                {
                    "count": chosen.count(dims),
                    "sum": chosen.sum(dims),
                    "mean": chosen.mean(dims),
                    "var": chosen.var(dims),
                    "min": chosen.min(dims),
                }
            )
        )
    return xr.concat(out, "bin").transpose(..., "bin")


# Of the oracle, with older versions of xarray.
@pytest.mark.filterwarnings("ignore:Degrees of freedom:RuntimeWarning")
@pytest.mark.parametrize("dims", [("train", "pulse"), ("train",), DIMS])
@pytest.mark.parametrize("plain", [False, True])
def test_bins_equal_a_loop_over_bins(dims, plain, pieces):
    lazy, full = frames()
    lead = [d for d in dims if d in ("train", "pulse")]
    rng = np.random.default_rng(3)
    shape = [full.sizes[d] for d in lead]
    # Bin 4 stays empty, -1 is in no bin.
    labels = xr.DataArray(rng.choice([-1, 0, 1, 2, 3, 5], shape), dims=lead)
    array = without_recipe(lazy) if plain else lazy
    assert isinstance(array.data, PlannedArray) != plain
    found, expected = binned(array, labels, dims), looped(full, labels, dims)
    for name in QUANTITIES:
        assert found[name].dims == expected[name].dims
        np.testing.assert_allclose(
            found[name], expected[name], rtol=1e-9, atol=1e-9, err_msg=name
        )


def test_bins_have_the_same_bits_for_any_number_of_threads(pieces):
    lazy, _ = frames()
    labels = xr.DataArray(np.arange(TRAINS) % 3, dims="train")
    results = [
        binned(lazy, labels, ("train", "pulse")).compute(
            scheduler="threads", num_workers=n
        )
        for n in (1, 4)
    ]
    for name in QUANTITIES:
        assert results[0][name].values.tobytes() == results[1][name].values.tobytes()


def test_a_state_holds_only_the_bins_of_its_frames():
    reduction = BinStatistics(1000)
    x = np.ones((6, 2), "f4")
    labels = np.array([[7], [-1], [7], [900], [900], [900]])
    state = reduction.partial(None, [x, labels], (0,), frozenset({"sum"}))
    assert state["bins"].tolist() == [7, 900]
    assert all(len(values) == 2 for values in state.values())
    found = reduction.finish(state, "sum")
    assert found.shape == (2, 1000)
    assert found.sum() == 10


def test_no_frame_in_any_bin_gives_empty_bins():
    lazy, _ = frames()
    labels = xr.DataArray(np.full(TRAINS, -1), dims="train")
    found = binned(lazy, labels, ("train", "pulse")).compute()
    assert (found["count"] == 0).all()
    assert (found["sum"] == 0).all()
    assert found["mean"].isnull().all()


# Maps.


def doubled_and_masked(x, bad):
    return np.where(bad, np.nan, 2 * x).astype(x.dtype)


def brightest(x):
    return x.max(axis=(-3, -2, -1))[..., np.newaxis]


@pytest.mark.parametrize("trains_per_chunk", [1, 3, 7])
def test_blocks_of_maps_are_made_in_pieces_of_any_size(trains_per_chunk, pieces):
    lazy, full = frames(trains_per_chunk=trains_per_chunk)
    bad = np.random.default_rng(0).random((MODULES, 4, 6)) < 0.3
    companion = xr.DataArray(bad, dims=DIMS[2:])
    mapped = map_frames(doubled_and_masked, lazy, companion)
    expected = xr.where(companion, np.nan, 2 * full).transpose(*DIMS)
    np.testing.assert_array_equal(mapped, expected)
    peak = map_frames(
        brightest, mapped.fillna(0) if trains_per_chunk == 3 else lazy,
        core_dims=DIMS[2:], out_core={"one": 1},
    )  # fmt: skip
    of = expected.fillna(0) if trains_per_chunk == 3 else full
    np.testing.assert_array_equal(peak[..., 0], of.max(DIMS[2:], skipna=False))


def test_a_block_of_a_map_never_holds_what_it_reads(monkeypatch):
    monkeypatch.setattr(partition, "SUB_BLOCK", 300)
    lazy, _ = frames(trains_per_chunk=7)
    sizes = []

    def noting(x):
        sizes.append(x.nbytes)
        return x

    noting.__qualname__ = "noting"
    map_frames(noting, lazy).compute(scheduler="sync")
    assert max(sizes) <= 5 * 4 * 6 * 4


def difference(x, y):
    return x - y


@pytest.mark.parametrize("one", [{"train": 1}, {"pulse": 2}, {"module": 2}])
def test_a_companion_from_files_may_have_lost_an_axis(one, pieces):
    lazy, full = frames()
    dark, dark_full = frames(name="dark", dtype="i4")
    found = map_frames(difference, lazy, dark.isel(one, drop=True))
    expected = full - dark_full.isel(one, drop=True)
    np.testing.assert_array_equal(found, expected.astype("f4"))
    np.testing.assert_allclose(
        found.mean("train"), expected.mean("train"), rtol=1e-5, atol=1e-5
    )


def masked(x, bad):
    return np.where(bad, np.nan, x)


@pytest.mark.parametrize("plain", [False, True])
def test_equal_masks_along_different_axes_are_different_arrays(plain):
    plan = make_plan("square", 3, 2, 2, pixels=(5, 5))
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    lazy = xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)
    full = xr.DataArray(whole("square", 3, 2, 2), dims=DIMS)
    if plain:
        lazy = without_recipe(lazy)
    bad = np.array([True, False, False, True, False])
    masks = [xr.DataArray(bad, dims=d) for d in DIMS[3:]]
    maps = [map_frames(masked, lazy, m) for m in masks]
    means = [m.mean("train") for m in maps]
    found = dask.compute(*maps, *means)
    expected = [full.where(~m) for m in masks]
    for got, want in zip(
        found, [*expected, *(e.mean("train") for e in expected)], strict=True
    ):
        np.testing.assert_allclose(got, want.transpose(*got.dims), rtol=1e-6)


def test_no_frames_have_no_extremes():
    lazy, _ = frames(name="ints", dtype="u2")
    with pytest.raises(ValueError, match="shape"):
        lazy.isel(train=slice(0, 0)).min("train").compute()


def test_a_mean_has_the_same_bits_whatever_is_asked_beside_it(pieces):
    lazy, _ = frames()
    results = [
        reduce_frames(
            Statistics(0, False), lazy, dims=("train", "pulse"),
            results=dict.fromkeys(names, np.float64),
        )
        for names in (("mean",), ("mean", "std", "count"))
    ]  # fmt: skip
    one, three = (dask.compute(r)[0]["mean"] for r in results)
    assert one.values.tobytes() == three.values.tobytes()


def test_a_label_beyond_the_bins_is_an_error():
    lazy, _ = frames()
    labels = xr.DataArray(np.arange(TRAINS), dims="train")
    with pytest.raises(ValueError, match="label 6 of a frame is not below"):
        binned(lazy, labels, ("train", "pulse")).compute()
