"""Open files are few, shared by threads, never by processes, and never stale."""

import gc
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from xfelred.errors import BrokenFileError
from xfelred.hdf5 import Group
from xfelred.hdf5 import raw as hdf5_raw
from xfelred.hdf5 import rows as hdf5
from xfelred.hdf5.handles import OpenFiles, default_limit
from xfelred.lazy import ReadPlan, Rows, one_each
from xfelred.lazy import load as load_plan

pytestmark = pytest.mark.slow

SHAPE = (40, 6, 8)
WINDOW = (slice(0, 6, 1), slice(0, 8, 1))
VALUES = np.arange(40 * 48, dtype="f4").reshape(SHAPE)
ROWS = Rows(np.array([0]), np.array([40]), np.array([0]))


def make(path, values=VALUES, **options):
    with h5py.File(path, "w") as f:
        f.create_dataset("x", data=values, **options)
    return str(path)


def read(path, name="x"):
    out = np.full(SHAPE, 99, "f4")
    hdf5.read_rows(path, name, ROWS, WINDOW, out)
    return out


@pytest.fixture
def files(monkeypatch):
    """A cache of three files."""
    made = OpenFiles(3)
    monkeypatch.setattr(hdf5, "OPEN_FILES", made)
    return made


@pytest.fixture
def paths(tmp_path):
    options = [{}, {"chunks": (7, 6, 8)}, {"chunks": (1, 6, 8), "compression": "gzip"}]
    return [make(tmp_path / f"{i}.h5", VALUES + i, **options[i % 3]) for i in range(12)]


def descriptors(tmp_path):
    """Paths below a folder that this process has open, each as often as it has."""
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    found = [os.readlink(link) for link in links if os.path.islink(link)]
    return [path for path in found if path.startswith(str(tmp_path))]


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="no list of descriptors here"
)


@needs_proc
def test_least_recently_used_files_are_closed(files, paths, tmp_path):
    gc.disable()  # nothing may wait for the garbage collector
    try:
        for path in paths:
            read(path)
            read(paths[0])
        assert list(files.files) == [*paths[-2:], paths[0]]
        # One of HDF5 and one of our own for each.
        assert sorted(descriptors(tmp_path)) == sorted([*files.files, *files.files])
    finally:
        gc.enable()


def in_threads(work, n=6):
    wrong = []

    def guarded(seed):
        try:
            work(seed)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=guarded, args=(s,)) for s in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads)
    assert wrong == []


def test_more_files_than_the_limit_in_many_threads(files, paths):
    def work(seed):
        for i in np.random.default_rng(seed).integers(0, len(paths), 60):
            np.testing.assert_array_equal(read(paths[i]), VALUES + i)

    in_threads(work)
    assert len(files.files) <= 3


LIMITED = """
import resource, sys, threading
import numpy as np
from xfelred.lazy import Rows
from xfelred.hdf5 import rows as hdf5, raw as hdf5_raw
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
hdf5.OPEN_FILES.limit = 1000
rows = Rows(np.array([0]), np.array([40]), np.array([0]))
out = np.empty((40, 6, 8), "f4")
for _ in range(2):
    for i, path in enumerate(sys.argv[1:]):
        hdf5.read_rows(path, "x", rows, (slice(0, 6, 1), slice(0, 8, 1)), out)
        assert out[0, 0, 0] == i, path
print(len(hdf5.OPEN_FILES.files))
"""


def test_files_are_closed_where_the_process_may_not_open_more(tmp_path):
    paths = [make(tmp_path / f"{i}.h5", VALUES + i) for i in range(60)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *paths],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert 0 < int(done.stdout) < 20


def test_limit_leaves_descriptors_for_others(monkeypatch):
    for soft, limit in [(64, 16), (8, 4), (10_000, 256), (-1, 256)]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, s=soft: (s, s))
        assert default_limit() == limit


# -------------------------------------------------------------------- changes


def test_replaced_file_is_opened_anew(files, paths):
    read(paths[0])
    os.replace(paths[2], paths[0])
    np.testing.assert_array_equal(read(paths[0]), VALUES + 2)


def test_file_that_was_cut_off_is_an_error(files, paths):
    for path in paths[:3]:
        read(path)
        os.truncate(path, os.path.getsize(path) - 2000)
        with pytest.raises(BrokenFileError, match=r"cut off|truncated"):
            read(path)


