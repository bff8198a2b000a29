"""Where the pixels of a detector are, and the ways to say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from xfelred.geometry import constructors, crystfel_writer, pyfai, sacla
from xfelred.geometry.pixel_places import PixelPlaces

Options = ParamSpec("Options")
Made = TypeVar("Made")


class Way(Protocol[Options]):
    """A class method that makes a thing of the class."""

    def __get__(self, instance: object, owner: type[Made]) -> Callable[Options, Made]:
        """Return the method of a class."""


def way(
    function: Callable[Concatenate[type[Any], Options], PixelPlaces],
) -> Way[Options]:
    return cast(Way[Options], classmethod(function))


class Geometry(PixelPlaces):
    """Positions of the pixels of a detector, in metres from the sample.

    Made by `flat`, `lcls`, `sacla` or one of the ``from_...`` methods. Immutable,
    picklable and tokenized by dask by its content.

    Attributes
    ----------
    shape : (module, slow_scan, fast_scan), or None
        None: a PONI file without shape, which fits any single module.
    panels : tuple of Panel
        Flat pieces of sensor, where the positions come from them.
    positions : float (3, module, slow_scan, fast_scan), m, or None
        Pixel centres, where they were given as such.
    modules : tuple of int, or None
        Hardware numbers; None: modules are matched by position.
    energy : float or None
        Of the photons, in eV.
    distance : float or None
        From the sample in metres: the reference of the solid angle.
    placed : bool
        False where z is unknown, so that there are no scattering angles.
    normal : (x, y, z), or None
        Common normal of the sensors: solid angles are (d/r)^3 with the distance d of
        each pixel along it. None: each panel has its own.
    incidence : float (module, slow_scan, fast_scan), or None
        Cosine of the angle of incidence of each pixel, where sensors are curved.
    bad : bool (module, slow_scan, fast_scan), or None
        True where the geometry file says that a pixel is bad, or has no pixel.
    handedness, phi_convention : str
        What the axes mean; recorded in results.
    groups : mapping
        Rigid groups of a CrystFEL file: names of panels.
    poni : Poni or None
        The file that `shape` is still missing for.
    """

    flat = way(constructors.flat)
    lcls = way(constructors.lcls)
    from_crystfel = way(constructors.from_crystfel)
    from_extra_geom = way(constructors.from_extra_geom)
    from_module_positions = way(constructors.from_module_positions)
    from_panels = way(constructors.from_panels)
    from_poni = way(pyfai.from_poni)
    from_positions = way(constructors.from_positions)
    from_pyfai = way(pyfai.from_pyfai)
    from_quad_positions = way(constructors.from_quad_positions)
    sacla = way(sacla.sacla)

    to_crystfel = crystfel_writer.to_crystfel
