"""The rings of pixels over which speckle statistics are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError
from xfelred.geometry import rings as geometry_rings
from xfelred.geometry.rings import Bins
from xfelred.names import LONG_NAME, UNITS, Q
from xfelred.ops.companions import matching, on_all_pixels

RING = "ring"
QBins = Bins | Sequence[float] | xr.DataArray


@dataclass(frozen=True, eq=False)
class RingMap:
    """The ring of every pixel, and what a result says of the rings."""

    labels: xr.DataArray  # int32 (pixel dims); -1: in no ring
    dim: str
    n: int
    coords: dict[str, xr.Variable]


def ring_map(da: xr.DataArray, q_bins: QBins, dims: tuple[str, ...]) -> RingMap:
    """Return the rings of pixels by their q, or as a map of ring numbers says."""
    if not isinstance(q_bins, xr.DataArray):
        axis = geometry_rings.radial_axis(da, Q, "no")
        edges = geometry_rings.radial_edges(axis, q_bins, None)
        good = np.ones(axis.values.shape, bool)
        (places,) = geometry_rings.bin_maps(da, axis, edges, None, good)
        coords = geometry_rings.edge_coords(axis, edges, None)
        labels = xr.DataArray(places, dims=axis.dims)
        return RingMap(
            on_all_pixels(labels, da, dims, "q_bins"), Q, len(edges) - 1, coords
        )
    if q_bins.dtype.kind not in "iu":
        raise ArgumentError(
            f"q_bins is a map of dtype {q_bins.dtype}; wanted the number of the ring of"
            " every pixel, as integers from 0, and -1 for none; or a number of bins or"
            " edges of q"
        )
    found = matching(q_bins, da, "q_bins").compute(scheduler="synchronous")
    n = int(found.max()) + 1 if found.size else 0
    if n < 1:
        raise ArgumentError("q_bins has no ring: wanted numbers from 0 on")
    attrs = {UNITS: "1", LONG_NAME: "number of the ring"}
    number: NDArray[np.int64] = np.arange(n)
    coords = {RING: xr.Variable(RING, number, attrs)}
    return RingMap(
        on_all_pixels(found.astype(np.int32), da, dims, "q_bins"), RING, n, coords
    )
