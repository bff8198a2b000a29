import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import dask
import h5py
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr

from xfelred import __version__
from xfelred.errors import MissingExtraError, XfelredError
from xfelred.products import netcdf, tiff, write


def reopen(path):
    if path.suffix == ".zarr":
        return xr.open_zarr(path)
    group = None if path.suffix == ".nc" else "entry/data"
    return xr.open_dataset(path, engine="h5netcdf", group=group)


def assert_same_values(result, expected):
    assert set(result.variables) == set(expected.variables)
    assert set(result.coords) == set(expected.coords)
    for name, want in expected.variables.items():
        got = result.variables[name]
        assert got.dims == want.dims, name
        if want.dtype.kind == "U":
            assert got.values.tolist() == want.values.tolist()
        else:
            assert got.dtype == want.dtype, name
            np.testing.assert_array_equal(got.values, want.values)


@pytest.mark.parametrize("suffix", [".zarr", ".nxs", ".h5", ".hdf5", ".nc"])
def test_every_dtype_and_coordinate_comes_back(dataset, tmp_path, suffix, only):
    path = write(dataset, tmp_path / f"result{suffix}")
    assert path == tmp_path / f"result{suffix}"
    assert only(tmp_path, path.name)
    with reopen(path) as result:
        assert_same_values(result, dataset.rename({"ipm2/sum": "ipm2__sum"}).compute())


@pytest.mark.parametrize("suffix", [".zarr", ".nxs", ".nc"])
@pytest.mark.parametrize("load", [True, False])
def test_data_array_is_a_dataset_with_one_variable(frames, tmp_path, suffix, load):
    array = frames.compute() if load else frames
    with reopen(write(array, tmp_path / f"result{suffix}")) as result:
        assert list(result.data_vars) == ["frames"]
        xr.testing.assert_equal(
            result.frames.drop_vars("label"), frames.compute().drop_vars("label")
        )


def test_data_array_without_name_is_called_data(tmp_path):
    path = write(xr.DataArray(np.arange(3.0), dims="q"), tmp_path / "a.zarr")
    assert list(xr.open_zarr(path).data_vars) == ["data"]


@pytest.mark.parametrize("suffix", [".zarr", ".nxs", ".nc"])
def test_provenance_is_in_the_file(frames, tmp_path, suffix):
    with reopen(write(frames, tmp_path / f"result{suffix}")) as result:
        attrs = result.attrs
        variable = result.frames.attrs
    assert attrs["history"] == variable["history"] == "frames {}\ncalibrate {}"
    assert attrs["source_fingerprint"] == "abc"
    assert attrs["xfelred_version"] == __version__
    assert datetime.fromisoformat(attrs["created"]).utcoffset().total_seconds() == 0
    assert set(json.loads(attrs["software"])) == {
        "numpy", "dask", "xarray", "h5py", "zarr",
    }  # fmt: skip
    assert json.loads(variable["setting"]) == {"a": [1, None]}
    assert list(variable["gains"]) == [1.5, 2.0]
    assert list(variable["names"]) == ["x", "y"]


def test_histories_of_all_variables_are_joined_without_repetition(tmp_path):
    ds = xr.Dataset(
        {
            "a": ("x", np.zeros(2), {"history": "read {}\nsum {}"}),
            "b": ("x", np.zeros(2), {"history": "read {}\nmean {}"}),
        }
    )
    attrs = xr.open_zarr(write(ds, tmp_path / "a.zarr")).attrs
    assert attrs["history"] == "read {}\nsum {}\nmean {}"


def test_zarr_is_version_3_and_opens_without_warning(frames, tmp_path):
    path = write(frames, tmp_path / "a.zarr")
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 3
    assert group["frames"].metadata.dimension_names == frames.dims


