"""How long does a ring fit take, and how far is it off the truth?

    python benchmarks/ring_fit.py

One image of 4 Mpix with a ring of 1e6 photons, hot pixels and a dead quarter, float32,
through `ops.fit_ring` and `ops.find_centre`. Beside them: orthogonal least squares on
the 5000 brightest pixels of the window by scipy.optimize.
"""

import numpy as np
from common import machine, median_times, table
from scipy.optimize import least_squares

from xfelred import ops

SIZE = 2048
TRUTH = (1010.3, 1033.7, 765.2)
GUESS = (1014.0, 1030.0, 762.0)


def simulated():
    """Return (image, bad pixels)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE].astype("f4")
    rho = np.hypot(x - TRUTH[0], y - TRUTH[1])
    ring = np.exp(-0.5 * ((rho - TRUTH[2]) / 1.5) ** 2)
    image = rng.poisson(ring * (1e6 / ring.sum()) + 5).astype("f4")
    image.ravel()[rng.integers(0, image.size, 3000)] = 1e5
    bad = np.zeros(image.shape, bool)
    bad[: SIZE // 2, SIZE // 2 :] = True
    return image, bad


def brightest(image, bad):
    """Return the circle through the brightest pixels near the guess."""
    y, x = np.indices(image.shape)
    window = np.abs(np.hypot(x - GUESS[0], y - GUESS[1]) - GUESS[2]) < 10
    used = np.where(window & ~bad, image, 0)
    at = np.argpartition(used.ravel(), -5000)[-5000:]
    px, py = x.ravel()[at], y.ravel()[at]

    def away(p):
        return np.hypot(px - p[0], py - p[1]) - p[2]

    return least_squares(away, GUESS).x


def main():
    machine()
    image, bad = simulated()
    variants = {
        "scipy, 5000 brightest pixels": lambda: brightest(image, bad),
        "fit_ring with a guess": lambda: tuple(
            ops.fit_ring(image, GUESS, bad_pixels=bad)
        ),
        "fit_ring, ellipse": lambda: tuple(
            ops.fit_ring(image, GUESS, bad_pixels=bad, shape="ellipse")
        ),
        "find_centre": lambda: tuple(ops.find_centre(image, bad_pixels=bad)),
        "fit_ring without a guess": lambda: tuple(ops.fit_ring(image, bad_pixels=bad)),
    }
    for name, function in variants.items():
        off = np.abs(np.subtract(function(), TRUTH))
        print(f"{name:<34} off by {off.max():.3f} pixels")
    table(median_times(variants, 3), "fit_ring with a guess")


if __name__ == "__main__":
    main()
