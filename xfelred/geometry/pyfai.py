"""Geometries of pyFAI, and PONI files of detectors that only pyFAI knows.

pyFAI is an optional dependency; a geometry that it made needs no import of it.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    GeometryMismatchError,
    InconsistentDataError,
    MissingConstantError,
    MissingExtraError,
    listing,
    require_extra,
    warn,
)
from xfelred.geometry.constructors import IMAGE_AXES
from xfelred.geometry.energy import photon_energy
from xfelred.geometry.panels import vector
from xfelred.geometry.pixel_places import Places
from xfelred.geometry.plausible import DISTANCE, checked
from xfelred.geometry.poni import (
    Poni,
    PoniFile,
    energy_of,
    number_of,
    plane_of,
    read_lines,
    rotation,
    rotations_of,
)
from xfelred.kernels.arrays import Bools, Floats

FILES = ("splinefile", "x_offset_file", "y_offset_file", "filename")
"""Options of detectors that name a file."""


class Integrator(Protocol):
    """What is used of a geometry or an integrator of pyFAI."""

    dist: float
    poni1: float
    poni2: float
    rot1: float
    rot2: float
    rot3: float
    wavelength: float | None
    detector: Any

    def calc_pos_zyx(self, **options: Any) -> Sequence[NDArray[np.floating]]:
        """Return the positions of the pixels, metres from the sample."""

    def position_array(
        self, shape: tuple[int, int], corners: bool = False
    ) -> NDArray[np.floating]:
        """Return the same as (slow, fast, [corner,] zyx)."""


@entry
def from_poni(
    cls: type[Places],
    path: str | Path,
    shape: Sequence[int] | None = None,
    *,
    energy: float | None = None,
    wavelength: float | None = None,
) -> Places:
    """Read a PONI file of pyFAI (versions 1 to 3, with rotations).

    Parameters
    ----------
    path : path
    shape : (slow, fast), optional
        Number of pixels; by default that of the file, or of the data in `locate`.
    energy, wavelength : float, optional
        In eV or angstrom; win over the file.

    Returns
    -------
    Geometry
        Gaps between modules, and other pixels that see nothing, are in `bad_pixels`.

    Raises
    ------
    InconsistentDataError
        If a line cannot be understood, or the detector is not known.
    GeometryMismatchError
        If the file has another number of pixels than `shape`.
    MissingExtraError
        If the detector is not one flat even grid (modules, wide or hexagonal pixels,
        a distortion, a curved sensor) and pyFAI, which knows it, is not installed.
    """
    file = read_lines(path)
    if not file.flat_grid:
        ai = integrator_of(file)
        return from_pyfai(cls, ai, shape, energy=energy, wavelength=wavelength)
    plane = plane_of(file)
    known = checked_shape(plane.shape, shape, file.path)
    given = photon_energy(energy, wavelength)
    return on_plane(cls, plane, known, plane.energy if given is None else given)


def on_plane(
    cls: type[Places],
    plane: Poni,
    shape: tuple[int, int] | None,
    energy: float | None,
) -> Places:
    out = cls(
        None,
        energy=energy,
        distance=plane.distance,
        handedness=IMAGE_AXES,
        poni=plane,
    )
    return out if shape is None else out.with_shape((1, *shape))


@entry
def from_pyfai(
    cls: type[Places],
    ai: Integrator,
    shape: Sequence[int] | None = None,
    *,
    energy: float | None = None,
    wavelength: float | None = None,
) -> Places:
    """Take the pixels of a geometry or an integrator of pyFAI, whatever its detector.

    Parameters
    ----------
    ai : pyFAI.geometry.Geometry or AzimuthalIntegrator
    shape : (slow, fast), optional
        Number of pixels, where the detector has no shape of its own; by default that of
        the data in `locate`.
    energy, wavelength : float, optional
        In eV or angstrom; win over that of `ai`.

    Returns
    -------
    Geometry
        Its mask is in `bad_pixels`. Solid angles are those of equal pixels: on a flat
        detector cos^3 of the angle of incidence, as in pyFAI, also where pixels are
        wider; on a curved one cos / r^2 with the normal of every pixel.

    Raises
    ------
    GeometryMismatchError
        If the detector has another shape than `shape`, or `ai` is none of these.
    MissingConstantError
        If the detector has neither a shape nor a pixel size.
    """
    if not hasattr(ai, "calc_pos_zyx"):
        raise GeometryMismatchError(
            f"ai is a {type(ai).__name__}; wanted a geometry or an integrator of pyFAI,"
            " such as pyFAI.load(path). Geometry.from_poni reads files"
        )
    detector = ai.detector
    distance = checked(ai.dist, "distance of ai", DISTANCE)
    known = checked_shape(detector.shape, shape, f"detector {detector.name!r} of pyFAI")
    given = photon_energy(energy, wavelength)
    if given is None and ai.wavelength:
        given = photon_energy(None, float(ai.wavelength) * 1e10)
    if detector.shape is None:
        return plane_geometry(cls, ai, known, given)
    rows, columns = known or detector.shape
    xyz = positions(ai, (rows, columns))
    flat = bool(getattr(detector, "IS_FLAT", True))
    turn = rotation(float(ai.rot1), float(ai.rot2), float(ai.rot3))
    return cls(
        (1, rows, columns),
        positions=xyz,
        energy=given,
        distance=distance,
        normal=vector(turn @ np.array([0.0, 0.0, 1.0])) if flat else None,
        incidence=None if flat else incidence(ai, xyz),
        bad=mask_of(detector),
        handedness=IMAGE_AXES,
    )


def plane_geometry(
    cls: type[Places],
    ai: Integrator,
    shape: tuple[int, int] | None,
    energy: float | None,
) -> Places:
    """Return the geometry of a detector of pyFAI that is nothing but a pixel size."""
    detector = ai.detector
    if not detector.uniform_pixel or not detector.pixel1 or not detector.pixel2:
        raise MissingConstantError(
            f"detector {detector.name!r} of pyFAI has no shape, and no pixel size that"
            " holds throughout; set detector.shape, or pixel1 and pixel2"
        )
    plane = Poni(
        float(ai.dist),
        (float(ai.poni1), float(ai.poni2)),
        (float(ai.rot1), float(ai.rot2), float(ai.rot3)),
        (float(detector.pixel1), float(detector.pixel2)),
        orientation=int(getattr(detector, "orientation", 0) or 3),
    )
    return on_plane(cls, plane, shape, energy)


def positions(ai: Integrator, shape: tuple[int, int]) -> Floats:
    """Return pixel centres, float64 (3, 1, slow, fast), metres from the sample."""
    if getattr(ai, "parallax", None) is not None:
        zyx: Any = ai.calc_pos_zyx(corners=False, do_parallax=True)
    elif not getattr(ai.detector, "IS_FLAT", True):
        zyx = ai.calc_pos_zyx(corners=False)
    else:
        # As its angles are made: other ways to ask leave out the orientation of
        # detectors of modules or wide pixels. Of a copy, as pyFAI keeps corners once it
        # has made them, and centres change then.
        array = copy.deepcopy(ai).position_array(shape, corners=False)
        zyx = np.moveaxis(np.asarray(array), -1, 0)
    z, y, x = zyx
    each = [np.broadcast_to(np.asarray(v, np.float64), shape) for v in (x, y, z)]
    return np.stack(each)[:, None]


def mask_of(detector: Any) -> Bools | None:
    """Return the pixels that see nothing, bool (1, slow, fast); None if all see."""
    try:
        mask = detector.mask
    except Exception as error:  # of a detector that cannot be binned so, for one
        raise InconsistentDataError(
            f"pyFAI cannot make the mask of detector {detector.name!r} with"
            f" {detector.shape} pixels: {error}"
        ) from error
    return None if mask is None else (np.asarray(mask) != 0)[None]


def incidence(ai: Integrator, xyz: Floats) -> Floats:
    """Return cos of the angle of incidence of every pixel, float64 (1, slow, fast)."""
    z, y, x = ai.calc_pos_zyx(corners=True)
    first, second, third, fourth = np.moveaxis(np.stack([x, y, z]), -1, 0)
    normal = np.cross(third - first, fourth - second, axis=0)
    v = xyz[:, 0]
    lengths = np.linalg.norm(normal, axis=0) * np.linalg.norm(v, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.abs((normal * v).sum(axis=0)) / lengths)[None]


def checked_shape(
    known: Sequence[int] | None, shape: Sequence[int] | None, where: str
) -> tuple[int, int] | None:
    """Return the number of pixels; GeometryMismatchError if two do not agree."""
    found = [tuple(int(n) for n in s)[-2:] for s in (known, shape) if s is not None]
    if len(found) == 2 and found[0] != found[1]:
        raise GeometryMismatchError(
            f"{where} has {found[0][0]}x{found[0][1]} pixels, but shape="
            f"{found[1]}. Data that are binned or cut have other positions: calibrate"
            " them, or give the geometry without shape and select pixels after locate"
        )
    return (found[0][0], found[0][1]) if found else None


def integrator_of(file: PoniFile) -> Integrator:
    """Return pyFAI's geometry of a PONI file.

    Raises MissingExtraError if pyFAI is not installed; InconsistentDataError if it does
        not know the detector, or a file that belongs to it is not there.
    """
    try:
        with quiet():
            geometry = importlib.import_module("pyFAI.geometry")
            detectors = importlib.import_module("pyFAI.detectors")
    except ImportError:
        what = f"detector {file.detector!r} is not one flat even grid"
        raise MissingExtraError(
            f"{file.path}: {what}; {require_extra('pyFAI', 'saxs')}"
        ) from None
    config = {k: found_file(file, k, v) for k, v in file.config.items()}
    spline = config.pop("splinefile", None) or file.spline
    if "detector_config" not in file.values and "pixelsize1" in file.values:
        config |= {
            k: number_of(file, f"pixelsize{k[-1]}") for k in ("pixel1", "pixel2")
        }
    try:
        with quiet():
            name = found_file(file, "filename", file.detector)
            detector = detectors.detector_factory(name or "Detector", config)
            unused = {*config} - options_of(type(detector))
            if spline:
                detector.splinefile = found_file(file, "splinefile", spline)
    except InconsistentDataError:
        raise
    except Exception as error:
        raise InconsistentDataError(
            f"{file.path}: pyFAI cannot make detector {file.detector!r} with"
            f" {config}: {error}"
        ) from error
    if unused:
        warn(
            f"{file.path}: options of detector {file.detector!r} that pyFAI does not"
            f" know are left out: {listing(sorted(unused))}"
        )
    energy = energy_of(file)
    poni = [number_of(file, k) for k in ("distance", "poni1", "poni2")]
    turns = rotations_of(file)
    metres = None if energy is None else number_of(file, "wavelength")
    with quiet():
        ai: Integrator = geometry.Geometry(
            *poni, *turns, detector=detector, wavelength=metres
        )
        if file.parallax:
            ai.enable_parallax()  # type: ignore[attr-defined]
    return ai


def options_of(detector: type) -> set[str]:
    named = {n.lower() for n in inspect.signature(detector).parameters}
    # What files repeat of any detector, also where it follows from the others.
    return named | {"binning", "pixel1", "pixel2", "max_shape", "orientation"}


def found_file(file: PoniFile, key: str, value: Any) -> Any:
    """Return the value of an option; a path is looked for beside the PONI file too."""
    if key not in FILES or not isinstance(value, str):
        return value
    beside = Path(file.path).parent / value
    for path in (Path(value), beside):
        if path.is_file():
            return str(path)
    if key == "filename" and value == file.detector:
        return value  # the name of a detector
    raise InconsistentDataError(
        f"{file.path}: {key} = {value!r} is neither there nor beside the PONI file"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what pyFAI says while it is imported, of OpenCL and the like."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
