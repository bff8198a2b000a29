"""What stands for a geometry where one is wanted: itself, or positions of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import xarray as xr

from xfelred.errors import GeometryMismatchError, MissingConstantError, listing, shown
from xfelred.geometry.core import Geometry

HANDEDNESS = "detector coordinates, as in the positions of the pixels"


def as_geometry(given: object, *, placed: bool) -> Geometry:
    """Return the geometry of positions such as ``run.constants(detector)`` has.

    given: of positions ``x``, ``y`` and perhaps ``z`` of the pixels, m, in coordinates
        of the detector.
    placed: the place of the detector behind the sample matters.
    Raises MissingConstantError if there are no positions, or `placed` and the distance
        is not known; GeometryMismatchError if it is something else.
    """
    if isinstance(given, Geometry):
        return given
    if not isinstance(given, (xr.Dataset, Mapping)):
        raise GeometryMismatchError(
            f"a geometry was wanted, not {shown(given)}: make one with"
            " geometry.Geometry, or give constants with x and y of the pixels, such as"
            " run.constants(detector)"
        )
    absent = [name for name in ("x", "y") if name not in given]
    if absent:
        raise MissingConstantError(
            "these constants are no geometry, as they do not tell where pixels are:"
            f" they have {listing(given)}, but no {' and '.join(absent)}"
        )
    if placed:
        raise MissingConstantError(
            "constants tell where pixels are in the detector, not where the beam hits"
            " it and how far it is from the sample; say so: geometry.Geometry.lcls("
            "constants.x, constants.y, constants.get('z'), centre=(x, y), distance=...,"
            " energy=...)"
        )
    out = Geometry.lcls(
        given["x"], given["y"], given.get("z"), centre=(0.0, 0.0), distance=1.0
    )
    return replace(out, placed=False, distance=None, handedness=HANDEDNESS)