def test_variables_share_one_pass_over_the_data(tmp_path):
    reads = []

    def read(block_info=None):
        reads.append(block_info[None]["chunk-location"])
        return np.ones((2, 3))

    source = dask.array.map_blocks(read, chunks=((2, 2), (3,)), dtype=float)
    da = xr.DataArray(source, dims=("train", "x"))
    ds = xr.Dataset({"sum": da.sum("train"), "max": da.max("train"), "same": da * 2})
    for suffix in (".zarr", ".nxs", ".nc"):
        reads.clear()
        write(ds, tmp_path / f"a{suffix}")
        assert sorted(reads) == [(0, 0), (1, 0)], suffix


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.parametrize("suffix", [".zarr", ".nxs", ".nc"])
def test_scheduler_does_not_matter(tmp_path, scheduler, suffix):
    values = np.random.default_rng(0).random((6, 5))
    lazy = dask.array.from_array(values, chunks=(2, 5)) * 2
    with dask.config.set(scheduler=scheduler):
        path = write(
            xr.Dataset({"a": (("x", "y"), lazy), "b": (("x", "y"), lazy + 1)}),
            tmp_path / f"a{suffix}",
        )
    with reopen(path) as result:
        np.testing.assert_array_equal(result.a.values, values * 2)
        np.testing.assert_array_equal(result.b.values, values * 2 + 1)


@pytest.mark.parametrize("suffix", [".zarr", ".nxs", ".nc"])
def test_irregular_blocks_and_empty_axes_are_written(tmp_path, suffix):
    values = np.arange(35.0).reshape(7, 5)
    lazy = dask.array.from_array(values, chunks=((1, 4, 2), (3, 2)))
    ds = xr.Dataset({"a": (("x", "y"), lazy), "none": (("n", "y"), np.zeros((0, 5)))})
    with reopen(write(ds, tmp_path / f"a{suffix}")) as result:
        np.testing.assert_array_equal(result.a.values, values)
        assert result.none.shape == (0, 5)


def test_an_encoding_of_another_file_is_not_used(frames, tmp_path):
    first = xr.open_zarr(write(frames, tmp_path / "a.zarr"))
    again = xr.open_zarr(write(first.isel(train=slice(1, 6)), tmp_path / "b.zarr"))
    np.testing.assert_array_equal(again.frames, frames[1:6])


def test_input_is_not_changed(dataset, tmp_path):
    before = dataset.copy(deep=True)
    for suffix in (".zarr", ".nxs", ".nc"):
        write(dataset, tmp_path / f"a{suffix}")
    xr.testing.assert_identical(dataset, before)


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "bool", "int32"])
def test_tiff_holds_the_image_and_its_description(tmp_path, lazy, dtype):
    rng = np.random.default_rng(3)
    values = (rng.random((4, 6, 5)) * 9).astype(dtype)
    data = dask.array.from_array(values, chunks=(3, 6, 5)) if lazy else values
    da = xr.DataArray(
        data, dims=("pulse", "y", "x"), coords={"pulse": [0, 4, 8, 12]}, name="mean"
    )
    write(da, tmp_path / "stack.tif")
    write(da[1], tmp_path / "image.tiff")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "stack.tif"), values)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "image.tiff"), values[1])
    with tifffile.TiffFile(tmp_path / "stack.tif") as file:
        content = json.loads(file.pages[0].description)
    assert content["dims"] == ["pulse", "y", "x"]
    assert content["axes"] == {"pulse": ["0", "4", "8", "12"]}
    assert content["provenance"]["xfelred_version"] == __version__


def test_tiff_of_several_variables_says_what_to_choose(dataset, tmp_path):
    with pytest.raises(ValueError, match=r"one variable, got frames.*choose one"):
        write(dataset, tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"two or three axes, got float32 \{'train'"):
        write(dataset.frames, tmp_path / "a.tif")


def test_unknown_ending_lists_the_known_ones(frames, tmp_path):
    with pytest.raises(ValueError, match=r"no file format ends in '.csv'.*\.zarr"):
        write(frames, tmp_path / "a.csv")


def test_other_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="obj=ndarray"):
        write(np.zeros(3), tmp_path / "a.zarr")


