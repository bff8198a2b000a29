"""Angular correlations of differences of shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    SelectionEmptyError,
    listing,
)
from xfelred.kernels.arrays import Array, Ints
from xfelred.kernels.correlation import pairs as correlation
from xfelred.lazy import map_pairs, reduce_pairs
from xfelred.names import FRAME, LAG, MEMBER, PAIR, PHI, PULSE, QUANTITY, RADIUS, TRAIN
from xfelred.ops.correlation.ring_correlation import (
    correlation_dataset,
    ring_number,
    with_masks,
)
from xfelred.pairs import from_list
from xfelred.pairs.shots import ids_of, index_of
from xfelred.provenance import record
from xfelred.reductions.correlations import PairCorrelation, SharedPairs
from xfelred.shots import SHOT_DIMS

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


@dataclass(frozen=True)
class FoundPairs:
    """The pairs that were found."""

    # int64 (pair, 2); of both frames, row-major along the frame dims
    positions: Ints
    # train and pulse: (pair, 2); their IDs; pulse is None where pulses have none
    train: Array
    pulse: Array | None
    n_dropped: int  # pairs of which a frame is absent

    def coords(self) -> dict[str, Any]:
        """Return the IDs as coordinates on ``(pair, member)``."""
        out: dict[str, Any] = {
            MEMBER: ["first", "second"],
            TRAIN: ((PAIR, MEMBER), self.train, {"long_name": "train ID"}),
        }
        if self.pulse is not None:
            out[PULSE] = ((PAIR, MEMBER), self.pulse, {"long_name": "pulse ID"})
        return out


def shots_only(polar: xr.DataArray) -> xr.DataArray:
    """Return polar maps whose other dims are shots, which come first.

    Raises GeometryMismatchError if there are no shots, or there is another dim.
    """
    other = [d for d in polar.dims if d not in (*SHOT_DIMS, RADIUS, PHI)]
    long = [d for d in other if polar.sizes[d] != 1]
    if long:
        raise GeometryMismatchError(
            f"pairs of shots need the dims {listing(SHOT_DIMS)}, but the polar maps"
            f" also have {listing(long)}; select one position or take the mean"
        )
    out = polar.isel(dict.fromkeys(other, 0), drop=True)
    shots = [d for d in SHOT_DIMS if d in out.dims]
    if not shots:
        raise GeometryMismatchError(
            f"polar maps with dims {listing(polar.dims)} are one shot; pairs need"
            f" several along {TRAIN!r} or {FRAME!r}"
        )
    return out.transpose(*shots, RADIUS, PHI)


def find_pairs(
    pairs: xr.DataArray | Sequence[Sequence[int]] | ArrayLike, polar: xr.DataArray
) -> FoundPairs:
    """Return the positions of pairs of shots.

    pairs: DataArray (pair, member), or list of 2-tuples; train IDs, see
        `xfelred.pairs`. Without pulse IDs, a pair of trains stands for the pairs of
        their pulses with the same ID.
    polar: from `shots_only`.
    Raises ValueError if `pairs` does not hold pairs of whole numbers, there are two
        frames of one ID, or a shot is paired with itself; SelectionEmptyError if no
        pair is left.
    """
    labelled = from_list(pairs)
    template = polar.isel({RADIUS: 0, PHI: 0}, drop=True)
    train, pulse = ids_of(template)
    wanted = labelled.values
    if not wanted.size:
        raise SelectionEmptyError("the list of pairs is empty; nothing to correlate")
    if pulse is None:
        positions, asked_pulse = looked_up([train], [wanted]), None
    else:
        wanted, asked_pulse = with_pulses(labelled, pulse)
        positions = looked_up([train, pulse], [wanted, asked_pulse])
    there = (positions >= 0).all(axis=1)
    found = positions[there]
    if not len(found):
        raise SelectionEmptyError(
            f"none of {len(wanted)} pairs is in the data: first pair"
            f" {wanted[0].tolist()}, trains {span(train)}"
        )
    own = found[:, 0] == found[:, 1]
    if own.any():
        raise ArgumentError(
            f"{int(own.sum())} shots are paired with themselves, such as train"
            f" {wanted[there][own][0, 0]}; their difference is 0: remove them"
        )
    ids = None if asked_pulse is None else asked_pulse[there]
    return FoundPairs(found, wanted[there], ids, int((~there).sum()))


def with_pulses(pairs: xr.DataArray, pulse: Array) -> tuple[Array, Array]:
    """Return train and pulse IDs (pair, 2); all pulses where pairs name none."""
    if PULSE in pairs.coords:
        return pairs.values, pairs.coords[PULSE].values
    every = np.unique(pulse)
    trains = np.repeat(pairs.values, len(every), axis=0)
    pulses = np.tile(every, len(pairs))
    return trains, np.stack([pulses, pulses], axis=1)


def looked_up(have: list[Array], asked: list[Array]) -> Ints:
    """Return where combinations of IDs are, -1 if nowhere; ValueError for repeats."""
    index = index_of(have)
    if not index.is_unique:
        raise ArgumentError(
            f"{index[index.duplicated()].nunique()} train IDs stand for several frames;"
            " give the frames a coordinate `pulse` as well"
        )
    return index.get_indexer(index_of(asked)).reshape(asked[0].shape)


def span(ids: Array) -> str:
    return f"{ids.min()} to {ids.max()}" if len(ids) else "none"
