"""Scattering coordinates on detector data."""

import warnings

import numpy as np
import pytest
import xarray as xr
from golden_files import Golden

from xfelred.errors import GeometryMismatchError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.geometry.locate import FULL_RANGE

DIMS = ("module", "slow_scan", "fast_scan")


def positions():
    """Three modules, turned and at different distances: anything but special."""
    rng = np.random.default_rng(3)
    shape = (3, 4, 5)
    x, y = rng.uniform(-0.05, 0.05, (2, *shape))
    return x, y, rng.uniform(0.08, 0.12, shape)


def frames(shape=(2, 3, 4, 5), modules=(2, 5, 7)):
    dims = ("train", *DIMS)[-len(shape) :]
    coords = {"module": list(modules)} if modules is not None else {}
    return xr.DataArray(
        np.ones(shape, np.float32), coords, dims, attrs={"units": "adu"}
    )


def flat(shape, **kwargs):
    return Geometry.flat(shape, (1.3, 2.1), 0.05, 1e-3, **{"energy": 9e3, **kwargs})


def test_coordinates_follow_their_formulas():
    """By a loop over pixels, from the definitions."""
    x, y, z = positions()
    geometry = Geometry.from_positions(x, y, z, wavelength=1.3, modules=[2, 5, 7])
    out = locate(frames(), geometry)
    for at in np.ndindex(x.shape):
        v = np.array([x[at], y[at], z[at]])
        two_theta = np.arccos(v[2] / np.linalg.norm(v))
        phi = np.angle(complex(v[0], v[1]))
        q = 4 * np.pi * np.sin(two_theta / 2) / 1.3
        # Field along x; what is left of it across the direction of the pixel.
        e = np.array([1.0, 0, 0]) - v * v[0] / (v @ v)
        assert out.two_theta.values[at] == pytest.approx(two_theta)
        assert out.phi.values[at] == pytest.approx(phi)
        assert out.q.values[at] == pytest.approx(q)
        assert out.polarization.values[at] == pytest.approx(e @ e)
        assert out.solid_angle.values[at] == pytest.approx(np.cos(two_theta) ** 3)
    assert out.q.attrs["units"] == "1/angstrom"
    assert out.phi.attrs["units"] == "rad"
    assert out.solid_angle.attrs["units"] == "1"
    assert all(
        "long_name" in out[name].attrs for name in out.coords if name != "module"
    )


def test_solid_angle_of_a_flat_detector_is_the_cube_of_the_cosine():
    out = locate(frames((4, 5), None), flat((4, 5)))
    np.testing.assert_allclose(out.solid_angle, np.cos(out.two_theta) ** 3, rtol=1e-12)


def test_solid_angle_falls_with_the_square_of_the_distance():
    near = Geometry.flat((4, 5), (2, 2), 0.1, 1e-4).panels[0]
    both = Geometry.from_panels(
        [near.moved(-0.1), near.moved(0.0)], (1, 4, 5), distance=0.1
    )
    alone = [Geometry((1, 4, 5), (panel,), distance=0.1) for panel in both.panels]
    first, second = (locate(frames((4, 5), None), g).solid_angle for g in alone)
    assert float(first[2, 2]) == pytest.approx(1.0)
    assert float(second[2, 2]) == pytest.approx(0.25)


def test_half_widths_are_the_largest_distance_to_a_corner():
    geometry = flat((4, 5))
    out = locate(frames((4, 5), None), geometry)
    k = 4 * np.pi / geometry.wavelength

    def of(x, y):
        two_theta = np.arctan(np.hypot(x, y) / 0.05)
        return k * np.sin(two_theta / 2), two_theta, np.arctan2(y, x)

    for i, j in np.ndindex(4, 5):
        x, y = (j - 1.3) * 1e-3, (i - 2.1) * 1e-3
        centre = of(x, y)
        corners = [of(x + a, y + b) for a in (-5e-4, 5e-4) for b in (-5e-4, 5e-4)]
        wide = np.abs(np.array(corners) - np.array(centre)).max(axis=0)
        assert float(out.q_half_width[i, j]) == pytest.approx(wide[0], rel=1e-5)
        assert float(out.two_theta_half_width[i, j]) == pytest.approx(wide[1], rel=1e-5)
        if wide[2] < np.pi:
            assert float(out.phi_half_width[i, j]) == pytest.approx(wide[2], rel=1e-5)