def hook(monkeypatch, action):
    """Do something to the file at the first read of bytes, before it."""
    done = []

    def hooked(read):
        def first(*args):
            if not done:
                done.append(1)
                action()
            return read(*args)

        return first

    monkeypatch.setattr(os, "preadv", hooked(os.preadv))
    monkeypatch.setattr(hdf5_raw, "read_ranges", hooked(hdf5_raw.read_ranges))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_file_that_is_cut_off_during_a_read(files, paths, which, monkeypatch):
    path = paths[which]
    read(path)
    hook(monkeypatch, lambda: os.truncate(path, 1500))
    with pytest.raises(BrokenFileError, match="cut off"):
        read(path)


def test_file_that_is_emptied_and_filled_up_during_a_read(files, paths, monkeypatch):
    """Its bytes are zeros when they are read, and its size as before."""
    path = paths[0]
    content = Path(path).read_bytes()

    def rewrite():
        with open(path, "r+b") as f:
            f.truncate(0)
            f.truncate(len(content))

    read(path)
    hook(monkeypatch, rewrite)
    with pytest.raises(BrokenFileError):
        read(path)
    Path(path).write_bytes(content)
    np.testing.assert_array_equal(read(path), VALUES)


def test_file_that_changes_during_a_read_is_read_again(files, paths, monkeypatch):
    path = paths[0]
    new = VALUES + 500

    def rewrite():
        time.sleep(0.01)
        with h5py.File(path + ".new", "w") as f:
            f["x"] = new
        with open(path + ".new", "rb") as a, open(path, "r+b") as b:
            b.write(a.read())

    read(path)
    hook(monkeypatch, rewrite)
    np.testing.assert_array_equal(read(path), new)


def test_dataset_outlives_its_place_in_the_cache(files, paths):
    dataset = hdf5.open_dataset(paths[0], "x")
    for path in paths[1:6]:
        read(path)
    gc.collect()
    np.testing.assert_array_equal(dataset[...], VALUES)
    with h5py.File(paths[0]) as f:
        assert isinstance(hdf5.open_group(paths[0], "/"), Group)
        assert f.id


def test_dataset_of_a_file_that_is_being_written_stays_open(tmp_path):
    path = str(tmp_path / "w.h5")
    with h5py.File(path, "w") as f:
        f["x"] = VALUES
        dataset = hdf5.open_dataset(path, "x")
        gc.collect()
        np.testing.assert_array_equal(dataset[...], VALUES)


# ------------------------------------------------------------------ processes


def child(work, timeout=30):
    """Run something in a forked child; its exit status, or an error if it hangs."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise AssertionError("the child process hangs")


def all_right(paths):
    return all(np.array_equal(read(p), VALUES + i) for i, p in enumerate(paths))


def test_child_starts_with_an_empty_cache(files, paths):
    handle = files.handle(paths[0])
    before = len(files.files)

    def work():
        empty = len(files.files) == 0
        return empty and all_right(paths) and files.handle(paths[0]) is not handle

    assert child(work) == 0
    assert len(files.files) == before
    assert all_right(paths)


def test_child_of_a_process_whose_lock_is_held(files, paths):
    read(paths[0])
    held, done = threading.Event(), threading.Event()

    def hold():
        with files.lock, files.files[paths[0]].lock:
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        assert child(lambda: all_right(paths)) == 0
    finally:
        done.set()
        thread.join()


def test_fork_while_threads_read(files, paths):
    stop = threading.Event()
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        while not stop.is_set():
            i = int(rng.integers(0, len(paths)))
            if not np.array_equal(read(paths[i]), VALUES + i):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(s,)) for s in range(3)]
    for t in threads:
        t.start()
    try:
        for _ in range(10):
            assert child(lambda: all_right(paths[:6])) == 0
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert wrong == []


def load(plan):
    return load_plan(pickle.loads(plan))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_pickled_plans_are_read_in_other_processes(paths, method):
    plan = ReadPlan(
        hdf5.read_rows, ((paths[2], "x"), (paths[1], "x")), np.array([[0, 1]]),
        np.array([[3, 4]]), np.zeros(1, int), one_each(5), (5,), WINDOW, SHAPE[1:], 0,
        np.dtype("f4"), 0, False, "plan",
    )  # fmt: skip
    here = load_plan(plan)
    np.testing.assert_array_equal(here[0, :, 0], VALUES[3:8] + 2)
    np.testing.assert_array_equal(here[0, :, 1], VALUES[4:9] + 1)
    with multiprocessing.get_context(method).Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(load, (pickle.dumps(plan),)), here)
