"""PONI files, against pyFAI."""

import itertools
import warnings

import numpy as np
import pytest
from golden_files import Golden

from xfelred.errors import (
    GeometryMismatchError,
    InconsistentDataError,
    MissingConstantError,
)
from xfelred.geometry import Geometry
from xfelred.geometry.poni import plane_of, read_lines

SHAPE = (11, 13)
V2 = """\
# written by hand
poni_version: 2.1
Detector: Detector
Detector_config: {{"pixel1": 1e-4, "pixel2": 2e-4, "orientation": {orientation}}}
Distance: 0.1
Poni1: 3e-4
Poni2: 5e-4
Rot1: 0.1
Rot2: -0.2
Rot3: 0.3
Wavelength: 1.2e-10
"""
V1 = """\
# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis
PixelSize1: 1e-4
PixelSize2: 2e-4
Distance: 0.1
Poni1: 3e-4
Poni2: 5e-4
Rot1: 0.0
Rot2: 0.0
Rot3: 0.0
"""


@pytest.fixture
def write(tmp_path):
    numbers = itertools.count()

    def write_file(text):
        path = tmp_path / f"{next(numbers)}.poni"
        path.write_text(text)
        return path

    return write_file


def pyfai_integrator(orientation=3):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pyFAI")
        from pyFAI.detectors import Detector
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        detector = Detector(1e-4, 2e-4, max_shape=SHAPE, orientation=orientation)
        return AzimuthalIntegrator(
            0.1, 3e-4, 5e-4, 0.1, -0.2, 0.3, detector=detector, wavelength=1.2e-10
        )


@pytest.mark.parametrize("orientation", [1, 2, 3, 4])
def test_positions_of_a_turned_detector_are_those_of_pyfai(write, orientation):
    geometry = Geometry.from_poni(write(V2.format(orientation=orientation)), SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        z, y, x = pyfai_integrator(orientation).calc_pos_zyx(corners=False)
    # pyFAI keeps the corners of pixels in float32.
    np.testing.assert_allclose(geometry.centres[:, 0], [x, y, z], rtol=0, atol=1e-9)
    assert geometry.energy == pytest.approx(12398.4198 / 1.2, rel=1e-7)


def test_version_1_has_its_pixel_size_on_lines_of_its_own(write):
    geometry = Geometry.from_poni(write(V1), SHAPE)
    assert geometry.pixel_size == pytest.approx((1e-4, 2e-4))
    assert geometry.energy is None
    assert geometry.x[0, 0, 0] == pytest.approx(1e-4 - 5e-4)
    assert geometry.y[0, 2, 0] == pytest.approx(2.5e-4 - 3e-4)
    assert (geometry.z == 0.1).all()


def test_last_calibration_in_the_file_wins(write):
    later = V1.replace("Distance: 0.1", "Distance: 0.25")
    assert plane_of(read_lines(write(V1 + later))).distance == 0.25


def test_energy_may_be_given(write):
    path = write(V1)
    assert Geometry.from_poni(path, SHAPE, wavelength=1.0).wavelength == 1.0
    assert Geometry.from_poni(write(V2.format(orientation=3)), energy=9e3).energy == 9e3


def test_shape_is_found_in_the_file_or_asked_for(write):
    config = '"max_shape": [11, 13], "orientation"'
    with_shape = V2.replace('"orientation"', config).format(orientation=3)
    assert Geometry.from_poni(write(with_shape)).shape == (1, *SHAPE)
    geometry = Geometry.from_poni(write(V1))
    assert geometry.shape is None
    with pytest.raises(MissingConstantError, match="shape="):
        _ = geometry.x
    assert geometry.with_shape((1, 5, 5)).shape == (1, 5, 5)
    with pytest.raises(MissingConstantError, match="shape="):
        geometry.with_shape((2, 5, 5))


def test_pixel_size_of_a_known_family_is_built_in(write):
    text = V2.format(orientation=3).replace("Detector: Detector", "Detector: Eiger4M")
    text = text.replace('"pixel1": 1e-4, "pixel2": 2e-4, ', "")
    assert plane_of(read_lines(write(text))).pixel == (75e-6, 75e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Distance: 0.1", "Distance: near", r"\.poni, line 5: .*'near'"),
        ("Distance: 0.1", "Distance 0.1", "line 5: .*Key: value"),
        ("Poni1: 3e-4", "# nothing", "no poni1"),
        ('"pixel1": 1e-4,', "", "pixel1"),
        ('"pixel1": 1e-4,', "'pixel1': 1e-4,", "line 4: .*JSON"),
        ('"orientation": 3', '"orientation": 7', "orientation 7"),
        ("{", "[{", "line 4"),
    ],
)
def test_faults_are_named_with_their_line(write, old, new, message):
    text = V2.format(orientation=3)
    assert old in text
    with pytest.raises(InconsistentDataError, match=message):
        plane_of(read_lines(write(text.replace(old, new))))


def test_golden_poni_is_flat():
    geometry = Geometry.from_poni(Golden("sacla") / "flat.poni")
    geometry = geometry.with_shape((1, 128, 128))
    assert geometry.wavelength == pytest.approx(1.44)
    assert geometry.x[0, 0, 0] == pytest.approx(0.5 * 8e-4 - 0.05264)
    assert geometry.y[0, 0, 0] == pytest.approx(0.5 * 8e-4 - 0.04984)
    with pytest.raises(GeometryMismatchError, match="128x128"):
        geometry.with_shape((1, 64, 64))


@pytest.mark.parametrize("shape", [(500, 400), (981, 1043), (1043, 980)])
def test_a_named_detector_has_whole_modules(tmp_path, shape):
    path = tmp_path / "a.poni"
    path.write_text(
        "poni_version: 2\nDetector: Pilatus1M\nDetector_config: {}\nDistance: 0.2\n"
        "Poni1: 0.08\nPoni2: 0.08\nRot1: 0\nRot2: 0\nRot3: 0\nWavelength: 1e-10\n"
    )
    with pytest.raises(GeometryMismatchError, match="195x487 pixels"):
        Geometry.from_poni(path, shape=shape).centres  # noqa: B018
    assert Geometry.from_poni(path, shape=(1043, 981)).bad_pixels.sum() > 0
