"""Detector images of rings with everything known."""

import numpy as np


def ring_image(
    shape,
    centre,
    radius,
    *,
    seed=None,
    width=1.5,
    counts=1e5,
    background=5.0,
    slope=0.0,
    arc=None,
    uneven=0.5,
    ellipse=(0.0, 0.0),
    hot=0,
):
    """A ring with `counts` photons on a background; Poisson noise if there is a seed.

    `arc`: (middle, half opening) in rad outside of which there is no ring. `uneven`:
    amplitude along the ring. `ellipse`: (A, phi0). `hot`: number of hot pixels.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    rho = np.hypot(x - centre[0], y - centre[1])
    phi = np.arctan2(y - centre[1], x - centre[0])
    away = rho - radius - ellipse[0] * np.cos(2 * (phi - ellipse[1]))
    ring = np.exp(-0.5 * (away / width) ** 2) * (1 + uneven * np.cos(phi - 1.0))
    if arc is not None:
        turn = np.mod(phi - arc[0] + np.pi, 2 * np.pi) - np.pi
        ring = ring * (np.abs(turn) < arc[1])
    image = ring * counts / ring.sum() + background * np.exp(-rho * slope)
    if seed is not None:
        image = rng.poisson(image).astype(np.float32)
    if hot:
        at = rng.integers(0, image.size, hot)
        image.ravel()[at] = rng.choice([1e3, 1e4, 1e6], hot)
    return image
