import dask.array
import distributed
import numpy as np
import pytest
import xarray as xr

from xfelred.products import write


@pytest.fixture(scope="module")
def client():
    with distributed.Client(
        n_workers=1, threads_per_worker=2, dashboard_address=":0", processes=True
    ) as made:
        yield made


@pytest.mark.slow
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