def test_missing_directory_is_named(frames, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        write(frames, tmp_path / "no" / "a.zarr")


@pytest.mark.parametrize(
    ("module", "name"), [(netcdf, "a.nc"), (tiff, "a.tif")], ids=["netcdf", "tiff"]
)
def test_missing_package_is_named_with_the_command(
    frames, tmp_path, monkeypatch, module, name
):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'xfelred\[io\]'"):
        write(frames[0, 0, 0], tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_multi_index_is_refused_with_advice(frames, tmp_path):
    stacked = frames.stack(frame=["train", "pulse"])
    with pytest.raises(ValueError, match=r"MultiIndex.*reset_index\('frame'\)"):
        write(stacked, tmp_path / "a.zarr")


def test_objects_are_refused_with_advice(tmp_path):
    da = xr.DataArray(np.array([{"a": 1}, None], dtype=object), dims="x", name="o")
    with pytest.raises(ValueError, match=r"'o' holds Python objects.*astype"):
        write(da, tmp_path / "a.zarr")


def test_text_as_objects_is_written_as_text(tmp_path):
    names = np.array(["a", "bb"], dtype=object)
    da = xr.DataArray(np.zeros(2), dims="x", coords={"x": names}, name="v")
    for suffix in (".zarr", ".nxs", ".nc"):
        with reopen(write(da, tmp_path / f"a{suffix}")) as result:
            assert result.x.values.tolist() == ["a", "bb"]


def test_array_of_unknown_length_is_refused(tmp_path):
    lazy = dask.array.arange(5, chunks=2)
    da = xr.DataArray(lazy[lazy > 2], dims="x", name="v")
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        write(da, tmp_path / "a.zarr")


def test_attribute_that_no_file_can_hold_is_named(frames, tmp_path):
    frames.attrs["geometry"] = frames
    with pytest.raises(ValueError, match="'geometry' of 'frames' is DataArray"):
        write(frames, tmp_path / "a.zarr")


def test_two_names_that_become_one_are_refused(tmp_path):
    ds = xr.Dataset({"a/b": ("x", np.zeros(2)), "a__b": ("x", np.zeros(2))})
    with pytest.raises(ValueError, match="'a/b' is stored as 'a__b', which is taken"):
        write(ds, tmp_path / "a.zarr")


def test_complex_numbers_go_everywhere_but_netcdf(tmp_path):
    da = xr.DataArray(np.array([1 + 2j, 3j]), dims="x", name="c")
    assert xr.open_zarr(write(da, tmp_path / "a.zarr")).c.values.tolist() == [
        1 + 2j,
        3j,
    ]
    with h5py.File(write(da, tmp_path / "a.h5")) as file:
        assert file["entry/data/c"][()].tolist() == [1 + 2j, 3j]
    with pytest.raises(ValueError, match="netCDF has no complex numbers"):
        write(da, tmp_path / "a.nc")


def test_errors_are_of_the_package(frames, tmp_path):
    write(frames, tmp_path / "a.h5")
    with pytest.raises(XfelredError, match="overwrite=True"):
        write(frames, tmp_path / "a.h5")
    with pytest.raises(FileExistsError):
        write(frames, tmp_path / "a.h5")


@pytest.mark.parametrize("name", ["a\0b.h5", "a\ud800b.nc", "x" * 300 + ".zarr"])
def test_a_name_that_no_file_can_have_is_an_error_of_ours(tmp_path, name):
    with pytest.raises(XfelredError):
        write(xr.Dataset({"a": 1}), tmp_path / name)


def test_a_directory_in_which_nothing_can_be_made_is_an_error_of_ours():
    with pytest.raises(
        FileNotFoundError, match="no file can be made in /proc"
    ) as found:
        write(xr.Dataset({"a": 1}), "/proc/a.h5")
    assert isinstance(found.value, XfelredError)


AS_NOBODY = """
import os, sys
import xarray as xr
import xfelred.products.write
from xfelred.errors import NoAccessError
ds = xr.Dataset({"a": ("x", [1.0])})
xfelred.write(ds, sys.argv[1] + "/loads_all_modules.h5")
os.setgid(65534); os.setuid(65534)
for suffix in (".zarr", ".nc", ".h5", ".cxi", ".tif"):
    for resume in (False, True):
        try:
            xfelred.write(ds, sys.argv[1] + "/a" + suffix, resume=resume)
        except NoAccessError as error:
            assert "cannot write" in str(error) and "you may write" in str(error)
        except ValueError as error:
            assert "resume=True works" in str(error), error
        else:
            raise SystemExit("written")
print("all refused")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_directory_of_somebody_else_is_one_error_that_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "all refused", done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["loads_all_modules.h5"]
