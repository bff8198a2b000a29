"""The circle that a diffraction ring lies on: beam centre and radius."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, NoDataError
from xfelred.kernels.arrays import Floats
from xfelred.kernels.rings import ring_fit
from xfelred.kernels.rings.ring_fit import RingOptions, largest_gap
from xfelred.lazy import map_frames
from xfelred.names import QUANTITY
from xfelred.ops.rings.find_centre import guess_of
from xfelred.ops.rings.image_input import Image, image_or_stack
from xfelred.ops.variables import variables
from xfelred.provenance import record

# Variables of a stack: units and long name, in the order of the kernel's results.
RESULTS = {
    "x": ("pixel", "centre of the ring along columns"),
    "y": ("pixel", "centre of the ring along rows"),
    "r": ("pixel", "radius of the ring"),
    "rms": ("pixel", "rms distance of the sectors from the circle"),
    "x_error": ("pixel", "standard error of x"),
    "y_error": ("pixel", "standard error of y"),
    "r_error": ("pixel", "standard error of r"),
    "coverage": ("1", "part of the circle in which the ring was found"),
}

Guess = Iterable[float] | None


@dataclass(frozen=True)
class RingFit:
    """A ring; unpacks as (x, y, r), and goes to `remap_polar` as the centre.

    Attributes
    ----------
    x, y, r : float, pixels
        Centre along columns and rows (an integer is the centre of a pixel), radius.
    covariance : float64 (n, n), pixels^2
        Of x, y, r and, of an ellipse, of the two parts of the second harmonic.
    rms : float, pixels
        Of the distances of the sectors that were used from the circle.
    coverage : float
        Part of the circle in which the ring was found, 0 to 1.
    gap : float, rad
        The largest angle without the ring.
    n_sectors : int
        Number of sectors in which it was found.
    width : float, pixels
        Standard deviation of its profile.
    tilt : (float, float), pixels and rad, or None
        A and phi0 of an ellipse with radius r + A cos(2 (phi - phi0)), phi from columns
        towards rows. None: a circle was fitted.
    """

    x: float
    y: float
    r: float
    covariance: Floats
    rms: float
    coverage: float
    gap: float
    n_sectors: int
    width: float
    tilt: tuple[float, float] | None = None

    def __iter__(self) -> Iterator[float]:
        """Unpack as (x, y, r)."""
        return iter((self.x, self.y, self.r))

    @property
    def errors(self) -> tuple[float, float, float]:
        """Standard errors of x, y and r in pixels."""
        x, y, r = np.sqrt(np.diag(self.covariance))[:3].tolist()
        return x, y, r

    def __repr__(self) -> str:
        """Return one line: centre and radius with errors, coverage, rms."""
        x, y, r = self.errors
        return (
            f"<RingFit x={self.x:.3f}({x:.3f}) y={self.y:.3f}({y:.3f})"
            f" r={self.r:.3f}({r:.3f}) pixels, coverage {self.coverage:.0%},"
            f" rms {self.rms:.3f}>"
        )


@entry
def fit_ring(
    image: xr.DataArray | ArrayLike,
    guess: Guess = None,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    ring_width: float = 20.0,
    n_sectors: int = 72,
    shape: Literal["circle", "ellipse"] = "circle",
) -> RingFit | xr.Dataset:
    """Fit a circle, or an ellipse, to a diffraction ring.

    Parameters
    ----------
    image : DataArray or array (..., slow_scan, fast_scan) or (..., y, x)
        One flat image, also with `module` and `pulse` of length 1; or a stack with
        frame dims. NaN pixels are left out. A mean image is best; of several modules,
        `ops.assemble` makes one.
    guess : (x, y, r), pixels, optional
        Off by no more than half of `ring_width`. By default that of `ops.find_centre`.
    bad_pixels : DataArray or array, bool or integer, optional
        Non-zero: left out.
    ring_width : float, pixels
        Width of the window around the guess in which the ring is looked for; wide
        enough for the ring and some background on both sides, without another ring.
    n_sectors : int
        Parts of the circle that are compared; fewer where the ring is small.
    shape : {"circle", "ellipse"}
        An ellipse shows the tilt of the detector; its centre is not that of the beam.

    Returns
    -------
    RingFit or Dataset
        Of one image, at once. Of a stack, lazily, a Dataset on its frame dims: `x`,
        `y`, `r`, `rms`, `x_error`, `y_error`, `r_error` (pixels) and `coverage`; NaN
        with coverage 0 where there is no ring.

    Raises
    ------
    NoDataError
        If one image has no ring near the guess, or no good pixel there.
    ValueError
        If an option does not exist or the guess is not three numbers.
    GeometryMismatchError
        If `image` is not flat or `bad_pixels` does not fit.

    Notes
    -----
    In sector k the profile a_k exp(-(rho - R)^2 / (2 w^2)) + b_k + c_k (rho - R) is
    fitted with common x, y, r and w by least squares; a_k, b_k, c_k are eliminated
    (variable projection, doi:10.1137/0710036), so that neither an uneven ring nor an
    uneven background pulls the centre. Hot and dead pixels are left out: 6 standard
    deviations from the median of their neighbours at the same radius, at most 1 % of
    them; and any number of those 20 times farther off than is usual, if they are
    everywhere, not on the ring. Others far from the model, and sectors off the circle,
    count less. The window follows the ring and is narrowed. Errors are those of the
    noise around the fit.
    """
    options = ring_options(ring_width, n_sectors, shape)
    near = checked_guess(guess)
    found = image_or_stack(image, bad_pixels)
    if isinstance(found, Image):
        return fit_one(found, near, options)
    # A stack is fitted frame by frame when it is computed.
    packed = map_frames(
        ring_fit.fit_rings,
        found.frames,
        *found.masks,
        core_dims=found.dims,
        out_core={QUANTITY: len(RESULTS)},
        dtype=np.float64,
        name="fit_ring",
        n_core=len(found.dims),
        guess=near,
        options=options,
    )
    results = {
        name: (packed.isel({QUANTITY: i}), *what)
        for i, (name, what) in enumerate(RESULTS.items())
    }
    return record(
        variables(found.frames, **results),
        "fit_ring",
        found.frames,
        guess=None if near is None else list(near),
        bad_pixels=None if bad_pixels is None else xr.DataArray(bad_pixels),
        ring_width=ring_width,
        n_sectors=n_sectors,
        shape=shape,
    )


def fit_one(
    image: Image, guess: tuple[float, float, float] | None, options: RingOptions
) -> RingFit:
    if guess is None:
        x, y, r = guess_of(image)
        guess = x, y, r
    fit = ring_fit.fit_ring(image.values, image.good, guess, options)
    if fit is None:
        x, y, r = guess
        n_good = ring_fit.window_pixels(image.values, image.good, guess, options)
        raise NoDataError(
            f"no ring within {options.ring_width / 2:g} pixels of the circle"
            f" x={x:.1f}, y={y:.1f}, r={r:.1f} on the image of {image.size}; there are"
            f" {n_good} good pixels in this window. Give a better guess=(x, y, r), a"
            " wider ring_width=, or check bad_pixels"
        )
    tilt = None
    if options.ellipse:
        c, s = fit.params[4:]
        # From the parts of the radius along cos(2 phi) and sin(2 phi).
        tilt = (float(np.hypot(c, s)), float(np.arctan2(s, c) / 2))
    x, y, r, width = fit.params[:4].tolist()
    # Without the width, which is no part of the circle.
    kept = [0, 1, 2, 4, 5] if options.ellipse else [0, 1, 2]
    return RingFit(
        x,
        y,
        r,
        fit.covariance[np.ix_(kept, kept)],
        fit.rms,
        float(fit.used.mean()),
        largest_gap(fit.used),
        int(fit.used.sum()),
        width,
        tilt,
    )


def ring_options(ring_width: float, n_sectors: int, shape: str) -> RingOptions:
    if not 4 <= ring_width < np.inf:
        raise ArgumentError(f"ring_width={ring_width}; wanted 4 pixels or more")
    if n_sectors != int(n_sectors) or n_sectors < 8:
        raise ArgumentError(f"n_sectors={n_sectors}; wanted a whole number, 8 or more")
    return RingOptions(float(ring_width), int(n_sectors), shape == "ellipse")


def checked_guess(guess: Guess) -> tuple[float, float, float] | None:
    if guess is None:
        return None
    numbers = [float(v) for v in guess]
    if len(numbers) != 3 or not np.isfinite(numbers).all() or numbers[2] <= 0:
        raise ArgumentError(
            f"guess={tuple(numbers)}; wanted (x, y, r) in pixels with r above 0"
        )
    return numbers[0], numbers[1], numbers[2]
