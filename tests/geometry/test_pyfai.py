"""Geometries of pyFAI and PONI files of its detectors, against pyFAI."""

import logging
import pickle
import sys
import warnings
from itertools import product

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.detectors.dectris import family_of
from xfelred.errors import (
    GeometryMismatchError,
    InconsistentDataError,
    MissingConstantError,
    MissingExtraError,
)
from xfelred.geometry import Geometry, locate
from xfelred.geometry.angles import angles_of

pytestmark = pytest.mark.slow

SETUP = {"dist": 0.2, "poni1": 0.03, "poni2": 0.04}
TURN = {"rot1": 0.1, "rot2": -0.05, "rot3": 0.3}
LINES = (
    "Distance: 0.2\nPoni1: 0.03\nPoni2: 0.04\nRot1: 0.1\nRot2: -0.05\nRot3: 0.3\n"
    "Wavelength: 1e-10\n"
)
CURVED = '{"radius": 0.25, "orientation": 3}'


@pytest.fixture(autouse=True)
def _no_news():
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pyFAI.integrator.azimuthal")
    yield
    logging.disable(logging.NOTSET)


def integrator(detector, config=None, **setup):
    from pyFAI.detectors import detector_factory
    from pyFAI.integrator.azimuthal import AzimuthalIntegrator

    if isinstance(detector, str):
        detector = detector_factory(detector, config)
    values = {**SETUP, **TURN, "wavelength": 1e-10, **setup}
    return AzimuthalIntegrator(detector=detector, **values)


def written(tmp_path, detector, config="{}", version="2.1", more=""):
    path = tmp_path / "a.poni"
    path.write_text(
        f"poni_version: {version}\nDetector: {detector}\nDetector_config: {config}\n"
        + LINES
        + more
    )
    return path


def off(geometry, ai):
    """Largest distance from pyFAI's positions, in pixels."""
    z, y, x = (np.broadcast_to(v, ai.detector.shape) for v in ai.calc_pos_zyx())
    ours = geometry.centres[:, 0]
    return np.linalg.norm(ours - np.stack([x, y, z]), axis=0).max() / ai.detector.pixel1


# The last one is large.
@pytest.mark.parametrize(
    ("name", "orientation"),
    [
        *product(["ImXPad S10", "Maxipix 2x2"], [1, 2, 3, 4]),
        ("Jungfrau", 3),
        *(pytest.param("Jungfrau", n, marks=pytest.mark.nightly) for n in (1, 2, 4)),
    ],
)
def test_detectors_of_modules_lie_where_pyfai_has_them(tmp_path, name, orientation):
    path = written(tmp_path, name, f'{{"orientation": {orientation}}}')
    ai = integrator(name, {"orientation": orientation})
    two_theta = integrator(name, {"orientation": orientation}).twoThetaArray()
    for geometry in (Geometry.from_poni(path), Geometry.from_pyfai(ai)):
        assert geometry.wavelength == pytest.approx(1.0)
        assert geometry.distance == 0.2
        if ai.detector.mask is not None:
            np.testing.assert_array_equal(geometry.bad_pixels[0], ai.detector.mask != 0)
        np.testing.assert_allclose(
            angles_of(geometry).two_theta[0], two_theta, atol=1e-6
        )
        # All in one plane, so that the distance along its normal is the same.
        r = np.sqrt((geometry.centres**2).sum(0))
        found = angles_of(geometry).solid_angle
        np.testing.assert_allclose(found, (0.2 / r) ** 3, rtol=1e-6)


def test_hexagonal_pixels_have_their_corners(tmp_path):
    geometry = Geometry.from_poni(written(tmp_path, "Pixirad1"))
    assert off(geometry, integrator("Pixirad1")) < 1e-3
    assert [panel.stagger for panel in geometry.lattice] == [0.5]


@pytest.mark.parametrize("rotations", [{}, TURN])
def test_curved_detector_has_the_normals_of_its_pixels(rotations):
    from pyFAI.detectors import Aarhus

    class Small(Aarhus):
        MAX_SHAPE = (25, 200)

    curved = Small(1e-3, 1e-3, radius=0.2)
    ai = integrator(curved, **(rotations or {**dict.fromkeys(TURN, 0.0), "poni2": 0.0}))
    geometry = Geometry.from_pyfai(ai)
    assert off(geometry, ai) < 1e-3
    found = angles_of(geometry).solid_angle[0]
    cosine = np.abs(ai.cos_incidence(*np.mgrid[:25.0, :200.0]))
    r = np.sqrt((geometry.centres[:, 0] ** 2).sum(0))
    np.testing.assert_allclose(found, cosine * (0.2 / r) ** 2, rtol=1e-4)
    again = pickle.loads(pickle.dumps(geometry)).select_modules(0)
    np.testing.assert_array_equal(angles_of(again).solid_angle[0], found)
    if not rotations:
        # The sample is on the axis: all pixels of a row are seen at the same angle.
        assert np.ptp(found, axis=1).max() < 1e-3


