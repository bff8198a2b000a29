"""Angular correlations of differences of shots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.arrays import Ints
from xfelred.kernels.correlation import pairs as correlation
from xfelred.lazy import map_pairs, reduce_pairs
from xfelred.names import LAG, PHI, RADIUS
from xfelred.ops.correlation.pair_positions import FoundPairs, find_pairs, shots_only
from xfelred.ops.correlation.ring_correlation import (
    QUANTITY,
    correlation_dataset,
    ring_number,
    with_masks,
)
from xfelred.provenance import record
from xfelred.reductions.correlations import PairCorrelation, SharedPairs

GROUPS = 64  # of pairs that the jackknife leaves out, one at a time
BLOCKS = 40  # of shots: the error is known to 1 / sqrt(2 BLOCKS), 11 %


@entry(own=("with_ring",))
def difference_correlation(
    polar: xr.DataArray,
    pairs: xr.DataArray | Sequence[Sequence[int]] | ArrayLike,
    *,
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    normalization: Literal["none", "pairs", "variance"] = "pairs",
    reduce: Literal["mean"] | None = "mean",
    errors: Literal["jackknife"] | None = None,
    with_ring: int | None = None,
) -> xr.Dataset:
    """Correlate the differences of pairs of shots round the circle.

    What both shots of a pair share, such as artifacts of the detector, drops out.

    Parameters
    ----------
    polar : DataArray, any real dtype (train, [pulse,] radius, phi) or (frame, ...)
        Polar maps with all azimuths of the circle, brought to a common scale by
        `normalize_rings`. NaN is bad.
    pairs : DataArray (pair, member), or list of (first, second)
        Train IDs, as from `xfelred.pairs`, or names such as "tag_12"; first - second is
        taken, in floating point. Pairs of which a shot is absent are dropped and
        counted. Where trains have several pulses and `pairs` names none, pulses with
        the same ID are paired.
    bad_pixels : DataArray or array, bool or integer (radius, phi), optional
        Non-zero: left out. May have frame dims as well. An azimuth counts for a pair if
        it is good in both shots.
    normalization : {"none", "pairs", "variance"}
        As in `correlate_angular`, for the differences.
    reduce : "mean" or None
        All pairs together: sums of products divided by sums of counts; or each pair.
    errors : "jackknife", optional
        From leaving out one pair, or one of 64 groups of pairs (one of 40 blocks of
        shots, if pairs share shots). Of "variance", whose variances have errors, too,
        this is always so. Otherwise it gives the same `sem`, to the fluctuations of so
        few groups.
    with_ring : int, optional
        Position of the ring that leads, see `correlate_angular`.

    Returns
    -------
    Dataset
        Lazy. On (radius, lag): `correlation` and `sem`, float64, and `n_pairs`, how
        many pairs of good azimuths lie at the lag, int64. `sem` is the standard error
        of `correlation`, for any list of pairs: see Notes. For "variance" each pair
        counts in units of the mean variances of all, and `sem` knows that these have
        errors. NaN where there are too few pairs to tell. With
        ``reduce=None`` on (pair, radius, lag), without `sem`. Attributes `n_used` and
        `n_dropped` count pairs of shots.

    Raises
    ------
    ValueError
        If an option or ring does not exist, or a shot is paired with itself.
    SelectionEmptyError
        If there is no pair, or none of them is in the data.
    GeometryMismatchError
        If `polar` is no polar map of the full circle, or `bad_pixels` does not fit.

    Notes
    -----
    C[s - t] = C_ss + C_tt - C_st - C_ts: intra minus inter (Mendez et al. 2014,
    doi:10.1098/rstb.2013.0315). Power spectra of the differences are summed and
    transformed back once. Memory does not grow with the number of pairs.

    `sem` of pairs that share no shot is the sample standard deviation over pairs
    divided by the square root of their number. Pairs that share a shot, as consecutive
    and random ones do, are not independent: the products of the deviations of all pairs
    that share shots are summed too, by blocks of shots (up to 40; the error itself is
    known to some 11 %), see `xfelred.kernels.correlation.pair_errors`.
    """
    if errors is not None and reduce is None:
        raise ArgumentError(
            f"errors={errors!r} is the error of a mean, but reduce=None keeps every"
            " pair; leave one of them out"
        )
    array = shots_only(with_masks(polar, bad_pixels))
    lead = ring_number(with_ring, array.sizes[RADIUS])
    found = find_pairs(pairs, array)
    if reduce is None:
        out = each_pair(array, found, lead, normalization)
    else:
        out = all_pairs(array, found, lead, normalization, errors)
    result = correlation_dataset(
        out, array, normalization, lead, "differences of shots"
    )
    result.attrs |= {"n_used": len(found.positions), "n_dropped": found.n_dropped}
    if reduce is None:
        result = result.assign_coords(found.coords())
    return record(
        result,
        "difference_correlation",
        polar,
        pairs=np.asarray(found.train),
        bad_pixels=bad_pixels,
        normalization=normalization,
        reduce=reduce,
        errors=errors,
        with_ring=lead,
    )


def frame_dims(array: xr.DataArray) -> tuple[str, ...]:
    return tuple(str(d) for d in array.dims if d not in (RADIUS, PHI))


def each_pair(
    array: xr.DataArray, found: FoundPairs, lead: int | None, normalization: str
) -> dict[str, xr.DataArray]:
    packed = map_pairs(
        correlation.difference_correlations,
        array,
        found.positions,
        frame_dims=frame_dims(array),
        out_dims={QUANTITY: 2, RADIUS: array.sizes[RADIUS], LAG: array.sizes[PHI]},
        dtype=np.result_type(array.dtype, np.float32),
        lead=lead,
        normalization=normalization,
    )
    counts = packed.isel({QUANTITY: 1}).astype(np.int64)
    return {"correlation": packed.isel({QUANTITY: 0}), "n_pairs": counts}


def all_pairs(
    array: xr.DataArray,
    found: FoundPairs,
    lead: int | None,
    normalization: str,
    errors: str | None,
) -> dict[str, xr.DataArray]:
    if normalization == "variance":
        # Variances that count as exact would make the error 1.2 to 1.4 times too large.
        errors = "jackknife"
    positions = found.positions
    kinds = {"correlation": np.float64, "n_pairs": np.int64, "sem": np.float64}
    dims: dict[str, Any] = {
        "frame_dims": frame_dims(array),
        "kept": (RADIUS,),
        "results": kinds,
        "new_dims": {LAG: array.sizes[PHI]},
    }
    _, uses = np.unique(positions, return_counts=True)
    if (uses > 1).any():  # a shot is in several pairs
        shared = SharedPairs(lead, normalization, errors or "")
        return reduce_pairs(shared, array, in_blocks(positions), **dims)
    order = np.lexsort((positions[:, 1], positions[:, 0]))
    group = np.zeros(len(positions), np.int64)
    if errors == "jackknife":
        n_groups = min(len(positions), GROUPS)
        group = np.arange(len(positions)) * n_groups // len(positions)
    columns = np.concatenate([positions[order], group[:, None]], axis=1)
    independent = PairCorrelation(lead, normalization, errors or "")
    return reduce_pairs(independent, array, columns, **dims)


def in_blocks(positions: Ints) -> Ints:
    """Return pairs with the blocks of their shots, and how often each is in the list.

    positions: int64 (pair, 2).
    Returns int64 (pair, 5); positions of both; their blocks, of equal numbers of the
        shots that there are, in their order; number of the pair in the list, either way
        round.
    """
    shots, number = np.unique(positions, return_inverse=True)
    number = number.reshape(-1, 2)
    blocks = number * min(len(shots), BLOCKS) // len(shots)
    _, same, many = np.unique(
        np.sort(number, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    columns = np.concatenate(
        [positions, blocks, many[same.reshape(-1)][:, None]], axis=1
    )
    # Pairs of the same two blocks together, which need the same shots.
    low, high = np.sort(blocks, axis=1).T
    order = np.lexsort((positions[:, 1], positions[:, 0], high, low))
    return np.asarray(columns[order], np.int64)
