"""Polarization factors by hand, and against azimuthal integration."""

import numpy as np
import pytest
import xarray as xr

from xfelred.errors import GeometryMismatchError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.ops import correct_polarization, remap_polar

SHAPE = (81, 83)
GEOMETRY = Geometry.flat(
    SHAPE, centre=(41.2, 39.7), distance=0.02, pixel_size=2e-4, energy=9e3
)


def lit(degree):
    """The sample is flat; what is seen is the factor of the pixels."""
    blank = xr.DataArray(np.ones((2, *SHAPE)), dims=("train", "slow_scan", "fast_scan"))
    da = locate(blank, GEOMETRY)
    cos2 = np.cos(da.two_theta) ** 2
    factor = 0.5 * (1 + cos2 - degree * np.cos(2 * da.phi) * (1 - cos2))
    return da.copy(data=np.broadcast_to(factor, da.shape))


@pytest.mark.parametrize("degree", [1.0, 0.9, 0.0, -1.0])
@pytest.mark.parametrize("convention", ["chi", "loki"])
def test_the_pattern_of_the_beam_goes_away(degree, convention, no_compute):
    polar = remap_polar(
        lit(degree).chunk(train=1), r_min=0.3, r_max=1.4, n_phi=181,
        geometry=GEOMETRY, convention=convention,
    )  # fmt: skip
    with no_compute():
        out = correct_polarization(polar, polarization=degree)
    assert out.chunks is not None
    np.testing.assert_allclose(out, 1, atol=3e-4)
    same = correct_polarization(polar, out_of_plane=(1 - degree) / 2)
    np.testing.assert_array_equal(out, same)
    if degree:
        wrong = correct_polarization(polar, polarization=-degree)
        assert float(np.abs(wrong - 1).max()) > 0.05


def test_angles_come_from_q_and_wavelength_as_well():
    polar = remap_polar(lit(1.0), r_min=0.3, r_max=1.4, n_phi=90, geometry=GEOMETRY)
    expected = correct_polarization(polar)
    bare = polar.drop_vars("two_theta")
    for energy in ({"energy": 9e3}, {"wavelength": GEOMETRY.wavelength}):
        out = correct_polarization(bare, **energy)
        np.testing.assert_allclose(out, expected, rtol=1e-6)
    with pytest.raises(MissingConstantError, match="wavelength="):
        correct_polarization(bare)
    with pytest.raises(MissingConstantError, match="geometry="):
        correct_polarization(bare.drop_vars("q"), energy=9e3)
    with pytest.raises(MissingConstantError, match="'phi'"):
        correct_polarization(polar.drop_vars("phi"))


def test_result_is_new_and_labelled():
    polar = remap_polar(
        lit(1.0).astype(np.float32), r_min=0.3, r_max=1.4, n_phi=90, geometry=GEOMETRY
    ).compute()
    before = polar.copy(deep=True)
    out = correct_polarization(polar).compute()
    xr.testing.assert_identical(polar, before)
    assert out.dtype == np.float32
    assert out.dims == polar.dims
    assert out.attrs["history"].splitlines()[-1].startswith("correct_polarization ")
    assert out.attrs["units"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polarization": 1.2}, "polarization=1.2"),
        ({"out_of_plane": -0.1}, "out_of_plane=-0.1"),
        ({"polarization": 1.0, "out_of_plane": 0.0}, "one of them"),
        ({"energy": 1e3}, "cannot be reached"),
        ({"energy": 9e3, "wavelength": 1.0}, "give one"),
    ],
)
def test_wrong_options_are_refused(options, message):
    polar = remap_polar(lit(1.0), r_min=0.3, r_max=1.9, n_phi=90, geometry=GEOMETRY)
    with pytest.raises(ValueError, match=message):
        correct_polarization(polar, **options)


def test_arrays_that_are_not_polar_are_refused():
    with pytest.raises(GeometryMismatchError, match="remap_polar"):
        correct_polarization(lit(1.0))
