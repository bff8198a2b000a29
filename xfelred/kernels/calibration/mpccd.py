"""Where the pixels of MPCCD modules are, and how many photons they counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array, Floats

PAIR_ENERGY = 3.65
"""Energy in eV that makes one electron-hole pair in silicon."""


@dataclass(frozen=True)
class Placement:
    """How one module is mounted, in the words of ``detector_info``."""

    coordinate: tuple[float, float]  # (x, y); of the first pixel, in metres
    angle: float  # rotation of the module, degrees
    pixel: tuple[float, float]  # (slow, fast); pixel size in metres
    # direction in which the stage moves the module, degrees
    stage_direction: float = 0.0
    # how far, in metres: weight times position of the manipulator
    stage_shift: float = 0.0


def module_vectors(placement: Placement) -> tuple[Floats, Floats, Floats]:
    """Return the first pixel of a module and its steps (slow, fast).

    Returns first, slow_step, fast_step: float64 (2,), m; x to the left looking along
        the beam, y up, from the nominal beam axis.

    With the coordinate (x, y), moved along the stage first, the angle a and the pixel
    size p, pixel (s, f) lies at::

        X = -x + p (cos a * f - sin a * s)
        Y =  y + p (sin a * f + cos a * s)

    This is the convention of Cheetah, CrystFEL and dxtbx. By the facility's note on
    the octal sensor (x, y) is the centre of the first pixel.
    """
    stage, a = np.deg2rad(placement.stage_direction), np.deg2rad(placement.angle)
    x = placement.coordinate[0] + np.cos(stage) * placement.stage_shift
    y = placement.coordinate[1] + np.sin(stage) * placement.stage_shift
    slow, fast = placement.pixel
    return (
        np.array([-x, y]),
        slow * np.array([-np.sin(a), np.cos(a)]),
        fast * np.array([np.cos(a), np.sin(a)]),
    )


@njit(nogil=True, cache=True)
def multiply(images: Array, factor: Floats, out: Array) -> None:
    """Write ``images[i] * factor[i]`` to `out`; rows of pixels, one factor a row."""
    for i in range(images.shape[0]):
        f = factor[i]
        for j in range(images.shape[1]):
            out[i, j] = images[i, j] * f


def scaled(
    images: Array, *factors: Array, dtype_name: str, divide: bool = False
) -> Array:
    """Return images times the product of some factors.

    images: any real dtype (..., slow_scan, fast_scan); not modified.
    *factors: float (...); with the same axes; those of the pixels have length 1.
    dtype_name: of the result.
    divide: the last factor divides instead.
    Returns float (..., slow_scan, fast_scan); NaN where a factor is NaN or not
        positive.
    """
    lead, pixels = images.shape[:-2], images.shape[-2:]
    factor = np.ones(lead)
    for i, one in enumerate(factors):
        wide = one.reshape(one.shape[:-2]).astype(np.float64)
        wide = np.where(wide > 0, wide, np.nan)
        factor = factor / wide if divide and i == len(factors) - 1 else factor * wide
    out = np.empty(images.shape, dtype_name)
    n = int(np.prod(lead, dtype=int))
    flat = np.ascontiguousarray(images).reshape(n, pixels[0] * pixels[1])
    multiply(flat, np.ascontiguousarray(factor).ravel(), out.reshape(flat.shape))
    return out
