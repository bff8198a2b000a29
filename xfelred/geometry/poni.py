"""Reader of PONI files, the detector description of pyFAI.

Versions 1, 2 and 2.1: lines ``Key: value``, comments with ``#``; a later calibration in
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
from numpy.typing import NDArray

from xfelred.errors import InconsistentDataError, listing
from xfelred.geometry.energy import wavelength_to_energy
from xfelred.geometry.panels import Panel, vector

# Pixel size in metres of families of detectors with one size throughout (Dectris); the
# first name that fits counts.
KNOWN_PIXELS = {"pilatus4": 150e-6, "pilatus": 172e-6, "eiger": 75e-6}
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
    """A flat detector of equal pixels; lengths in metres, angles in rad.

    Attributes
    ----------
    distance : float
        From the sample to the detector plane, along its normal.
    poni : (slow, fast)
        Foot of that normal, from the outer corner of pixel (0, 0).
    rotations : (rot1, rot2, rot3)
    pixel : (slow, fast)
    energy : float or None
        eV
    orientation : int
        1 to 4, as in the file; 3 is the order of the array.
    shape : (slow, fast) or None
        Number of pixels where the file knows it.
    """

    distance: float
    poni: tuple[float, float]
    rotations: tuple[float, float, float]
    pixel: tuple[float, float]
    energy: float | None = None
    orientation: int = 3
    shape: tuple[int, int] | None = None

    def panel(self, shape: tuple[int, int], module: int = 0) -> Panel:
        """Return the detector as one panel of `shape` pixels."""
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


def rotation(rot1: float, rot2: float, rot3: float) -> NDArray[np.float64]:
    """Return the matrix that turns (x, y, z) of the detector to the laboratory."""
    c1, c2, c3 = math.cos(rot1), math.cos(rot2), math.cos(rot3)
    s1, s2, s3 = math.sin(rot1), math.sin(rot2), math.sin(rot3)
    # In the order (x, y, z) = (axis 2, axis 1, beam).
    first = np.array([[c1, 0, s1], [0, 1, 0], [-s1, 0, c1]])
    second = np.array([[1, 0, 0], [0, c2, -s2], [0, s2, c2]])
    third = np.array([[c3, s3, 0], [-s3, c3, 0], [0, 0, 1]])
    return np.asarray(third @ second @ first, dtype=np.float64)


def read_poni(path: str | Path) -> Poni:
    """Read a PONI file.

    Raises
    ------
    InconsistentDataError
        If a line or a value cannot be understood, or the pixel size is not in the file;
        names the file and the line.
    """
    values: dict[str, tuple[str, int]] = {}
    text = Path(path).read_text(encoding="utf-8", errors="replace")
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
    config = detector_config(path, values)
    return Poni(
        distance=number_of(path, values, "distance"),
        poni=(number_of(path, values, "poni1"), number_of(path, values, "poni2")),
        rotations=(
            number_of(path, values, "rot1"),
            number_of(path, values, "rot2"),
            number_of(path, values, "rot3"),
        ),
        pixel=pixel_size(path, values, config),
        energy=energy_of(path, values),
        orientation=orientation_of(path, config),
        shape=shape_of(config),
    )


def number_of(path: str | Path, values: dict[str, tuple[str, int]], key: str) -> float:
    """Return a number of the file, 0 where it is absent."""
    text, line = values.get(key, ("0", 0))
    try:
        return float(text)
    except ValueError:
        raise InconsistentDataError(
            f"{path}, line {line}: {key} = {text!r}; wanted a number"
        ) from None


def detector_config(
    path: str | Path, values: dict[str, tuple[str, int]]
) -> dict[str, object]:
    """Return the detector's options."""
    text, line = values.get("detector_config", ("{}", 0))
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise InconsistentDataError(
            f"{path}, line {line}: detector_config is not JSON: {error}"
        ) from None
    if not isinstance(config, dict):
        raise InconsistentDataError(
            f"{path}, line {line}: detector_config is {text}; wanted {{...}}"
        )
    return config


def pixel_size(
    path: str | Path, values: dict[str, tuple[str, int]], config: dict[str, object]
) -> tuple[float, float]:
    """Return the pixel size (slow, fast) in metres, wherever the version has it."""
    pixel = config.get("pixel1"), config.get("pixel2")
    if all(isinstance(p, (int, float)) and p > 0 for p in pixel):
        return float(pixel[0]), float(pixel[1])  # type: ignore[arg-type]
    if "pixelsize1" in values:
        sizes = (
            number_of(path, values, "pixelsize1"),
            number_of(path, values, "pixelsize2"),
        )
        if min(sizes) > 0:
            return sizes
    detector = values.get("detector", ("", 0))[0]
    plain = detector.lower().replace(" ", "").replace("_", "").replace("-", "")
    for family, size in KNOWN_PIXELS.items():
        if plain.startswith(family):
            return size, size
    raise InconsistentDataError(
        f"{path}: no pixel size for detector {detector!r}; wanted pixel1 and pixel2 in"
        " Detector_config. For a detector of modules use Geometry.from_positions with"
        " the positions that pyFAI gives"
    )


def energy_of(path: str | Path, values: dict[str, tuple[str, int]]) -> float | None:
    """Return the photon energy in eV; the file holds the wavelength in metres."""
    if values.get("wavelength", ("None", 0))[0] in {"None", ""}:
        return None
    return wavelength_to_energy(number_of(path, values, "wavelength") * 1e10)


def orientation_of(path: str | Path, config: dict[str, object]) -> int:
    """Return the orientation, 3 where the file has none."""
    found = config.get("orientation", 3)
    if not isinstance(found, int) or found not in FLIPPED:
        raise InconsistentDataError(f"{path}: orientation {found!r}; wanted 1 to 4")
    return found


def shape_of(config: dict[str, object]) -> tuple[int, int] | None:
    """Return the number of pixels if the detector's options hold it."""
    found = config.get("max_shape")
    if isinstance(found, list) and len(found) == 2:
        return int(found[0]), int(found[1])
    return None
