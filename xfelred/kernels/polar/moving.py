"""Frames resampled on rings whose centre or photon energy changes from shot to shot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from xfelred.kernels.arrays import Array, Floats, read_only
from xfelred.kernels.polar.grid import TURN, q_to_radius, sample_directions
from xfelred.kernels.polar.remap import (
    ALL_CORNERS,
    Table,
    field,
    flat_frames,
    good_mean,
    joined_masks,
    result_dtype,
)

METHODS = ("nearest", "linear", "area")
POINTS = 8  # per pixel and axis, for "area"


@dataclass(frozen=True)
class Sampling:
    """What is the same for all frames."""

    n_phi: int
    method: str  # one of METHODS
    step: float  # pixel size / distance; 0: the radii are those of all frames
    signs: tuple[int, int]  # of x and y: -1 where columns or rows run against them
    min_weight: float  # as for `kernels.polar.remap.remap_polar`


def remap_polar_moving(
    block: Array,
    axis: Table,
    centre_x: Array,
    centre_y: Array,
    wavelength: Array,
    *masks: Array,
    n_core: int,
    sampling: Sampling,
) -> NDArray[np.floating[Any]]:
    """Resample every frame of a block around a centre of its own.

    block: number (..., core axes); flat images; the last two axes are rows and columns.
    axis: record (1, ...); ``radius`` (pixels) and, if the step is not 0, ``q``
        (1/angstrom) of the rings.
    centre_x, centre_y: float (..., 1), pixels; where the beam hits. NaN: the frame
        gives NaN.
    wavelength: float (..., 1), angstrom; of the photons, if the step is not 0; unless
        it is positive the frame gives NaN.
    *masks, n_core: as for `kernels.polar.remap.remap_polar`.
    Returns float32 or float64 (..., radius, phi).
    """
    lead = block.shape[: block.ndim - n_core]
    frames = flat_frames(block, n_core)
    bad = joined_masks(masks, block.shape, n_core)
    x, y, wavelengths = (
        np.broadcast_to(a.reshape(a.shape[: len(lead)]), lead).astype(float).ravel()
        for a in (centre_x, centre_y, wavelength)
    )
    fixed = field(axis, "radius")
    radii = np.broadcast_to(fixed, (len(frames), fixed.size))
    if sampling.step:
        radii = radii_of_shots(field(axis, "q"), wavelengths, sampling.step)
    cosine, sine = sample_directions(sampling.n_phi)
    signs = sampling.signs
    out = np.empty((*radii.shape, sampling.n_phi), dtype=result_dtype(block.dtype))
    images = frames.reshape(-1, *block.shape[-2:])
    sample_frames(
        images,
        np.stack([x, y], axis=1),
        (read_only(radii), cosine * signs[0], sine * signs[1]),
        bad,
        METHODS.index(sampling.method),
        sampling.min_weight,
        out,
    )
    return out.reshape(*lead, *out.shape[1:])


def radii_of_shots(q: Floats, wavelengths: Floats, step: float) -> Floats:
    """Return the radii (frame, q) at which shots have the same q."""
    usable = np.where(wavelengths > 0, wavelengths, np.nan)
    return q_to_radius(q, step, usable[:, None])


@njit(nogil=True, cache=True)
def sample_frames(
    images: Array,
    centres: Array,
    rings: tuple[Array, Array, Array],
    bad: Array,
    method: int,
    min_weight: float,
    out: Array,
) -> None:
    """Sample every image on its own rings: radii, and cosine and sine of azimuths."""
    radii, cosine, sine = rings
    for i in range(len(images)):
        image = images[i]
        hidden = bad[min(i, len(bad) - 1)] if len(bad) else bad.ravel()
        for k in range(radii.shape[1]):
            radius = radii[i, k]
            for j in range(cosine.size):
                x = centres[i, 0] + radius * cosine[j]
                y = centres[i, 1] + radius * sine[j]
                if not (np.isfinite(x) and np.isfinite(y)):
                    out[i, k, j] = np.nan
                elif method == 0:
                    out[i, k, j] = nearest_good(image, x, y, hidden)
                elif method == 1:
                    out[i, k, j] = between(image, x, y, hidden, min_weight)
                else:
                    place, direction = (x, y), (radius, cosine[j], sine[j])
                    out[i, k, j] = cell_mean(
                        image, place, direction, cosine.size, hidden, min_weight
                    )


@njit(nogil=True, cache=True)
def nearest_good(image: Array, x: float, y: float, hidden: Array) -> float:
    """Return the pixel at a position, halves going down; NaN outside or if bad."""
    column, row = int(np.ceil(x - 0.5)), int(np.ceil(y - 0.5))
    if not (0 <= column < image.shape[1] and 0 <= row < image.shape[0]):
        return np.nan
    if hidden.size and hidden[row * image.shape[1] + column]:
        return np.nan
    return float(image[row, column])


@njit(nogil=True, cache=True)
def between(
    image: Array, x: float, y: float, hidden: Array, min_weight: float
) -> float:
    """Interpolate between the good ones of the four pixels around a position."""
    rows, columns = image.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    if not (-1 <= left < columns and -1 <= top < rows):
        return np.nan
    # Bits 0 and 1: the upper two pixels, left and right; bits 2 and 3: the lower two.
    corners = ALL_CORNERS
    if left < 0:
        corners &= 10
    if left + 1 >= columns:
        corners &= 5
    if top < 0:
        corners &= 12
    if top + 1 >= rows:
        corners &= 3
    first = top * columns + left
    return good_mean(
        image.ravel(), columns, first, x - left, y - top, corners, hidden, min_weight
    )


@njit(nogil=True, cache=True)
def cell_mean(
    image: Array,
    place: tuple[float, float],
    direction: tuple[float, float, float],
    n_phi: int,
    hidden: Array,
    min_weight: float,
) -> float:
    """Average the good pixels under evenly spread points of one cell."""
    x, y = place
    radius, cosine, sine = direction
    arc = radius * TURN / n_phi
    wide = max(1, int(np.ceil(arc * POINTS)))
    inner, outer = max(radius - 0.5, 0.0) ** 2, (radius + 0.5) ** 2
    total, n = 0.0, 0
    edge = np.sqrt(inner)
    for a in range(POINTS):
        # Rings of equal area, as in `grid.cell_positions`.
        further = np.sqrt(inner + (a + 1) / POINTS * (outer - inner))
        out = (edge + further) / 2 - radius
        edge = further
        for b in range(wide):
            turn = ((b + 0.5) / wide - 0.5) * TURN / n_phi
            c = cosine * np.cos(turn) - sine * np.sin(turn)
            s = sine * np.cos(turn) + cosine * np.sin(turn)
            at_x = x + (radius + out) * c - radius * cosine
            at_y = y + (radius + out) * s - radius * sine
            v = nearest_good(image, at_x, at_y, hidden)
            if np.isfinite(v):
                total += v
                n += 1
    enough = n > 0 and n >= min_weight * POINTS * wide
    return total / n if enough else np.nan
