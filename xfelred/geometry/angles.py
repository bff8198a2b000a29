"""Scattering angles, solid angles and their spread over a pixel; plain numpy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfelred.geometry.core import Geometry
from xfelred.geometry.pixel_places import check_placed
from xfelred.kernels.arrays import Array, Floats
from xfelred.kernels.outlines.splitting import corner_spread


@dataclass(frozen=True)
class Angles:
    """Arrays (module, slow_scan, fast_scan) of a whole geometry; NaN: no pixel.

    The half widths are the largest difference from a pixel's centre to its corners;
    None where the corners are not known. `q` is None without photon energy.
    """

    two_theta: Floats
    phi: Floats
    solid_angle: Floats
    polarization: Floats
    q: Floats | None
    two_theta_half_width: Array | None
    phi_half_width: Array | None
    q_half_width: Array | None


def angles_of(geometry: Geometry) -> Angles:
    """Return the angles of every pixel.

    With v from the sample to the pixel: two_theta = atan2(hypot(v_x, v_y), v_z),
    phi = atan2(v_y, v_x), q = 4 pi / wavelength sin(two_theta / 2). Polarization factor
    of a beam polarized along x: (1 + cos^2 two_theta - cos(2 phi) sin^2 two_theta) / 2.
    """
    check_placed(geometry)
    v = geometry.centres.astype(np.float64)
    two_theta, phi = directions(v)
    cos2 = np.cos(two_theta) ** 2
    wavelength = geometry.wavelength
    q = None if wavelength is None else momentum(two_theta, wavelength)
    width_theta, width_phi, width_q = half_widths(geometry, two_theta, phi)
    return Angles(
        two_theta,
        phi,
        solid_angle(geometry, v),
        (1 + cos2 - np.cos(2 * phi) * (1 - cos2)) / 2,
        q,
        width_theta,
        width_phi,
        width_q,
    )


def directions(v: Floats) -> tuple[Floats, Floats]:
    """Return (two_theta, phi) in rad of vectors (3, ...)."""
    x, y, z = v
    return np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)


def momentum(two_theta: Floats, wavelength: float) -> Floats:
    """Return q in 1/angstrom."""
    return np.asarray(4 * np.pi / wavelength * np.sin(two_theta / 2))


def solid_angle(geometry: Geometry, v: Floats) -> Floats:
    """Return the solid angle of every pixel relative to one at normal incidence.

    A pixel of area A whose sensor plane passes the sample at the distance d covers
    A d / r^3. The reference is a pixel of the first panel's area at the distance of the
    geometry, or without one at the median distance of the panels. For a flat detector
    at right angles to the beam this is cos^3(two_theta); for a tilted one cos^3 of the
    angle of incidence, as in pyFAI. Where sensors are curved and `incidence` holds
    cos(a) of each pixel, it is cos(a) distance^2 / r^2. Positions that form no panels
    count as normal to z.
    """
    r = np.sqrt((v**2).sum(axis=0))
    if geometry.incidence is not None:
        reference = geometry.distance or float(np.nanmedian(r))
        return np.asarray(geometry.incidence * reference**2 / r**2)
    panels = geometry.lattice
    if geometry.normal is not None or not panels:
        normal = np.array(geometry.normal or (0.0, 0.0, 1.0))
        return np.asarray((np.tensordot(normal, v, axes=1) / r) ** 3)
    own = [panel.perpendicular_distance for panel in panels]
    reference = geometry.distance or float(np.median(own))
    out = np.full(r.shape, np.nan)
    for panel, d in zip(panels, own, strict=True):
        scale = panel.area / panels[0].area * reference**2 * d
        out[panel.region] = scale / r[panel.region] ** 3
    return out


def half_widths(
    geometry: Geometry, two_theta: Floats, phi: Floats
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the largest centre-to-corner differences of (two_theta, phi, q)."""
    panels = geometry.lattice
    if not panels:
        return None, None, None
    wide = [np.full(two_theta.shape, np.nan, np.float32) for _ in range(3)]
    wavelength = geometry.wavelength
    scale = 0.0 if wavelength is None else 4 * np.pi / wavelength
    for panel in panels:
        at = panel.region
        points, where = panel.shared_corners()
        corner_theta, corner_phi = directions(np.moveaxis(points, 1, 0))
        corners = (corner_theta, corner_phi, where)
        results = (wide[0][at], wide[1][at], wide[2][at])
        corner_spread(two_theta[at], phi[at], corners, scale, results)
    return wide[0], wide[1], None if wavelength is None else wide[2]
