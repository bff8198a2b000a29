"""Sums of integers are exact or an error, never another number."""

import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.errors import SumOverflowError, XfelredError

DIMS = ("train", "slow_scan", "fast_scan")


def frames(values, dtype, chunks=None):
    x = np.array(values, dtype).reshape(-1, 1, 1)
    da = xr.DataArray(x, {"train": np.arange(len(x)) + 5}, DIMS)
    return da.chunk(train=chunks) if chunks else da


@pytest.mark.parametrize("chunks", [None, 1, 2])
def test_sums_of_int64_are_exact_to_the_last_digit(chunks):
    rng = np.random.default_rng(0)
    values = rng.integers(-(2**60), 2**60, 7)
    da = frames(values, np.int64, chunks)
    found = ops.statistics(da, which=("sum", "mean"))["sum"].compute()
    assert found.dtype == np.int64
    assert int(found.item()) == sum(values.tolist())


@pytest.mark.parametrize(
    ("dtype", "value"), [("u8", 2**64 - 1), ("u8", 2**63), ("u4", 2**32 - 1)]
)
def test_unsigned_sums_do_not_wrap(dtype, value):
    da = frames([value] * 5, dtype)
    sums = [
        ops.statistics(da, which=("sum",))["sum"],
        ops.statistics(da, which=("sum",), by=da.train.rename("g") * 0)["sum"],
        ops.bin_frames(da, {})["frames_sum"],
        ops.roi(da.transpose("fast_scan", "slow_scan", "train").rename(
            fast_scan="train", train="fast_scan").drop_vars("fast_scan"), None)["sum"],
    ]  # fmt: skip
    for found in sums:
        assert float(found.compute().item()) == pytest.approx(5 * value, rel=1e-15)
        assert found.dtype == (np.float64 if dtype == "u8" else np.int64)


def test_a_sum_beyond_int64_is_an_error():
    da = frames([2**63 - 1] * 3, np.int64, 2)
    for lazy in (
        ops.statistics(da, which=("sum",))["sum"],
        ops.statistics(da, which=("sum",), by=da.train.rename("g") * 0)["sum"],
        ops.bin_frames(da, {"g": xf.Bins(edges=[-1, 1], values=da.train * 0)}),
    ):
        with pytest.raises(SumOverflowError, match="more than int64") as error:
            lazy.compute()
        assert isinstance(error.value, OverflowError)
        assert isinstance(error.value, XfelredError)
