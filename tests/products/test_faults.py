"""Full disks, killed writers, two writers: the right bytes or one clear error."""

import errno
import fcntl
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr

from xfelred.errors import (
    InconsistentDataError,
    OutputError,
    OutputExistsError,
    XfelredError,
)
from xfelred.products import blocks, lock, write, zarr_store
from xfelred.products.faults import disk_error
from xfelred.products.lock import only_writer

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = [".zarr", ".h5", ".nxs", ".nc", ".cxi", ".tif"]
N_BLOCKS, BLOCK_BYTES = 8, 2 * 128 * 128 * 4

# Frames for this process and for those that are killed: each block notes its number.
NUMBERED = """
import sys, time
import dask.array
import numpy as np
import xarray as xr

def frames(suffix=".zarr", seconds=0.0, log=None):
    def block(block_info=None):
        n = block_info[None]["chunk-location"][0]
        time.sleep(seconds)
        if log is not None:
            with open(log, "a") as file:
                file.write(f"{n}\\n")
        return np.random.default_rng(n).random((2, 1, 128, 128)).astype("f4")

    data = dask.array.map_blocks(
        block, chunks=((2,) * 8, (1,), (128,), (128,)), dtype="f4",
        meta=np.zeros((0,) * 4, "f4"), name="numbered",
    )
    dims = ("frame", "module", "slow_scan", "fast_scan")
    da = xr.DataArray(data, dims=dims, name="frames")
    return da.squeeze("module") if suffix == ".tif" else da
"""
# The limit stands for a full disk: writing fails, with an error number of its own.
WRITER = """
import json, resource, signal, sys
import dask, numbered
import xfelred as xf
from xfelred.products import blocks

path, suffix, seconds, log, limit, resume = json.loads(sys.argv[1])
blocks.batches.__defaults__ = (1,)
# Who runs in the background may have been started with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
print("ready", flush=True)
try:
    for ending in suffix.split():
        with dask.config.set(num_workers=2):
            try:
                product = path + ending
                xf.write(numbered.frames(ending, seconds, log), product, resume=resume)
            except OSError as error:
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                print(type(error).__name__, error.errno, error, flush=True)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Directory of the module `numbered` and of the program that writes its frames."""
    directory = tmp_path_factory.mktemp("numbered")
    (directory / "numbered.py").write_text(NUMBERED)
    (directory / "writer.py").write_text(WRITER)
    return directory


