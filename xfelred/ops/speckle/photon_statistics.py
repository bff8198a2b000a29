"""How many pixels of a ring have no photon, one, two and so on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError, must_be_one_of
from xfelred.kernels.speckle import photons as kernel
from xfelred.lazy import map_frames
from xfelred.ops.speckle.rings import QBins, ring_map
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.ops.variables import variables
from xfelred.provenance import record

PHOTONS = "k"  # of a pixel: as the field calls it
MOST = 1000


@entry(own=("q_bins",))
def photon_statistics(
    da: xr.DataArray,
    q_bins: QBins,
    *,
    max_photons: int = 15,
    dim: str | Sequence[str] = (),
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Count the pixels of every ring by their photons: p(k).

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan), photons
        Frames, in memory or lazy, such as of `ops.adu_to_photons`; rounded to whole
        photons, half a photon up, and 0 if below. NaN counts as a bad pixel.
    q_bins : int, sequence of float, or DataArray
        Number of equal bins of the coordinate ``q`` (see `geometry.locate`), or their
        edges, in its unit; or the number of the ring of every pixel, on pixel dims:
        integers from 0, and -1 for no ring.
    max_photons : int
        Pixels with more are outliers: counted in ``n_above``, and nowhere else.
    dim : str or sequence of str, optional
        Dims of frames to add up. `ops.speckle_contrast` needs the frames apart.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    Dataset (..., q or ring)
        Lazy: ``histogram`` (..., k), int64, pixels with k photons; ``probability``
        (..., k), its share of them; ``k_mean``, photons per pixel; ``n_pixels``,
        good ones, and ``n_above``, int64. Shares and means without any pixel are NaN.

    Raises
    ------
    ArgumentError
        If `q_bins` are no bins, `max_photons` no sensible number, or a `dim` unknown.
    MissingConstantError
        If `da` has no coordinate ``q`` and `q_bins` is no map.
    GeometryMismatchError
        If `da` has no pixels, or a map or `bad_pixels` does not fit.

    Examples
    --------
    >>> frame = xr.DataArray([[0, 2], [1, 0]], dims=("slow_scan", "fast_scan"))
    >>> found = photon_statistics(frame, xr.zeros_like(frame), max_photons=2)
    >>> found["histogram"].values, found["k_mean"].values
    (array([[2, 1, 1]]), array([0.75]))
    """
    dims = frame_pixels(da, "photon statistics")
    if not 1 <= max_photons <= MOST:
        raise ArgumentError(f"max_photons={max_photons}; wanted 1 to {MOST}")
    rings = ring_map(da, q_bins, dims)
    over = (dim,) if isinstance(dim, str) else tuple(dict.fromkeys(dim))
    for name in over:
        must_be_one_of("dim", name, [d for d in da.dims if d not in dims])
    counts = map_frames(
        kernel.photon_statistics,
        numbers_of(da),
        rings.labels,
        *masks_of(da, bad_pixels, dims),
        core_dims=dims,
        out_core={rings.dim: rings.n, PHOTONS: max_photons + 2},
        dtype=np.int64,
        n_core=len(dims),
        n_rings=rings.n,
        most=max_photons,
    )
    counts = counts.drop_vars([rings.dim, PHOTONS], errors="ignore")
    counts = counts.sum(over) if over else counts
    histogram = counts.isel({PHOTONS: slice(0, -1)}).assign_coords(
        {PHOTONS: np.arange(max_photons + 1)}
    )
    above = counts.isel({PHOTONS: -1})
    return record(
        described(histogram, above, da).assign_coords(rings.coords),
        "photon_statistics",
        da,
        q_bins=q_bins,
        max_photons=max_photons,
        dim=list(over),
        bad_pixels=bad_pixels,
    )


def described(
    histogram: xr.DataArray, above: xr.DataArray, da: xr.DataArray
) -> xr.Dataset:
    """Return what follows from a histogram of photons, with units and names."""
    pixels = histogram.sum(PHOTONS)
    by = pixels.where(pixels > 0)
    found = {
        "histogram": (histogram, "1", "number of pixels with k photons"),
        "probability": (histogram / by, "1", "share of pixels with k photons"),
        "k_mean": (
            (histogram * histogram[PHOTONS]).sum(PHOTONS) / by,
            "photon",
            "photons per pixel",
        ),
        "n_pixels": (pixels, "1", "number of good pixels"),
        "n_above": (above, "1", "number of pixels with more photons than k goes to"),
    }
    return variables(da, **found)
