"""Reader of PONI files, the detector description of pyFAI.

Versions 1 to 3: lines ``Key: value``, comments with ``#``; a later calibration in
the same file wins. Rotations as in pyFAI (doi:10.1107/S1600576715004306): the detector
is turned about axis 1 (slow, y), then 2 (fast, x), then 3 (beam); rot1 and rot2 are
left-handed, rot3 is right-handed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xfelred.detectors.dectris import Family, family_of
from xfelred.errors import InconsistentDataError, listing, warn
from xfelred.geometry.energy import HC
from xfelred.geometry.panels import Panel, vector
from xfelred.geometry.plausible import (
    ANGLE,
    DISTANCE,
    PIXEL_SIZE,
    PLACE,
    WAVELENGTH_M,
    checked,
)
from xfelred.kernels.arrays import Bools, Floats
from xfelred.small_files import read_text

NEWEST = 3  # version of the format
KEYS = frozenset(
    {
        "detector",
        "detector_config",
        "distance",
        "parallax",
        "pixelsize1",
        "pixelsize2",
        "poni1",
        "poni2",
        "poni_version",
        "rot1",
        "rot2",
        "rot3",
        "splinefile",
        "wavelength",
    }
)
GENERIC = frozenset({"", "detector", "none"})
# Options of a detector that leave it an even grid; the sensor's depth counts only with
# the correction of the parallax.
GRID_OPTIONS = frozenset({"pixel1", "pixel2", "max_shape", "orientation", "sensor"})
# Which axes (slow, fast) count from the far edge, by the EXIF orientation of PONI 2.1.
FLIPPED = {
    0: (False, False),
    1: (True, True),
    2: (True, False),
    3: (False, False),
    4: (False, True),
}


@dataclass(frozen=True)
class Poni:
    """A flat detector of equal pixels; lengths in metres, angles in rad."""

    distance: float  # from the sample to the detector plane, along its normal
    # (slow, fast); foot of that normal, from the outer corner of pixel (0, 0)
    poni: tuple[float, float]
    rotations: tuple[float, float, float]  # (rot1, rot2, rot3)
    pixel: tuple[float, float]  # (slow, fast)
    energy: float | None = None  # eV
    orientation: int = 3  # 1 to 4, as in the file; 3 is the order of the array
    # (slow, fast) or None; number of pixels where the file knows it
    shape: tuple[int, int] | None = None
    # where the gaps between modules are, if the detector has any
    family: Family | None = None

    def bad(self, shape: tuple[int, int]) -> Bools | None:
        """Return the pixels in gaps, bool (1, slow, fast); None if there are none."""
        return None if self.family is None else self.family.gaps(shape)[None]

    def panel(self, shape: tuple[int, int], module: int = 0) -> Panel:
        """Return the detector as one panel of `shape` pixels."""
        if self.family is not None:
            self.family.check(shape)
        slow_flipped, fast_flipped = FLIPPED[self.orientation]
        sign_slow, sign_fast = 1 - 2 * slow_flipped, 1 - 2 * fast_flipped
        slow, fast = self.pixel
        corner = (
            (shape[0] * slow if slow_flipped else 0.0) - self.poni[0],
            (shape[1] * fast if fast_flipped else 0.0) - self.poni[1],
            self.distance,
        )
        turn = rotation(*self.rotations)
        return Panel(
            module,
            (0, shape[0]),
            (0, shape[1]),
            vector(turn @ np.array([corner[1], corner[0], corner[2]])),
            vector(turn @ np.array([0.0, sign_slow * slow, 0.0])),
            vector(turn @ np.array([sign_fast * fast, 0.0, 0.0])),
        )


def rotation(rot1: float, rot2: float, rot3: float) -> Floats:
    """Return the matrix that turns (x, y, z) of the detector to the laboratory."""
    c1, c2, c3 = math.cos(rot1), math.cos(rot2), math.cos(rot3)
    s1, s2, s3 = math.sin(rot1), math.sin(rot2), math.sin(rot3)
    # In the order (x, y, z) = (axis 2, axis 1, beam).
    first = np.array([[c1, 0, s1], [0, 1, 0], [-s1, 0, c1]])
    second = np.array([[1, 0, 0], [0, c2, -s2], [0, s2, c2]])
    third = np.array([[c3, s3, 0], [-s3, c3, 0], [0, 0, 1]])
    return np.asarray(third @ second @ first, dtype=np.float64)


@dataclass(frozen=True)
class PoniFile:
    """The lines of a PONI file."""

    path: str
    # dict of str to (text, line); by lower-case name; of several calibrations the last
    values: dict[str, tuple[str, int]]
    # options of the detector by lower-case name, without those that are null
    config: dict[str, object]

    @property
    def detector(self) -> str:
        """Name of the detector; empty if there is none."""
        return self.values.get("detector", ("", 0))[0]

    @property
    def spline(self) -> str:
        """File of a distortion in version 1; empty if there is none."""
        name = self.values.get("splinefile", ("", 0))[0]
        return "" if name.lower() == "none" else name

    @property
    def parallax(self) -> bool:
        """Whether positions are to be corrected for the depth of the sensor."""
        return self.values.get("parallax", ("", 0))[0].lower() == "true"

    @property
    def flat_grid(self) -> bool:
        """Whether the detector is one flat even grid, which needs no pyFAI."""
        if self.spline or self.parallax or not set(self.config) <= GRID_OPTIONS:
            return False
        found = family_of(self.detector)
        if found is None:
            return self.detector.lower() in GENERIC
        return set(pixel_size(self)) == {found.pixel}  # else it is binned


def read_lines(path: str | Path) -> PoniFile:
    """Read a PONI file; a warning names lines that are not understood."""
    values: dict[str, tuple[str, int]] = {}
    text = read_text(path, "PONI file", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        key, colon, value = content.partition(":")
        if not colon:
            raise InconsistentDataError(
                f"{path}, line {number}: {content!r} is not of the form 'Key: value'"
            )
        values[key.strip().lower()] = (value.strip(), number)
    missing = [k for k in ("distance", "poni1", "poni2") if k not in values]
    if missing:
        raise InconsistentDataError(
            f"{path}: no {listing(missing)}; is this a PONI file? found"
            f" {listing(values)}"
        )
    unknown = [f"{k} (line {values[k][1]})" for k in values if k not in KEYS]
    if unknown:
        warn(f"{path}: not understood and left out: {listing(unknown)}")
    file = PoniFile(str(path), values, detector_config(path, values))
    if number_of(file, "poni_version") > NEWEST:
        raise InconsistentDataError(
            f"{path}: poni_version {values['poni_version'][0]}; known: 1 to {NEWEST}"
        )
    return file


def plane_of(file: PoniFile) -> Poni:
    return Poni(
        distance=checked(number_of(file, "distance"), "Distance", DISTANCE, file.path),
        poni=(place_of(file, "poni1"), place_of(file, "poni2")),
        rotations=rotations_of(file),
        pixel=pixel_size(file),
        energy=energy_of(file),
        orientation=orientation_of(file),
        shape=shape_of(file),
        family=family_of(file.detector),
    )


def place_of(file: PoniFile, key: str) -> float:
    """Return where the normal meets the detector, in m; UnitsError if that is far."""
    value = number_of(file, key)
    if value:
        checked(abs(value), key.capitalize(), PLACE, file.path)
    return value


def number_of(file: PoniFile, key: str) -> float:
    """Return a number of the file, 0 where it is absent."""
    text, line = file.values.get(key, ("0", 0))
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InconsistentDataError(
            f"{file.path}, line {line}: {key} = {text!r}; wanted a number"
        )
    return number


def detector_config(
    path: str | Path, values: dict[str, tuple[str, int]]
) -> dict[str, object]:
    text, line = values.get("detector_config", ("{}", 0))
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InconsistentDataError(
            f"{path}, line {line}: detector_config is not JSON: {error}"
        ) from None
    if not isinstance(config, dict):
        raise InconsistentDataError(
            f"{path}, line {line}: detector_config is {text}; wanted {{...}}"
        )
    return {key.lower(): v for key, v in config.items() if v is not None}


def pixel_size(file: PoniFile) -> tuple[float, float]:
    """Return the pixel size (slow, fast) in metres, wherever the version has it."""
    pixel = file.config.get("pixel1"), file.config.get("pixel2")
    sizes = number_of(file, "pixelsize1"), number_of(file, "pixelsize2")
    if all(isinstance(p, (int, float)) and p > 0 for p in pixel):
        sizes = float(pixel[0]), float(pixel[1])  # type: ignore[arg-type]
    if min(sizes) > 0:
        slow, fast = (checked(p, "pixel size", PIXEL_SIZE, file.path) for p in sizes)
        return slow, fast
    family = family_of(file.detector)
    if family is not None:
        return family.pixel, family.pixel
    raise InconsistentDataError(
        f"{file.path}: no pixel size for detector {file.detector!r}; wanted pixel1 and"
        " pixel2 in Detector_config"
    )


def energy_of(file: PoniFile) -> float | None:
    """Return the photon energy in eV; the file holds the wavelength in metres."""
    if file.values.get("wavelength", ("None", 0))[0] in {"None", ""}:
        return None
    metres = checked(
        number_of(file, "wavelength"), "Wavelength", WAVELENGTH_M, file.path
    )
    return HC / (metres * 1e10)


def rotations_of(file: PoniFile) -> tuple[float, float, float]:
    """Return the angles rot1, rot2 and rot3 in rad."""
    found = [number_of(file, f"rot{i}") for i in (1, 2, 3)]
    for i, angle in enumerate(found, start=1):
        if angle:
            checked(abs(angle), f"Rot{i}", ANGLE, file.path)
    return found[0], found[1], found[2]


def orientation_of(file: PoniFile) -> int:
    """Return the orientation, 3 where the file has none."""
    found = file.config.get("orientation", 3)
    if not isinstance(found, int) or found not in FLIPPED:
        raise InconsistentDataError(
            f"{file.path}: orientation {found!r}; wanted 1 to 4"
        )
    return found


def shape_of(file: PoniFile) -> tuple[int, int] | None:
    """Return the number of pixels if the detector's options hold it."""
    found = file.config.get("max_shape")
    if isinstance(found, list) and len(found) == 2:
        return int(found[0]), int(found[1])
    return None
