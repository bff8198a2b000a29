"""Results of the LCLS calibration suite's own code on synthetic arrays and files."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xfelred import open_run, ops
from xfelred.ops import Segment

HERE = Path(__file__).resolve().parents[3] / "shared" / "golden" / "lcls"
if not HERE.is_dir():
    pytest.skip("no golden files beside the checkout", allow_module_level=True)

SUITE = HERE / "calibsuite"
PIXELS = ("module", "slow_scan", "fast_scan")


@pytest.fixture(scope="module")
def golden():
    with np.load(SUITE / "golden_calibsuite.npz") as file:
        return dict(file)


@pytest.fixture(scope="module", params=[1, 3, 80])
def frames(request):
    with h5py.File(SUITE / "suite_flat_timescan.h5") as file:
        values = file["frames"][()]
        step_value = np.repeat(file["step_value"][()], 10)
    coords = {
        "train": np.arange(80),
        "step": ("train", np.repeat(np.arange(8), 10)),
        "step_value": ("train", step_value),
    }
    values = values.reshape(80, 1, 4, 24, 48)
    da = xr.DataArray(values, coords, ("train", "pulse", *PIXELS))
    return da.chunk(train=request.param)


def image(values):
    return xr.DataArray(values, dims=("slow_scan", "fast_scan"))


def test_mean_and_rms_of_each_step(golden, frames):
    found = ops.statistics(
        frames, ("train", "pulse"), which=("mean", "rms", "count"), by="step"
    ).compute()
    assert found["mean"].dims == ("step", *PIXELS)
    for step in range(8):
        # The peer's E[x²] - (E[x])² of 1e4 adu loses digits; see the loop below.
        for name, rtol in (("mean", 1e-9), ("rms", 1e-8)):
            wanted = golden[f"{name}_step{step}"]
            one = found[name].sel(step=step)
            np.testing.assert_allclose(one, wanted, rtol=rtol, atol=1e-9)
        exact = frames.values[frames.step == step].std(axis=(0, 1), dtype=np.float64)
        np.testing.assert_allclose(found.rms.sel(step=step), exact, rtol=1e-9)
    assert (found["count"] == 10).all()


def test_correlation_with_a_pixel_in_each_step(golden, frames):
    found = ops.correlate_pixel(frames, (0, 3, 5), by="step").compute()
    for step in range(8):
        wanted = golden[f"corr_pix0_step{step}"]
        np.testing.assert_allclose(found.sel(step=step), wanted, atol=1e-9)
    np.testing.assert_allclose(found[:, 0, 3, 5], 1, rtol=1e-12)


def test_mean_of_a_region_in_each_step(golden, frames):
    mean = ops.roi(frames, [(0, 1), (5, 10), (5, 15)])["mean"]
    found = ops.statistics(mean, ("train", "pulse"), which=("mean",), by="step")["mean"]
    np.testing.assert_allclose(found, golden["stepMeans_roi"], rtol=1e-12)


def test_clusters(golden):
    found = ops.find_clusters(image(golden["cluster_frame"]), seed=4, neighbour=0.5)
    found = found.isel(cluster=slice(int(found.n_clusters))).compute()
    table = golden["clusters_E_seedrow_seedcol_npix_square"]
    names = ("energy", "seed_row", "seed_col", "n_pixels", "is_square")
    for name, wanted in zip(names, table.T, strict=True):
        np.testing.assert_allclose(found[name].astype(float), wanted, rtol=1e-9)
    centres = np.stack([found.row, found.col], axis=1)
    np.testing.assert_allclose(centres, golden["cluster_centroids"], rtol=1e-9)


def on_train(values, **options):
    return xr.DataArray(values, {"train": np.arange(len(values))}, "train", **options)


def test_line(golden):
    y = on_train(golden["lin_y"]).chunk(train=37)
    x = on_train(golden["lin_flux"], name="flux")
    found = ops.fit_linear(y, x).compute()
    np.testing.assert_allclose([found.slope, found.intercept], golden["lin_par"])
    np.testing.assert_allclose(found.r2, golden["lin_r2"])


def test_profile(golden):
    y = on_train(golden["lin_y"]).chunk(train=37)
    x = on_train(golden["lin_flux"], name="flux")
    found = ops.profile(y, x).compute()
    np.testing.assert_allclose(found.x, golden["profile_x"], rtol=1e-9)
    np.testing.assert_allclose(found["median"], golden["profile_median"], rtol=1e-9)
    np.testing.assert_allclose(found.error, golden["profile_err"], rtol=1e-9)


def test_photon_peak(golden):
    energies = xr.DataArray(golden["gauss_energies"], dims="cluster").chunk(300)
    found = ops.fit_photon_peak(energies).compute()
    fit = [found.amplitude, found.position, found.width]
    # The peer stops when its steps are 1e-8 of the parameters.
    np.testing.assert_allclose(fit, golden["gauss_fit_a_mu_sigma"], rtol=1e-6)


def test_common_mode_of_rows_and_columns_below_a_cut(golden):
    da = image(golden["cm_frame"])
    rows = ops.subtract_common_mode_below(
        da, "row", cut=3, segment=Segment((24, 48), banks=3)
    )
    np.testing.assert_allclose(rows, golden["cm_rows_cut3_16cols"], atol=1e-9)
    columns = ops.subtract_common_mode_below(
        da, "column", cut=3, segment=Segment((24, 48), halves=2),
        switched=image(golden["cm_switched"]),
    )  # fmt: skip
    np.testing.assert_allclose(columns, golden["cm_cols_cut3_12rows"], atol=1e-9)


def test_common_mode_of_a_region(golden):
    # The golden file does not say which region; this one has the offset it took.
    da = image(golden["cm_frame"])
    found = ops.subtract_common_mode_below(
        da, "region", cut=3, region=[(4, 12), (0, 24)]
    )
    np.testing.assert_allclose(found, golden["cm_region"], atol=1e-9)


def roi_input(golden, name):
    values = golden[f"img{name}"]
    dims = PIXELS[-values.ndim :]
    bad = (golden[f"d{name[0]}_det_mask"] & golden[f"d{name[0]}_det_cmask"]) == 0
    return xr.DataArray(values, dims=dims), xr.DataArray(bad, dims=dims)


@pytest.mark.parametrize(
    ("case", "name", "threshold"), [("roi3d", "3d", 8.0), ("roi2d", "2d", None)]
)
def test_region_of_interest(case, name, threshold):
    with np.load(HERE / "roi_projection_spectrum.npz") as file:
        golden = dict(file)
    da, bad = roi_input(golden, name)
    bounds = golden[f"{case}__cfg__ROI_0_bound"]
    found = ops.roi(
        da, bounds, write_area=True, threshold=threshold, bad_pixels=bad
    ).compute()
    np.testing.assert_array_equal(found.area.squeeze(), golden[f"{case}__area"])
    for key in ("sum", "mean", "max"):
        np.testing.assert_allclose(found[key], golden[f"{case}__{key}"], rtol=1e-5)
    np.testing.assert_allclose(found.com, golden[f"{case}__com"], rtol=1e-6)


def test_region_that_is_the_whole_detector():
    with np.load(HERE / "roi_projection_spectrum.npz") as file:
        golden = dict(file)
    da, bad = roi_input(golden, "3d")
    found = ops.roi(da, bad_pixels=bad).compute()
    # The peer has no centre of regions with two modules: NaN.
    for key in ("sum", "mean", "max"):
        np.testing.assert_allclose(found[key], golden[f"full__{key}"], rtol=1e-5)


# -- the files, through the reader ---------------------------------------------------


def test_nested_file():
    run = open_run(SUITE / "suite_dict_ragged.h5")
    assert run.metadata["scriptType"] == "delayScan"
    assert run.metadata["run"] == 1727740803
    np.testing.assert_array_equal(run.steps.n_events, [5, 9, 3, 7])
    np.testing.assert_array_equal(run.steps.step_value, [0, 1.5, 3, 4.5])
    found = run.scalars(["timestamp", "wave8", "delay"])
    with h5py.File(SUITE / "suite_dict_ragged.h5") as file:
        steps = [file[f"detectorData/step{i}"] for i in range(4)]
        for name in ("timestamp", "wave8"):
            wanted = np.concatenate([s[name][()] for s in steps])
            np.testing.assert_array_equal(found[name], wanted)
        for array, step in zip(run.frames(layout="list"), steps, strict=True):
            np.testing.assert_array_equal(array, step["epixM"][()])
    np.testing.assert_array_equal(
        found.delay, np.repeat([0, 1.5, 3, 4.5], [5, 9, 3, 7])
    )


def test_flat_files(golden):
    run = open_run(SUITE / "suite_flat_timescan.h5")
    assert run.metadata == {"scriptType": "fake"}
    np.testing.assert_array_equal(run.steps.step_value, np.arange(8) * 10000)
    found = ops.statistics(run.frames(), by="step_value", which=("mean",)).compute()
    assert found["mean"].dims == ("step_value", "pulse", *PIXELS)
    wanted = golden["mean_step3"]
    np.testing.assert_allclose(found["mean"].sel(step_value=30000)[0], wanted)
    single = open_run(SUITE / "suite_flat_nosteps.h5")
    assert dict(single.steps.sizes) == {"step": 1}
    assert single.frames().shape == (10, 1, 4, 24, 48)
