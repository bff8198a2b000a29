import json

import dask
import dask.array
import memory_files
import numpy as np
import pytest
import xarray as xr
from dask._task_spec import Task
from dask.blockwise import Blockwise
from memory_files import without_recipe

from xfelred import ops, pairs
from xfelred.kernels import first_use
from xfelred.lazy import ReadPlan, Source, one_each, planned
from xfelred.lazy.estimate import estimate, rounded_time
from xfelred.lazy.reduce import StateLayer

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
TRAINS, PULSES, MODULES = 7, 5, 3


def lazy_frames(name="run", trains=TRAINS, per_block=2, missing=()):
    plan = memory_files.make_plan(name, trains, PULSES, MODULES, missing=missing)
    blocks = [per_block] * (trains // per_block) + [trains % per_block]
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    chunks |= {"train": tuple(b for b in blocks if b) or (0,), "pulse": (3, 2)}
    coords = {"train": range(trains), "pulse": range(PULSES), "module": [0, 3, 7]}
    return xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS, coords=coords)


def bytes_read(*results):
    """What the reader hands out when the results are really computed."""
    memory_files.READ.clear()
    dask.compute(*results, scheduler="sync")
    return sum(memory_files.READ)


def tasks_left(*results):
    """Tasks in the graph that dask makes, without the joining of chains."""
    with dask.config.set({"optimization.fuse.active": False}):
        parts = dask.optimize(*results)
    graph = {}
    for part in parts:
        graph |= dict(part.__dask_graph__())
    # Some of dask's own layers still hold tasks as tuples.
    return sum(
        isinstance(t, Task) or (type(t) is tuple and callable(t[0]))
        for t in graph.values()
    )


def double(block):
    return 2 * block


def rings(x):
    """Return the pixels of one module as if they were rings of frames."""
    rows = x.isel(module=0).rename(slow_scan="radius", fast_scan="phi")
    return rows.assign_coords(phi=np.arange(6) * np.pi / 3)


def first_pulses(x):
    return rings(x).isel(pulse=0)


def neighbours(x, **options):
    return ops.difference_correlation(x, pairs.consecutive(x.train), **options)


BAD = xr.DataArray(np.eye(4, 6, dtype=bool), dims=DIMS[3:])
CASES = {
    "frames": lambda x: x,
    "one module": lambda x: x.sel(module=3),
    "some modules": lambda x: x.sel(module=[0, 7]),
    "trains": lambda x: x.isel(train=slice(1, 6, 2)),
    "pulses": lambda x: x.isel(pulse=slice(2, 4)),
    "window": lambda x: x[..., 1:3, ::2],
    "one frame": lambda x: x[2, 3],
    "transposed": lambda x: x.transpose("module", ...),
    "other blocks": lambda x: x.chunk(train=3),
    "arithmetic": lambda x: 2 * x + 1,
    "selected by dask": lambda x: (2 * x).isel(train=slice(1, 4), module=0),
    "list selected by dask": lambda x: (2 * x).isel(train=[5, 0, 3]),
    "scattered": lambda x: (2 * x).isel(train=xr.DataArray([0, 6], dims="p"),
                                        pulse=xr.DataArray([0, 4], dims="p")),
    "mean of dask": lambda x: x.mean("train"),
    "own map": lambda x: x.copy(data=x.data.map_blocks(double)),
    "with itself": lambda x: x * x.isel(train=0),
    "plain dask array": lambda x: x.data[1:3] + 1,
    "rechunked by dask": lambda x: (2 * x).chunk(train=7, fast_scan=3),
    "statistics": lambda x: ops.statistics(x, ("train", "pulse")),
    "mean alone": lambda x: ops.statistics(x)["mean"],
    "statistics per pulse": lambda x: ops.statistics(x.isel(module=1)),
    "part of statistics": lambda x: ops.statistics(x)["std"].isel(module=1),
    "statistics of other arrays": lambda x: ops.statistics(2 * x),
    "part of these": lambda x: ops.statistics(2 * x)["mean"].isel(pulse=4),
    "share": lambda x: xr.Dataset({"a": 2 * x, "b": x.max("train")}),
    "two passes": lambda x: xr.Dataset({"a": x, "b": ops.statistics(x)["mean"]}),
    "delayed": lambda x: dask.delayed(np.sum)(x.data[:3]),
    "pairs": lambda x: neighbours(first_pulses(x)),
    "each pair": lambda x: neighbours(first_pulses(x), reduce=None),
    "counts of each": lambda x: neighbours(first_pulses(x), reduce=None)["n_pairs"],
    "pairs of ordinary blocks": lambda x: neighbours(without_recipe(first_pulses(x))),
    "each pair of these": lambda x: neighbours(
        without_recipe(first_pulses(x)), reduce=None),
    "masked": lambda x: ops.apply_bad_pixels(x, BAD),
    "masked, then reduced": lambda x: ops.statistics(ops.apply_bad_pixels(x, BAD)),
    "masked statistics": lambda x: ops.statistics(x, bad_pixels=BAD),
}  # fmt: skip


