"""Constants in place of a geometry, and positions without z."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import GeometryMismatchError, MissingConstantError, XfelredError
from xfelred.geometry import Geometry, locate

P = ("module", "slow_scan", "fast_scan")
SHAPE = (2, 4, 6)


@pytest.fixture
def constants():
    """Two modules side by side, 1 mm apart, pixels of 0.1 mm."""
    y, x = np.mgrid[0:4, 0:6] * 1e-4
    x = np.stack([x, x + 1.6e-3])
    at = {"module": [3, 5]}
    return xr.Dataset(
        {"x": (P, x), "y": (P, np.stack([y, y])), "z": (P, np.full(SHAPE, 2e-3)),
         "pedestal": (("gain_range", *P), np.zeros((3, *SHAPE)))}, at,
    )  # fmt: skip


def frames():
    values = np.arange(np.prod((3, *SHAPE)), dtype="f4").reshape(3, *SHAPE)
    coords = {"train": [1, 2, 3], "module": [3, 5]}
    return xr.DataArray(values, coords, ("train", *P))


@pytest.mark.parametrize("without", [[], ["z"]])
def test_frames_are_assembled_by_constants(constants, without, no_compute):
    constants = constants.drop_vars(without)
    with no_compute():
        image = ops.assemble(frames().chunk(train=1), constants)
    assert image.shape == (3, 4, 22)
    np.testing.assert_array_equal(image[..., :6], frames()[:, 0])
    np.testing.assert_array_equal(image[..., 16:], frames()[:, 1])
    assert np.isnan(image[..., 6:16]).all()
    apart = ops.unassemble(image, constants)
    np.testing.assert_array_equal(apart, frames())
    one = ops.assemble(frames().sel(module=[5]), constants)
    np.testing.assert_array_equal(one[..., 16:], frames()[:, 1])


def test_constants_do_not_know_the_beam(constants):
    with pytest.raises(MissingConstantError, match=r"Geometry\.lcls\(\s*constants\.x"):
        locate(frames(), constants)
    with pytest.raises(MissingConstantError, match="no x and y"):
        ops.assemble(frames(), constants.drop_vars(["x", "y"]))


@pytest.mark.parametrize("wrong", [None, np.zeros(SHAPE), "a.geom", [1, 2]])
def test_what_is_no_geometry_is_refused(wrong):
    for use in (ops.assemble, ops.unassemble, locate):
        with pytest.raises(XfelredError, match="a geometry was wanted"):
            use(frames(), wrong)


@pytest.mark.parametrize("tilt", [(0.0, 0.0), (0.02, -0.1)])
def test_without_z_the_detector_is_a_plane(constants, tilt):
    options = {"centre": (5e-4, 2e-4), "distance": 0.1, "energy": 9500, "tilt": tilt}
    c = constants
    flat = Geometry.lcls(c.x, c.y, xr.zeros_like(c.x), **options)
    for z in (None, 0.0, 2.0):  # the mean lies at the distance, whatever it is
        got = locate(frames(), Geometry.lcls(c.x, c.y, z, **options))
        np.testing.assert_allclose(got.q, locate(frames(), flat).q, rtol=1e-12)
        assert np.isfinite(got.q).all()
    np.testing.assert_array_equal(Geometry.lcls(c.x, c.y, **options).x, flat.x)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": None}, "x is None"),
        ({"y": None}, "y is None"),
        ({"z": np.full(SHAPE, np.nan)}, "z has no finite position"),
        ({"x": np.full(SHAPE, "a")}, "x is ndarray <U1"),
        ({"z": np.zeros((2, 4, 5))}, "do not fit each other"),
    ],
)
def test_positions_are_numbers(constants, change, message):
    c = {k: constants[k].values for k in "xyz"} | change
    with pytest.raises(GeometryMismatchError, match=message):
        Geometry.lcls(*c.values(), centre=(0, 0), distance=0.1)
    with pytest.raises(GeometryMismatchError, match=message):
        Geometry.from_positions(*c.values())


def test_positions_from_the_sample_need_z(constants):
    with pytest.raises(GeometryMismatchError, match=r"z is None.*one number for all"):
        Geometry.from_positions(constants.x, constants.y, None)
