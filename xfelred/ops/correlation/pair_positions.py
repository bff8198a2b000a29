"""Pairs of train IDs looked up in an array of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    SelectionEmptyError,
    listing,
)
from xfelred.kernels.arrays import Array, Ints
from xfelred.names import FRAME, MEMBER, PAIR, PHI, PULSE, RADIUS, TRAIN
from xfelred.pairs import from_list
from xfelred.pairs.shots import ids_of, index_of
from xfelred.shots import SHOT_DIMS


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
