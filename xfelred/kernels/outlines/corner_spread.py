"""How far the corners of a pixel are from its centre, in angles."""

from __future__ import annotations

import numpy as np
from numba import njit

from xfelred.kernels.arrays import Array


@njit(nogil=True, cache=True)
def corner_spread(
    two_theta: Array,
    phi: Array,
    corners: tuple[Array, Array, Array],
    scale: float,
    wide: tuple[Array, Array, Array],
) -> None:
    """Write the largest differences between the centre and the corners of each pixel.

    two_theta, phi: float64 (slow, fast), rad; of the centres.
    corners: (two_theta, phi, where); angles float64 (grid, slow + any, fast + any),
        rad; neighbours may share them. int (corner, 3): grid of each, and its distance
        there from the pixel.
    scale: 4 pi / wavelength, 1/angstrom; 0: that of q is left alone.
    wide: float32 (slow, fast), three of them; the results: of two_theta, phi and q.
    """
    corner_two_theta, corner_phi, where = corners
    wide_two_theta, wide_phi, wide_q = wide
    turn = 2 * np.pi
    for i in range(two_theta.shape[0]):
        for j in range(two_theta.shape[1]):
            centre, azimuth = two_theta[i, j], phi[i, j]
            low = high = centre
            widest = 0.0
            for c in range(len(where)):
                g, y, x = where[c, 0], i + where[c, 1], j + where[c, 2]
                low = min(low, corner_two_theta[g, y, x])
                high = max(high, corner_two_theta[g, y, x])
                step = corner_phi[g, y, x] - azimuth
                widest = max(widest, abs(step - turn * np.rint(step / turn)))
            wide_two_theta[i, j] = max(high - centre, centre - low)
            wide_phi[i, j] = widest
            if scale > 0:
                # q grows with two_theta, so the same corners are the farthest.
                q = np.sin(centre / 2)
                up, down = np.sin(high / 2) - q, q - np.sin(low / 2)
                wide_q[i, j] = scale * max(up, down)