@pytest.fixture(scope="module")
def frames(place):
    spec = importlib.util.spec_from_file_location("numbered", place / "numbered.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.frames


@pytest.fixture
def start(place):
    def run(path, suffixes="", *, seconds=0.0, log=None, limit=0, resume=False):
        stem, suffix = str(path.with_suffix("")), suffixes or path.suffix
        arguments = [stem, suffix, seconds, log and str(log), limit, resume]
        return subprocess.Popen(
            [sys.executable, place / "writer.py", json.dumps(arguments)],
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{place}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def names(directory):
    return sorted(p.name for p in directory.iterdir())


def stored(path):
    """Every stored byte of a product, but for when it was made."""
    found = {}
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        content = file.read_bytes()
        if file.name == "zarr.json":
            text = json.loads(content)
            for part in (text, text.get("consolidated_metadata", {})):
                part.get("attributes", {}).pop("created", None)
            content = json.dumps(text, sort_keys=True)
        found[str(file.relative_to(path))] = content
    return found


def refused(path, words):
    with pytest.raises(OutputExistsError, match=words), only_writer(path):
        raise AssertionError("two writers")


def output(process):
    out, err = process.communicate(timeout=60)
    return out, err


# The disk is full


@pytest.mark.slow
def test_full_disk_is_one_clear_error_and_leaves_nothing(start, tmp_path):
    # Half a block is not enough for a chunk of zarr, nor for any other file.
    limit = BLOCK_BYTES // 2
    with start(tmp_path / "a.zarr", " ".join(SUFFIXES), limit=limit) as process:
        out, err = output(process)
    # HDF5 by itself would end the process with a segmentation fault.
    assert (process.returncode, err) == (0, "")
    lines = out.splitlines()[1:]
    assert len(lines) == len(SUFFIXES)
    for suffix, line in zip(SUFFIXES, lines, strict=True):
        number = errno.ENOSPC if suffix == ".tif" else errno.EFBIG
        assert line.startswith(f"OutputError {number} ")
        assert f"{tmp_path}/a{suffix}:" in line
        assert os.strerror(number) in line
        assert "repeat the call" in line
    assert names(tmp_path) == []


@pytest.mark.slow
def test_full_disk_keeps_what_is_done_for_the_next_call(start, frames, tmp_path):
    path, log = tmp_path / "a.zarr", tmp_path / "log"
    whole = stored(write(frames(), tmp_path / "whole.zarr", resume=True))
    with start(path, limit=BLOCK_BYTES // 2, log=log, resume=True) as process:
        out, _ = output(process)
    assert f"OutputError {errno.EFBIG} " in out
    assert "finished blocks are kept" in out
    assert "a.zarr.partial" in names(tmp_path)
    assert "a.zarr" not in names(tmp_path)
    assert stored(write(frames(), path, resume=True)) == whole
    assert names(tmp_path) == ["a.zarr", "log", "whole.zarr"]


@pytest.mark.parametrize("after", [0, 3, 7])
def test_disk_that_fills_while_blocks_are_written(frames, tmp_path, monkeypatch, after):
    path = tmp_path / "a.zarr"
    whole = stored(write(frames(), tmp_path / "whole.zarr", resume=True))
    monkeypatch.setattr(blocks.batches, "__defaults__", (1,))
    real, calls = zarr_store.flush_to_disk, []

    def full(file):
        calls.append(file)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    monkeypatch.setattr(zarr_store, "flush_to_disk", full)
    with pytest.raises(OutputError, match=r"a\.zarr: No space left.*Free space") as got:
        write(frames(), path, resume=True)
    assert got.value.errno == errno.ENOSPC
    assert isinstance(got.value, XfelredError)
    done = json.loads((tmp_path / "a.zarr.partial/manifest.json").read_text())["done"]
    assert len(done) == after
    monkeypatch.setattr(zarr_store, "flush_to_disk", real)
    log = tmp_path / "log"
    write(frames(log=log), path, resume=True)
    assert sorted(log.read_text().split()) == [str(n) for n in range(after, N_BLOCKS)]
    assert stored(path) == whole


@pytest.mark.parametrize("suffix", [".h5", ".nc", ".cxi", ".tif"])
def test_disk_that_says_so_only_at_the_end(frames, tmp_path, monkeypatch, suffix):
    def full(descriptor):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="quota") as caught:
        write(frames(suffix), tmp_path / f"a{suffix}")
    assert caught.value.errno == errno.EDQUOT
    assert names(tmp_path) == []


def test_other_errors_stay_what_they_are(tmp_path):
    def block():
        raise OSError(errno.ENOENT, "no such shot")

    data = dask.array.map_blocks(block, chunks=((1,),), dtype="f4", meta=np.zeros(0))
    with pytest.raises(FileNotFoundError, match="no such shot") as caught:
        write(xr.DataArray(data, dims="x"), tmp_path / "a.zarr")
    assert not isinstance(caught.value, OutputError)
    assert disk_error(ValueError("errno = 5000")) == 0


# The writer is killed


def test_killed_writer_goes_on_where_it_was(start, frames, tmp_path):
    path, log = tmp_path / "a.zarr", tmp_path / "log"
    whole = stored(write(frames(), tmp_path / "whole.zarr", resume=True))
    manifest = tmp_path / "a.zarr.partial" / "manifest.json"
    done_before = set()
    rng = np.random.default_rng(1)
    for _ in range(2):
        with start(path, seconds=0.2, log=log, resume=True) as process:
            assert process.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0, 0.9))
            process.kill()
        assert not path.exists()
        done = set()
        if manifest.exists():
            listed = json.loads(manifest.read_text())["done"]
            done = {where[0] // 2 for _, where in listed}
        assert done >= done_before, "nothing that was safe is lost"
        done_before = done
    log.unlink(missing_ok=True)
    write(frames(log=log), path, resume=True)
    computed = sorted(int(n) for n in log.read_text().split())
    assert computed == sorted({*range(N_BLOCKS)} - done_before)
    assert stored(path) == whole
    assert names(tmp_path) == ["a.zarr", "log", "whole.zarr"]


def test_unfinished_file_of_a_killed_writer_is_not_published(frames, tmp_path):
    path = tmp_path / "a.zarr"
    whole = stored(write(frames(), tmp_path / "whole.zarr", resume=True))

    def stop(block):
        raise KeyboardInterrupt

    def mapped(function):
        da = frames()
        data = da.data.map_blocks(function, name="numbered2", meta=da.data)
        return da.copy(data=data)

    with pytest.raises(KeyboardInterrupt):
        write(mapped(stop), path, resume=True)
    # What zarr was writing, and then something that is none of its files.
    torn = tmp_path / "a.zarr.partial/a.zarr/frames" / f"0.{'ab' * 16}.partial"
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(b"torn")
    write(mapped(lambda block: block), path, resume=True)
    assert {*stored(path)} == {*whole}


def test_what_a_killed_writer_left_is_removed_by_the_next(frames, tmp_path):
    (tmp_path / ".a.h5.0123abcd.partial").write_text("torn")
    (tmp_path / ".a.h5.lock").write_text('{"host": "node7", "process": 1}')
    for other in (".b.h5.0123abcd.partial", ".a.h5.mine.partial"):
        (tmp_path / other).write_text("not ours")
    write(frames(), tmp_path / "a.h5")
    assert names(tmp_path) == [".a.h5.mine.partial", ".b.h5.0123abcd.partial", "a.h5"]


def test_product_that_was_put_aside_by_a_killed_writer_comes_back(frames, tmp_path):
    path = tmp_path / "a.zarr"
    before = stored(write(frames(), path))
    path.rename(tmp_path / ".a.zarr.0123abcd.old")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        write(frames(), path)
    assert stored(path) == before
    assert names(tmp_path) == ["a.zarr"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"tokens": {}, "done": 3}'])
def test_damaged_manifest_is_a_clear_error(frames, tmp_path, text):
    work = tmp_path / "a.zarr.partial"
    work.mkdir()
    (work / "manifest.json").write_text(text)
    with pytest.raises(InconsistentDataError, match=r"damaged.*overwrite=True"):
        write(frames(), tmp_path / "a.zarr", resume=True)
    write(frames(), tmp_path / "a.zarr", resume=True, overwrite=True)
    assert names(tmp_path) == ["a.zarr"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix", [".zarr", pytest.param(".h5", marks=pytest.mark.nightly)]
)
def test_ctrl_c_leaves_nothing(start, tmp_path, suffix):
    path, log = tmp_path / f"a{suffix}", tmp_path / "log"
    with start(path, seconds=0.3, log=log) as process:
        while not log.exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = output(process)
    assert process.returncode == 130, err
    assert names(tmp_path) == ["log"]


# Two writers


@pytest.mark.slow
def test_two_processes_cannot_write_one_product(start, frames, tmp_path):
    path, log = tmp_path / "a.zarr", tmp_path / "log"
    with start(path, seconds=0.3, log=log, resume=True) as process:
        while not log.exists():
            time.sleep(0.02)
        words = rf"is being written by process {process.pid} on .*a\.zarr\.lock"
        for again in (True, False):
            with pytest.raises(OutputExistsError, match=words):
                write(frames(), path, resume=again, overwrite=True)
        output(process)
    assert process.returncode == 0
    np.testing.assert_array_equal(xr.open_zarr(path).frames, frames())
    assert names(tmp_path) == ["a.zarr", "log"]


def test_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    code = "import fcntl, os, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2)\n"
    path = tmp_path / ".a.h5.lock"
    subprocess.run(
        [sys.executable, "-c", code + "os.kill(os.getpid(), 9)", path], check=False
    )
    assert path.exists()
    with only_writer(tmp_path / "a.h5"):
        assert json.loads(path.read_text())["process"] == os.getpid()
    assert names(tmp_path) == []


def test_two_threads_cannot_write_one_product(tmp_path):
    with only_writer(tmp_path / "a.h5"):
        refused(tmp_path / "a.h5", f"process {os.getpid()} ")
        with only_writer(tmp_path / "b.h5"):
            pass


def test_lock_is_never_held_twice(tmp_path):
    path, inside, most, busy = tmp_path / "a.h5", [], [0], [0]

    def work():
        for _ in range(100):
            try:
                with only_writer(path):
                    inside.append(1)
                    most[0] = max(most[0], len(inside))
                    inside.pop()
            except OutputExistsError:
                busy[0] += 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert names(tmp_path) == []


@pytest.fixture
def no_locks(monkeypatch):
    """A disk that cannot lock files."""

    def refuse(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_locks_the_signature_counts(no_locks, tmp_path):
    file = tmp_path / ".a.h5.lock"
    # This process lives; the process that ran below is dead; another host: unknown.
    with only_writer(tmp_path / "a.h5"):
        refused(tmp_path / "a.h5", f"process {os.getpid()} ")
        assert file.exists()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    signed = {"host": lock.socket.gethostname(), "process": dead.pid}
    file.write_text(json.dumps(signed))
    with only_writer(tmp_path / "a.h5"):
        pass
    file.write_text(json.dumps({**signed, "host": "another"}))
    refused(tmp_path / "a.h5", r"on another.*delete .*a\.h5\.lock")
    assert names(tmp_path) == [".a.h5.lock"]


def test_without_locks_nothing_of_others_is_removed(no_locks, tmp_path):
    (tmp_path / ".a.h5.0123abcd.partial").write_text("perhaps in use")
    with only_writer(tmp_path / "a.h5"):
        pass
    assert names(tmp_path) == [".a.h5.0123abcd.partial"]


# Batches


def test_blocks_are_safe_soon_and_those_of_one_place_stay_together():
    listed = [(name, (slice(n, n + 1),), 1) for n in range(5) for name in "ab"]
    groups = [*blocks.batches(listed, 1000, limit_blocks=3)]
    assert [[f"{n}{where[0].start}" for n, where in g] for g in groups] == [
        ["a0", "b0", "a1", "b1"],
        ["a2", "b2", "a3", "b3"],
        ["a4", "b4"],
    ]
    assert len([*blocks.batches(listed, 1000)]) == 1


def test_number_of_blocks_in_a_batch_follows_the_threads():
    with dask.config.set(num_workers=32):
        assert blocks.busy_blocks() == 128
    with dask.config.set(num_workers=1):
        assert blocks.busy_blocks() == 16
