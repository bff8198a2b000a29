"""`ops.calibrate` on simulated runs of the European XFEL, against numpy."""

import numpy as np
import pytest
import xarray as xr

from xfelred import open_run, ops
from xfelred.errors import GeometryMismatchError, MissingConstantError

PIXELS = ("slow_scan", "fast_scan")
MODULES = ("module", *PIXELS)


def agipd_constants(frames, rng, cells):
    n = (len(cells), frames.sizes["module"], 512, 128)
    dims = ("cell", *MODULES)
    high = rng.normal(5000, 100, n)
    found = {
        "pedestal": ("gain_range", rng.normal(50, 5, (3, *n))),
        "gain": ("gain_range", rng.normal(3, 0.1, (3, *n))),
        "thresholds": ("threshold", np.stack([high, high + 800])),
    }
    out = xr.Dataset(
        {k: ((first, *dims), v.astype("f4")) for k, (first, v) in found.items()},
        {"cell": cells, "module": frames.module.values},
    )
    out.gain.attrs["units"] = "adu/keV"
    return out


def test_agipd_stages_are_told_by_thresholds_of_every_cell(agipd_raw_run, no_compute):
    run = open_run(agipd_raw_run.directory)
    frames = run.frames()
    constants = agipd_constants(frames, np.random.default_rng(0), [7, 2, 1, 0])
    values = frames.values
    voltage = int(np.median(values[:, :, :, 1]))
    constants["thresholds"] += voltage - 5400
    with no_compute():
        out = ops.calibrate(frames, constants, kind="agipd")
    assert out.dims == ("train", "pulse", *MODULES)
    assert set(out.coords) == set(frames.coords)
    c = constants.sel(cell=frames.cell.values)
    cut, pedestal, gain = (c[k].values for k in ("thresholds", "pedestal", "gain"))
    stage = sum((values[:, :, :, 1] > t).astype(int) for t in cut)
    assert len(np.unique(stage)) > 1
    p, g = (np.take_along_axis(a[:, None], stage[None], 0)[0] for a in (pedestal, gain))
    factor = (1 / g.astype("f8")).astype("f4")
    want = (values[:, :, :, 0].astype("f4") - p) * factor
    np.testing.assert_array_equal(out.values, want)
    signal, gain_plane = (frames.isel(data_gain=i) for i in (0, 1))
    apart = ops.calibrate(signal, constants, kind="agipd", gain_plane=gain_plane)
    np.testing.assert_array_equal(apart.values, want)
    index = out.copy(data=stage.astype("u1"))
    given = ops.calibrate(signal, constants, kind="agipd", gain_index=index)
    np.testing.assert_array_equal(given.values, want)
    mean = ops.statistics(out, which=("mean",))["mean"]
    np.testing.assert_allclose(
        mean.values, want.astype("f8").mean(0), rtol=1e-6, atol=1e-5
    )
    one = ops.calibrate(frames.sel(module=5), constants, kind="agipd")
    np.testing.assert_array_equal(one.values, want[:, :, 1])
    with pytest.raises(MissingConstantError, match="gain_plane="):
        ops.calibrate(signal, constants, kind="agipd")
    with pytest.raises(MissingConstantError, match="thresholds"):
        ops.calibrate(frames, constants.drop_vars("thresholds"), kind="agipd")
    with pytest.raises(MissingConstantError, match="wanted 2 along"):
        ops.calibrate(frames, constants.isel(threshold=[0]), kind="agipd")


def test_lpd_in_parallel_gain_takes_the_range_of_the_axis(lpd_parallel_run):
    frames = open_run(lpd_parallel_run.directory).frames(parallel_gain=True)
    dark = ops.dark_statistics(frames).compute()
    assert dark.pedestal.dims[0] == "gain"
    out = ops.calibrate(frames, dark.drop_vars("bad_pixels"), kind="lpd")
    assert out.dims == frames.dims
    low = (frames.values & 0xFFF).astype("f4")
    want = low - dark.pedestal.values.astype("f4")
    np.testing.assert_array_equal(out.values, want)
    one = ops.calibrate(frames.sel(gain=2), dark.drop_vars("bad_pixels"), kind="lpd")
    np.testing.assert_array_equal(one.values, want[:, :, 2])


def test_lpd_switches_by_its_bits():
    raw = np.array([[5, 5 | 1 << 12, 5 | 2 << 12, 5 | 3 << 12]], "u2")
    da = xr.DataArray(raw, dims=PIXELS)
    constants = xr.Dataset({"pedestal": ("gain_range", [1.0, 2.0, 4.0])})
    out = ops.calibrate(da, constants, kind="lpd").values
    np.testing.assert_array_equal(out, [[4, 3, 1, 0]])


def test_dark_run_calibrates_to_zero(dssc_run):
    frames = open_run(dssc_run.directory).frames()
    constants = ops.dark_statistics(frames, by="cell").compute()
    out = ops.calibrate(frames, constants.drop_vars("bad_pixels"), kind="dssc")
    mean = ops.statistics(out, which=("mean",))["mean"].values
    np.testing.assert_allclose(mean, 0, atol=1e-3)
    with pytest.raises(GeometryMismatchError, match="detector"):
        ops.calibrate(frames.assign_attrs(detector="other"), constants, kind="dssc")
