"""The shots that pairs are made of, sorted into groups that do not mix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.errors import ArgumentError, ShotNameError, listing
from xfelred.names import (
    BEAM,
    IN_EVENT_TABLE,
    LONG_NAME,
    MEMBER,
    PAIR,
    PULSE,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
    TRAIN,
    UNITS,
)
from xfelred.provenance import record
from xfelred.shot_names import shot_numbers
from xfelred.shots import shot_dims


@dataclass(frozen=True)
class GroupedShots:
    """Shots in their order; they pair within a group only."""

    train: NDArray[Any]  # (shot,): IDs
    pulse: NDArray[Any] | None  # (shot,); None where pulses have no IDs
    group: NDArray[np.int64]  # (shot,); -1: in no pair
    # How many were left out and why, for the attributes of the pairs.
    counts: dict[str, int] = field(default_factory=dict)

    def groups(self) -> Iterator[NDArray[np.intp]]:
        """Yield the positions of the shots of each group, in order."""
        order = np.argsort(self.group, kind="stable")
        order = order[self.group[order] >= 0]
        if len(order):
            starts = np.flatnonzero(np.diff(self.group[order])) + 1
            yield from np.split(order, starts)


def shots_of(
    coord: xr.DataArray | ArrayLike,
    groups: xr.DataArray | ArrayLike | None = None,
    min_group: int = 2,
    *,
    darks: bool = False,
    usable: NDArray[np.bool_] | None = None,
) -> GroupedShots:
    """Return the shots that a coordinate names.

    `coord` are train IDs, or an array on ``train``, ``(train, pulse)`` or ``frame``
    with a coordinate ``train``; the rest is as in `xfelred.pairs.consecutive`. Shots
    that are not `usable`, bool (shot,), are left out.
    """
    train, pulse = ids_of(coord)
    check_unique(train, pulse)
    group, counts = np.zeros(len(train), np.int64), {}
    if groups is not None:
        group = labels_of(groups, train, pulse)
        counts["n_ungrouped"] = int((group < 0).sum())
    # Nobody knows whether a shot without an event, or without a status, was lit.
    for count, good in (
        ("n_unknown", flags_of(coord, IN_EVENT_TABLE)),
        ("n_unknown", flags_of(coord, SHUTTER_KNOWN)),
        ("n_no_beam", flags_of(coord, BEAM)),
        ("n_unusable", usable),
    ):
        if good is not None:
            left_out = int((~good & (group >= 0)).sum())
            counts[count] = counts.get(count, 0) + left_out
            group = np.where(good, group, -1)
    is_open = flags_of(coord, SHUTTER_OPEN)
    if is_open is not None:
        dark = ~is_open & (group >= 0)
        # Twice as many groups: even numbers for lit shots, odd ones for dark.
        group = np.where(group < 0, -1, 2 * group + dark)
        if not darks:
            group = np.where(dark, -1, group)
            counts["n_dark"] = int(dark.sum())
    _, number, size = np.unique(group, return_inverse=True, return_counts=True)
    if min_group < 1:
        raise ArgumentError(f"min_group={min_group}; a group has at least 1 shot")
    small = (size[number] < min_group) & (group >= 0)
    if groups is not None:
        counts["n_small_group"] = int(small.sum())
    return GroupedShots(train, pulse, np.where(small, -1, group), counts)


def ids_of(coord: xr.DataArray | ArrayLike) -> tuple[NDArray[Any], Any]:
    """Return the train and pulse IDs of every shot; None if pulses have no IDs."""
    if not isinstance(coord, xr.DataArray):
        train = np.asarray(coord)
        if train.ndim != 1:
            raise ArgumentError(
                f"train IDs must have one axis, not shape {train.shape}; for several"
                " pulses in a train pass the DataArray of frames"
            )
        return whole_numbers(train), None
    # Polar images, say: only their shots count.
    inner = [d for d in coord.dims if d not in shot_dims(coord)]
    coord = coord.isel(dict.fromkeys(inner, 0), drop=False) if inner else coord
    if TRAIN not in coord.coords and coord.name != TRAIN:
        raise ArgumentError(
            f"no coordinate {TRAIN!r} on {listing(coord.dims)}; pass frames.train, or"
            " an array that has it"
        )
    named: xr.DataArray = coord.coords.get(TRAIN, coord)
    pulse = coord.coords.get(PULSE)
    ids = whole_numbers(on_shots(named, coord))
    return ids, None if pulse is None else on_shots(pulse, coord)


def on_shots(values: xr.DataArray, coord: xr.DataArray) -> NDArray[Any]:
    dims = shot_dims(coord)
    variable: Any = values.variable
    whole = variable.set_dims({d: coord.sizes[d] for d in dims})
    return np.asarray(whole.transpose(*dims).values.reshape(-1))


def whole_numbers(ids: NDArray[Any]) -> NDArray[Any]:
    """Return IDs; ValueError unless they are integers, or names such as ``tag_12``."""
    if ids.dtype.kind in "SUO":
        return shot_numbers(ids)
    if ids.dtype.kind not in "iu" and ids.size:
        raise ShotNameError(
            f"train IDs must be integers, not {ids.dtype}: pass the coordinate `train`"
        )
    return ids


def check_unique(train: NDArray[Any], pulse: NDArray[Any] | None) -> None:
    ids = train if pulse is None else np.stack([train, pulse], axis=1)
    found, number = np.unique(ids, axis=0, return_counts=True)
    if (number > 1).any():
        twice = listing(found[number > 1].tolist())
        raise ArgumentError(
            f"shots {twice} stand more than once among the {len(ids)} shots; pass an"
            " array whose coordinates train and pulse tell its shots apart"
        )


def flags_of(coord: xr.DataArray | ArrayLike, name: str) -> NDArray[np.bool_] | None:
    """Return a flag of every shot; None if there is no such coordinate."""
    if not isinstance(coord, xr.DataArray) or name not in coord.coords:
        return None
    return on_shots(coord.coords[name], coord).astype(bool)


def labels_of(
    groups: xr.DataArray | ArrayLike, train: NDArray[Any], pulse: NDArray[Any] | None
) -> NDArray[np.int64]:
    """Return the labels of shots as whole numbers from 0; -1 for NaN.

    Labels with train IDs are joined by these; others are taken in order.
    """
    must_be_in_memory(groups, "groups")
    if isinstance(groups, xr.DataArray) and TRAIN in groups.coords:
        at = positions_of(train, pulse, groups, "groups")
        labels = on_shots(groups, groups)[at]
    else:
        labels = np.asarray(groups).reshape(-1)
    if len(labels) != len(train):
        raise ArgumentError(
            f"groups has {len(labels)} labels for {len(train)} shots; give one for"
            " every shot"
        )
    if labels.dtype.kind == "O":
        labels = labels.astype(str)
    out = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    if labels.dtype.kind == "f":
        out[np.isnan(labels)] = -1
    return out


def positions_of(
    train: NDArray[Any], pulse: NDArray[Any] | None, labelled: xr.DataArray, name: str
) -> NDArray[np.intp]:
    """Return where the shots are in an array, by train ID, or train and pulse."""
    ids, pulses = ids_of(labelled)
    check_unique(ids, pulses)
    both = pulse is not None and pulses is not None
    wanted = index_of([train, pulse] if both else [train])
    at = index_of([ids, pulses] if both else [ids]).get_indexer(wanted)
    if (at < 0).any():
        raise ArgumentError(
            f"{name} has nothing for {int((at < 0).sum())} of {len(at)} shots:"
            f" {listing(wanted[at < 0].tolist())}"
        )
    return at


def index_of(ids: Sequence[Any]) -> pd.Index:
    """Return an index of shots by train ID, or train and pulse."""
    flat = [np.ravel(each) for each in ids]
    return pd.Index(flat[0]) if len(flat) == 1 else pd.MultiIndex.from_arrays(flat)


def must_be_in_memory(values: object, name: str) -> None:
    if isinstance(values, xr.DataArray) and values.chunks is not None:
        raise ArgumentError(
            f"{name} is lazy, but pairs are made from numbers in memory; pass"
            f" {name}.compute()"
        )


def in_order(found: list[NDArray[np.intp]]) -> NDArray[np.intp]:
    """Return the pairs (n, 2) of all groups, by their first shots, then the second."""
    members = np.concatenate([np.empty((0, 2), np.intp), *found])
    return members[np.lexsort(members.T[::-1])]


def as_pairs(
    shots: GroupedShots, members: NDArray[np.integer[Any]], op: str, /, **params: object
) -> xr.DataArray:
    """Return positions (pair, 2) as a labelled array of IDs."""
    members = np.asarray(members, np.intp).reshape(-1, 2)
    out = xr.DataArray(
        shots.train[members],
        dims=(PAIR, MEMBER),
        coords={MEMBER: ["first", "second"]},
        name="pairs",
        attrs={UNITS: "1", LONG_NAME: "train IDs of pairs of shots", **shots.counts},
    )
    if shots.pulse is not None:
        pulses = (PAIR, MEMBER), shots.pulse[members], {UNITS: "1"}
        out = out.assign_coords({PULSE: pulses})
        out[PULSE].attrs[LONG_NAME] = "pulse IDs of pairs of shots"
    return record(out, f"pairs.{op}", **params)
