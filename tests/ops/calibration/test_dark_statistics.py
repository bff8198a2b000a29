"""Dark statistics against numpy and against what the simulation put in."""

import warnings

import numpy as np
import pytest
import xarray as xr

import xfelred.errors
from xfelred import masks, open_run, ops
from xfelred.errors import MissingConstantError
from xfelred.synth import sacla
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


@pytest.mark.filterwarnings("ignore:.*corrected already")
def test_single_frames_give_the_same_as_trains_and_pulses(ragged_run):
    run = open_run(ragged_run.directory)
    with pytest.warns(UserWarning, match="padding"):
        dense = run.frames(roi=np.s_[:8, :8])
    flat = run.frames(roi=np.s_[:8, :8], layout="frame")
    one, two = (ops.dark_statistics(x).compute() for x in (dense, flat))
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*corrected already")
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


@pytest.fixture(scope="module")
def switching():
    """Raw frames of which every pixel is in a known range, by their top bits."""
    rng = np.random.default_rng(6)
    shape = (24, 2, 8, 16)
    gain_range = rng.integers(0, 3, shape)
    code = np.array([0, 1, 3])[gain_range]
    adu = rng.normal([[[[4000]]]], 5, shape).round() + 1000 * gain_range
    raw = (code << 14 | adu.astype(int)).astype("u2")
    da = xr.DataArray(
        raw, dims=("train", "module", *DIMS[3:]), coords={"module": [2, 5]},
        attrs={"units": "adu"},
    )  # fmt: skip
    return da, gain_range, adu


@pytest.mark.parametrize("frames_per_chunk", [None, 1, 5, 24])
def test_every_frame_counts_for_the_range_of_its_bits(
    switching, frames_per_chunk, no_compute
):
    da, gain_range, adu = switching
    if frames_per_chunk:
        da = da.chunk(train=frames_per_chunk)
    with no_compute():
        got = ops.dark_statistics(da, kind="jungfrau")
    assert got.pedestal.dims == ("gain_range", "module", *DIMS[3:])
    for r in range(3):
        x = np.where(gain_range == r, adu, np.nan)
        n = (~np.isnan(x)).sum(0)
        some = n > 1
        np.testing.assert_array_equal(got.n_frames[r], n)
        np.testing.assert_allclose(
            got.pedestal.values[r][some], np.nanmean(x[:, some], 0), rtol=1e-12
        )
        np.testing.assert_allclose(
            got.noise.values[r][some], np.nanstd(x[:, some], 0, ddof=1), atol=1e-9
        )
    index = ops.gain_index(da, kind="jungfrau")
    also = ops.dark_statistics(da, kind="jungfrau", gain_index=index)
    np.testing.assert_array_equal(also.pedestal.values, got.pedestal.values)


def test_constants_of_a_switching_detector_calibrate_it(switching):
    da, gain_range, _ = switching
    constants = ops.dark_statistics(da, kind="jungfrau", noise_sigma=1e9).compute()
    out = ops.calibrate(da, constants, kind="jungfrau").values
    for r in range(3):
        known = constants.n_frames[r].values > 1
        sums = np.where(gain_range == r, out, 0).sum(0)[known]
        np.testing.assert_allclose(sums, 0, atol=0.1)
    assert np.abs(out[~np.isnan(out)]).max() < 30


def test_one_run_for_each_range_becomes_one_set_of_constants(switching):
    da, _, adu = switching
    code = {0: 0, 1: 1, 2: 3}
    runs = {
        r: da.copy(data=(adu.astype("u2") + 10 * r) | np.uint16(c << 14))
        for r, c in code.items()
    }
    runs[1].values[0, 0, 0, 0] = 7  # not in its range: left out
    got = ops.dark_statistics(runs, kind="jungfrau").compute()
    assert got.pedestal.dims[0] == "gain_range"
    assert got.gain_range.values.tolist() == [0, 1, 2]
    for r in range(3):
        want = adu.mean(0) + 10 * r
        if r == 1:
            want[0, 0, 0] = adu[1:, 0, 0, 0].mean() + 10
        np.testing.assert_allclose(got.pedestal.values[r], want, rtol=1e-12)
    out = ops.calibrate(runs[2], got.drop_vars("bad_pixels"), kind="jungfrau")
    np.testing.assert_allclose(out.mean("train").values, 0, atol=1e-3)
    assert len(got.attrs["history"].splitlines()) == 1
    part = ops.dark_statistics({0: runs[0], 2: runs[2]}, kind="jungfrau").compute()
    assert (part.bad_pixels[1] == BIT["NO_DARK_DATA"]).all()
    assert np.isnan(part.pedestal[1]).all()
    np.testing.assert_array_equal(part.pedestal[2], got.pedestal[2])
    with pytest.raises(ValueError, match="wanted some of 0, 1, 2"):
        ops.dark_statistics({3: da}, kind="jungfrau")
    other = da.assign_coords(module=[2, 6])
    with pytest.raises(xfelred.errors.GeometryMismatchError, match="differ in modules"):
        ops.dark_statistics({0: da, 1: other}, kind="jungfrau")