@pytest.mark.parametrize("missing", [(), {(0, 0), (3, 2)}])
@pytest.mark.parametrize("case", CASES)
def test_bytes_and_tasks_are_those_of_the_computation(case, missing):
    result = CASES[case](lazy_frames(missing=missing))
    found = estimate(result)
    assert found.bytes_to_read == bytes_read(result) > 0
    assert found.tasks == tasks_left(result)


@pytest.mark.parametrize("case", CASES)
def test_made_graph_reads_the_same(case):
    """`dask.optimize` hands over tasks in place of layers, joined where it can."""
    result = CASES[case](lazy_frames())
    (made,) = dask.optimize(result)
    assert estimate(made).bytes_to_read == bytes_read(made) > 0


def test_blocks_and_files_are_those_that_are_read():
    frames = lazy_frames(missing={(t, 1) for t in range(TRAINS)})
    found = estimate(frames)
    assert (found.blocks, found.files) == (8, 2)
    assert estimate(frames.isel(module=[1])).blocks == 0
    part = estimate(without_recipe(frames).isel(train=0, module=0))
    assert (part.blocks, part.tasks, part.files) == (2, 4, 2)


def test_what_results_share_is_counted_once():
    frames = lazy_frames()
    one = estimate(ops.statistics(frames)["mean"])
    all_three = estimate(ops.statistics(frames))
    assert all_three.bytes_to_read == one.bytes_to_read == frames.nbytes
    assert all_three.blocks == one.blocks
    assert estimate(frames, without_recipe(frames)).bytes_to_read == frames.nbytes
    assert estimate(frames, frames.data).bytes_to_read == frames.nbytes
    other = lazy_frames("other")
    assert estimate(frames, other).bytes_to_read == frames.nbytes + other.nbytes


def test_block_that_several_tasks_read_is_counted_for_each():
    """Dask joins the reading of a pedestal with every task that subtracts it."""
    frames, pedestal = lazy_frames().data, lazy_frames("dark", trains=1).data
    result = frames - pedestal
    assert estimate(result).bytes_to_read == bytes_read(result)
    assert bytes_read(result) == frames.nbytes + 4 * pedestal.nbytes


@pytest.mark.parametrize(
    "nothing",
    [
        lambda x: x.isel(train=slice(0, 0)),
        lambda x: ops.statistics(x.isel(train=slice(0, 0))),
        lambda x: x[..., 2:2],
        lambda x: x.compute(),
        lambda x: ops.statistics(x.compute()),
        lambda x: (2 * x).persist(scheduler="sync") + 1,
        lambda x: dask.array.from_array(x.values, chunks=2) + 1,
    ],
)
def test_nothing_is_read_for_empty_selections_and_arrays_in_memory(nothing):
    result = nothing(lazy_frames())
    found = estimate(result)
    assert (found.bytes_to_read, found.files, found.blocks) == (0, 0, 0)
    assert bytes_read(result) == 0
    assert found.seconds == 0


def test_result_has_its_size():
    frames = lazy_frames()
    assert estimate(frames).result_bytes == frames.nbytes
    found = ops.statistics(frames)
    assert estimate(found).result_bytes == found.nbytes


def test_nothing_is_computed(no_compute):
    with no_compute():
        estimate(*(make(lazy_frames()) for make in CASES.values()))


def refuse(*_, **__):
    raise AssertionError("tasks were made, or data were read")


