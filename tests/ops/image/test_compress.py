"""Rounded frames: the error, the digits, and what gzip of h5py makes of them."""

import h5py
import numpy as np
import pytest
import xarray as xr

from tests.support.step_frames import frames
from xfelred import ops
from xfelred.errors import ArgumentError, GeometryMismatchError


@pytest.mark.parametrize("dtype", ["u2", "f4", "f8"])
@pytest.mark.parametrize("chunks", [None, 1, 11])
def test_errors_are_no_larger_than_allowed(chunks, dtype, no_compute):
    da = frames(chunks, dtype=dtype, missing=0 if dtype == "u2" else 0.1)
    da = da + 0.137 if dtype != "u2" else da
    with no_compute():
        found = ops.compress(da, 0.7)
    data = found["data"]
    assert data.dtype == ("f8" if da.dtype == "f8" else "f4")
    assert data.attrs["max_error"] == 0.5
    np.testing.assert_array_equal(np.isnan(data), np.isnan(da))
    np.testing.assert_array_equal(data, np.rint(da.values.astype("f8")))
    again = ops.compress(data, 0.7)["data"]
    np.testing.assert_array_equal(again, data)


def test_the_ratio_is_that_of_h5py(tmp_path):
    da = frames(None, shape=(2, 64, 64)) + 0.25
    found = ops.compress(da, 4)
    with h5py.File(tmp_path / "one.h5", "w") as file:
        for i, frame in enumerate(found["data"].values[:3, 0]):
            stored = file.create_dataset(
                str(i), data=frame, chunks=frame.shape, compression="gzip",
                compression_opts=1, shuffle=True,
            )  # fmt: skip
            size = stored.id.get_storage_size()
            np.testing.assert_allclose(
                found["ratio"][i, 0], da[0, 0].nbytes / size, rtol=0.02
            )
    assert (found["ratio"] > ops.compress(da, 0.1)["ratio"]).all()


def test_mistakes():
    da = frames()
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(ArgumentError, match="max_error"):
            ops.compress(da, wrong)
    with pytest.raises(GeometryMismatchError, match="slow_scan"):
        ops.compress(da.isel(slow_scan=0), 1)


def test_a_frame_that_was_not_recorded_has_no_ratio():
    da = frames().assign_coords(available=("train", np.arange(11) != 4))
    found = ops.compress(da.astype("i2"), 1)["ratio"]
    assert found.isnull().values[:, 0].tolist() == (np.arange(11) == 4).tolist()
    assert isinstance(found, xr.DataArray)
