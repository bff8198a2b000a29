"""The centre of rings without a guess."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import GeometryMismatchError, NoDataError
from xfelred.kernels.rings import find_centre as kernels
from xfelred.ops.rings.image_input import Image, Stack, image_or_stack


@entry
@dataclass(frozen=True)
class RingGuess:
    """Roughly where a ring is; unpacks as (x, y, r) and goes to `fit_ring` as guess.

    Attributes
    ----------
    x, y, r : float, pixels
        Centre along columns and rows, radius of the clearest ring.
    contrast : float
        Part of the variance of the image, without broad structure, that rings about
        this centre explain. Below about 0.05 there may be no rings at all.
    """

    x: float
    y: float
    r: float
    contrast: float

    def __iter__(self) -> Iterator[float]:
        """Unpack as (x, y, r)."""
        return iter((self.x, self.y, self.r))


@entry
def find_centre(
    image: xr.DataArray | ArrayLike,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> RingGuess:
    """Find the centre of the rings of one image, to a few pixels.

    Parameters
    ----------
    image : DataArray or array (slow_scan, fast_scan) or (y, x)
        Flat; `module` and `pulse` of length 1 may be there. A mean image is best.
    bad_pixels : DataArray or array, bool or integer, optional
        Non-zero: left out.

    Returns
    -------
    RingGuess

    Raises
    ------
    NoDataError
        If there is nothing but bad or equal pixels.
    GeometryMismatchError
        If the image has several modules or frames, or `bad_pixels` does not fit.

    Notes
    -----
    The centre about which a radial profile explains most of the variance. Candidates
    are all places on a coarse lattice over the image and half its size around it, the
    point about which the image is most like its own inversion, and the middle. Half a
    ring, or a quarter that bends well, is enough; the centre may lie outside the image.
    Rings must cover a good part of the image's structure: single Bragg peaks, edges of
    unmasked gaps, or rings fainter than other sharp structure mislead it.
    """
    found = image_or_stack(image, bad_pixels)
    if isinstance(found, Stack):
        raise GeometryMismatchError(
            f"there are frames, {dict(found.frames.sizes)}; give one image, such as"
            " their mean"
        )
    return guess_of(found)


def guess_of(image: Image) -> RingGuess:
    """Return where the rings of an image are; NoDataError if it has no structure."""
    found = RingGuess(*kernels.find_centre(image.values, image.good))
    # The kernel gives NaN then.
    if not np.isfinite(found.r):
        raise NoDataError(
            f"the image of {image.size} has no structure: {image.good.sum()} good"
            " pixels; is everything masked?"
        )
    return found
