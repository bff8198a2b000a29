"""Angular correlations within shots and between different shots."""

from __future__ import annotations

import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.names import RADIUS
from xfelred.ops.correlation.correlate_angular import correlate_angular, over_shots
from xfelred.ops.correlation.ring_correlation import (
    Normalization,
    correlation_dataset,
    ring_number,
    with_masks,
)
from xfelred.provenance import record
from xfelred.reductions.correlations import RingCorrelation


@entry(own=("with_ring",))
def intra_correlation(
    polar: xr.DataArray,
    *,
    with_ring: int | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    normalization: Normalization = "pairs",
) -> xr.Dataset:
    """Correlate the rings of every shot with those of the same shot, all together.

    The same as ``correlate_angular(..., reduce="mean")``; see there.
    """
    return correlate_angular(
        polar,
        with_ring=with_ring,
        bad_pixels=bad_pixels,
        normalization=normalization,
        reduce="mean",
    )


@entry(own=("with_ring",))
def inter_correlation(
    polar: xr.DataArray,
    *,
    with_ring: int | None = None,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    normalization: Normalization = "pairs",
) -> xr.Dataset:
    """Correlate the rings of every shot with those of all other shots, all together.

    It holds what shots have in common, such as artifacts of the detector; intra minus
    inter is half the mean correlation of the differences of all pairs of shots.

    Parameters
    ----------
    polar, with_ring, bad_pixels, normalization
        See `correlate_angular`. The mean over good azimuths is removed from the rings
        of each shot with its own mask.

    Returns
    -------
    Dataset (radius, lag)
        Lazy: `correlation`, float64, and `n_pairs`, int64, over all ordered pairs of
        different shots. NaN for a single shot.

    Raises
    ------
    ValueError, GeometryMismatchError
        As `correlate_angular`.

    Notes
    -----
    The sum over all pairs of C_st is the correlation of the sums over shots; that of
    C_ss is taken away. So the run is read once, whatever the number of pairs.
    """
    array = with_masks(polar, bad_pixels)
    lead = ring_number(with_ring, array.sizes[RADIUS])
    found = over_shots(array, RingCorrelation(lead, normalization, different=True))
    result = correlation_dataset(
        found, polar, normalization, lead, "rings of different shots"
    )
    return record(
        result,
        "inter_correlation",
        polar,
        with_ring=lead,
        bad_pixels=bad_pixels,
        normalization=normalization,
    )  # fmt: skip
