"""The centre of a ring in every frame, whatever the layout of the frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.geometry import Geometry
from xfelred.names import FAST, FRAME, SLOW, TRAIN, X, Y
from xfelred.ops.image.assemble import assemble
from xfelred.ops.rings.fit_ring import checked_guess, fit_ring
from xfelred.ops.validity import frame_pixels, masks_of, without
from xfelred.provenance import record


@entry
def fit_centre(
    da: xr.DataArray,
    guess: Sequence[float],
    *,
    geometry: Geometry | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    ring_width: float = 20.0,
    n_sectors: int = 36,
) -> xr.Dataset:
    """Fit the circle of a diffraction ring in every frame.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy, also one. NaN counts as a bad pixel.
    guess : (x, y, r), pixels
        Where the ring is in all frames, off by no more than half of `ring_width`: of
        `find_centre`, or `fit_ring`, on a mean image.
    geometry : Geometry, optional
        Of frames of several modules; x and y are then those of `assemble`.
    bad_pixels : DataArray or array, bool or integer, optional
        Non-zero: left out. On pixel dims, or with frame dims as well.
    ring_width, n_sectors
        As of `fit_ring`.

    Returns
    -------
    Dataset (...)
        Lazy, float64: ``x``, ``y``, ``r`` and ``rms``, their errors ``x_error``,
        ``y_error``, ``r_error`` (pixels), and ``coverage``, the part of the circle on
        which the ring is; NaN, with coverage 0, where a frame has none.

    Raises
    ------
    ArgumentError
        If the guess or an option makes no sense.
    GeometryMismatchError
        If there are several modules and no geometry, or `bad_pixels` does not fit.

    Notes
    -----
    That of `fit_ring`, frame by frame.

    Examples
    --------
    >>> import numpy as np
    >>> y, x = np.mgrid[-40:40, -40:40]
    >>> ring = np.exp(-0.5 * ((np.hypot(x, y) - 20) / 2) ** 2)
    >>> frames = xr.DataArray([ring], dims=("train", "slow_scan", "fast_scan"))
    >>> found = fit_centre(frames, (39, 39, 19))
    >>> found["x"].values.round(3), found["r"].values.round(3)
    (array([40.]), array([20.]))
    """
    near = cast("tuple[float, float, float]", checked_guess(guess))
    dims = frame_pixels(da, "rings")
    image = without(da, masks_of(da, bad_pixels, dims))
    if geometry is not None:
        image = assemble(image, geometry).rename({Y: SLOW, X: FAST})
    single = not {TRAIN, FRAME} & set(image.dims)  # which would be fitted at once
    stack = image.expand_dims(FRAME) if single else image
    options = {"ring_width": ring_width, "n_sectors": n_sectors}
    found = cast(xr.Dataset, fit_ring(stack, near, **options))  # type: ignore[arg-type]
    out = found.isel({FRAME: 0}) if single else found
    out.attrs = dict(da.attrs)
    return record(
        out, "fit_centre", da, guess=list(near), bad_pixels=bad_pixels, **options
    )
