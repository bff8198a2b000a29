"""Constants of small-data files: which gain divides, which one multiplies."""

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.products.lcls_cube_file import lcls_constants

DIMS = ("module", "slow_scan", "fast_scan")


@pytest.fixture
def written(tmp_path):
    """Write a file of one detector whose raw frames are 30 over a pedestal of 10."""

    def write(flavour, detector, constants, shape=(2, 4, 6)):
        path = tmp_path / f"xpptest01_Run{len(list(tmp_path.iterdir())):04d}.h5"
        with h5py.File(path, "w") as file:
            n = np.arange(3)
            if flavour == "LCLS1":
                file["event_time"], file["fiducials"] = (1_600_000_000 << 32) + n, n
            else:
                file["timestamp"] = ((1_000_000_000 << 32) + n).astype("u8")
            file[f"{detector}/raw"] = np.full((3, *shape), 30, "u2")
            for name, value in constants.items():
                file[f"UserDataCfg/{detector}/{name}"] = value
        return xf.open_run(path)

    return write


def gained(shape, gain, n_ranges=None):
    lead = () if n_ranges is None else (n_ranges,)
    return {
        "ped": np.full((*lead, *shape), 10.0),
        "gain": np.full((*lead, *shape), gain),
    }


@pytest.mark.parametrize(
    ("flavour", "detector", "kind", "n_ranges", "value"),
    [
        ("LCLS1", "cspad_ds1", "cspad", None, 20 * 4.0),
        ("LCLS1", "epix_3", "epix100", None, 20 * 4.0),
        ("LCLS1", "zyla_ladm", "camera", None, 20 * 4.0),
        ("LCLS1", "some_camera", "camera", None, 20 * 4.0),
        ("LCLS1", "jungfrau1M", "jungfrau", 3, 20 / 4.0),
        ("LCLS1", "switching", "jungfrau", 3, 20 / 4.0),
        ("LCLS2", "epix100_0", "epix100", None, 20 / 4.0),
        ("LCLS2", "jungfrau", "jungfrau", 3, 20 / 4.0),
    ],
)
def test_gain_of_lcls1_multiplies_unless_the_detector_switches(
    written, flavour, detector, kind, n_ranges, value
):
    shape = (2, 4, 6)
    run = written(flavour, detector, gained(shape, 4.0, n_ranges))
    constants = run.constants(detector)
    name = "gain_factor" if value > 20 else "gain"
    assert {"gain", "gain_factor"} & {*constants} == {name}
    constants[name].attrs["units"] = "keV/adu" if value > 20 else "adu/keV"
    out = ops.calibrate(run.frames(detector), constants, kind=kind)
    assert out.attrs["units"] == "keV"
    np.testing.assert_array_equal(out, value)
    recipe = {
        "schema_version": 1, "kind": "cube", "bins": {},
        "detectors": {detector: {"key": "raw", "calibrate": kind}},
    }  # fmt: skip
    if name == "gain":
        cube = xf.make_cube(run, xf.CubeRecipe.from_dict(recipe))
        np.testing.assert_array_equal(cube[f"{detector}_mean"], value)
        assert cube[f"{detector}_mean"].attrs["units"] == "keV"


def test_the_unit_of_a_gain_is_that_of_psana_where_it_divides(written):
    run = written("LCLS1", "jungfrau1M", gained((2, 4, 6), 4.0, 3))
    assert run.constants("jungfrau1M").gain.attrs["units"] == "adu/keV"
    run = written("LCLS1", "cspad", gained((2, 4, 6), 4.0))
    constants = run.constants("cspad")
    with pytest.warns(UserWarning, match="'gain_factor' is 1, so that of the signal"):
        out = ops.calibrate(run.frames(), constants, kind="cspad")
    assert out.attrs["units"] == "1"


def test_gain_of_one_number_counts_as_well(written):
    constants = gained((2, 4, 6), 1.0) | {"gain": np.float64(6.85)}
    run = written("LCLS1", "cspad", constants)
    found = run.constants("cspad")
    assert found.gain_factor.dims == ()
    out = ops.calibrate(run.frames(), found, kind="cspad")
    np.testing.assert_allclose(out, 20 * 6.85, rtol=1e-6)
    assert out.attrs["units"] == "adu"


def test_gain_of_the_user_multiplies_last(written):
    constants = gained((2, 4, 6), 4.0, 3) | {"local_gain": np.full((2, 4, 6), 3.0)}
    run = written("LCLS1", "jungfrau1M", constants)
    found = run.constants("jungfrau1M")
    out = ops.calibrate(run.frames(), found, kind="jungfrau")
    np.testing.assert_array_equal(out, 20 / 4 * 3)


def test_a_factor_goes_back_under_the_name_that_the_file_had(written):
    run = written("LCLS1", "cspad", gained((2, 4, 6), 4.0))
    out = lcls_constants(run.constants("cspad"))
    np.testing.assert_array_equal(out["gain"], 4.0)


def test_noise_of_a_threshold_goes_through_the_gain(written):
    """Frames are keV then, 5 of them; the noise of 12 adu is 3 keV."""
    constants = gained((2, 4, 6), 4.0, 3) | {"rms": np.full((3, 2, 4, 6), 12.0)}
    run = written("LCLS1", "jungfrau1M", constants)
    spec = {"key": "raw", "calibrate": "jungfrau"}
    for sigmas, value in ((1.5, 5.0), (2.0, 0.0)):
        recipe = {
            "schema_version": 1, "kind": "cube", "bins": {},
            "detectors": {"jungfrau1M": {**spec, "threshold": {"noise": sigmas}}},
        }  # fmt: skip
        cube = xf.make_cube(run, xf.CubeRecipe.from_dict(recipe))
        np.testing.assert_array_equal(cube["jungfrau1M_mean"], value)


def test_constants_of_psana_hold_all_that_it_masks_and_subtracts():
    from xfelred.readers.lcls_psana.constants import from_interface

    status = np.zeros((3, 1, 2, 3), "u8")
    status[1, 0, 0, 0], status[0, 0, 1, 2] = 8, 1 << 40
    good = np.ones((1, 2, 3), "u1")
    good[0, 1, 1] = 0
    interface = {
        "_pedestals": np.full((3, 1, 2, 3), 5.0), "_offset": np.full((3, 1, 2, 3), 2.0),
        "_gain": np.full((3, 1, 2, 3), 4.0), "_status": status, "_mask_calib": good,
    }  # fmt: skip
    kind = type("Raw", (), {k: (lambda self, v=v: v) for k, v in interface.items()})
    found = from_interface(kind())
    bad = found["bad_pixels"][0]
    assert np.argwhere(bad).tolist() == [[0, 0, 0], [0, 1, 1]]
    constants = xr.Dataset(
        {k: (("gain_range", *DIMS), v[0], v[1]) for k, v in found.items()
         if v[0].ndim == 4}
    )  # fmt: skip
    raw = xr.DataArray(np.full((1, 2, 3), 27, "u2"), dims=DIMS)
    out = ops.calibrate(raw, constants, kind="jungfrau")
    np.testing.assert_array_equal(out, (27 - 5 - 2) / 4)
    assert out.attrs["units"] == "keV"