def long_frames():
    """The largest run that is measured in benchmarks/graph.py: 1.1 million blocks."""
    trains, pulses, modules, files = 100_000, 352, 16, 400
    at = np.arange(trains)
    plan = ReadPlan(
        read_rows=refuse,
        targets=tuple((f"m{m}s{s}", f"{m}") for m in range(16) for s in range(files)),
        target=(at // (trains // files))[:, None] + np.arange(modules) * files,
        first=np.zeros((trains, modules), int), pattern=np.zeros(trains, int),
        patterns=one_each(pulses), slot_shape=(pulses,),
        entry=(slice(0, 512, 1), slice(0, 128, 1)), entry_shape=(512, 128), n_inner=0,
        dtype=np.dtype("f4"), fill_value=np.float32(np.nan), flat=False, token="long",
    )  # fmt: skip
    chunks = {d: (n,) for d, n in zip(DIMS, plan.shape, strict=True)}
    chunks |= {"train": (1,) * trains, "pulse": (32,) * 11}
    return xr.DataArray(planned(Source(plan, DIMS), chunks), dims=DIMS)


def test_long_run_is_followed_without_making_its_tasks(monkeypatch):
    frames = long_frames()
    statistics = ops.statistics(frames, ("train", "pulse"))
    monkeypatch.setattr(Blockwise, "_dict", property(refuse))
    monkeypatch.setattr(StateLayer, "make", refuse)
    found = estimate(2 * frames + 1)
    assert found.bytes_to_read == frames.nbytes == 100_000 * 352 * 16 * 512 * 128 * 4
    assert (found.tasks, found.blocks, found.files) == (1_100_000, 1_100_000, 6400)
    found = estimate(statistics["mean"])
    assert found.bytes_to_read == frames.nbytes
    assert found.blocks <= found.tasks < 20_000
    chosen = frames.isel(train=slice(5, 90_000), pulse=slice(0, 200), module=[1, 9])
    assert estimate(chosen).bytes_to_read == 89_995 * 200 * 2 * 512 * 128 * 4


def test_more_threads_and_workers_take_less_time_and_more_memory():
    frames = lazy_frames()
    one = estimate(frames, threads=1, rate=1e6)
    assert one.seconds == pytest.approx(frames.nbytes / 1e6)
    many = estimate(frames, workers=4, threads=2, rate=1e6)
    assert many.seconds == pytest.approx(one.seconds / 8)
    assert many.peak_memory_per_worker > one.peak_memory_per_worker
    assert many.bytes_to_read == one.bytes_to_read


@pytest.mark.parametrize("option", ["workers", "threads", "rate"])
def test_options_must_be_positive(option):
    with pytest.raises(ValueError, match=f"{option} must be positive, got 0"):
        estimate(lazy_frames(), **{option: 0})


def test_other_objects_are_an_error():
    with pytest.raises(TypeError, match=r"expected a DataArray.*, not str"):
        estimate("frames")


def test_estimate_can_be_read_by_people_and_programs():
    found = estimate(lazy_frames(), threads=2)
    text = repr(found)
    assert "to read" in text
    assert "9.84 kiB" in text
    assert "peak memory" in text
    assert found._repr_html_().count("<tr>") == len(found.rows())
    content = json.loads(json.dumps(found.to_dict()))
    assert content["bytes_to_read"] == found.bytes_to_read
    assert content["bytes_total"] is None


def test_what_is_not_streamed_is_named():
    frames = lazy_frames()
    for streams in (frames, frames - 1, (frames - 1).mean("train"), frames.sum()):
        assert estimate(streams).by_dask == ()
    assert estimate(ops.statistics(frames * 2, "train")).by_dask == ()
    found = estimate((frames - 1).shift(train=1))
    assert found.by_dask
    assert "not streamed" in repr(found)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "under a second"),
        (0.006, "under a second"),
        (1.26, "about 1 s"),
        (46.44, "about 46 s"),
        (118, "about 120 s"),
        (527, "about 9 min"),
        (7201, "about 2 h"),
        (86_400 * 365, "about 360 days"),
    ],
)  # fmt: skip
def test_durations_are_said_in_two_digits(seconds, text):
    assert rounded_time(seconds) == text


def test_kernels_that_are_not_compiled_yet_are_counted(monkeypatch):
    result = ops.statistics(lazy_frames())
    result.compute(scheduler="sync")
    known = estimate(result)
    # Not what an operation never calls; what this process has used is there for others.
    assert 0 <= known.seconds_to_compile < 10
    assert "compiling" not in repr(estimate(lazy_frames()))
    everywhere = estimate(result, workers=2)
    assert everywhere.seconds_to_compile > known.seconds_to_compile
    monkeypatch.setattr(first_use, "is_cached", lambda kernel: False)
    new = estimate(result, workers=2)
    assert new.seconds_to_compile > everywhere.seconds_to_compile
    assert "with compiling" in repr(new)


def test_result_that_does_not_fit_is_told():
    frames = long_frames()
    found = estimate(frames)
    assert found.result_bytes > found.memory_free > 0
    assert "does not fit" in repr(found)
    assert "does not fit" not in repr(estimate(frames.isel(train=slice(0, 0))))
