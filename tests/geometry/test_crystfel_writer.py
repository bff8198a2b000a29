"""Geometry files that are written, read back by us and by EXtra-geom."""

from dataclasses import replace

import numpy as np
import pytest
from golden_files import Golden

from xfelred.errors import MissingConstantError, OutputExistsError
from xfelred.geometry import Geometry
from xfelred.geometry.crystfel_writer import rectangles

QUADRANTS = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]


def agipd(**options):
    return Geometry.from_quad_positions(
        "AGIPD1M", QUADRANTS, distance=0.2, energy=9300.0, **options
    )


def round_trip(geometry, tmp_path, **options):
    path = geometry.to_crystfel(tmp_path / "a.geom", **options)
    return Geometry.from_crystfel(path)


GEOMETRIES = {
    "agipd": agipd,
    "some modules": lambda: agipd().select_modules([3, 11]),
    "flat": lambda: Geometry.flat((40, 50), (20.3, -7.1), 0.1, (2e-4, 1e-4)),
    "tilted": lambda: Geometry.flat((3, 40, 50), (20, 7), 0.1, 1e-4, energy=8e3),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_positions_come_back(name, tmp_path):
    geometry = GEOMETRIES[name]()
    again = round_trip(geometry, tmp_path)
    np.testing.assert_allclose(again.centres, geometry.centres, rtol=0, atol=1e-9)
    assert again.distance == pytest.approx(geometry.distance)
    assert again.energy == geometry.energy
    assert again.shape == geometry.shape
    if geometry.modules and len(geometry.modules) > 1:
        assert again.modules == geometry.modules


@pytest.mark.parametrize("name", GEOMETRIES)
def test_panels_of_stacked_modules_come_back(name, tmp_path):
    geometry = GEOMETRIES[name]()
    again = round_trip(geometry, tmp_path, stacked=True)
    text = (tmp_path / "a.geom").read_text()
    assert "data = /entry_1/data_2/data" in text
    assert "peak_list = /entry_1/result_1" in text
    assert "dim1 = ss" in text
    # One tall module, as the data have it.
    n_modules, *pixels = geometry.shape
    numbers = list(geometry.modules or range(n_modules)) if n_modules > 1 else [0]
    centres = again.centres.reshape(3, -1, *pixels)[:, numbers]
    np.testing.assert_allclose(centres, geometry.centres, rtol=0, atol=1e-9)
    # The first row of a module is where `write_hits` has it.
    n_slow = geometry.shape[1]
    tops = [int(line.split("=")[1]) for line in text.splitlines() if "/min_ss" in line]
    modules = geometry.modules or range(geometry.shape[0])
    wanted = [modules[p.module] * n_slow + p.slow[0] for p in geometry.lattice]
    assert tops == (wanted if geometry.shape[0] > 1 else [0])


def test_modules_that_are_counted_from_one_begin_at_the_first_place(tmp_path):
    geometry = Geometry.flat((2, 4, 5), (2, 2), 0.1, 1e-4).numbered((1, 2))
    geometry.to_crystfel(tmp_path / "a.geom")
    text = (tmp_path / "a.geom").read_text()
    assert "p0a0/dim1 = 0" in text
    assert "p1a0/dim1 = 1" in text


def test_bad_pixels_of_stacked_modules_come_back(tmp_path):
    rng = np.random.default_rng(0)
    flat = Geometry.flat((2, 40, 50), (20, 7), 0.1, 1e-4)
    bad = rng.random((2, 40, 50)) < 0.05
    again = round_trip(replace(flat, bad=bad), tmp_path, stacked=True)
    np.testing.assert_array_equal(again.bad_pixels.values.reshape(bad.shape), bad)


def test_a_file_that_was_read_comes_back_with_its_groups(tmp_path):
    golden = Golden("sacla") / "run206178.geom"
    geometry = Geometry.from_crystfel(golden)
    again = round_trip(geometry, tmp_path, data="/%/data", adu_per_ev=1e-4)
    np.testing.assert_allclose(again.centres, geometry.centres, rtol=0, atol=1e-9)
    assert dict(again.groups) == dict(geometry.groups)
    text = (tmp_path / "a.geom").read_text()
    assert "adu_per_eV = 0.0001" in text
    assert "data = /%/data" in text


def test_positions_out_of_plane_come_back(tmp_path):
    poni = tmp_path / "tilted.poni"
    poni.write_text(
        "poni_version: 2.1\nDetector: Detector\n"
        'Detector_config: {"pixel1": 1e-4, "pixel2": 1e-4, "orientation": 3}\n'
        "Distance: 0.1\nPoni1: 0.002\nPoni2: 0.001\n"
        "Rot1: 0.2\nRot2: -0.1\nRot3: 0.3\nWavelength: 1.3e-10\n"
    )
    geometry = Geometry.from_poni(poni, shape=(30, 40))
    again = round_trip(geometry, tmp_path)
    np.testing.assert_allclose(again.centres, geometry.centres, rtol=0, atol=1e-9)


def test_extra_geom_reads_the_same_positions(tmp_path):
    extra_geom = pytest.importorskip("extra_geom")
    geometry = agipd()
    path = geometry.to_crystfel(tmp_path / "agipd.geom")
    theirs = extra_geom.AGIPD_1MGeometry.from_crystfel_geom(str(path))
    expected = np.moveaxis(theirs.get_pixel_positions(), -1, 0)
    np.testing.assert_allclose(geometry.centres[:2], expected[:2], rtol=0, atol=1e-7)


def test_bad_pixels_come_back(tmp_path):
    rng = np.random.default_rng(0)
    flat = Geometry.flat((40, 50), (20, 7), 0.1, 1e-4)
    bad = rng.random((1, 40, 50)) < 0.05
    bad[0, 10:20, 5:30] = True
    again = round_trip(replace(flat, bad=bad), tmp_path)
    np.testing.assert_array_equal(again.bad_pixels.values, bad)


@pytest.mark.parametrize("density", [0.0, 0.1, 0.6, 1.0])
def test_rectangles_cover_each_bad_pixel_once(density):
    bad = np.random.default_rng(1).random((23, 17)) < density
    count = np.zeros(bad.shape, int)
    for top, bottom, left, right in rectangles(bad):
        count[top : bottom + 1, left : right + 1] += 1
    np.testing.assert_array_equal(count, bad)


def test_rectangles_are_few():
    bad = np.zeros((50, 60), bool)
    bad[5:20, 10:40] = bad[30:, :] = True
    assert rectangles(bad) == [(5, 19, 10, 39), (30, 49, 0, 59)]


def test_what_crystfel_cannot_hold_is_refused(tmp_path):
    path = tmp_path / "a.geom"
    hexagons = Geometry.from_quad_positions(
        "DSSC1M", [(-130, 5), (-130, -125), (5, -125), (5, 5)], distance=0.2
    )
    with pytest.raises(MissingConstantError, match="hexagons"):
        hexagons.to_crystfel(path)
    nowhere = Geometry.from_quad_positions("AGIPD1M", QUADRANTS)
    with pytest.raises(MissingConstantError, match="distance=<metres>"):
        nowhere.to_crystfel(path)
    assert not path.exists()
    agipd().to_crystfel(path)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        agipd().to_crystfel(path)
    agipd().to_crystfel(path, overwrite=True)