def test_angles_of_a_tilted_detector_are_those_of_pyfai(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pyFAI")
        from pyFAI.detectors import Detector
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        ai = AzimuthalIntegrator(
            0.05, 4e-3, 3e-3, 0.3, -0.2, 0.7,
            detector=Detector(5e-4, 4e-4, max_shape=(20, 30)), wavelength=1e-10,
        )  # fmt: skip
        path = tmp_path / "tilted.poni"
        ai.write(str(path))
        expected = {
            "two_theta": ai.center_array((20, 30), unit="2th_rad"),
            "phi": ai.center_array((20, 30), unit="chi_rad"),
            "solid_angle": ai.solidAngleArray((20, 30)),
            "polarization": ai.polarization((20, 30), factor=1),
            "q": ai.center_array((20, 30), unit="q_A^-1"),
            "two_theta_half_width": ai.delta_array((20, 30), unit="2th_rad"),
        }
    out = locate(frames((20, 30), None), Geometry.from_poni(path))
    for name, values in expected.items():
        tolerance = 2e-5 if name.endswith("half_width") else 1e-6
        np.testing.assert_allclose(out[name], values, rtol=tolerance, atol=1e-9)


def test_golden_coordinates_of_pyfai(shared):
    folder = shared / "golden" / "sacla"
    golden = np.load(folder / "azint.npz")
    out = locate(frames((128, 128), None), Geometry.from_poni(folder / "flat.poni"))
    np.testing.assert_allclose(out.q, golden["qarray"], rtol=1e-12)
    np.testing.assert_allclose(out.phi, golden["chi"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(out.solid_angle, golden["solidangle"], rtol=1e-6)


def test_golden_coordinates_of_smalldata_tools(shared):
    golden = np.load(shared / "golden" / "lcls" / "azimuthalBinning_basic.npz")
    x, y, z = (golden[f"det_{a}"] * 1e-6 for a in "xyz")
    geometry = Geometry.lcls(
        x, y, z, centre=(150e-6, -220e-6), distance=0.06, wavelength=golden["lam"]
    )
    out = locate(frames(x.shape, None), geometry)
    np.testing.assert_allclose(out.q.values.ravel(), golden["default__matrix_q"])
    azimuth = np.mod(np.pi / 2 - out.phi.values.ravel(), 2 * np.pi)
    np.testing.assert_allclose(azimuth, golden["default__matrix_phi"])
    np.testing.assert_allclose(out.solid_angle.values.ravel(), golden["default__geom"])


def test_tilted_lcls_detector_follows_the_published_formulas():
    """Formulas of smalldata_tools' azimuthal binning, written out."""
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-0.02, 0.02, (2, 2, 3, 4))
    z = np.repeat([[[0.0]], [[0.003]]], 3, axis=1) + np.zeros((2, 3, 4))
    xc, yc, distance, tx, ty = 1e-3, -2e-3, 0.06, 0.11, -0.07
    geometry = Geometry.lcls(
        x, y, z, centre=(xc, yc), distance=distance, tilt=(tx, ty), energy=9500
    )
    out = locate(frames((2, 3, 4), None), geometry)
    a_, b_, c_ = -np.sin(ty) * np.cos(tx), -np.sin(tx), -np.cos(ty) * np.cos(tx)
    d = distance + z.mean() - z
    dx, dy = x - (xc + d * np.tan(ty)), y - (yc - d * np.tan(tx))
    r = np.sqrt(dx**2 + dy**2 + d**2)
    along = a_ * dx + b_ * dy - c_ * d
    np.testing.assert_allclose(out.two_theta, np.arccos(along / r), rtol=1e-9)
    across = np.sqrt((a_**2 + c_**2) * (r**2 - along**2))
    cosine = ((a_**2 + c_**2) * dy - a_ * b_ * dx + b_ * c_ * d) / across
    np.testing.assert_allclose(np.sin(out.phi), cosine, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(out.solid_angle, (d / r) ** 3, rtol=1e-12)


def test_modules_are_matched_by_number():
    x, y, z = positions()
    geometry = Geometry.from_positions(x, y, z, energy=9e3, modules=[7, 2, 5])
    out = locate(frames((3, 4, 5), (2, 5, 7)), geometry)
    np.testing.assert_allclose(out.phi, np.arctan2(y, x)[[1, 2, 0]])
    fewer = locate(frames((1, 4, 5), (5,)), geometry)
    np.testing.assert_allclose(fewer.phi, np.arctan2(y, x)[[2]])


def test_one_module_selected_by_label_needs_no_module_dim():
    x, y, z = positions()
    geometry = Geometry.from_positions(x, y, z, energy=9e3, modules=[2, 5, 7])
    out = locate(frames().sel(module=5), geometry)
    assert out.phi.dims == ("slow_scan", "fast_scan")
    np.testing.assert_allclose(out.phi, np.arctan2(y, x)[1])


def test_pixels_are_matched_by_label_where_they_have_one():
    x, y, z = positions()
    geometry = Geometry.from_positions(x, y, z, energy=9e3)
    cut = frames().assign_coords(slow_scan=range(4))[:, :, 1:3]
    np.testing.assert_allclose(locate(cut, geometry).phi, np.arctan2(y, x)[:, 1:3])
    with pytest.raises(GeometryMismatchError, match="slow_scan labels"):
        locate(cut.assign_coords(slow_scan=[3, 4]), geometry)


def test_range_of_q_is_that_of_the_whole_geometry():
    x, y, z = positions()
    geometry = Geometry.from_positions(x, y, z, energy=9e3, modules=[2, 5, 7])
    whole = locate(frames(), geometry)
    expected = [float(whole.q.min()), float(whole.q.max())]
    assert whole.q.attrs[FULL_RANGE] == expected
    part = locate(frames((1, 4, 5), (5,)), geometry)
    assert part.q.attrs[FULL_RANGE] == expected


def test_q_is_left_out_without_photon_energy():
    out = locate(frames((4, 5), None), flat((4, 5), energy=None))
    assert "q" not in out.coords
    assert "q_half_width" not in out.coords
    assert "two_theta" in out.coords


def test_data_stay_lazy_and_history_is_recorded(no_compute):
    da = frames().chunk(train=1)
    with no_compute():
        out = locate(da, flat((3, 4, 5)))
    assert out.chunks == da.chunks
    assert out.attrs["units"] == "adu"
    assert "fast_scan" in out.attrs["handedness"]
    assert "atan2(y, x)" in out.attrs["phi_convention"]
    assert out.attrs["history"].startswith('locate {"distance": 0.05, "energy": 9000.0')
    assert "history" not in da.attrs
    assert "q" not in da.coords


def test_laboratory_axes_are_recorded():
    geometry = Geometry.from_module_positions([(0, 0)], distance=0.1, energy=9e3)
    out = locate(frames((1, 512, 1024), None), geometry)
    assert "left looking along the beam" in out.attrs["handedness"]


def test_too_few_modules_without_numbers_are_an_error():
    geometry = flat((16, 4, 5))
    da = frames((15, 4, 5), [m for m in range(16) if m != 11])
    with pytest.raises(GeometryMismatchError) as caught:
        locate(da, geometry)
    message = str(caught.value)
    assert "geometry has 16 modules of 4x5, data has modules 0-15 without 11" in message
    assert "(15 modules)" in message
    assert "modules=data.module.values" in message


@pytest.mark.parametrize(
    ("data", "geometry", "message"),
    [
        (frames(modules=(2, 5, 9)), flat((3, 4, 5), modules=(2, 5, 7)), "modules 9"),
        (frames((4, 6), None), flat((4, 5)), "fast_scan=6"),
        (frames((3, 4), None), flat((4, 4)), "slow_scan=3"),
        (frames().mean("fast_scan"), flat((3, 4, 5)), "fast_scan"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, geometry, message):
    with pytest.raises(GeometryMismatchError, match=message):
        locate(data, geometry)


def test_angles_need_a_distance():
    geometry = Geometry.from_module_positions([(0, 0)], energy=9e3)
    with pytest.raises(MissingConstantError, match="distance="):
        locate(frames((1, 512, 1024), None), geometry)


def test_poni_without_shape_takes_that_of_the_data():
    geometry = Geometry.from_poni(Golden("sacla") / "flat.poni")
    assert locate(frames((1, 7, 9), [0]), geometry).q.shape == (1, 7, 9)
    with pytest.raises(GeometryMismatchError, match="one flat detector"):
        locate(frames(), geometry)
    cut = frames((4, 5), None).assign_coords(slow_scan=range(3, 7))
    with pytest.raises(MissingConstantError, match="shape="):
        locate(cut, geometry)
