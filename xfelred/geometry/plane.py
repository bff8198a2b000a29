"""The plane in which rings are circles: pixels seen from the sample, projected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import MissingConstantError
from xfelred.geometry.core import Geometry
from xfelred.geometry.locate import fit, pixel_index
from xfelred.geometry.pixel_places import check_placed
from xfelred.geometry.plausible import DISTANCE, PIXEL_SIZE, WAVELENGTH, checked
from xfelred.geometry.rings import pixel_coord
from xfelred.kernels.arrays import Floats
from xfelred.kernels.polar import grid as polar_grid
from xfelred.names import MODULE, PHI, PIXEL_DIMS, TWO_THETA, Q

REGULAR = 1e-4  # pixels by which a flat detector may miss a lattice of squares


@dataclass(frozen=True)
class Plane:
    """Pixels projected from the sample on a plane at right angles to the beam."""

    # x and y: float64 (module, row, column), pixels; from the beam; NaN: no pixel, or
    # at 90 degrees and beyond
    x: Floats
    y: Floats
    step: float  # size of a pixel / distance
    wavelength: float | None  # in angstrom
    # (x, y), pixels; where the beam hits, if the pixels are a lattice of squares in the
    # plane
    centre: tuple[float, float] | None
    signs: tuple[int, int]  # (x, y); -1 where columns run against x, or rows against y


def plane_of(da: xr.DataArray) -> Plane:
    """Return the projected pixels of an array that has been located.

    x = tan(two_theta) cos(phi) / step, y = tan(two_theta) sin(phi) / step; `step` is
    the median size of the projected pixels. Two-theta of a ring is constant in it,
    whatever the tilt of the modules.
    """
    two_theta, phi = (module_coord(da, name) for name in (TWO_THETA, PHI))
    ahead = two_theta < np.pi / 2
    tangent = np.tan(np.where(ahead, two_theta, np.nan))
    x, y = tangent * np.cos(phi), tangent * np.sin(phi)
    return scaled_plane(x, y, wavelength_of(da, two_theta))


def plane_of_geometry(da: xr.DataArray, geometry: Geometry) -> Plane:
    """Return the projected pixels of an array that `geometry` describes.

    As `plane_of` after `locate`, without the work for the other coordinates.
    """
    fitted = fit(da, geometry)
    check_placed(fitted)
    index, _ = pixel_index(da, fitted)
    centres = fitted.centres
    x, y, z = (np.asarray(c[index], dtype=np.float64) for c in centres)
    ahead = np.where(z > 0, z, np.nan)
    x, y = (v.reshape((1, *v.shape)[-3:]) for v in (x / ahead, y / ahead))
    return scaled_plane(x, y, fitted.wavelength)


def scaled_plane(x: Floats, y: Floats, wavelength: float | None) -> Plane:
    """Return the plane of pixels at (x, y), in distances from the sample."""
    sizes = [median_step(axis, x, y) for axis in (1, 2) if x.shape[axis] > 1]
    step = rounded(np.sqrt(np.prod(sizes) if len(sizes) == 2 else sizes[0] ** 2))
    x, y = x / step, y / step
    return Plane(x, y, step, wavelength, *lattice(x, y))


def module_coord(da: xr.DataArray, name: str) -> Floats:
    """Return a coordinate of the pixels, float64 (module, row, column)."""
    coord = pixel_coord(da, name)
    dims = [d for d in PIXEL_DIMS if d in coord.dims]
    values = coord.transpose(*dims).values.astype(np.float64)
    return values if MODULE in dims else values[None]


def median_step(axis: int, x: Floats, y: Floats) -> float:
    return float(np.nanmedian(np.hypot(np.diff(x, axis=axis), np.diff(y, axis=axis))))


def wavelength_of(da: xr.DataArray, two_theta: Floats) -> float | None:
    """Return the wavelength in angstrom that connects q and two_theta, if known."""
    if Q not in da.coords or not da[Q].ndim:
        return None
    at = int(np.nanargmax(two_theta))
    q = module_coord(da, Q).ravel()[at]
    return rounded(4 * np.pi * np.sin(two_theta.ravel()[at] / 2) / q)


def rounded(value: float) -> float:
    """Return 12 digits: the same from any part of a flat detector at right angles."""
    return float(f"{value:.12g}")


def lattice(x: Floats, y: Floats) -> tuple[tuple[float, float] | None, tuple[int, int]]:
    """Return (centre, signs) of pixels that are a lattice of squares of size 1.

    The centre is None if they are not.
    """
    if len(x) != 1 or not np.isfinite(x).all():
        return None, (1, 1)
    _, n_rows, n_columns = x.shape
    across = x[0, 0, -1] - x[0, 0, 0] if n_columns > 1 else 1.0
    down = y[0, -1, 0] - y[0, 0, 0] if n_rows > 1 else 1.0
    signs = (1 if across > 0 else -1, 1 if down > 0 else -1)
    columns, rows = np.arange(n_columns), np.arange(n_rows)[:, None]
    # At the middle of the image, where errors of rounding are least.
    centre_x = -signs[0] * float(np.mean(x[0] - signs[0] * columns))
    centre_y = -signs[1] * float(np.mean(y[0] - signs[1] * rows))
    off_x = np.abs(signs[0] * (columns - centre_x) - x[0]).max()
    off_y = np.abs(signs[1] * (rows - centre_y) - y[0]).max()
    if max(off_x, off_y) > REGULAR:
        return None, (1, 1)
    return (centre_x, centre_y), signs


@entry
def radius_to_q(
    radius: ArrayLike, *, distance: float, pixel_size: float, wavelength: float
) -> Any:
    """Return q at a distance from the centre of a flat detector.

    Parameters
    ----------
    radius : number or array
        In pixels.
    distance, pixel_size : float, m
    wavelength : float, angstrom

    Returns
    -------
    float64, 1/angstrom, of the shape of `radius`

    Notes
    -----
    q = 4 pi / wavelength sin(two_theta / 2) with
    two_theta = atan(radius pixel_size / distance), for a detector at right angles to
    the beam.

    Examples
    --------
    >>> from xfelred import geometry
    >>> setup = {"distance": 0.053, "pixel_size": 50e-6, "wavelength": 1.44}
    >>> round(geometry.radius_to_q(759.7755, **setup), 4)
    2.67
    """
    step, wavelength = checked_setup(distance, pixel_size, wavelength)
    q = polar_grid.radius_to_q(radius, step, wavelength)
    return q if q.ndim else float(q)


@entry
def q_to_radius(
    q: ArrayLike, *, distance: float, pixel_size: float, wavelength: float
) -> Any:
    """Return the distance from the centre of a flat detector at which it sees q.

    Parameters
    ----------
    q : number or array
        In 1/angstrom.
    distance, pixel_size : float, m
    wavelength : float, angstrom

    Returns
    -------
    float64, pixels, of the shape of `q`
        NaN where the scattering angle would be 90 degrees or more, or q is negative.

    Notes
    -----
    The inverse of `radius_to_q`.
    """
    step, wavelength = checked_setup(distance, pixel_size, wavelength)
    radius = polar_grid.q_to_radius(q, step, wavelength)
    return radius if radius.ndim else float(radius)


def checked_setup(
    distance: float, pixel_size: float, wavelength: float
) -> tuple[float, float]:
    """Return pixel size / distance, and the wavelength in angstrom, if possible."""
    size = checked(pixel_size, "pixel_size", PIXEL_SIZE)
    return (
        size / checked(distance, "distance", DISTANCE),
        checked(wavelength, "wavelength", WAVELENGTH),
    )


def known_wavelength(plane: Plane) -> float:
    if plane.wavelength is None:
        raise MissingConstantError(
            "the geometry has no photon energy, so that rings have no q: give it"
            " energy= or wavelength="
        )
    return plane.wavelength