def test_agipd_runs_of_all_stages_give_thresholds(agipd_raw_run):
    frames = open_run(agipd_raw_run.directory).frames(roi=np.s_[..., :8, :16])
    shift = xr.DataArray([0, 1000], dims="data_gain").astype("u2")
    runs = {r: frames + shift * np.uint16(r) for r in range(3)}
    with pytest.raises(MissingConstantError, match="one run for each range"):
        ops.dark_statistics(frames, kind="agipd")
    got = ops.dark_statistics(runs, kind="agipd", by="cell").compute()
    voltage = frames.values[:, :, :, 1].astype("f8").mean(0)
    for k in (0, 1):
        want = voltage + 1000 * k + 500
        cut = got.thresholds.isel(threshold=k).transpose("cell", "module", ...)
        np.testing.assert_allclose(cut.values, want, rtol=1e-12)
    limits = got.drop_vars("bad_pixels")
    out = ops.calibrate(runs[1], limits, kind="agipd").mean("train").values
    np.testing.assert_allclose(out, 0, atol=1e-2)


@pytest.mark.parametrize("frames_per_chunk", [1, 3, 10])
def test_coordinates_group_frames(dark, frames_per_chunk):
    step = xr.DataArray([2, 2, 0, 0, 1, 1, 1, 2, 0, 1], dims="train")
    da = dark.assign_coords(step=step).chunk(train=frames_per_chunk)
    got = ops.dark_statistics(da, by="step").compute()
    assert got.step.values.tolist() == [0, 1, 2]
    for one in range(3):
        want = ops.dark_statistics(dark[step.values == one]).compute()
        for name in got:
            np.testing.assert_allclose(
                got[name].sel(step=one).transpose(*want[name].dims), want[name],
                rtol=1e-9, atol=1e-9,
            )  # fmt: skip
    cells = (("train", "pulse"), np.arange(40).reshape(10, 4) % 7)
    got = ops.dark_statistics(dark.assign_coords(cell=cells), by="cell").compute()
    flat = dark.values.reshape(40, *dark.shape[2:])
    for cell in range(7):
        some = flat[cell::7, :, :2, :2].mean(0)
        one = got.pedestal.sel(cell=cell).transpose(*dark.dims[2:])
        np.testing.assert_allclose(one[:, :2, :2], some, rtol=1e-12)


def test_limits_in_adu_make_bad_pixels(dark):
    got = ops.dark_statistics(dark, offset_limits=(0, 3999), noise_limits=(0, 2))
    bad = got.bad_pixels.values
    known = (bad & BIT["NO_DARK_DATA"]) == 0
    pedestal, noise = got.pedestal.values, got.noise.values
    assert ((bad & BIT["OFFSET_OUT_OF_THRESHOLD"]) != 0)[
        known & (pedestal > 3999)
    ].all()
    assert ((bad & BIT["NOISE_OUT_OF_THRESHOLD"]) != 0)[known & (noise > 2)].all()
    with pytest.raises(ValueError, match="wanted \\(lowest, highest\\)"):
        ops.dark_statistics(dark, noise_limits=(3, 2))


def test_frames_that_are_not_dark_are_told(agipd_run, agipd_raw_run, tmp_path):
    corrected = open_run(agipd_run.directory).frames()
    with pytest.warns(UserWarning, match="r0001 are corrected already"):
        ops.dark_statistics(corrected)
    raw = open_run(agipd_raw_run.directory).frames()[:, :, :, 0]
    signal = ops.calibrate(raw, {"pedestal": 1.0}, kind="camera")
    with pytest.warns(UserWarning, match="are calibrated already"):
        ops.dark_statistics({0: signal})
    sacla.write_run(tmp_path / "9.h5", shape=(4, 4), n_images=8, n_darks=3)
    run = open_run(tmp_path / "9.h5")
    with pytest.warns(UserWarning, match="5 of 8 shots .* shutter open"):
        ops.dark_statistics(run.frames())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ops.dark_statistics(raw)
        ops.dark_statistics(run.select_trains(run.darks).frames())
