import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dask.array
import numpy as np
import pytest
import xarray as xr

from xfelred.errors import OutputExistsError
from xfelred.products import atomic, write

SUFFIXES = [".zarr", ".nxs", ".nc", ".cxi", ".tif"]


def frames(block=None, n_blocks=4):
    """Frames of shape (n_blocks, 1, 8, 8); `block(n)` makes the values of one block."""
    make = block or (lambda n: np.full((1, 1, 8, 8), n, "float32"))
    data = dask.array.map_blocks(
        lambda block_info=None: make(block_info[None]["chunk-location"][0]),
        chunks=((1,) * n_blocks, (1,), (8,), (8,)),
        dtype="float32",
        meta=np.zeros((0, 0, 0, 0), "float32"),
    )
    dims = ("frame", "module", "slow_scan", "fast_scan")
    return xr.DataArray(data, dims=dims, name="frames")


def for_suffix(da, suffix):
    return da.squeeze("module") if suffix == ".tif" else da


class ShotLostError(Exception):
    pass


def fail_at(place, error):
    def block(n):
        if n == place:
            raise error
        return np.full((1, 1, 8, 8), n, "float32")

    return block


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [ShotLostError("lost"), KeyboardInterrupt()])
def test_failure_leaves_nothing(tmp_path, suffix, error):
    da = for_suffix(frames(fail_at(2, error)), suffix)
    with pytest.raises(type(error)):
        write(da, tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failure_keeps_the_old_product(tmp_path, suffix, only):
    path = tmp_path / f"a{suffix}"
    write(for_suffix(frames(), suffix), path)
    old = contents(path)
    da = for_suffix(frames(fail_at(2, ShotLostError("lost"))), suffix)
    with pytest.raises(ShotLostError):
        write(da, path, overwrite=True)
    assert contents(path) == old
    assert only(tmp_path, path.name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_existing_product_is_replaced_only_on_request(tmp_path, suffix, only):
    path = tmp_path / f"a{suffix}"
    write(for_suffix(frames(), suffix), path)
    old = contents(path)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        write(for_suffix(frames() + 1, suffix), path)
    assert contents(path) == old
    write(for_suffix(frames() + 1, suffix), path, overwrite=True)
    assert contents(path) != old
    assert only(tmp_path, path.name)


def contents(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(p): p.read_bytes() for p in files if p.is_file()}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_final_name_does_not_exist_while_blocks_are_computed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    seen = []

    def block(n):
        seen.append(path.exists())
        return np.zeros((1, 1, 8, 8), "float32")

    write(for_suffix(frames(block), suffix), path)
    assert seen == [False] * 4
    assert path.exists()


def test_threads_that_still_run_after_a_failure_write_nothing(tmp_path):
    failed, calls = threading.Event(), itertools.count()

    def block(n):
        if next(calls) == 1:
            failed.set()
            raise ShotLostError("lost")
        failed.wait(5)
        time.sleep(0.2)
        return np.ones((1, 1, 8, 8), "float32")

    with (
        dask.config.set(scheduler="threads", num_workers=3),
        pytest.raises(ShotLostError),
    ):
        write(frames(block), tmp_path / "a.zarr")
    time.sleep(0.4)
    assert list(tmp_path.iterdir()) == []


def test_directory_with_other_things_is_never_replaced(tmp_path):
    directory = tmp_path / "home.zarr"
    directory.mkdir()
    (directory / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputExistsError, match="never replaced"):
        write(frames(), directory, overwrite=True)
    assert (directory / "thesis.tex").exists()


def test_file_may_replace_a_store_and_a_store_a_file(tmp_path, only):
    path = write(frames(), tmp_path / "a.zarr")
    with atomic.atomic_output(path, overwrite=True) as partial:
        partial.write_text("a file")
    assert path.read_text() == "a file"
    write(frames(), path, overwrite=True)
    assert path.is_dir()
    assert only(tmp_path, "a.zarr")


def test_old_store_comes_back_when_the_new_one_cannot_take_its_name(
    tmp_path, monkeypatch, only
):
    path = write(frames(), tmp_path / "a.zarr")
    old = contents(path)
    rename = Path.rename

    def failing(self, target):
        if self.name.endswith(".partial"):
            raise OSError("no rename today")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no rename today"):
        write(frames() + 1, path, overwrite=True)
    assert contents(path) == old
    assert only(tmp_path, "a.zarr")


def test_link_is_not_replaced(tmp_path):
    target = write(frames(), tmp_path / "a.nxs")
    (tmp_path / "b.nxs").symlink_to(target)
    with pytest.raises(OutputExistsError, match="is a link"):
        write(frames(), tmp_path / "b.nxs", overwrite=True)


FULL_DISK = """
    import resource, sys
    import numpy as np, xarray as xr, dask.array
    from xfelred.products import write
    rng = dask.array.random.default_rng(0)
    lazy = rng.random((64, 1, 64, 64), chunks=(8, 1, 64, 64))
    da = xr.DataArray(lazy.astype("float32"), name="frames",
                      dims=("frame", "module", "slow_scan", "fast_scan"))
    # A file may not grow beyond this: the same error path as a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        write(da, sys.argv[1])
    except Exception as error:
        print("failed:", type(error).__name__)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs limits of POSIX")
# `test_faults.py` does it to every format, in one process.
@pytest.mark.parametrize(
    "suffix",
    [
        ".nc",
        *(
            pytest.param(s, marks=pytest.mark.nightly)
            for s in (".zarr", ".nxs", ".cxi")
        ),
    ],
)
def test_full_disk_leaves_nothing(tmp_path, suffix):
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), tmp_path / f"a{suffix}"],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=120,
        check=False,
    )
    assert "failed:" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
