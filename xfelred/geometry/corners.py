"""Corners of the pixels of an array, for pixels that are split over bins by area."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import xarray as xr
from dask.base import tokenize

from xfelred.errors import MissingConstantError
from xfelred.geometry.angles import directions, momentum
from xfelred.geometry.core import Geometry
from xfelred.kernels.arrays import Floats
from xfelred.names import Q

GEOMETRY = "geometry"
"""Attribute of a coordinate: which geometry it was made from."""

KEPT = 16
NO_CORNERS = "the geometry does not know the corners of its pixels: use split='no'"

# Corners take four times the memory of all other coordinates, and few ask for them: an
# array carries the name of its geometry, and the last ones are kept under that name.
LAST: OrderedDict[str, Geometry] = OrderedDict()
LOCK = threading.Lock()


def remember(geometry: Geometry) -> str:
    """Keep a geometry for `recalled`; return its name."""
    name = str(tokenize(geometry))
    # Panels are a few numbers; positions, and what was computed from them, are not.
    small = replace(
        geometry, panels=geometry.lattice, positions=None, incidence=None, bad=None
    )
    with LOCK:
        LAST[name] = small
        LAST.move_to_end(name)
        while len(LAST) > KEPT:
            LAST.popitem(last=False)
    return name


def recalled(coord: xr.DataArray) -> Geometry:
    """Return the geometry that a coordinate was made from.

    Raises MissingConstantError if it was not made in this process, or long ago.
    """
    found = LAST.get(str(coord.attrs.get(GEOMETRY)))
    if found is None:
        raise MissingConstantError(
            "the array was not located in this process, so the corners of its pixels"
            " are not known: apply geometry.locate(da, geometry) to it"
        )
    return found


def corner_angles(geometry: Geometry, radial: str) -> tuple[Floats, Floats]:
    """Return radial coordinate and azimuth of the corners.

    radial: {"q", "two_theta"}.
    Returns radius, phi: float64 (corner, module, slow_scan, fast_scan); 1/angstrom or
        rad; rad. Corners in the order of the outline; NaN: no pixel.
    """
    if not geometry.lattice:
        raise MissingConstantError(NO_CORNERS)
    n_corners = len(geometry.lattice[0].corner_offsets)
    out = np.full((2, n_corners, *geometry.known_shape), np.nan)
    for panel in geometry.lattice:
        for c, corner in enumerate(panel.corners()):
            two_theta, phi = directions(corner)
            if radial == Q:
                if geometry.wavelength is None:
                    raise MissingConstantError(
                        "the geometry has no photon energy: give it energy= or"
                        " wavelength="
                    )
                two_theta = momentum(two_theta, geometry.wavelength)
            out[0, c][panel.region] = two_theta
            out[1, c][panel.region] = phi
    return out[0], out[1]
