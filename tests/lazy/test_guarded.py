"""Lazy results that do not fit in memory are refused before anything is read."""

import pickle
import resource
import subprocess
import sys
import timeit
from pathlib import Path

import dask
import dask.array as da
import distributed
import numpy as np
import pytest
import xarray as xr
from memory_files import DIMS, READ
from memory_files import frames_in_memory as lazy_frames

import xfelred as xf
from xfelred import ops
from xfelred.errors import TooLargeError
from xfelred.lazy import free_memory, map_frames
from xfelred.lazy.guarded import memory_of

TOO_SMALL = 8000  # bytes; of the frames and what is made of them none takes less


def subtract(x, y):
    return x - y


def plain_frames():
    return xr.DataArray(da.ones((7, 5), chunks=3), dims=DIMS[:2])


# What users write, by what they may call it.
MADE = {
    "frames": lambda f: f,
    "selected": lambda f: f.isel(train=slice(0, 6)),
    "out of order": lambda f: f.isel(train=[2, 0, 1, 5, 4]),
    "doubled": lambda f: f * 2,
    "from the right": lambda f: 2.0 * f,
    "difference": lambda f: f - f.mean("train"),
    "with ordinary dask": lambda f: f + plain_frames(),
    "ordinary dask first": lambda f: plain_frames() + f,
    "root": np.sqrt,
    "where": lambda f: f.where(f > 0),
    "xarray's where": lambda f: xr.where(f > 0, f, 0),
    "filled": lambda f: f.fillna(0),
    "double": lambda f: f.astype(float),
    "turned": lambda f: f.transpose(*DIMS[::-1]),
    "stacked": lambda f: f.stack(shot=("train", "pulse")),
    "joined": lambda f: xr.concat([f, f], "train"),
    "in other blocks": lambda f: f.chunk({"train": 2}),
    "rolled": lambda f: f.roll(train=1),
    "in a Dataset": lambda f: f.to_dataset(name="a").to_array(),
    "corrected": lambda f: map_frames(subtract, f, f.isel(train=0, drop=True)),
    "corrected later": lambda f: map_frames(
        subtract, f * 2, f.isel(train=0, drop=True)
    ),
    "persisted": lambda f: f.persist(),
    "pickled": lambda f: f.copy(data=pickle.loads(pickle.dumps((f * 2).data))),
}
# How lazy arrays become memory.
GATHERED = {
    "values": lambda a: a.values,
    "compute": lambda a: a.compute(),
    "load": lambda a: a.copy().load(),
    "asarray": np.asarray,
    "to_numpy": lambda a: a.to_numpy(),
    "dataset": lambda a: xr.Dataset({"a": a}).compute(),
    "load of a Dataset": lambda a: xr.Dataset({"a": a}).load(),
    "dask.compute": lambda a: dask.compute(a.data),
    "dask.delayed": lambda a: dask.delayed(np.sum)(a.data),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_frames_is_refused_before_reading(name):
    array = MADE[name](lazy_frames())
    READ.clear()
    with xf.options(memory_guard=TOO_SMALL):
        for how in (GATHERED["values"], GATHERED["compute"]):
            with pytest.raises(TooLargeError):
                how(array)
    assert not READ


@pytest.mark.parametrize("how", GATHERED)
@pytest.mark.parametrize("name", ["frames", "doubled"])
def test_all_ways_into_memory_are_refused(name, how):
    array = MADE[name](lazy_frames())
    READ.clear()
    with xf.options(memory_guard=TOO_SMALL), pytest.raises(MemoryError):
        GATHERED[how](array)
    assert not READ


def test_plots_are_refused():
    line = lazy_frames()[:, 0, 0, 0, 0]
    with xf.options(memory_guard=20), pytest.raises(TooLargeError):
        line.plot()


def test_the_message_has_size_limit_and_ways_out():
    with xf.options(memory_guard="7 kB"), pytest.raises(TooLargeError) as error:
        lazy_frames().compute()
    text = str(error.value)
    for part in ("9.84 kiB", "6.84 kiB", "(7, 5, 3, 4, 6)", "isel", "ops.statistics",
                 "xf.write", "xf.options(memory_guard=False)"):  # fmt: skip
        assert part in text


def test_what_only_together_does_not_fit_is_refused():
    frames = lazy_frames()
    one, two = frames[:3], frames[3:6].rename(train="late")
    both = sum(memory_of(a.data)[1] for a in (one, two))
    with xf.options(memory_guard=both - 1):
        for each in (one, two):
            each.compute()
        READ.clear()
        with pytest.raises(TooLargeError):
            xr.Dataset({"one": one, "two": two}).compute()
        assert not READ
        one.persist()
        two.compute()  # what was persisted before does not count
    with xf.options(memory_guard=both):
        xr.Dataset({"one": one, "two": two}).compute()


def test_blocks_that_are_joined_count_twice_and_one_block_once():
    whole = lazy_frames(chunks=(7, 5, 3, 4, 6))
    with xf.options(memory_guard=whole.nbytes):
        whole.compute()
        with pytest.raises(TooLargeError):
            lazy_frames().compute()
    with xf.options(memory_guard=2 * whole.nbytes):
        lazy_frames().compute()


def test_what_does_not_gather_is_not_refused(tmp_path):
    frames, target = lazy_frames(), np.zeros(lazy_frames().shape, "f4")
    want = frames.values
    with xf.options(memory_guard=TOO_SMALL):
        for array in (frames, frames * 1):
            array.persist()
            dask.persist(array)
            dask.optimize(array)
            da.store(array.data, target)
            np.testing.assert_array_equal(target, want)
            assert array[0].values.shape == frames.shape[1:]
            ops.statistics(array, ["train"])["mean"].compute()
            array.mean(DIMS[:2]).compute()
        for name in ("a.zarr", "a.h5", "a.nc"):
            xf.write((frames * 1).rename("frames"), tmp_path / name)
    stored = xr.open_zarr(tmp_path / "a.zarr", consolidated=False)
    np.testing.assert_array_equal(stored["frames"], want)


def test_arrays_of_unknown_length_are_left_to_dask():
    values = lazy_frames().data
    some = values[values > 5]
    with xf.options(memory_guard=10):
        assert len(some.compute()) == int((values > 5).sum())


def test_the_guard_can_be_switched_off(monkeypatch):
    monkeypatch.setattr("xfelred.lazy.guarded.free_memory", lambda: (0, "nothing"))
    monkeypatch.setattr("xfelred.lazy.guarded.ALWAYS_FITS", 0)
    frames = lazy_frames()
    with pytest.raises(TooLargeError, match="by nothing"):
        frames.compute()
    with xf.options(memory_guard=False):
        frames.compute()
    with pytest.raises(TooLargeError):
        frames.compute()


def test_workers_elsewhere_change_nothing():
    with distributed.Client(
        n_workers=1, processes=False, dashboard_address=None
    ) as client:
        with xf.options(memory_guard=TOO_SMALL):
            with pytest.raises(TooLargeError):
                (lazy_frames() * 2).compute()
            assert (lazy_frames() * 2).mean().compute() > 0
        got = client.compute((lazy_frames() * 2).data).result()
    np.testing.assert_array_equal(got, 2 * lazy_frames().values)


def test_the_limit_of_addresses_of_this_process_counts():
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        limit = 1 << 46
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        ((left, by),) = free_memory.address_space()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert 0 < limit - left < 1 << 45
    assert "ulimit" in by


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system of files in place of /proc and /sys/fs/cgroup."""
    monkeypatch.setattr(free_memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(free_memory, "CGROUPS", tmp_path / "groups")
    free_memory.limited_groups.cache_clear()

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    yield write
    free_memory.limited_groups.cache_clear()


MEMINFO = "MemTotal: 9000 kB\nMemAvailable:    4000 kB\nCached: 1 kB\n"


def test_what_the_machine_has_available_counts(system):
    system(proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    assert free_memory.free_memory() == (4000 * 1024, "this machine")


def test_control_groups_of_version_2_count_without_pages_of_files(system):
    system(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="0::/job/step\n",
        groups__job__memory_dot_max="3000000\n",
        groups__job__memory_dot_current="2500000\n",
        groups__job__memory_dot_stat="anon 5\ninactive_file 1000000\nactive_file 7\n",
        groups__job__step__memory_dot_max="max\n",
        groups__job__step__memory_dot_current="1\n",
    )
    free, by = free_memory.free_memory()
    assert free == 500_000 + 1_000_007
    assert "job" in by


def test_control_groups_of_version_1_count(system):
    system(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="5:cpu:/x\n4:memory:/elsewhere\n",
        groups__memory__memory_dot_limit_in_bytes="2000000\n",
        groups__memory__memory_dot_usage_in_bytes="1900000\n",
        groups__memory__memory_dot_stat="inactive_file 9\ntotal_inactive_file 50000\n",
    )
    # The group is not there under its name: a container sees its own as the root.
    assert free_memory.free_memory()[0] == 150_000


def test_no_limit_is_none(system):
    system(
        proc__meminfo=MEMINFO,
        proc__self__cgroup="4:memory:/\n0::/\n",
        groups__memory__memory_dot_limit_in_bytes=f"{2**63 - 4096}\n",
        groups__memory_dot_max="max\n",
    )
    assert free_memory.free_memory() == (4000 * 1024, "this machine")


def test_a_small_result_costs_no_look_at_the_system(monkeypatch):
    monkeypatch.setattr("xfelred.lazy.guarded.free_memory", None)
    lazy_frames().compute()
    joining = lazy_frames().data.__dask_postcompute__()
    assert timeit.timeit(lambda: joining == (), number=100) < 0.1


UNDER_LIMIT = """
import resource, sys
import numpy as np
sys.path[:0] = {paths!r}
from memory_files import frames_in_memory as lazy_frames
import xfelred as xf
frames = (lazy_frames() * 2.0).expand_dims(repeated=500_000)
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
try:
    frames.values
except xf.XfelredError as error:
    print(type(error).__name__, "ulimit" in str(error))
print(float(frames[0, 0].mean()) > 0)
"""


def test_a_process_with_a_limit_refuses_what_exceeds_it():
    here = Path(__file__).resolve()
    paths = [str(p) for p in (here.parents[2], here.parents[1] / "support")]
    code = UNDER_LIMIT.format(paths=paths)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["TooLargeError", "True", "True"], done.stderr
