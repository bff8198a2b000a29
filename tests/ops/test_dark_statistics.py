"""Dark statistics against numpy and against what the simulation put in."""

import numpy as np
import pytest
import xarray as xr

from xfelred import masks, open_run, ops
from xfelred.synth.euxfel import write_run

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
BIT = masks.names


@pytest.fixture(scope="module")
def dark():
    """40 frames of 2 modules with one pixel of every fault."""
    x = np.random.default_rng(5).normal(4000, 3, (10, 4, 2, 16, 16))
    x[:, :, 0, 1, 1] += 500  # pedestal
    x[::2, :, 0, 2, 2] += 200  # noise
    x[:, :, 1, 3, 3] = 4000  # no noise
    x[:, :, 1, 4, 4] = np.nan  # no data
    x[1:, :, 1, 5, 5] = np.nan  # data of one train only
    coords = {"train": np.arange(10), "pulse": [0, 2, 4, 6], "module": [3, 7]}
    coords["cell"] = ("pulse", [10, 12, 14, 16])
    return xr.DataArray(x, dims=DIMS, coords=coords, attrs={"units": "adu"})


def test_pedestal_and_noise_equal_numpy(dark):
    got = ops.dark_statistics(dark).compute()
    x = dark.values.reshape(40, 2, 16, 16)
    known = ~np.isnan(x)
    n = known.sum(0)
    np.testing.assert_array_equal(got.n_frames, n)
    assert got.n_frames.dtype == np.int64
    some = n > 1
    mean = np.nanmean(x[:, some], 0)
    np.testing.assert_allclose(got.pedestal.values[some], mean, rtol=1e-12)
    noise = np.nanstd(x[:, some], 0, ddof=1)
    np.testing.assert_allclose(got.noise.values[some], noise, rtol=1e-9, atol=1e-9)
    assert np.isnan(got.noise.values[~some]).all()
    assert got.pedestal.attrs["units"] == "adu"


def test_every_fault_sets_its_bit(dark):
    bad = ops.dark_statistics(dark).bad_pixels.compute()
    assert bad.dtype == np.uint32
    at = {k: int(bad.sel(module=m)[i, i]) for k, (m, i) in {
        "pedestal": (3, 1), "noise": (3, 2), "silent": (7, 3), "none": (7, 4),
    }.items()}  # fmt: skip
    assert at["pedestal"] == BIT["OFFSET_OUT_OF_THRESHOLD"]
    assert at["noise"] & BIT["NOISE_OUT_OF_THRESHOLD"]
    assert at["silent"] & BIT["DATA_STD_IS_ZERO"]
    assert at["none"] == BIT["NO_DARK_DATA"]


def test_outliers_are_those_of_the_robust_sigma(dark):
    x = dark.isel(module=0)
    got = ops.dark_statistics(x, noise_sigma=3, offset_sigma=2).compute()
    for name, limit, bit in (("noise", 3, 2), ("pedestal", 2, 1)):
        v = got[name].values
        distance = abs(v - np.median(v))
        want = distance > limit * 1.4826022185 * np.median(distance)
        np.testing.assert_array_equal((got.bad_pixels.values & bit) != 0, want)


@pytest.mark.parametrize("limit", [1, 2, 4, 5, 41])
def test_few_frames_are_no_dark_data(limit, dark):
    got = ops.dark_statistics(dark, min_frames=limit).compute()
    none = (got.bad_pixels.values & BIT["NO_DARK_DATA"]) != 0
    np.testing.assert_array_equal(none, got.n_frames.values < limit)


