"""Histogram of the pixels of every frame."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.image import spectrum as kernel
from xfelred.lazy import map_frames
from xfelred.names import BIN, LONG_NAME, UNITS
from xfelred.ops.reductions.bins import Bins
from xfelred.ops.validity import frame_pixels, masks_of, numbers_of
from xfelred.ops.variables import unit_of, variables
from xfelred.provenance import record

BIN_EDGE = "bin_edge"
MOST_BINS = 1 << 20  # of each frame


@entry(own=("bins",))
def spectrum(
    da: xr.DataArray,
    bins: ArrayLike | Bins,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Count the good pixels of every frame by value.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan)
        Frames, in memory or lazy. NaN counts as a bad pixel.
    bins : sequence of numbers, or Bins
        ``[low, high]``: one bin. ``[low, high, n]`` with an integer: n bins. ``[low,
        high, width]`` with a float: bins of this width, the last one up to high. More
        numbers: edges. The last edge belongs to the last bin, but not that of `Bins`.
    bad_pixels : DataArray or array, optional
        Non-zero where a pixel is bad. On pixel dims, or with frame dims as well.

    Returns
    -------
    Dataset (..., bin)
        Lazy: ``histogram``, int64; coords ``bin`` (centres) and ``bin_edges``
        (bin_edge).

    Raises
    ------
    ArgumentError
        If `bins` make no bins, or depend on the values.
    GeometryMismatchError
        If `da` has no pixels, or `bad_pixels` does not fit.

    Notes
    -----
    spectrumFunc and getBins of the LCLS smalldata_tools.

    Examples
    --------
    >>> frame = xr.DataArray([[1, 2], [3, 4]], dims=("slow_scan", "fast_scan"))
    >>> spectrum(frame, [0, 4, 2])["histogram"].values
    array([1, 3])
    """
    dims = frame_pixels(da, "spectra")
    edges = edges_of(bins)
    counts = map_frames(
        kernel.spectrum,
        numbers_of(da),
        *masks_of(da, bad_pixels, dims),
        core_dims=dims,
        out_core={BIN: len(edges) - 1},
        dtype=np.int64,
        n_core=len(dims),
        edges=edges,
        closed=not isinstance(bins, Bins),
    )
    unit = {UNITS: unit_of(da), LONG_NAME: "pixel value"}
    out = variables(da, histogram=(counts, "1", "number of pixels"))
    out = out.assign_coords(
        {
            BIN: (BIN, (edges[:-1] + edges[1:]) / 2, unit),
            "bin_edges": (BIN_EDGE, edges, unit),
        }
    )
    return record(out, "spectrum", da, bins=edges.tolist(), bad_pixels=bad_pixels)


def must_be_few(n: float, bins: ArrayLike) -> None:
    if n > MOST_BINS:
        raise ArgumentError(f"bins={bins!r} are {n:.0f}; at most {MOST_BINS}")


def edges_of(bins: ArrayLike | Bins) -> NDArray[np.float64]:
    """Return the edges of bins in any of the forms in which users give them."""
    if isinstance(bins, Bins):
        if bins.by_data:
            raise ArgumentError(
                "bins of a spectrum cannot depend on the values of all frames: give"
                " edges, or range and n"
            )
        return bins.fixed().edges
    try:
        given = bins if isinstance(bins, list | tuple) else np.asarray(bins).tolist()
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        values = np.array([])
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ArgumentError(
            f"bins={bins!r}: wanted [low, high], [low, high, number], [low, high, width"
            " as a float] or edges"
        )
    edges = np.sort(values) if len(values) == 2 else values
    if len(values) == 3:
        low, high, last = values
        if last <= 0:
            raise ArgumentError(f"bins={bins!r}: number or width must be above 0")
        if isinstance(given[2], int | np.integer):
            must_be_few(float(last), bins)
            edges = np.linspace(low, high, int(last) + 1)
        else:
            must_be_few((high - low) / last, bins)
            edges = np.append(np.arange(low, high, last), high)
    if len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise ArgumentError(f"bins={bins!r}: edges must rise")
    return edges