@pytest.mark.parametrize(
    "name",
    [
        "Pilatus 300k", "Pilatus CdTe 300k", "Pilatus4 260k", "Pilatus4 CdTe 260k",
        "Eiger 1M", "Eiger2 1M", "Eiger2 CdTe 1M", "Eiger2 250k",
    ],
)  # fmt: skip
def test_even_grids_need_no_pyfai_and_have_their_gaps(tmp_path, name, monkeypatch):
    detector = integrator(name).detector
    ai = integrator(detector)
    monkeypatch.setitem(sys.modules, "pyFAI.geometry", None)
    geometry = Geometry.from_poni(written(tmp_path, name), shape=detector.shape)
    assert off(geometry, ai) < 1e-3
    np.testing.assert_array_equal(geometry.bad_pixels[0], detector.mask != 0)


def test_every_name_of_a_dectris_detector_belongs_to_its_family():
    from pyFAI.detectors import ALL_DETECTORS

    for name, kind in ALL_DETECTORS.items():
        family = family_of(name)
        if kind.__module__.endswith("_dectris") and name.startswith(("pil", "eiger")):
            assert family is not None, name
            assert family.module == kind.MODULE_SIZE, name
            assert family.gap == kind.MODULE_GAP, name
            assert (family.seam != (0, 0)) == ("cdte" in name), name
        else:
            assert family is None, name


def test_binned_detector_has_the_pixels_of_the_file(tmp_path):
    config = '{"pixel1": 1.5e-4, "pixel2": 1.5e-4}'
    geometry = Geometry.from_poni(written(tmp_path, "Eiger2 1M", config, "2"))
    ai = integrator("Eiger2 1M", config)
    assert geometry.shape == (1, 531, 514)
    assert off(geometry, ai) < 1e-3
    odd = '{"pixel1": 3.44e-4, "pixel2": 3.44e-4}'  # 619 rows
    with pytest.raises(InconsistentDataError, match="mask of detector 'Pilatus 300k'"):
        Geometry.from_poni(written(tmp_path, "Pilatus 300k", odd))


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_plain_detector_without_shape_takes_that_of_the_data(orientation):
    from pyFAI.detectors import Detector

    plain = Detector(1e-4, 2e-4, orientation=orientation)
    geometry = Geometry.from_pyfai(integrator(plain))
    assert geometry.shape is None
    sized = Detector(1e-4, 2e-4, max_shape=(7, 9), orientation=orientation)
    assert off(geometry.with_shape((1, 7, 9)), integrator(sized)) < 1e-3
    assert off(Geometry.from_pyfai(integrator(plain), (7, 9)), integrator(sized)) < 1e-3
    with pytest.raises(MissingConstantError, match="pixel1 and pixel2"):
        Geometry.from_pyfai(integrator(Detector()))


def test_profile_is_that_of_the_true_positions(tmp_path):
    """A ring that is one q on the true positions fills one bin."""
    geometry = Geometry.from_poni(written(tmp_path, "ImXPad S70"))
    da = xr.DataArray(np.zeros(geometry.shape[1:]), dims=("slow_scan", "fast_scan"))
    located = locate(da, geometry)
    edges = np.linspace(float(located.q.min()), float(located.q.max()), 9)
    ring = (located.q >= edges[3]) & (located.q < edges[4])
    found = ops.integrate_azimuthally(
        located.copy(data=ring.values * located.solid_angle.values),
        edges,
        bad_pixels=geometry.bad_pixels,
    )
    np.testing.assert_allclose(found.intensity, np.arange(8) == 3, atol=1e-12)


def test_detector_files_are_found_beside_the_poni_file(tmp_path, monkeypatch):
    from pyFAI.detectors import NexusDetector

    detector = integrator("ImXPad S10").detector
    detector.save(str(tmp_path / "mine.h5"))
    ai = integrator(NexusDetector(str(tmp_path / "mine.h5")))
    path = written(tmp_path, "NexusDetector", '{"filename": "mine.h5"}')
    assert off(Geometry.from_poni(path), ai) < 1e-3
    monkeypatch.chdir(tmp_path)
    path.write_text("Detector: mine.h5\n" + LINES)
    assert off(Geometry.from_poni(path), ai) < 1e-3
    path.write_text('Detector: NexusDetector\nDetector_config: {"filename": "x.h5"}\n')
    path.write_text(path.read_text() + LINES)
    with pytest.raises(InconsistentDataError, match=r"a\.poni: filename = 'x\.h5'"):
        Geometry.from_poni(path)


