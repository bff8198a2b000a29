"""Geometry from SACLA files, against the formula of the facility written out."""

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.errors import MissingConstantError, UnitsError
from xfelred.geometry import Geometry, locate
from xfelred.synth.sacla import write_run
from xfelred.synth.sacla.config import OCTAL

SHAPE = (16, 8)


@pytest.fixture(scope="module")
def octal(tmp_path_factory):
    path = tmp_path_factory.mktemp("sacla") / "octal.h5"
    return write_run(
        path, layout="modules", modules=(1, 4, 8), n_images=2, n_darks=0, shape=SHAPE
    )


def set_info(truth, module, **values):
    with h5py.File(truth.path, "r+") as file:
        info = file[f"run_300001/detector_2d_{module}/detector_info"]
        for name, value in values.items():
            del info[name]
            if value is not None:
                info[name] = value


def by_formula(module, pixel, shift=(0.0, 0.0)):
    """One pixel after the other, as spelled in the facility's description."""
    mounted = OCTAL[module - 1]
    x, y = mounted.x_um * 1e-6 + shift[0], mounted.y_um * 1e-6 + shift[1]
    a = np.deg2rad(mounted.angle_deg)
    out = np.zeros((2, *SHAPE))
    for s in range(SHAPE[0]):
        for f in range(SHAPE[1]):
            out[0, s, f] = -x + pixel * (np.cos(a) * f - np.sin(a) * s)
            out[1, s, f] = y + pixel * (np.sin(a) * f + np.cos(a) * s)
    return out


def test_modules_lie_where_the_formula_says(octal):
    found = Geometry.sacla(xf.open_run(octal.path), distance=0.053)
    assert found.modules == (1, 4, 8)
    assert found.distance == 0.053
    np.testing.assert_allclose(found.energy, octal.config.energy)
    assert "left looking along the beam" in found.handedness
    for i, module in enumerate((1, 4, 8)):
        expected = by_formula(module, octal.config.pixel)
        np.testing.assert_allclose([found.x[i], found.y[i]], expected, atol=1e-10)
    np.testing.assert_array_equal(found.z, 0.053)


def test_simulated_and_located_q_agree(octal):
    run = xf.open_run(octal.path)
    located = locate(run.frames(), Geometry.sacla(run, distance=0.053))
    radius = np.hypot(*octal.positions)
    theta = np.arctan(radius / 0.053) / 2
    expected = 4 * np.pi / octal.config.wavelength * np.sin(theta)
    np.testing.assert_allclose(located.q, expected, rtol=1e-6)


def test_corner_and_centre_differ_by_half_a_pixel(octal):
    run = xf.open_run(octal.path)
    centre = Geometry.sacla(run, distance=0.053)
    corner = Geometry.sacla(run, distance=0.053, first_pixel="corner")
    away = np.hypot(corner.x - centre.x, corner.y - centre.y)
    np.testing.assert_allclose(away, octal.config.pixel / np.sqrt(2), rtol=1e-6)
    with pytest.raises(ValueError, match="first_pixel"):
        Geometry.sacla(run, distance=0.053, first_pixel="middle")


def test_centre_moves_the_beam(octal):
    run = xf.open_run(octal.path)
    moved = Geometry.sacla(run, distance=0.053, centre=(1e-3, -2e-3))
    usual = Geometry.sacla(run, distance=0.053)
    np.testing.assert_allclose(moved.x, usual.x - 1e-3, atol=1e-12)
    np.testing.assert_allclose(moved.y, usual.y + 2e-3, atol=1e-12)


def test_the_stage_moves_modules_along_its_own_direction(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", layout="modules", modules=(2,), n_images=1, shape=SHAPE
    )
    set_info(
        truth, 2, detector_stage_direction_in_degree=30.0,
        detector_stage_shift_weight=-1.0, manipulator_position_in_micro_meter=5000.0,
    )  # fmt: skip
    found = Geometry.sacla(xf.open_run(truth.path), distance=0.05)
    shift = -5e-3 * np.cos(np.pi / 6), -5e-3 * np.sin(np.pi / 6)
    expected = by_formula(2, truth.config.pixel, shift)
    np.testing.assert_allclose([found.x[0], found.y[0]], expected, atol=1e-10)


def test_a_file_without_stage_has_no_shift(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", layout="modules", modules=(2,), n_images=1, shape=SHAPE
    )
    set_info(
        truth, 2, detector_stage_direction_in_degree=None,
        detector_stage_shift_weight=None, manipulator_position_in_micro_meter=None,
        pixel_size_in_micro_meter=np.float32(50.0),
    )  # fmt: skip
    found = Geometry.sacla(xf.open_run(truth.path), distance=0.05)
    expected = by_formula(2, 50e-6)
    np.testing.assert_allclose([found.x[0], found.y[0]], expected, atol=1e-10)


def test_assembled_image_is_flat(tmp_path):
    truth = write_run(tmp_path / "a.h5", n_images=1, shape=(20, 24), centre=(11.5, 8.0))
    run = xf.open_run(truth.path)
    found = Geometry.sacla(run, distance=0.053, centre=(11.5, 8.0))
    assert found.shape == (1, 20, 24)
    x, y = truth.positions
    np.testing.assert_allclose(found.x, x, atol=1e-9)
    np.testing.assert_allclose(found.y, y, atol=1e-9)
    middle = Geometry.sacla(run, distance=0.053)
    np.testing.assert_allclose([middle.x.mean(), middle.y.mean()], 0, atol=1e-12)
    assert locate(run.frames(), found).q.dims[-2:] == ("slow_scan", "fast_scan")


def test_energy_may_be_given(octal):
    run = xf.open_run(octal.path)
    given = Geometry.sacla(run, distance=0.05, wavelength=1.0)
    np.testing.assert_allclose(given.wavelength, 1.0)
    assert Geometry.sacla(run, distance=0.05, energy=9000.0).energy == 9000.0
    with pytest.raises(ValueError, match="both energy"):
        Geometry.sacla(run, distance=0.05, energy=1.0, wavelength=1.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"distance": 53}, "0.053 m, which is 53 mm"),
        ({"distance": 0.053, "energy": 8.6}, r"which is 8\.6 keV"),
        ({"distance": 0.053, "centre": (1700, 20)}, r"0\.0017 m, which is 1700 um"),
    ],
)
def test_slips_of_units_are_refused(octal, options, says):
    with pytest.raises(UnitsError, match=says):
        Geometry.sacla(xf.open_run(octal.path), **options)


def test_what_the_file_lacks_is_an_error(tmp_path):
    truth = write_run(
        tmp_path / "a.h5", layout="modules", modules=(1, 2), n_images=1, shape=SHAPE
    )
    set_info(truth, 2, detector_coordinate_in_micro_meter=None)
    with pytest.raises(MissingConstantError, match="no coordinates"):
        Geometry.sacla(xf.open_run(truth.path), distance=0.05)
    other = write_run(tmp_path / "b.h5", n_images=1, shape=SHAPE)
    with h5py.File(other.path, "r+") as file:
        name = "run_300001/detector_2d_assembled_1/detector_info"
        del file[f"{name}/pixel_size_in_micro_meter"]
    with pytest.raises(MissingConstantError, match="pixel size"):
        Geometry.sacla(xf.open_run(other.path), distance=0.05)
