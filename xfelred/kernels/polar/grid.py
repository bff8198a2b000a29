"""Where the samples of a polar map lie: radii, azimuths, and momentum transfer.

Lengths are in pixels, `step` is the size of a pixel divided by the distance from the
sample. x runs along columns and y along rows; an integer is the centre of a pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from xfelred.kernels.arrays import Array, Floats

TURN = 2 * np.pi
STEEPEST = np.sin(np.pi / 4) * (1 - 1e-12)  # q wavelength / 4 pi below 90 degrees


def radius_to_q(radius: ArrayLike, step: float, wavelength: float) -> Floats:
    """Return q in 1/angstrom at radii on a flat detector at right angles to the beam.

    q = 4 pi / wavelength sin(two_theta / 2) with two_theta = atan(radius step).

    >>> float(radius_to_q(759.7755, 50e-6 / 0.053, 1.44).round(3))
    2.67
    """
    two_theta = np.arctan(np.asarray(radius, dtype=np.float64) * step)
    return np.asarray(4 * np.pi / wavelength * np.sin(two_theta / 2))


def q_to_radius(q: ArrayLike, step: float, wavelength: ArrayLike) -> Floats:
    """Return the radius in pixels at which a flat detector sees q, NaN if it does not.

    radius = tan(2 asin(q wavelength / 4 pi)) / step, for scattering angles below 90
    degrees.
    """
    sine = np.asarray(q, dtype=np.float64) * np.asarray(wavelength) / (4 * np.pi)
    seen = (sine >= 0) & (sine < STEEPEST)
    two_theta = 2 * np.arcsin(np.where(seen, sine, 0.0))
    return np.asarray(np.where(seen, np.tan(two_theta) / step, np.nan))


def azimuths(n_phi: int) -> Floats:
    """Return equal steps of the full circle, rad, from 0; the end is not repeated."""
    return TURN * np.arange(n_phi) / n_phi


def sample_directions(n_phi: int) -> tuple[Floats, Floats]:
    """Return (cosine, sine) of the azimuths of the samples, which begin at -pi."""
    chi = azimuths(n_phi) - np.pi
    return np.cos(chi), np.sin(chi)


def sample_positions(radii: Floats, n_phi: int) -> tuple[Floats, Floats]:
    """Return (x, y) of all samples from the centre, float64 (radius, phi), pixels."""
    cosine, sine = sample_directions(n_phi)
    return radii[:, None] * cosine, radii[:, None] * sine


def cell_positions(
    radius: float, n_phi: int, spacing: float
) -> tuple[Array, Array, int]:
    """Return (x, y, points per cell) of points that fill the cells of one ring evenly.

    A cell is one pixel deep and one step of phi wide, with the sample at its centre.
    x and y are float64 (phi, points).
    """
    deep = int(np.ceil(1 / spacing))
    wide = max(1, int(np.ceil(radius * TURN / n_phi / spacing)))
    # A point stands for an area that grows with its radius: take equal areas.
    inner, outer = max(radius - 0.5, 0.0), radius + 0.5
    edges = np.sqrt(np.linspace(inner**2, outer**2, deep + 1))
    r = (edges[:-1] + edges[1:]) / 2
    turn = ((np.arange(wide) + 0.5) / wide - 0.5) * TURN / n_phi
    chi = (azimuths(n_phi) - np.pi)[:, None] + turn
    x = (np.cos(chi)[:, :, None] * r).reshape(n_phi, -1)
    y = (np.sin(chi)[:, :, None] * r).reshape(n_phi, -1)
    return x, y, deep * wide
