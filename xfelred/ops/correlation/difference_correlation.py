"""Angular correlations of differences of shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.arrays import Array, Floats
from xfelred.kernels.correlation import pairs as correlation
from xfelred.kernels.correlation import rows
from xfelred.kernels.reductions import moments
from xfelred.lazy import State, map_pairs, reduce_pairs
from xfelred.names import LAG, PHI, RADIUS
from xfelred.ops.correlation.pair_positions import FoundPairs, find_pairs, shots_only
from xfelred.ops.correlation.ring_correlation import (
    QUANTITY,
    correlation_dataset,
    ring_number,
    with_masks,
)
from xfelred.ops.correlation.shared_pairs import SharedPairs, in_blocks, share_shots
from xfelred.provenance import record

GROUPS = 64  # of pairs that the jackknife leaves out, one at a time
SPREAD = frozenset({"mean", "var"})


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
    if share_shots(positions):
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


@dataclass(frozen=True)
class PairCorrelation:
    """Mean correlation of differences, as a reduction over pairs of different shots."""

    lead: int | None  # the ring that leads
    normalization: str
    # "jackknife": the last column of the pairs is the number of their group
    errors: str

    def partial(
        self,
        state: State | None,
        blocks: Sequence[Array],
        axes: tuple[int, ...],
        needs: frozenset[str],
    ) -> State:
        frames, pairs = blocks
        frames = frames.reshape(-1, *frames.shape[-2:])
        out: State = {} if state is None else state
        values = bool(needs - {"n_pairs"})
        for number in np.unique(pairs[:, 2]).tolist():
            items = rows.differences(frames, pairs[pairs[:, 2] == number])
            sums = correlation.ring_sums(
                items, self.lead, raw=self.normalization == "none", values=values
            )
            out |= {f"{number}/{k}": v for k, v in sums.items()}
        if "sem" in needs and not self.errors:
            items = rows.differences(frames, pairs)
            out |= {f"spread/{k}": v for k, v in self.spread(items).items()}
        return out

    def spread(self, items: rows.Items) -> State:
        how = "none" if self.normalization == "none" else "pairs"
        state: State | None = None
        for _, one_each, _ in correlation.item_correlations(items, self.lead, how):
            state = moments.accumulate(state, one_each, (0,), SPREAD)
        return state or {}

    def combine(self, states: Sequence[State]) -> State:
        parts: dict[str, list[State]] = {}
        for state in states:
            for name, one in grouped(state).items():
                parts.setdefault(name, []).append(one)
        out: State = {}
        for name, several in sorted(parts.items()):
            merged = moments.merge(several) if name == "spread" else total(several)
            out |= {f"{name}/{k}": v for k, v in merged.items()}
        return out

    def finish(self, state: State, result: str) -> Array:
        groups = grouped(state)
        spread = groups.pop("spread", {})
        sums = total(list(groups.values()))
        if result == "n_pairs":
            return sums["pairs"]
        if result == "correlation":
            return self.mean(sums)
        if self.errors:
            return self.jackknife(sums, list(groups.values()))
        divisor = correlation.scale(sums, self.lead, self.normalization)
        return moments.result(spread, "sem", 1) / np.abs(divisor)[:, None]

    def mean(self, sums: State) -> Floats:
        return correlation.mean_correlation(sums, self.lead, self.normalization)

    def jackknife(self, sums: State, groups: list[State]) -> Floats:
        """Return the standard error from leaving out one group at a time."""
        n = len(groups)
        if n < 2:
            return np.full(sums["pairs"].shape, np.nan)
        # In one pass, around the estimate from all groups.
        middle = self.mean(sums)
        first = np.zeros(middle.shape)
        second = np.zeros(middle.shape)
        for group in groups:
            off = self.mean({k: v - group[k] for k, v in sums.items()}) - middle
            first += off
            second += off * off
        return np.sqrt((n - 1) / n * np.maximum(second - first * first / n, 0.0))


def grouped(state: State) -> dict[str, State]:
    groups: dict[str, State] = {}
    for name, value in state.items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = value
    return groups


def total(states: Sequence[State]) -> State:
    out = states[0]
    for other in states[1:]:
        out = correlation.add_sums(out, other)
    return out
