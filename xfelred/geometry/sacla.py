"""Geometry from what a SACLA run file says about its detector."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr

from xfelred.entries import entry, must_have
from xfelred.errors import MissingConstantError
from xfelred.geometry.constructors import LABORATORY_AXES, Pair, flat
from xfelred.geometry.energy import photon_energy
from xfelred.geometry.panels import Panel, vector
from xfelred.geometry.pixel_places import Places
from xfelred.geometry.plausible import DISTANCE, ENERGY, PLACE, checked
from xfelred.geometry.plausible import PIXEL_SIZE as PIXEL_PITCH
from xfelred.kernels.calibration.mpccd import Placement, module_vectors
from xfelred.names import MODULE

COORDINATE, ROTATION, PIXEL_SIZE = "coordinate", "rotation", "pixel_size"


@entry
def sacla(
    cls: type[Places],
    run: Any,
    *,
    distance: float,
    energy: float | None = None,
    wavelength: float | None = None,
    detector: str | None = None,
    centre: Pair | None = None,
    first_pixel: Literal["centre", "corner"] = "centre",
) -> Places:
    """Describe a detector of a SACLA run by what the file says.

    Parameters
    ----------
    run : Run
        Of SACLA.
    distance : float
        From the sample, in metres; the files do not hold it.
    energy, wavelength : float, optional
        In eV or angstrom; by default the photon energy of the run.
    detector : str, optional
        Name; not needed if the run has exactly one.
    centre : (x, y), optional
        Where the beam hits. Of an assembled image, or a single sensor without
        coordinates: in pixels, x along fast_scan, integers being pixel centres; by
        default the middle of the image. Of a detector made of modules: in metres in
        the detector's coordinates (x to the left looking along the beam, y up); by
        default their origin.
    first_pixel : {"centre", "corner"}, optional
        What of its first pixel the coordinate of a module means. The facility's note
        on the octal sensor says the centre; CrystFEL files made from the same numbers
        take them for the corner, half a pixel away.

    Returns
    -------
    Geometry

    Raises
    ------
    MissingConstantError
        If the file lacks the pixel size, or coordinates of some of several modules.

    Notes
    -----
    See `xfelred.kernels.calibration.mpccd.module_vectors` for the formula. The third
    coordinate of a module is not used: all modules lie at `distance`.

    The energy is that of the configuration of the run, or the median of its shots
    where this is not plausible. The distance from the nominal beam axis to the beam is
    not in the file: fit a ring, and give `centre`.
    """
    must_have(
        "Geometry.sacla",
        "run",
        run,
        "constants",
        "a run of SACLA, such as xf.open_run(path)",
    )
    distance = checked(distance, "distance", DISTANCE)
    known = run.constants(detector)
    if PIXEL_SIZE not in known:
        raise MissingConstantError(
            f"{known.attrs['detector']} has no pixel size in the file; use"
            " Geometry.flat or Geometry.from_crystfel"
        )
    given = photon_energy(energy, wavelength)
    if given is None and run.photon_energy > 0:
        given = checked(run.photon_energy, "photon energy of the run", ENERGY)
    n_modules = known.sizes[MODULE]
    numbers = [int(m) for m in known[MODULE].values]
    if not placed(known):
        if n_modules > 1:
            raise MissingConstantError(
                f"modules of {known.attrs['detector']} have no coordinates in the file;"
                " use Geometry.from_crystfel or Geometry.from_positions"
            )
        shape = [int(n) for n in known.attrs["module_shape"]]
        middle = (shape[1] - 1) / 2, (shape[0] - 1) / 2
        return flat(
            cls,
            shape,
            middle if centre is None else centre,
            distance,
            pixel_size(known, 0),
            energy=given,
            modules=numbers,
        )
    for value in centre or ():
        if value:
            checked(abs(value), "centre", PLACE)
    panels = tuple(
        module_panel(known, m, (centre or (0.0, 0.0)), distance, first_pixel)
        for m in range(n_modules)
    )
    n_slow, n_fast = (int(n) for n in known.attrs["module_shape"])
    return cls(
        (n_modules, n_slow, n_fast),
        panels,
        modules=tuple(numbers),
        energy=given,
        distance=distance,
        handedness=LABORATORY_AXES,
    )


def placed(known: xr.Dataset) -> bool:
    if known.attrs["detector_kind"] == "assembled":
        return False
    if COORDINATE not in known or ROTATION not in known:
        return False
    xy = known[COORDINATE].values[:, :2]
    return bool(np.isfinite(xy).all() and np.isfinite(known[ROTATION].values).all())


def pixel_size(known: xr.Dataset, module: int) -> Pair:
    """Return the pixel size (slow, fast) of a module in metres."""
    fast, slow = (
        checked(p, f"pixel size of module {module} in the file", PIXEL_PITCH)
        for p in known[PIXEL_SIZE].values[module]
    )
    return slow, fast


def module_panel(
    known: xr.Dataset, module: int, centre: Pair, distance: float, first_pixel: str
) -> Panel:
    def value(name: str) -> float:
        found = float(known[name].values[module]) if name in known else 0.0
        return found if np.isfinite(found) else 0.0  # not every file has a stage

    x, y = (float(v) for v in known[COORDINATE].values[module, :2])
    first, slow, fast = module_vectors(
        Placement(
            (x, y),
            value(ROTATION),
            pixel_size(known, module),
            value("stage_direction"),
            value("stage_weight") * value("manipulator"),
        )
    )
    corner = first - np.asarray(centre)
    if first_pixel == "centre":
        corner = corner - (slow + fast) / 2
    n_slow, n_fast = (int(n) for n in known.attrs["module_shape"])
    return Panel(
        module,
        (0, n_slow),
        (0, n_fast),
        vector([*corner, distance]),
        vector([*slow, 0.0]),
        vector([*fast, 0.0]),
    )