@pytest.mark.parametrize("by", ["pulse", "train", "cell", ("pulse", "train")])
def test_frame_dims_can_be_kept(by, dark):
    got = ops.dark_statistics(dark, by=by, min_frames=1).compute()
    kept = (by,) if isinstance(by, str) else by
    assert set(got.pedestal.dims) == {*kept, "module", "slow_scan", "fast_scan"}
    old = {"cell": "pulse"}.get(by, by)
    if old == "pulse":
        with np.errstate(invalid="ignore"):
            sums, n = np.nansum(dark.values, 0), (~np.isnan(dark.values)).sum(0)
            np.testing.assert_allclose(got.pedestal.values, sums / n, rtol=1e-12)
        if by == "cell":
            assert got.cell.values.tolist() == [10, 12, 14, 16]


def test_bad_pixels_are_looked_up_by_module(dark):
    bad = xr.zeros_like(dark.isel(train=0, pulse=0, drop=True), dtype=bool)
    bad.loc[{"module": 3}] = True
    got = ops.dark_statistics(dark, bad_pixels=bad.isel(module=[1, 0])).n_frames
    assert got.sel(module=3).values.max() == 0
    assert int(got.sel(module=7)[0, 0]) == 40


def test_lazy_and_in_memory_agree(dark, no_compute):
    with no_compute():
        lazy = ops.dark_statistics(dark.chunk(train=3, pulse=2))
    here = ops.dark_statistics(dark).compute()
    for name, got in lazy.compute().items():
        np.testing.assert_allclose(got, here[name], rtol=1e-12, atol=1e-9)


def test_dark_run_gives_the_pedestal_that_was_put_in(tmp_path):
    truth = write_run(
        tmp_path, kind="DSSC1M", corrected=False, modules=(1, 14), n_trains=4,
        pulses=4, scene="noise", xgm=False, motors=False,
    )  # fmt: skip
    frames = open_run(truth.directory).frames()
    got = ops.dark_statistics(frames).compute()
    plain = truth.frames().astype("f8").reshape(16, 2, *frames.shape[-2:])
    np.testing.assert_allclose(got.pedestal, plain.mean(0), rtol=1e-12)
    np.testing.assert_allclose(got.noise, plain.std(0, ddof=1), rtol=1e-9, atol=1e-9)


def test_gain_axes_are_kept(lpd_parallel_run, agipd_raw_run):
    stages = open_run(lpd_parallel_run.directory).frames(parallel_gain=True)
    got = ops.dark_statistics(stages).pedestal
    want = lpd_parallel_run.frames().astype("f8").mean((0, 1))
    assert got.dims == ("gain", "module", "slow_scan", "fast_scan")
    np.testing.assert_allclose(got.values, want, rtol=1e-12)
    both = open_run(agipd_raw_run.directory).frames(roi=np.s_[:, :8, :8])
    got = ops.dark_statistics(both).pedestal
    want = agipd_raw_run.frames()[..., :8, :8].astype("f8").mean((0, 1))
    assert got.dims == ("module", "data_gain", "slow_scan", "fast_scan")
    np.testing.assert_allclose(got.values, want, rtol=1e-12)


def test_single_frames_give_the_same_as_trains_and_pulses(ragged_run):
    run = open_run(ragged_run.directory)
    with pytest.warns(UserWarning, match="padding"):
        dense = run.frames(roi=np.s_[:8, :8])
    flat = run.frames(roi=np.s_[:8, :8], layout="frame")
    one, two = (ops.dark_statistics(x).compute() for x in (dense, flat))
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-9)


def test_no_modules_are_no_statistics(agipd_run):
    got = ops.dark_statistics(open_run(agipd_run.directory).frames(modules=[]))
    assert got.bad_pixels.values.shape == (0, 512, 128)


def test_what_cannot_be_kept_is_an_error(dark):
    with pytest.raises(ValueError, match="not a frame dim"):
        ops.dark_statistics(dark, by="module")
    with pytest.raises(ValueError, match="memory cell"):
        ops.dark_statistics(dark.drop_vars("cell"), by="cell")
    with pytest.raises(ValueError, match="slow_scan"):
        ops.dark_statistics(dark.isel(slow_scan=0))
