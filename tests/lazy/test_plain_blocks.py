"""Operations on ordinary dask arrays hold some blocks, never the run."""

import gc
import pickle
import threading
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import geometry, ops
from xfelred.errors import SchedulerError
from xfelred.lazy import in_turn
from xfelred.lazy.by_bin import BinsFirst
from xfelred.lazy.in_turn import Running, add_blocks
from xfelred.lazy.leaves import BlockMaker
from xfelred.reductions.bins import BinStatistics

SIDE, PER_BLOCK, THREADS = 48, 4, 2
LIVE, LOCK = {"now": 0, "most": 0}, threading.Lock()


def block(block_info=None):
    """Make the frames of a block and count how many blocks there are."""
    i = block_info[None]["chunk-location"][0]
    frames = np.random.default_rng(i).random((PER_BLOCK, 1, SIDE, SIDE), "f4")
    with LOCK:
        LIVE["now"] += 1
        LIVE["most"] = max(LIVE.values())
    weakref.finalize(frames, gone)
    return frames


def gone():
    with LOCK:
        LIVE["now"] -= 1


def frames_of(n_blocks):
    n = n_blocks * PER_BLOCK
    chunks = ((PER_BLOCK,) * n_blocks, (1,), (SIDE,), (SIDE,))
    meta = np.empty((0, 0, 0, 0), "f4")
    data = da.map_blocks(block, chunks=chunks, dtype="f4", meta=meta)
    dims = ("train", "module", "slow_scan", "fast_scan")
    return xr.DataArray(data, {"train": np.arange(n), "module": [0]}, dims, "frames")


def binned(x, **options):
    label = np.random.default_rng(5).integers(0, 30, x.sizes["train"])
    values = xr.DataArray(label, {"train": x.train}, "train")
    bins = {"delay": xf.Bins(edges=np.arange(31) - 0.5, values=values)}
    return ops.bin_frames(x, bins, **options)


def located(x):
    flat = geometry.Geometry.flat(
        (SIDE, SIDE), centre=(20, 25), distance=0.1, pixel_size=1e-3, energy=9000
    )
    return geometry.locate(x, flat)


def polar(x):
    return ops.remap_polar(x, centre=(23, 24), r_min=5, r_max=20, n_phi=36)


def others(x):
    """Return as many frames of other blocks, of later trains."""
    n = x.sizes["train"]
    return frames_of(2 * n // PER_BLOCK).isel(train=slice(n, None))


OPERATIONS = {
    "bin_frames": lambda x: binned(x, quantities=("sum", "count", "mean", "sem")),
    "statistics": lambda x: ops.statistics(x, "train"),
    "integrate_azimuthally": lambda x: ops.integrate_azimuthally(located(x), 20),
    "remap_polar": lambda x: polar(x).max(("radius", "phi")),
    "correlate_angular": lambda x: ops.correlate_angular(polar(x), reduce="mean"),
    "arithmetic": lambda x: ops.statistics((x - 1) * 2, "train"),
    "concat": lambda x: binned(xr.concat([x, others(x)], "train")),
}


# One of what is done frame by frame, and one reduction of each kind.
SELDOM = {"remap_polar", "statistics"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.nightly] * (n in SELDOM)) for n in OPERATIONS],
)
def test_blocks_in_memory_do_not_grow_with_the_run(name, monkeypatch):
    # As if these were large, of which no task makes several.
    monkeypatch.setattr(in_turn, "BATCH", 1)
    most = []
    for n_blocks in (8, 32):
        gc.collect()
        LIVE.update(now=0, most=0)
        with dask.config.set(scheduler="threads", num_workers=THREADS):
            OPERATIONS[name](frames_of(n_blocks)).compute()
        most.append(LIVE["most"])
    assert most[-1] <= max(6 * THREADS, most[0]), most


@pytest.mark.parametrize("quantities", [("sum", "count"), ("mean", "sem", "count")])
def test_bins_of_blocks_equal_a_loop_and_are_the_same_on_any_scheduler(quantities):
    x = frames_of(8)
    found = []
    for how in ({"scheduler": "sync"}, {"scheduler": "threads", "num_workers": 3}):
        with dask.config.set(**how):
            found.append(binned(x, quantities=quantities).compute())
    xr.testing.assert_identical(*found)
    values = x.values.astype("f8")
    label = np.random.default_rng(5).integers(0, 30, len(values))
    for k in range(30):
        some = values[label == k]
        if not len(some):
            continue
        want = {"sum": some.sum(0), "count": len(some), "mean": some.mean(0)}
        if len(some) > 1:
            want["sem"] = some.std(0, ddof=1) / np.sqrt(len(some))
        for name in {*quantities} & want.keys():
            got = found[0][f"frames_{name}"].isel(delay=k).values
            np.testing.assert_allclose(
                got, np.broadcast_to(want[name], got.shape), 1e-12
            )


def test_blocks_may_be_cut_along_pixels_and_modules():
    x = frames_of(4).compute()
    want = binned(x.chunk(train=4)).compute()
    for chunks in ({"train": 5, "slow_scan": 7}, {"train": 3, "fast_scan": 11}):
        got = binned(x.chunk(chunks)).compute()
        xr.testing.assert_allclose(got, want, rtol=1e-12)


def test_a_sum_that_was_added_to_is_not_added_to_again():
    dims = ("n", "x"), ("n",)
    reduction = BinsFirst(BinStatistics(3))
    make = BlockMaker(reduction, ("frames", "label"), dims, {}, ("bin", "x"), ("n",))
    rest = make, frozenset({"sum"}), "x", slice(1, 4)
    blocks = np.ones((4, 5), "f4"), np.array([0, 1, 1, 2])
    first = add_blocks(None, 0, *rest, blocks)
    copy = pickle.loads(pickle.dumps(first))
    second = add_blocks(first, 1, *rest, blocks)
    assert isinstance(second, Running)
    with pytest.raises(SchedulerError, match="Compute it again"):
        add_blocks(first, 1, *rest, blocks)
    again = add_blocks(copy, 1, *rest, blocks)
    for name, values in second.state.items():
        np.testing.assert_array_equal(again.state[name], values)
