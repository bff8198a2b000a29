"""What every geometry can do."""

import pickle

import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize

from xfelred.errors import GeometryMismatchError
from xfelred.geometry import Geometry, energy_to_wavelength, wavelength_to_energy


def flat(**kwargs):
    options = {"centre": (2.0, 1.0), "distance": 0.1, "pixel_size": 1e-4, **kwargs}
    return Geometry.flat(options.pop("shape", (4, 5)), **options)


def two_modules(**kwargs):
    y, x = np.mgrid[:4, :5] * 1e-4
    x = np.stack([x, x + 1e-3])
    return Geometry.from_positions(x, y, 0.1, **kwargs)


def test_energy_and_wavelength_are_inverse():
    assert wavelength_to_energy(1.0) == pytest.approx(12398.419843320026)
    assert energy_to_wavelength(wavelength_to_energy(1.44)) == pytest.approx(1.44)


def test_centre_is_a_pixel_index_at_the_centre_of_the_pixel():
    geometry = flat()
    assert geometry.shape == (1, 4, 5)
    for i in range(4):
        for j in range(5):
            assert geometry.x[0, i, j] == pytest.approx((j - 2) * 1e-4, abs=1e-15)
            assert geometry.y[0, i, j] == pytest.approx((i - 1) * 1e-4, abs=1e-15)
    assert (geometry.z == 0.1).all()


def test_pixels_need_not_be_square():
    geometry = flat(pixel_size=(1e-4, 3e-4))
    assert geometry.pixel_size == pytest.approx((1e-4, 3e-4))
    assert geometry.x[0, 0, 0] == pytest.approx(-6e-4)


def test_flat_takes_modules():
    geometry = flat(shape=(3, 4, 5), modules=[4, 6, 9])
    assert geometry.shape == (3, 4, 5)
    assert geometry.modules == (4, 6, 9)
    np.testing.assert_array_equal(geometry.x[0], geometry.x[2])


def test_energy_may_be_a_wavelength():
    assert flat(wavelength=1.44).energy == pytest.approx(8610.0138, rel=1e-8)
    assert flat(energy=9000).wavelength == pytest.approx(1.37760, rel=1e-5)
    assert flat().wavelength is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy": 9e3, "wavelength": 1.0}, "both"),
        ({"energy": -1}, "positive"),
        ({"wavelength": float("nan")}, "positive"),
        ({"shape": (4,)}, "slow, fast"),
        ({"shape": (0, 5)}, "slow, fast"),
        ({"shape": (2, 4, 5), "modules": [1]}, "2 modules"),
        ({"shape": (2, 4, 5), "modules": [1, 1]}, "each once"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        flat(**options)


def test_positions_may_be_labelled_and_in_any_order():
    reference = two_modules()
    x = xr.DataArray(
        reference.x.transpose(2, 0, 1),
        dims=("fast_scan", "module", "slow_scan"),
        coords={"module": [3, 8]},
    )
    geometry = Geometry.from_positions(x, reference.y, reference.z)
    np.testing.assert_array_equal(geometry.x, reference.x)
    assert geometry.modules == (3, 8)


def test_positions_need_pixel_axes():
    with pytest.raises(GeometryMismatchError, match=r"\(5,\)"):
        Geometry.from_positions(np.zeros(5), np.zeros(5), 0.1)


def test_modules_are_selected_by_number_in_the_order_given():
    geometry = two_modules(modules=[3, 8])
    part = geometry.select_modules([8, 3])
    np.testing.assert_array_equal(part.x, geometry.x[::-1])
    assert part.modules == (8, 3)
    assert geometry.select_modules(8).shape == (1, 4, 5)
    panels = Geometry.from_panels(geometry.lattice, geometry.shape, modules=[3, 8])
    np.testing.assert_allclose(panels.select_modules([8]).x[0], geometry.x[1])


def test_modules_without_numbers_are_selected_by_position():
    geometry = two_modules()
    np.testing.assert_array_equal(geometry.select_modules([1]).x[0], geometry.x[1])


def test_selecting_an_absent_module_names_those_there_are():
    with pytest.raises(GeometryMismatchError, match=r"modules 4 .*3, 8"):
        two_modules(modules=[3, 8]).select_modules([3, 4])


@pytest.mark.parametrize("make", [flat, two_modules])
def test_geometry_survives_pickling_with_the_same_token(make):
    geometry = make(modules=None)
    before = tokenize(geometry)
    _ = geometry.x, geometry.lattice  # computed on demand: not part of the state
    again = pickle.loads(pickle.dumps(geometry))
    assert tokenize(again) == tokenize(geometry) == before
    np.testing.assert_array_equal(again.centres, geometry.centres)


def test_token_tells_geometries_apart():
    made = [
        flat(),
        flat(energy=9000),
        flat(distance=0.2),
        flat(centre=(2.0, 1.5)),
        two_modules(),
        two_modules(modules=[1, 2]),
    ]
    assert len({tokenize(g) for g in made}) == len(made)
    assert tokenize(flat()) == tokenize(flat())


def test_compact_geometry_is_small_when_pickled():
    geometry = flat(shape=(2000, 2000))
    _ = geometry.x
    assert len(pickle.dumps(geometry)) < 2000


def test_repr_is_one_line():
    assert repr(flat(energy=9000)) == (
        "<Geometry 1x4x5, distance 0.1 m, energy 9000 eV>"
    )
