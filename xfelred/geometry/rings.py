"""Rings and sectors: the bins that pixels belong to, from their coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, MissingConstantError, warn
from xfelred.geometry.locate import FULL_RANGE, HALF_WIDTH, corners_of
from xfelred.kernels.arrays import Array, Bools, Floats
from xfelred.kernels.outlines import polygons, splitting
from xfelred.names import (
    LONG_NAME,
    PHI,
    POLARIZATION,
    SOLID_ANGLE,
    TWO_THETA,
    UNITS,
    Q,
)

TURN = 2 * np.pi
Bins = int | Sequence[float] | NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Axis:
    """The radial coordinate of every pixel."""

    name: str  # of the coordinate, and of the dim of bins
    dims: tuple[str, ...]  # pixel dims
    values: Floats  # float64 (pixel dims)
    # float64 (pixel dims); half widths, if pixels are split evenly over the range that
    # they cover
    half: Floats | None
    # (radius, phi), float64 (corner, pixel dims); if pixels are split by area
    corners: tuple[Floats, Floats] | None
    full_range: tuple[float, float]  # (lowest, highest); over the whole geometry
    attrs: dict[str, Any]  # units and long name


def radial_axis(da: xr.DataArray, name: str, split: str) -> Axis:
    """Return the radial coordinate of an array that has been located."""
    source = coord = pixel_coord(da, name)
    values = coord.values.astype(np.float64)
    half = corners = None
    if split != "no":
        source = pixel_coord(da, name + HALF_WIDTH)
    if split == "bbox":
        half = source.values.astype(np.float64)
    if split == "full":
        corners = corners_of(da, name, tuple(str(d) for d in coord.dims))
    if FULL_RANGE in source.attrs:
        low, high = source.attrs[FULL_RANGE]
    else:
        spread = 0.0 if split == "no" else source.values
        low, high = np.nanmin(values - spread), np.nanmax(values + spread)
    attrs = {k: v for k, v in coord.attrs.items() if k in {UNITS, LONG_NAME}}
    dims = tuple(str(d) for d in coord.dims)
    full_range = (max(0.0, float(low)), float(high))
    return Axis(name, dims, values, half, corners, full_range, attrs)


def pixel_coord(da: xr.DataArray, name: str) -> xr.DataArray:
    """Return a coordinate of the pixels, or raise the error that says how to get it."""
    if name in da.coords and da[name].ndim:
        # Chunking an array chunks its coordinates, which are in memory nevertheless.
        return da[name].compute(scheduler="synchronous")
    if TWO_THETA not in da.coords:
        advice = "apply geometry.locate(da, geometry) first"
    elif name in {Q, Q + HALF_WIDTH} and Q not in da.coords:
        advice = (
            "the geometry has no photon energy: give it energy= or wavelength=, or"
            f" integrate with unit={TWO_THETA!r}"
        )
    elif name.endswith(HALF_WIDTH):
        advice = "the geometry does not know the corners of its pixels: use split='no'"
    else:
        advice = "apply geometry.locate(da, geometry) again"
    raise MissingConstantError(f"the array has no coordinate {name!r}; {advice}")


def radial_edges(axis: Axis, bins: Bins, limits: tuple[float, float] | None) -> Floats:
    """Return the bin edges along the radial axis.

    bins: number of equal bins over `limits`, or edges.
    limits: (lowest, highest) or None; by default all pixels of the geometry.
    """
    if not isinstance(bins, (int, np.integer)):
        if limits is not None:
            raise ArgumentError(
                f"q_range={limits} and bin edges are given; give a number of bins"
            )
        edges = checked_edges("q_bins", bins)
        warn_if_outside(axis, float(edges[0]), float(edges[-1]))
        return edges
    low, high = axis.full_range if limits is None else limits
    if bins < 1 or not low < high:
        raise ArgumentError(
            f"q_bins={bins} from {low} to {high}; wanted at least 1 bin and a range"
        )
    warn_if_outside(axis, float(low), float(high))
    return np.linspace(float(low), float(high), int(bins) + 1)


def warn_if_outside(axis: Axis, low: float, high: float) -> None:
    """Warn of bins that no pixel can be in, as of a q in 1/nm."""
    first, last = axis.full_range
    if high < first or low > last:
        unit = axis.attrs.get(UNITS, "")
        warn(
            f"all bins will be empty: they reach from {low:g} to {high:g} {unit}, the"
            f" pixels from {first:g} to {last:g} {unit}; {axis.name} is in {unit}"
        )


def azimuth_edges(bins: Bins) -> Floats:
    """Return the bin edges in azimuth, rad: of equal sectors from -pi, or as given."""
    if isinstance(bins, (int, np.integer)):
        if bins < 1:
            raise ArgumentError(f"phi_bins={bins}; wanted at least 1")
        return np.linspace(-np.pi, np.pi, int(bins) + 1)
    edges = checked_edges("phi_bins", bins)
    if edges[-1] - edges[0] > TURN * (1 + 1e-9):
        raise ArgumentError(
            f"phi_bins run from {edges[0]} to {edges[-1]} rad, more than one turn"
        )
    return edges


def checked_edges(name: str, edges: Bins) -> Floats:
    out = np.asarray(edges, dtype=np.float64)
    if out.ndim != 1 or len(out) < 2 or not (np.diff(out) > 0).all():
        raise ArgumentError(
            f"{name}={edges!r}; wanted a number of bins, or increasing edges"
        )
    return out


def correction(
    da: xr.DataArray, axis: Axis, solid_angle: bool, polarization: float | None
) -> Floats:
    """Return solid angle times polarization factor, float64 (pixel dims).

    Polarization factor for the degree P along x (pyFAI's sign):
    (1 + cos^2 two_theta) / 2 - P cos(2 phi) sin^2 two_theta / 2. It is found from the
    coordinate for P = 1 and the mean over phi.
    """
    out = np.ones(axis.values.shape)
    if solid_angle:
        out *= pixel_coord(da, SOLID_ANGLE).transpose(*axis.dims).values
    if polarization is not None:
        degree = float(polarization)
        if not -1 <= degree <= 1:
            raise ArgumentError(f"polarization={polarization}; wanted -1 to 1, or None")
        two_theta = pixel_coord(da, TWO_THETA).transpose(*axis.dims).values
        full = pixel_coord(da, POLARIZATION).transpose(*axis.dims).values
        unpolarized = (1 + np.cos(two_theta) ** 2) / 2
        out *= unpolarized + degree * (full - unpolarized)
    return out


def bin_maps(
    da: xr.DataArray, axis: Axis, edges: Floats, phi_edges: Floats | None, good: Bools
) -> list[Array]:
    """Return the maps that the kernel `integrate_azimuthally` takes, on pixel dims.

    da: with the coordinate `phi`, if there are `phi_edges`.
    axis: pixels are split if it has half widths.
    edges, phi_edges: float64; of the bins.
    good: bool (pixel dims); False: the pixel belongs to no bin.
    """
    shape = axis.values.shape
    values, good = axis.values.ravel(), (good & np.isfinite(axis.values)).ravel()
    if axis.corners is not None:
        entries = polygon_entries(axis.corners, edges, phi_edges, good)
        return [m.reshape(shape) for m in splitting.packed_entries(*entries)]
    if axis.half is None:
        bins = positions(values, edges)
        if phi_edges is not None:
            phi = pixel_coord(da, PHI).transpose(*axis.dims).values.ravel()
            sector = positions(unrolled(phi, phi_edges), closed(phi_edges))
            both = (bins >= 0) & (sector >= 0)
            bins = np.where(both, sector * (len(edges) - 1) + bins, -1)
        flat = np.where(good, bins, -1).astype(np.int32)
        return [flat.reshape(shape)]
    half = axis.half.ravel()
    good &= np.isfinite(half)
    low, high = np.maximum(values - half, 0.0), values + half
    entries = splitting.split_entries(low, high, edges, good)
    if phi_edges is not None:
        phi = pixel_coord(da, PHI).transpose(*axis.dims).values.ravel()
        wide = pixel_coord(da, PHI + HALF_WIDTH).transpose(*axis.dims)
        sectors = splitting.wrapped_entries(
            phi, wide.values.ravel().astype(np.float64), closed(phi_edges), good
        )
        entries = splitting.product_entries(sectors, entries, len(edges) - 1)
    return [m.reshape(shape) for m in splitting.packed_entries(*entries)]


def polygon_entries(
    corners: tuple[Floats, Floats], edges: Floats, phi_edges: Floats | None, good: Bools
) -> splitting.Entries:
    radius, phi = (c.reshape(len(c), -1) for c in corners)
    sectors = None
    if phi_edges is not None:
        sectors = closed(phi_edges)
        phi = phi + (unrolled(phi[0], phi_edges) - phi[0])
    good = good & np.isfinite(radius).all(axis=0)
    return polygons.polygon_entries(radius, phi, edges, sectors, good)


def positions(values: Floats, edges: Floats) -> NDArray[np.intp]:
    """Return the bin of every value, -1 outside; the last edge is inclusive."""
    at = np.searchsorted(edges, values, side="right") - 1
    at[values == edges[-1]] = len(edges) - 2
    at[~((values >= edges[0]) & (values <= edges[-1]))] = -1
    return at


def unrolled(phi: Floats, edges: Floats) -> Floats:
    """Return angles moved by whole turns to where the edges are."""
    return np.asarray(np.mod(phi - edges[0], TURN) + edges[0])


def closed(edges: Floats) -> Floats:
    """Return edges that fill one turn exactly, if they do so up to rounding."""
    if edges[-1] - edges[0] < TURN * (1 - 1e-9):
        return edges
    # One step further, so that no angle is lost where a turn is added.
    return np.append(edges[:-1], np.nextafter(edges[0] + TURN, np.inf))


def edge_coords(
    axis: Axis, edges: Floats, phi_edges: Floats | None
) -> dict[str, xr.Variable]:
    """Return coordinates of the bins: centres, and edges on a dim of their own."""
    phi_attrs = {UNITS: "rad", LONG_NAME: "azimuth"}
    out = {}
    for name, ends, attrs in (
        (axis.name, edges, axis.attrs),
        (PHI, phi_edges, phi_attrs),
    ):
        if ends is None:
            continue
        what = attrs.get(LONG_NAME, name)
        edge_attrs = {**attrs, LONG_NAME: f"bin edges of {what}"}
        out[name] = xr.Variable(name, (ends[:-1] + ends[1:]) / 2, attrs)
        out[f"{name}_edges"] = xr.Variable(f"{name}_edge", ends, edge_attrs)
    return out