@pytest.mark.parametrize("version", [1, 2])
def test_distortion_is_applied_or_missed(tmp_path, version):
    from pyFAI.detectors import Detector
    from pyFAI.spline import Spline

    spline = Spline()
    spline.xmin = spline.ymin = 0
    spline.xmax, spline.ymax = 40, 30
    rows, columns = np.mgrid[:31, :41]
    spline.xDispArray = 0.05 * (columns - 20.0)
    spline.yDispArray = 0.02 * (rows - 15.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spline.array2spline(smoothing=1, timing=False)
    spline.setPixelSize((5e-5, 5e-5))
    spline.grid = 100
    spline.write(str(tmp_path / "d.spline"))
    ai = integrator(Detector(splineFile=str(tmp_path / "d.spline")))
    path = written(
        tmp_path,
        "Detector",
        '{"pixel1": 5e-5, "pixel2": 5e-5, "splineFile": "d.spline"}',
    )
    if version == 1:
        path.write_text(
            "PixelSize1: 5e-5\nPixelSize2: 5e-5\nSplineFile: d.spline\n" + LINES
        )
    geometry = Geometry.from_poni(path)
    assert off(geometry, ai) < 1e-3
    flat = integrator(Detector(5e-5, 5e-5, max_shape=ai.detector.shape))
    assert off(geometry, flat) > 0.5
    (tmp_path / "d.spline").unlink()
    with pytest.raises(InconsistentDataError, match=r"splinefile = 'd\.spline'"):
        Geometry.from_poni(path)


def test_without_pyfai_an_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyFAI.geometry", None)
    for detector, config in (("Jungfrau", "{}"), ("Aarhus", CURVED)):
        with pytest.raises(MissingExtraError, match=detector) as caught:
            Geometry.from_poni(written(tmp_path, detector, config))
        assert "pip install 'xfelred[saxs]'" in str(caught.value)
        assert "a.poni" in str(caught.value)


@pytest.mark.parametrize(
    ("detector", "config", "version", "more", "error", "says"),
    [
        ("Nonsense 3M", "{}", "2.1", "", InconsistentDataError, "'Nonsense 3M'"),
        (
            "Jungfrau",
            '{"pixel1": "x"}',
            "2.1",
            "",
            InconsistentDataError,
            "cannot make",
        ),
        ("Detector", "{}", "4", "", InconsistentDataError, "poni_version 4; known: 1"),
        ("Detector", "{}", "nan", "", InconsistentDataError, "poni_version = 'nan'"),
    ],
)
def test_what_pyfai_does_not_know_is_an_error(
    tmp_path, detector, config, version, more, error, says
):
    with pytest.raises(error, match=says):
        Geometry.from_poni(written(tmp_path, detector, config, version, more))


def test_line_that_is_not_understood_is_named(tmp_path):
    config = '{"pixel1": 1e-4, "pixel2": 1e-4}'
    path = written(tmp_path, "Detector", config, more="Rot4: 0.1\n")
    with pytest.warns(UserWarning, match=r"left out: rot4 \(line 11\)"):
        Geometry.from_poni(path)


@pytest.mark.parametrize("detector", ["Detector", "ImXPad S10"])
def test_option_of_a_detector_that_is_not_understood_is_named(tmp_path, detector):
    config = '{"pixel1": 1.3e-4, "pixel2": 1.3e-4, "max_shape": [120, 80], "shft": 3}'
    path = written(tmp_path, detector, config)
    with pytest.warns(UserWarning, match=r"a\.poni: options .* left out: shft"):
        assert Geometry.from_poni(path).shape == (1, 120, 80)


def test_what_is_no_geometry_of_pyfai_is_refused(tmp_path):
    with pytest.raises(GeometryMismatchError, match=r"ai is a str; .*from_poni"):
        Geometry.from_pyfai("a.poni")


@pytest.mark.parametrize("detector", ["Detector", "Maxipix"])
def test_another_number_of_pixels_than_the_file_says_is_refused(tmp_path, detector):
    config = '{"pixel1": 5.5e-5, "pixel2": 5.5e-5, "max_shape": [256, 256]}'
    path = written(tmp_path, detector, config if detector == "Detector" else "{}")
    assert Geometry.from_poni(path, shape=(256, 256)).shape == (1, 256, 256)
    with pytest.raises(GeometryMismatchError, match="256x256 pixels, but shape="):
        Geometry.from_poni(path, shape=(128, 128))


def test_parallax_moves_pixels_as_in_pyfai(tmp_path):
    config = (
        '{"pixel1": 1e-4, "pixel2": 1e-4, "max_shape": [20, 30], "orientation": 3,'
        ' "sensor": {"material": "Si", "thickness": 4.5e-4}}'
    )
    path = written(tmp_path, "Detector", config, version="3", more="Parallax: True\n")
    ai = integrator("Detector", config)
    if not hasattr(ai, "enable_parallax"):
        pytest.skip("this pyFAI has no correction of the parallax")
    plain = off(Geometry.from_pyfai(ai), ai)
    geometry = Geometry.from_poni(path)
    ai.enable_parallax()
    z, y, x = ai.calc_pos_zyx(do_parallax=True)
    np.testing.assert_allclose(geometry.centres[:, 0], [x, y, z], rtol=0, atol=1e-9)
    assert plain < 1e-3 < off(geometry, ai)
