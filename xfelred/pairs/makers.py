"""Pairs by order, by chance, between two sets of shots, and from a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.names import MEMBER, PAIR, PULSE
from xfelred.pairs.shots import (
    GroupedShots,
    as_pairs,
    in_order,
    shots_of,
    whole_numbers,
)

Coord = xr.DataArray | ArrayLike


@entry
def consecutive(
    coord: Coord,
    *,
    groups: Coord | None = None,
    min_group: int = 2,
    darks: bool = False,
) -> xr.DataArray:
    """Pair every shot with the next one: (0, 1), (1, 2), (2, 3), ...

    Parameters
    ----------
    coord : DataArray or array
        Train IDs: the coordinate ``train``, or any array on it. On ``(train, pulse)``
        or ``frame`` every pulse is a shot.
    groups : DataArray or array, optional
        A label for every shot, such as a bin of its peak position; pairs never cross
        groups, and shots with NaN are left out.
    min_group : int
        Smaller groups are left out.
    darks : bool
        Also pair dark shots with each other.

    Returns
    -------
    DataArray (pair, member)
        Train IDs, `member` first and second; a coordinate ``pulse`` where trains have
        several. Attributes count the shots that were left out.

    Raises
    ------
    ValueError
        If there are no train IDs, or not as many labels as shots.

    Examples
    --------
    >>> consecutive([10, 12, 14]).values.tolist()
    [[10, 12], [12, 14]]
    """
    shots = shots_of(coord, groups, min_group, darks=darks)
    found = [np.stack([g[:-1], g[1:]], axis=1) for g in shots.groups()]
    how = {"groups": groups, "min_group": min_group, "darks": darks}
    return as_pairs(shots, in_order(found), "consecutive", **how)


@entry
def disjoint(
    coord: Coord,
    *,
    groups: Coord | None = None,
    min_group: int = 2,
    darks: bool = False,
) -> xr.DataArray:
    """Pair neighbours so that no shot is used twice: (0, 1), (2, 3), ...

    Such pairs are independent, as error bars need them. An odd shot at the end of a
    group is left out.

    Parameters
    ----------
    coord, groups, min_group, darks
        See `consecutive`.

    Returns
    -------
    DataArray (pair, member)
        See `consecutive`.
    """
    shots = shots_of(coord, groups, min_group, darks=darks)
    found = [g[: len(g) // 2 * 2].reshape(-1, 2) for g in shots.groups()]
    how = {"groups": groups, "min_group": min_group, "darks": darks}
    return as_pairs(shots, in_order(found), "disjoint", **how)


@entry
def random(
    coord: Coord,
    n_pairs: int | None = None,
    *,
    seed: int = 0,
    groups: Coord | None = None,
    min_group: int = 2,
    darks: bool = False,
) -> xr.DataArray:
    """Pair shots by chance; no shot with itself, no pair twice.

    Parameters
    ----------
    coord, groups, min_group, darks
        See `consecutive`.
    n_pairs : int, optional
        How many; by default as many as there are shots, or as there can be.
    seed : int
        The same seed gives the same pairs.

    Returns
    -------
    DataArray (pair, member)
        See `consecutive`; sorted.

    Raises
    ------
    ValueError
        If there are fewer than `n_pairs` different pairs.
    """
    if seed < 0:
        raise ArgumentError(f"seed={seed}; wanted 0 or more")
    shots = shots_of(coord, groups, min_group, darks=darks)
    members = list(shots.groups())
    sizes = np.array([len(g) for g in members], np.int64)
    # Every pair of every group has a number; numbers are drawn, and not pairs.
    ends = np.cumsum(sizes * (sizes - 1) // 2)
    possible = int(ends[-1]) if len(ends) else 0
    wanted = min(int(sizes.sum()), possible) if n_pairs is None else int(n_pairs)
    if not 0 <= wanted <= possible:
        raise ArgumentError(
            f"n_pairs={n_pairs}, but {int(sizes.sum())} shots in {len(sizes)} groups"
            f" make {possible} different pairs"
        )
    rng = np.random.default_rng(seed)
    code = np.zeros(0, np.int64)
    if wanted:
        code = np.sort(rng.choice(possible, wanted, replace=False))
    which = np.searchsorted(ends, code, side="right")
    found = []
    for number in np.unique(which):
        start = ends[number] - sizes[number] * (sizes[number] - 1) // 2
        low, high = triangle(code[which == number] - start)
        found.append(members[number][np.stack([low, high], axis=1)])
    how = {"groups": groups, "min_group": min_group, "darks": darks}
    how |= {"n_pairs": n_pairs, "seed": seed}
    return as_pairs(shots, in_order(found), "random", **how)


def triangle(code: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (low, high) of the pairs (0, 1), (0, 2), (1, 2), (0, 3), ... by number."""
    high = ((1 + np.sqrt(1 + 8 * code.astype(float))) / 2).astype(np.int64)
    # The square root of a large number may be off by one.
    high -= high * (high - 1) // 2 > code
    high += high * (high + 1) // 2 <= code
    return code - high * (high - 1) // 2, high


