"""Pairs of shots that look alike."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.kernels.correlation import similarity
from xfelred.names import LONG_NAME, PAIR, TRAIN, UNITS
from xfelred.pairs.shots import (
    as_pairs,
    in_order,
    must_be_in_memory,
    positions_of,
    shots_of,
)
from xfelred.shots import shot_dims


@entry
def similar(
    features: xr.DataArray | ArrayLike,
    *,
    method: Literal["greedy", "minimum"] = "greedy",
    coord: xr.DataArray | ArrayLike | None = None,
    groups: xr.DataArray | ArrayLike | None = None,
    min_group: int = 2,
    darks: bool = False,
    max_distance: float | None = None,
) -> xr.DataArray:
    """Pair shots whose features lie close together; no shot is used twice.

    Parameters
    ----------
    features : DataArray (train,) or (train, feature)
        In memory: intensity, position of a peak, coefficients of a radial profile.
        Scale them so that a difference of 1 counts the same in each. Shots with a NaN
        or infinite feature are left out and counted.
    method : {"greedy", "minimum"}
        "greedy": shot by shot in order, the nearest that is free. "minimum": the pairs
        with the smallest sum of distances, if up to ``kernels.similarity.EXACT`` shots
        are in a group or there is one feature; for larger groups an improved greedy
        solution that no exchange between two pairs can shorten.
    coord : DataArray or array, optional
        Train IDs, where `features` does not carry them; where it does, the shots to
        pair, which are found in `features` by their IDs.
    groups, min_group, darks
        See `consecutive`.
    max_distance : float, optional
        Pairs farther apart are dropped and counted.

    Returns
    -------
    DataArray (pair, member)
        See `consecutive`; with a coordinate ``distance``.

    Raises
    ------
    ValueError
        If `features` is lazy, or has another number of shots than `coord`.
    """
    must_be_in_memory(features, "features")
    # A plain array has no IDs of its own.
    if coord is None:
        if not isinstance(features, xr.DataArray):
            raise ArgumentError(
                "features are not labelled: pass coord=frames.train as well"
            )
        coord = features
    table = feature_table(features)
    if isinstance(features, xr.DataArray) and TRAIN in features.coords:
        named = shots_of(coord)
        table = table[positions_of(named.train, named.pulse, features, "features")]
    usable = np.asarray(np.isfinite(table).all(axis=1))
    n = len(shots_of(coord).train)
    if n != len(table):
        raise ArgumentError(f"features has {len(table)} shots, coord has {n}")
    shots = shots_of(coord, groups, min_group, darks=darks, usable=usable)
    pick = similarity.greedy if method == "greedy" else similarity.minimum
    members = in_order([group[pick(table[group])] for group in shots.groups()])
    far = np.linalg.norm(table[members[:, 0]] - table[members[:, 1]], axis=1)
    if max_distance is not None:
        shots.counts["n_too_far"] = int((far > max_distance).sum())
        members, far = members[far <= max_distance], far[far <= max_distance]
    how = {"groups": groups, "min_group": min_group, "darks": darks}
    how |= {"features": features, "method": method, "max_distance": max_distance}
    out = as_pairs(shots, members, "similar", **how)
    attrs = {UNITS: "1", LONG_NAME: "distance between the features of a pair"}
    return out.assign_coords(distance=(PAIR, far, attrs))


def feature_table(features: xr.DataArray | ArrayLike) -> NDArray[np.float64]:
    """Return features as float64 (shot, feature)."""
    if isinstance(features, xr.DataArray):
        first = shot_dims(features)
        features = features.transpose(*first, ...)
        values = features.values.astype(np.float64)
        n = int(np.prod(values.shape[: len(first)]))
        return values.reshape(n, -1) if values.size else values.reshape(n, 1)
    values = np.asarray(features, np.float64)
    if values.ndim == 0:
        raise ArgumentError("features is one number; wanted one row for every shot")
    return values.reshape(len(values), -1)
