import os
import signal

import dask
import dask.array
import distributed
import h5py
import numpy as np
import pytest
import xarray as xr

from xfelred.products import write, zarr_store
from xfelred.products.sink import CheckedTarget

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client():
    with distributed.Client(
        n_workers=1, threads_per_worker=2, dashboard_address=":0", processes=True
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("suffix", "resume"),
    [
        (".zarr", False),
        (".zarr", True),
        (".nxs", False),
        (".nc", False),
        (".cxi", False),
        (".tif", False),
    ],
)
def test_workers_in_other_processes_give_the_same_file(
    client, tmp_path, suffix, resume
):
    values = np.random.default_rng(0).random((6, 2, 4, 5)).astype("float32")
    lazy = dask.array.from_array(values, chunks=(2, 2, 4, 5)) * np.float32(2)
    dims = ("frame", "module", "slow_scan", "fast_scan")
    da = xr.DataArray(lazy, dims=dims, name="frames")
    if suffix == ".tif":
        da = da[:, 0]
    here = write(da.compute(), tmp_path / f"here{suffix}", resume=resume)
    there = write(da, tmp_path / f"there{suffix}", resume=resume)
    assert here.exists()
    np.testing.assert_array_equal(read(there), read(here))
    np.testing.assert_array_equal(read(there).ravel(), da.values.ravel())


def test_workers_make_the_rows_of_a_table(client, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("xfelred.products.parquet.GROUP", 800)
    values = np.random.default_rng(0).random((300, 3))
    lazy = dask.array.from_array(values, chunks=(70, 3)) * 2
    ds = xr.Dataset({"b": (("train", "x"), lazy)}, {"train": np.arange(300)[::-1]})
    here = parquet.read_table(write(ds.compute(), tmp_path / "here.parquet"))
    there = parquet.ParquetFile(write(ds, tmp_path / "there.parquet"))
    assert there.num_row_groups > 5
    assert there.read().equals(here)
    np.testing.assert_array_equal(np.stack(here["b"].to_numpy()), values * 2)


@pytest.mark.parametrize(
    ("suffix", "kind", "chunks"),
    [
        (".nxs", "f4", (4, 2, 64, 48)),
        (".nxs", "u2", (5, 1, 32, 40)),
        (".cxi", "f4", ((1, 7, 4), 2, 64, 48)),
        pytest.param(".cxi", "u2", (4, 2, 64, 48), marks=pytest.mark.nightly),
        pytest.param(".h5", "f8", ((3, 5, 4), 1, 64, 48), marks=pytest.mark.nightly),
        pytest.param(".h5", "i4", (5, 2, 25, 10), marks=pytest.mark.nightly),
    ],
)
def test_workers_lay_out_hdf5_as_threads_do(
    client, tmp_path, monkeypatch, suffix, kind, chunks
):
    values = np.random.default_rng(0).integers(0, 9, (12, 2, 64, 48)).astype(kind)
    lazy = dask.array.from_array(values, chunks=chunks) + np.array(1, kind)
    dims = ("frame", "module", "slow_scan", "fast_scan")
    da = xr.DataArray(lazy, dims=dims, name="frames")
    with dask.config.set(scheduler="threads"):
        here = write(da, tmp_path / f"here{suffix}")
    passed, put = [], CheckedTarget.__setitem__

    def watched(target, where, values):
        passed.append(len(values) if isinstance(values, bytes) else values.nbytes)
        put(target, where, values)

    monkeypatch.setattr(CheckedTarget, "__setitem__", watched)
    there = write(da, tmp_path / f"there{suffix}")
    # Packed chunks of whole numbers come here, other values never do.
    assert sum(passed) < (values.nbytes if kind in ("u2", "i4") else 1)
    with h5py.File(here) as one, h5py.File(there) as two:
        found = datasets(one)
        assert found == datasets(two)
        for name in found:
            if not name.endswith(("date", "_time")):
                np.testing.assert_array_equal(one[name][()], two[name][()], name)


def datasets(file):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = (item.shape, item.dtype, item.chunks, item.compression)

    file.visititems(visit)
    return found


def test_what_workers_have_written_before_an_interruption_is_kept(
    client, tmp_path, monkeypatch
):
    values = np.random.default_rng(0).random((40, 8, 8)).astype("float32")
    lazy = dask.array.from_array(values, chunks=(1, 8, 8)) * np.float32(2)
    da = xr.DataArray(lazy, dims=("train", "y", "x"), name="frames")
    path, calls, real = tmp_path / "a.zarr", [], zarr_store.Manifest.write

    def stop(manifest):
        real(manifest)
        calls.append(len(manifest.done))
        if len(calls) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(zarr_store.Manifest, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        write(da, path, resume=True)
    assert not path.exists()
    assert 5 <= calls[-1] < 40
    monkeypatch.setattr(zarr_store.Manifest, "write", real)
    write(da, path, resume=True)
    with dask.config.set(scheduler="threads"):
        whole = write(da, tmp_path / "whole.zarr", resume=True)
    chunks = [p.relative_to(whole) for p in whole.rglob("c/*/*/*") if p.is_file()]
    assert len(chunks) == 40
    for name in chunks:
        assert (path / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.nightly
@pytest.mark.parametrize("suffix", [".nxs", ".zarr"])
@pytest.mark.parametrize("kind", ["f4", "u2"])
def test_a_worker_that_dies_changes_nothing(tmp_path, suffix, kind):
    flag = tmp_path / "died"

    def block(block_info=None):
        first = block_info[None]["array-location"][0][0]
        if first == 40 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(block_info[None]["chunk-shape"], first, kind)

    lazy = dask.array.map_blocks(
        block, chunks=((4,) * 30, (64,), (64,)), dtype=kind, meta=np.empty((0,) * 3)
    )
    da = xr.DataArray(lazy, dims=("train", "y", "x"), name="frames")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0"
    )
    with cluster, distributed.Client(cluster):
        path = write(da, tmp_path / f"a{suffix}", resume=suffix == ".zarr")
    assert flag.exists()
    expected = np.repeat(np.arange(0, 120, 4), 4).astype(kind)
    np.testing.assert_array_equal(read(path)[:, 3, 5], expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "died"]


def read(path):
    if path.suffix == ".zarr":
        return xr.open_zarr(path).frames.values
    if path.suffix == ".tif":
        return pytest.importorskip("tifffile").imread(path)
    h5py = pytest.importorskip("h5py")
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item}))
        names = ("frames", "entry/data/frames", "entry_1/instrument_1/detector_1/data")
        return next(found[n][()] for n in names if n in found)
