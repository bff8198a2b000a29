"""The bin of every shot, on one or more axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, ConfigError, PropertyNameError, listing
from xfelred.names import BIN, FRAME, LONG_NAME, PULSE, RECORDED, TRAIN, UNITS
from xfelred.ops.reductions.bins import BinEdges, Bins
from xfelred.shots import (
    SHOT_DIMS,
    as_labelled,
    at_shots,
    element_of,
    in_memory,
    shot_dims,
    shot_value,
)

ALL = "all"


@dataclass(frozen=True, eq=False)
class Axis:
    name: str
    bins: BinEdges | None
    attrs: dict[str, Any]

    @property
    def n(self) -> int:
        return 1 if self.bins is None else len(self.bins)


@dataclass(frozen=True, eq=False)
class Labels:
    """The bin of every shot: its flat number, row-major over the axes, int64.

    -1: in no bin, or not taken; `n_outside` shots were taken but are in no bin.
    """

    shots: xr.DataArray
    axes: tuple[Axis, ...]
    n_outside: int

    @property
    def n(self) -> int:
        return prod(a.n for a in self.axes)

    @property
    def behind(self) -> int:
        """How many bins a step along the first axis is."""
        return prod(a.n for a in self.axes[1:])

    @property
    def flat(self) -> NDArray[np.int64]:
        return np.asarray(self.shots.values)

    def on(self, array: xr.DataArray) -> xr.DataArray:
        """Return the labels at the shots of an array."""
        found = at_shots(self.shots, array, "the bin", own=True)
        return found.fillna(-1).astype(np.int64) if found.dtype.kind == "f" else found

    def unfold(self, flat: xr.DataArray) -> xr.DataArray:
        """Return a result with the axes first, in place of the last dim."""
        rest = [str(d) for d in flat.dims if d != BIN]
        data = flat.transpose(BIN, *rest).data
        shape = tuple(a.n for a in self.axes)
        if len(shape) != 1:
            data = data.reshape((*shape, *data.shape[1:]))
        coords = {k: c.variable for k, c in flat.coords.items() if BIN not in c.dims}
        return xr.DataArray(data, coords, (*(a.name for a in self.axes), *rest))

    def coords(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for axis in self.axes:
            if axis.bins is None:
                out[axis.name] = [0]
                continue
            what = "value" if axis.bins.unique else "centre"
            text = f"{axis.attrs.get(LONG_NAME, axis.name)}, {what} of the bin"
            unit = {UNITS: str(axis.attrs.get(UNITS, "1"))}
            out[axis.name] = (axis.name, axis.bins.positions, {**unit, LONG_NAME: text})
            edges = {**unit, LONG_NAME: f"edges of the bins of {axis.name}"}
            out[f"{axis.name}_edges"] = (f"{axis.name}_edge", axis.bins.edges, edges)
        return out


def bin_labels(
    data: xr.DataArray | xr.Dataset,
    reference: xr.DataArray,
    by: Mapping[str, Bins],
    where: xr.DataArray | None,
    compat: bool,
) -> Labels:
    """Return the bin of every shot of `reference`, a variable of `data`."""
    dims = shot_dims(reference)
    taken = taken_shots(reference, dims, where)
    flat = xr.zeros_like(taken, np.int64)
    axes = []
    for name, bins in by.items():
        values = values_of(data, reference, name, bins)
        resolved = resolved_bins(name, bins, values, compat)
        axes.append(Axis(name.replace("/", "__"), resolved, dict(values.attrs)))
        found = resolved.labels(values.values, open_start=compat)
        label = xr.DataArray(found, dims=values.dims)
        inside = (flat >= 0) & (label >= 0)
        flat = (flat * len(resolved) + label).where(inside, -1)
    if not axes:
        axes = [Axis(ALL, None, {})]
    flat = flat.transpose(*taken.dims)
    outside = int(((flat < 0) & taken).sum())
    labels = flat.where(taken, -1).astype(np.int64)
    return Labels(with_ids(labels, reference), tuple(axes), outside)


def resolved_bins(
    name: str, bins: Bins, values: xr.DataArray, compat: bool
) -> BinEdges:
    try:
        found = bins.resolve(values.values)
    except ConfigError as error:
        raise ConfigError(f"bins of {name!r}: {error}") from error
    return found.with_outlier_bin() if compat and found.unique else found


def taken_shots(
    reference: xr.DataArray, dims: tuple[str, ...], where: xr.DataArray | None
) -> xr.DataArray:
    """Return which shots are taken: recorded ones that pass `where`."""
    sizes = tuple(reference.sizes[d] for d in dims)
    taken = xr.DataArray(np.ones(sizes, bool), dims=dims)
    padding = reference.coords.get(RECORDED)
    if padding is not None:
        # Slots of a rectangle that no pulse was recorded in.
        taken = taken & xr.DataArray(padding.values, dims=padding.dims)
    if where is None:
        return taken
    where = as_labelled(where, "where")
    if where.dtype != bool:
        raise ArgumentError(
            "where must be a bool DataArray on train, as from select_shots, not"
            f" {getattr(where, 'dtype', type(where).__name__)}"
        )
    chosen = at_shots(in_memory(where), reference, "where")
    return (taken & chosen).transpose(*dims)


def values_of(
    data: xr.DataArray | xr.Dataset, reference: xr.DataArray, name: str, bins: Bins
) -> xr.DataArray:
    """Return what shots are binned by, at the shots of `reference`."""
    if not isinstance(bins, Bins):
        raise ConfigError(
            f"bins of {name!r} must be xfelred.Bins, not {type(bins).__name__}, such as"
            " Bins(edges=[...])"
        )
    values: Any = bins.values
    if values is None:
        try:
            values = shot_value(data, name)
        except PropertyNameError as error:
            raise ConfigError(
                f"no coordinate or variable {name!r} to bin by: {error}; or pass"
                " Bins(..., values=array on train)"
            ) from error
    try:
        values = element_of(as_labelled(values, f"bins of {name!r}"), (), name)
        if values.dtype.kind not in "biuf":
            raise ConfigError(f"what shots are binned by, {name!r}, must be numbers")
        if not set(values.dims) <= set(SHOT_DIMS):
            raise ConfigError(
                f"bins of {name!r} are on {listing(values.dims)}; they need one value"
                f" per shot, such as {name}[0]"
            )
        found = at_shots(
            in_memory(values), reference, f"bins of {name!r}", own=bins.values is None
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    found.attrs = dict(values.attrs)
    return found


def with_ids(labels: xr.DataArray, reference: xr.DataArray) -> xr.DataArray:
    """Return labels with the IDs of the shots, by which variables are joined."""
    ids = {d: reference[d] for d in labels.dims if d in reference.coords}
    # A frame has no ID of its own: its train and its pulse are that.
    if FRAME in labels.dims:
        ids = {k: reference[k] for k in (TRAIN, PULSE) if k in reference.coords}
    return labels.assign_coords({k: v.variable for k, v in ids.items()})
