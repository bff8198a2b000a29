"""Polar images under the names of the tutorial."""

import json

import dask.array
import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.errors import OutputExistsError
from xfelred.geometry import Geometry
from xfelred.ops.polar.normalize_rings import normalize_rings

TAGS = [100000000, 100000002, 100000006]
GEOMETRY = Geometry.flat((64, 64), (30, 31), 0.053, 5e-5, wavelength=1.44)
RING = (30.2, 31.1, 25.5)


@pytest.fixture
def polar():
    values = np.random.default_rng(0).random((3, 1, 4, 12)).astype("f4")
    values[:, :, 1, 5] = np.nan
    values[0, :, 2, 7] = np.nan
    return xr.DataArray(
        dask.array.from_array(values, chunks=(2, 1, 4, 12)),
        {
            "train": TAGS,
            "pulse": [0],
            "radius": 24.0 + np.arange(4),
            "phi": np.arange(12) * np.pi / 6 - np.pi,
            "q": ("radius", 2.6 + 0.01 * np.arange(4), {"units": "1/angstrom"}),
        },
        ("train", "pulse", "radius", "phi"),
        name="polar",
        attrs={"units": "adu", "facility": "sacla", "history": "remap_polar {}"},
    )


@pytest.fixture
def extras():
    pairs = xr.DataArray([TAGS[:2], TAGS[1:]], dims=("pair", "member"))
    radius = 24.0 + np.arange(4)
    found = xr.Dataset(
        {"correlation": (("radius", "lag"), np.ones((4, 12)))},
        {"radius": radius, "lag": np.arange(12) * np.pi / 6},
    )
    return {"ring": RING, "geometry": GEOMETRY, "pairs": pairs, "correlation": found}


def check(read, polar):
    """Compare what `read` finds under a name with the arrays."""
    np.testing.assert_array_equal(read("polar_data"), polar.values[:, 0])
    np.testing.assert_allclose(
        read("normalized_polar_data"), normalize_rings(polar).values[:, 0], rtol=1e-6
    )
    mask = np.ones((4, 12))
    mask[1, 5] = 0
    np.testing.assert_array_equal(read("polar_mask"), mask)
    np.testing.assert_allclose(
        read("q_mapping"), [[0, 2.6], [1, 2.61], [2, 2.62], [3, 2.63]]
    )
    assert read("num_phi") == 12
    assert (read("x_center"), read("y_center"), read("q_ring")) == RING
    np.testing.assert_allclose(read("wavelen"), 1.44, rtol=1e-9)
    np.testing.assert_allclose(read("pixsize"), 5e-5)
    np.testing.assert_allclose(read("detdist"), 0.053)
    np.testing.assert_array_equal(read("tag_pairs"), [TAGS[:2], TAGS[1:]])
    assert read("correlation").shape == (4, 12)


def test_hdf5_has_the_names_at_its_root(tmp_path, polar, extras):
    path = xf.write_polar(tmp_path / "polar.h5", polar, **extras)
    with h5py.File(path) as file:
        check(lambda name: file[name][()], polar)
        tags = json.loads(file["tag_map"][()])
        assert tags == {f"tag_{t}": i for i, t in enumerate(TAGS)}
        assert file.attrs["default"] == "entry"
        assert file["polar_data"].attrs["units"] == "adu"


def test_zarr_has_the_same(tmp_path, polar, extras):
    path = xf.write_polar(tmp_path / "polar.zarr", polar, **extras)
    with xr.open_zarr(path) as ds:
        check(lambda name: ds[name].values, polar)
        assert json.loads(str(ds["tag_map"].values))["tag_100000006"] == 2
        assert "remap_polar" in ds.attrs["history"]
        np.testing.assert_array_equal(ds["train"], TAGS)


def test_only_what_is_known_is_written(tmp_path, polar):
    polar = polar.drop_vars("q").drop_attrs()
    path = xf.write_polar(tmp_path / "polar.hdf5", polar)
    with h5py.File(path) as file:
        assert not {"x_center", "wavelen", "tag_pairs", "correlation"} & {*file}
        assert np.isnan(file["q_mapping"][:, 1]).all()
        assert json.loads(file["tag_map"][()]) == {
            str(t): i for i, t in enumerate(TAGS)
        }


def test_q_of_rings_comes_from_the_geometry_where_the_map_has_none(tmp_path, polar):
    path = xf.write_polar(tmp_path / "a.h5", polar.drop_vars("q"), geometry=GEOMETRY)
    radius = polar.radius.values * 5e-5
    expected = 4 * np.pi / 1.44 * np.sin(np.arctan(radius / 0.053) / 2)
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["q_mapping"][:, 1], expected, rtol=1e-9)


def test_hdf5_opens_in_xarray_at_its_root_and_in_its_group(tmp_path, polar, extras):
    path = xf.write_polar(tmp_path / "polar.h5", polar, **extras)
    for group in (None, "entry/data"):
        with xr.open_dataset(path, group=group, engine="h5netcdf") as ds:
            assert ds["polar_data"].dims == ("train", "radius", "phi")
            np.testing.assert_array_equal(ds["train"], TAGS)


def test_one_image_is_enough(tmp_path, polar):
    path = xf.write_polar(tmp_path / "one.h5", polar.isel(train=1, pulse=0))
    with h5py.File(path) as file:
        assert file["polar_data"].shape == (4, 12)


def test_normalized_images_may_be_given(tmp_path, polar):
    path = xf.write_polar(tmp_path / "a.h5", polar, normalized=polar * 2)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            file["normalized_polar_data"][()], 2 * polar.values[:, 0]
        )


def test_wrong_input_is_refused(tmp_path, polar):
    with pytest.raises(ValueError, match=r"polar data go to \.zarr.*got polar\.txt"):
        xf.write_polar(tmp_path / "polar.txt", polar)
    with pytest.raises(ValueError, match=r"ops\.remap_polar first"):
        xf.write_polar(tmp_path / "polar.h5", polar.rename(radius="r"))
    xf.write_polar(tmp_path / "polar.h5", polar)
    with pytest.raises(OutputExistsError):
        xf.write_polar(tmp_path / "polar.h5", polar)
    xf.write_polar(tmp_path / "polar.h5", polar, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["polar.h5"]
