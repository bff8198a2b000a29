"""Forked children compute, and an asynchronous client gives one clear error."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import dask
import dask.threaded
import pytest

from xfelred import synth
from xfelred.errors import SchedulerError
from xfelred.lazy import scheduler

ROOT = Path(__file__).resolve().parents[2]

# A process of its own, whose threads are its own: fork is not safe in one that has run
# the tests before. Every child has 30 s, hanging is what this is about.
START = """
import asyncio, multiprocessing, os, sys, tempfile, threading
from concurrent.futures import ProcessPoolExecutor
import numba, numpy as np
import xfelred as xf
from xfelred import ops
PATH, OUT = sys.argv[1:]
FORK = multiprocessing.get_context("fork")
RUN = xf.open_run(PATH)

def mean(_=None):
    frames = xf.open_run(PATH).frames()
    return float(ops.statistics(frames, ["train", "pulse"])["mean"].mean().compute())

def mean_of_inherited_run(_=None):
    return float(RUN.frames().mean().compute())

def written(name):
    return xf.write(RUN.frames(), os.path.join(OUT, name)).name

@numba.njit(parallel=True)
def parallel_sum(x):
    total = 0.0
    for i in numba.prange(len(x)):
        total += x[i]
    return total

want = mean()
"""
CASES = {
    "by ProcessPoolExecutor, and a child of a child": """
def grandchild():
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        return pool.submit(mean).result(30)
with ProcessPoolExecutor(2, mp_context=FORK) as pool:
    assert [f.result(30) for f in [pool.submit(mean) for _ in range(4)]] == [want] * 4
    assert pool.submit(mean_of_inherited_run).result(30) > 0
    assert pool.submit(written, "a.h5").result(30) == "a.h5"
with ProcessPoolExecutor(1, mp_context=FORK) as pool:
    assert pool.submit(grandchild).result(60) == want
""",
    "by multiprocessing.Pool, also on a thread": """
def fork():
    with FORK.Pool(2) as pool:
        found.extend(pool.map_async(mean, range(3)).get(30))
found = []
fork()
thread = threading.Thread(target=fork)
thread.start()
thread.join(60)
assert found == [want] * 6
""",
    "after a parallel kernel of numba and a product of zarr": """
parallel_sum(np.ones(10_000))
written("parent.zarr")
with ProcessPoolExecutor(1, mp_context=FORK) as pool:
    assert pool.submit(mean).result(30) == want
    assert pool.submit(written, "child.zarr").result(30) == "child.zarr"
""",
    "beside an open client": """
import distributed
with distributed.Client(n_workers=1, processes=False, dashboard_address=None):
    assert mean() == want
    with FORK.Pool(1) as pool:
        assert pool.apply_async(mean).get(30) == want
        assert pool.apply_async(written, ("b.zarr",)).get(30) == "b.zarr"
    assert mean() == want
""",
}
ASYNCHRONOUS = """
import dask, distributed
async def main():
    options = dict(asynchronous=True, processes=False, dashboard_address=None)
    async with distributed.Client(**options):
        frames = RUN.frames()
        for name in ("c.zarr", "c.h5", "c.nc", "c.tiff"):
            for resume in {False, name.endswith("zarr")}:
                try:
                    xf.write(frames[0], os.path.join(OUT, name), resume=resume)
                except xf.XfelredError as error:
                    assert isinstance(error, RuntimeError), error
                    assert "asynchronous" in str(error) and "threads" in str(error)
                else:
                    raise AssertionError(name)
        assert not os.listdir(OUT)
        await asyncio.to_thread(xf.write, frames, os.path.join(OUT, "d.zarr"))
        with dask.config.set(scheduler="threads"):
            written("e.zarr")
    assert sorted(os.listdir(OUT)) == ["d.zarr", "e.zarr"]
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def run_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sacla") / "300001.h5"
    synth.sacla.write_run(path, shape=(32, 32), n_images=6, n_darks=2)
    return path


def call(code, path, out):
    done = subprocess.run(
        [sys.executable, "-c", START + code, str(path), str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


# Each is a process that imports and computes everything anew.
ALWAYS = {"by ProcessPoolExecutor, and a child of a child"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [c if c in ALWAYS else pytest.param(c, marks=pytest.mark.nightly) for c in CASES],
)
def test_a_forked_child_computes(case, run_path, tmp_path):
    call(CASES[case], run_path, tmp_path)


@pytest.mark.slow
def test_an_asynchronous_client_gives_one_error_before_anything_is_written(
    run_path, tmp_path
):
    call(ASYNCHRONOUS, run_path, tmp_path)


def test_a_child_starts_with_no_pool_and_open_locks(monkeypatch):
    pool = object()
    monkeypatch.setattr(dask.threaded, "default_pool", pool)
    monkeypatch.setattr(dask.threaded, "pools", {None: pool})
    monkeypatch.setattr(dask.threaded, "pools_lock", held := threading.Lock())
    monkeypatch.setattr(dask.threaded, "main_thread", None)
    held.acquire()
    with dask.config.set(scheduler="dask.distributed", pool=pool):
        scheduler.mend_after_fork()
        assert dask.threaded.default_pool is None
        assert not dask.threaded.pools
        assert not dask.threaded.pools_lock.locked()
        assert dask.threaded.main_thread is threading.current_thread()
        assert dask.config.get("scheduler") == "threads"
        assert dask.config.get("pool", None) is None


@pytest.mark.parametrize("name", ["synchronous", "processes", "threads"])
def test_a_child_keeps_a_scheduler_that_works_there(name, monkeypatch):
    for what in ("default_pool", "pools", "pools_lock", "main_thread"):
        monkeypatch.setattr(dask.threaded, what, getattr(dask.threaded, what))
    monkeypatch.setattr(dask.threaded, "pools", {})
    with dask.config.set(scheduler=name):
        scheduler.mend_after_fork()
        assert dask.config.get("scheduler") == name


def test_what_computes_is_told():
    assert scheduler.threads_compute()
    assert scheduler.client() is None
    with dask.config.set(scheduler="synchronous"):
        assert scheduler.shares_memory()
        assert not scheduler.threads_compute()
    with dask.config.set(scheduler="processes"):
        assert not scheduler.shares_memory()


def test_the_error_of_dask_becomes_ours(monkeypatch):
    def refuse():
        raise RuntimeError("Attempting to use an asynchronous Client")

    monkeypatch.setattr(dask.base, "get_scheduler", refuse)
    with pytest.raises(SchedulerError, match="to_thread"):
        scheduler.current_scheduler()
