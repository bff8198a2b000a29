"""Angular correlations within shots and between different shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.kernels.correlation import pairs as correlation
from xfelred.kernels.correlation import rows
from xfelred.lazy import State, reduce_frames
from xfelred.names import LAG, PHI, RADIUS
from xfelred.ops.correlation.correlate_angular import correlate_angular
from xfelred.ops.correlation.ring_correlation import (
    Normalization,
    RingCorrelation,
    correlation_dataset,
    ring_number,
    with_masks,
)
from xfelred.provenance import record


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
    found = reduce_frames(
        BetweenShots(lead, normalization),
        array,
        dims=[str(d) for d in array.dims if d != RADIUS],
        results={"correlation": np.float64, "n_pairs": np.int64},
        new_dims={LAG: array.sizes[PHI]},
    )
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
    )


@dataclass(frozen=True)
class BetweenShots:
    """Mean correlation of different shots, as a reduction over shots and azimuths."""

    lead: int | None
    normalization: str

    def partial(
        self,
        state: State | None,
        blocks: Sequence[NDArray[np.generic]],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        raw = self.normalization == "none"
        items = rows.all_items(blocks[0])
        sums = correlation.ring_sums(items, self.lead, raw=raw)
        sums = correlation.add_images(sums, items, raw=raw)
        return sums if state is None else correlation.add_sums(state, sums)

    def combine(self, states: Sequence[State]) -> State:
        return RingCorrelation(self.lead, self.normalization).combine(states)

    def finish(self, state: State, result: str) -> NDArray[np.generic]:
        sums = correlation.inter_sums(state, self.lead)
        if result == "n_pairs":
            return sums["pairs"]
        return correlation.mean_correlation(sums, self.lead, self.normalization)
