"""Lists of pixels, droplets and photons: numpy, frame by frame, and back again."""

import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import MODULES, frames, plain
from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError

SHAPE = (2, 7, 9)


def spots(chunks=3, **more):
    """Few pixels of `frames` are lit, some are NaN."""
    da = frames(None, missing=0.1, **more)
    da = da.where(da.isnull() | (da > 1020), 0)
    return da.chunk(train=chunks) if chunks else da


@pytest.mark.parametrize("n", [None, 4, 500])
@pytest.mark.parametrize("chunks", [None, 1, 11])
def test_pixels_are_those_of_numpy(chunks, n, no_compute):
    da = spots(chunks)
    with no_compute():
        found = ops.sparsify(da, n)
    for i, frame in enumerate(plain(da)):
        at = np.nonzero(np.nan_to_num(frame))
        here = found.isel(train=i, pulse=0)
        assert here["n_pixels"] == len(at[0])
        wanted = {
            "data": frame[at], "row": at[1], "col": at[2],
            "tile": np.asarray(MODULES)[at[0]],
        }  # fmt: skip
        for name, values in wanted.items():
            got = here[name].values
            kept = values[:n]
            np.testing.assert_array_equal(got[: len(kept)], kept)
            rest = got[len(kept) :]
            assert (rest == 0).all() if n else np.isnan(rest).all()
    assert found["row"].dtype == (np.int64 if n else np.float64)


@pytest.mark.parametrize("form", ["padded", "fixed", "table"])
def test_frames_come_back_from_each_form(form, no_compute):
    da = spots()
    listed = ops.sparsify(da, 200 if form == "fixed" else None)
    more = {}
    if form == "table":
        listed = ops.to_table(ops.sparsify(da))
        more = {"train": da.train[::-1]}
    with no_compute():
        back = ops.unsparsify(listed, SHAPE, modules=MODULES, **more)
    assert back.dims == da.dims
    wanted = da.fillna(0).astype(float)
    np.testing.assert_array_equal(back.sel(train=da.train.values), wanted)


def test_a_list_without_empty_frames_has_those_that_are_in_it():
    da = spots(None)
    da[3] = 0
    back = ops.unsparsify(ops.to_table(ops.sparsify(da)), SHAPE, modules=MODULES)
    assert back.train.values.tolist() == np.delete(da.train.values, 3).tolist()
    listed = ops.to_table(ops.sparsify(da))
    back = ops.from_table(listed, "pixel", train=da.train.values[::-1])
    again = ops.to_table(back).sortby("train")
    np.testing.assert_array_equal(again["data"], listed["data"])
    with pytest.raises(ArgumentError, match="of trains that train="):
        ops.unsparsify(ops.to_table(ops.sparsify(da)), SHAPE, train=da.train[:2])


def test_droplets_and_photons_keep_their_sums():
    da = spots().fillna(0)
    given = {"threshold": 1000, "max_droplets": 60}
    found = ops.find_droplets(da, **given)
    listed = ops.sparsify(found)
    assert {"data", "npix", "row", "col", "tile", "n_droplets"} == set(listed)
    image = ops.unsparsify(listed, SHAPE, modules=MODULES)
    pixels = ("module", "slow_scan", "fast_scan")
    np.testing.assert_allclose(image.sum(pixels), da.sum(pixels))
    xr.testing.assert_equal(
        image, ops.unsparsify(found, SHAPE, modules=MODULES).assign_attrs(image.attrs)
    )
    photons = ops.droplets_to_photons(da, adu_per_photon=1000, threshold=1000)
    number = ops.unsparsify(ops.sparsify(photons), SHAPE, modules=MODULES)
    np.testing.assert_array_equal(number.sum(pixels), photons["n_photons"])


def test_photons_beside_the_border_are_in_its_pixels():
    found = xr.Dataset({"row": ("photon", [-0.9, 6.4]), "col": ("photon", [0, 9.1])})
    image = ops.unsparsify(found.assign(n_photons=2), SHAPE[1:])
    assert image.values[0, 0] == image.values[6, 8] == 1
    assert image.sum() == 2


def test_mistakes():
    da = spots()
    with pytest.raises(ArgumentError, match="n=0"):
        ops.sparsify(da, 0)
    with pytest.raises(ArgumentError, match="find_droplets"):
        ops.sparsify(xr.Dataset({"a": da}))
    with pytest.raises(GeometryMismatchError, match="slow_scan"):
        ops.sparsify(da.isel(slow_scan=0))
    listed = ops.sparsify(da)
    with pytest.raises(ArgumentError, match="shape"):
        ops.unsparsify(listed, (3,))
    with pytest.raises(ArgumentError, match="2 different numbers"):
        ops.unsparsify(listed, SHAPE, modules=[1, 1])
    with pytest.raises(ArgumentError, match="different train IDs"):
        ops.from_table(ops.to_table(listed), "pixel", train=[1, 1])
    with pytest.raises(ArgumentError, match=r"entry.*train"):
        ops.from_table(xr.Dataset({"data": da}), "pixel")
    with pytest.raises(ArgumentError, match="row and col"):
        ops.unsparsify(xr.Dataset({"data": da}), SHAPE)
    with pytest.raises(GeometryMismatchError, match="of module 2"):
        ops.unsparsify(listed, SHAPE).compute()
    with pytest.raises(GeometryMismatchError, match="pixels 0 to 3"):
        ops.unsparsify(listed, (2, 4, 9), modules=MODULES).compute()


def test_trains_and_pulses_without_an_entry_come_back_when_they_are_told():
    frames = np.zeros((2, 3, 2, 2))
    frames[1, 0, 1, 0] = 5
    ids = {"train": [7, 9], "pulse": [0, 4, 8]}
    da = xr.DataArray(frames, ids, ("train", "pulse", "slow_scan", "fast_scan"))
    table = ops.to_table(ops.sparsify(da))
    found = ops.unsparsify(table, (2, 2), train=[7, 9], pulse=[0, 4, 8])
    np.testing.assert_array_equal(found, frames)
    with pytest.raises(ArgumentError, match="pulses that pulse=, lacks"):
        ops.from_table(table, "pixel", pulse=[4, 8])


def test_lists_tell_which_frames_were_not_recorded():
    da = xr.DataArray(np.ones((2, 2, 2)), dims=("train", "slow_scan", "fast_scan"))
    da = da.assign_coords(recorded=("train", [True, False]))
    for found in (ops.sparsify(da), ops.find_droplets(da, threshold=0.5)):
        np.testing.assert_array_equal(found["recorded"], [True, False])