@entry
def between(
    first: Coord,
    second: Coord,
    *,
    method: Literal["nearest", "order", "all"] = "nearest",
    darks: bool = False,
) -> xr.DataArray:
    """Pair the shots of one set with those of another, such as pumped with unpumped.

    Parameters
    ----------
    first, second : DataArray or array
        Train IDs, see `consecutive`.
    method : {"nearest", "order", "all"}
        Each of `first` with the shot of `second` whose ID is nearest, which may be used
        several times; the i-th with the i-th; or all with all.
    darks : bool
        Keep dark shots, paired with dark ones only.

    Returns
    -------
    DataArray (pair, member)
        See `consecutive`. No shot is paired with itself.
    """
    a = shots_of(first, min_group=1, darks=darks)
    b = shots_of(second, min_group=1, darks=darks)
    if (a.pulse is None) != (b.pulse is None):
        raise ArgumentError(
            "one set has pulse IDs, the other has none; give both or none"
        )
    pulse = None
    if a.pulse is not None and b.pulse is not None:
        pulse = np.concatenate([a.pulse, b.pulse])
    counts = {k: v + b.counts.get(k, 0) for k, v in a.counts.items()}
    group = np.concatenate([a.group, b.group])
    both = GroupedShots(np.concatenate([a.train, b.train]), pulse, group, counts)
    found = [np.empty((0, 2), np.intp)]
    for number in np.unique(group[group >= 0]):
        left = np.flatnonzero(a.group == number)
        right = np.flatnonzero(b.group == number) + len(a.train)
        found.append(matched(both, left, right, method))
    members = np.concatenate(found)
    same = both.train[members[:, 0]] == both.train[members[:, 1]]
    if pulse is not None:
        same &= pulse[members[:, 0]] == pulse[members[:, 1]]
    return as_pairs(both, members[~same], "between", method=method, darks=darks)


def matched(
    shots: GroupedShots, left: NDArray[np.intp], right: NDArray[np.intp], method: str
) -> NDArray[np.intp]:
    if not len(left) or not len(right):
        return np.empty((0, 2), np.intp)
    if method == "all":
        grid = np.meshgrid(left, right, indexing="ij")
        return np.stack([g.ravel() for g in grid], axis=1)
    if method == "order":
        n = min(len(left), len(right))
        return np.stack([left[:n], right[:n]], axis=1)
    key = keys(shots)
    order = right[np.argsort(key[right], kind="stable")]
    there, wanted = key[order], key[left]
    # Strictly below and above: a shot that is in both sets takes another one.
    below = np.searchsorted(there, wanted, side="left") - 1
    above = np.searchsorted(there, wanted, side="right")
    last = len(there) - 1
    down = distance(there[np.maximum(below, 0)], wanted)
    up = distance(there[np.minimum(above, last)], wanted)
    nearest = np.where((below >= 0) & ((above > last) | (down <= up)), below, above)
    kept = nearest <= last
    return np.stack([left[kept], order[nearest[kept]]], axis=1)


def keys(shots: GroupedShots) -> NDArray[Any]:
    """Return one number for every shot, in the order of trains and pulses."""
    # Trains are further apart than pulses: the nearest shot is of the nearest train.
    if shots.pulse is None or not len(shots.pulse):
        return shots.train
    width = 2 * (int(shots.pulse.max()) + 1)
    return shots.train.astype(np.int64) * width + shots.pulse.astype(np.int64)


def distance(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    # Unsigned numbers would wrap in ``abs(a - b)``.
    return np.maximum(a, b) - np.minimum(a, b)


@entry
def from_list(
    members: xr.DataArray | Sequence[Sequence[int]] | ArrayLike,
    coord: Coord | None = None,
) -> xr.DataArray:
    """Return pairs from a list of 2-tuples of train IDs.

    Parameters
    ----------
    members : sequence of (first, second), or DataArray (pair, member)
        Train IDs, or names of tags such as ``"tag_166762140"``; with four numbers
        (train, pulse, train, pulse).
    coord : DataArray or array, optional
        Train IDs that exist, see `consecutive`. Pairs with any other are dropped and
        counted in the attribute ``n_dropped``, and so are pairs with a dark shot.

    Raises
    ------
    ValueError
        If these are not pairs of whole numbers.
    """
    if isinstance(members, xr.DataArray) and members.dims == (PAIR, MEMBER):
        ids, pulses = whole_numbers(members.values), None
        if PULSE in members.coords:
            pulses = members.coords[PULSE].values
    else:
        # One axis of IDs is easily forgotten.
        values = whole_numbers(np.asarray(members))
        if values.size == 0:
            values = np.empty((0, 2), np.int64)
        if values.ndim != 2 or values.shape[1] not in (2, 4):
            raise ArgumentError(
                f"pairs have shape {values.shape}; wanted (n, 2) for train IDs, or"
                " (n, 4) for train, pulse, train, pulse"
            )
        four = values.shape[1] == 4
        ids, pulses = values[:, ::2] if four else values, None
        pulses = values[:, 1::2] if four else None
    pulse = None if pulses is None else pulses.reshape(-1)
    shots = GroupedShots(ids.reshape(-1), pulse, np.zeros(ids.size, np.int64))
    kept: NDArray[np.bool_] = np.ones(len(ids), bool)
    if coord is not None:
        known = shots_of(coord, min_group=1)
        lit = known.train[known.group >= 0]
        kept = np.asarray(np.isin(ids, lit).all(axis=1))
        shots.counts["n_dropped"] = int((~kept).sum())
    positions = np.arange(ids.size).reshape(-1, 2)
    return as_pairs(shots, positions[kept], "from_list", members=ids)
