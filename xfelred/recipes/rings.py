"""Azimuthal curves of recipes: where pixels are, and the bins they are averaged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.geometry.rings import (
    Axis,
    correction,
    edge_coords,
    radial_axis,
    radial_edges,
)
from xfelred.kernels.arrays import Floats
from xfelred.kernels.azimuthal.integrate import Integration
from xfelred.lazy import held
from xfelred.names import PHI, Q
from xfelred.ops.azimuthal.integrate_azimuthally import curves, integrated, ring_maps
from xfelred.ops.companions import matching
from xfelred.ops.validity import unrecorded
from xfelred.recipes.strict import Strict

AZAV = "azav"
MOST_RINGS = 100_000  # more than any detector has pixels along its diagonal
TURN = 2 * np.pi
POSITIONS = ("x", "y", "z")


class AzimuthalSpec(Strict):
    """Arguments of `xfelred.geometry.Geometry.lcls`, and of the averages over rings."""

    centre: tuple[float, float]
    distance: Annotated[float, Field(gt=0)]
    energy: Annotated[float, Field(gt=0)]
    tilt: tuple[float, float] = (0.0, 0.0)
    q_step: Annotated[float, Field(gt=0)] | None = None
    q_edges: list[float] | None = None
    n_phi: Annotated[int, Field(ge=1)] = 1
    polarization: float | None = None
    solid_angle: bool = True

    @model_validator(mode="after")
    def one_way(self) -> AzimuthalSpec:
        if (self.q_step is None) == (self.q_edges is None):
            raise ArgumentError("give either q_step or q_edges")
        return self


@dataclass(frozen=True, eq=False)
class Rings:
    """The bins that the pixels of a detector are averaged in, made once.

    What `ops.integrate_azimuthally` finds anew for every array takes longer than to
    average the few frames that are in memory at a time.
    """

    axis: Axis
    edges: Floats  # of q
    sectors: Floats  # edges of phi
    maps: tuple[xr.DataArray, ...]  # in memory, as the kernel wants them

    def averages(self, frames: xr.DataArray) -> xr.Dataset:
        """Return azimuthal curves ``azav`` and ``count`` on (..., phi, q)."""
        sizes = {PHI: len(self.sectors) - 1, Q: len(self.edges) - 1}
        masks = unrecorded(frames)
        setup = Integration(tuple(sizes.values()), mean=True, n_masks=len(masks))
        known = [*self.maps, *masks]
        found = integrated(frames, known, self.axis.dims, sizes, setup)
        out = curves(found, frames, whole_counts=True)
        coords = edge_coords(self.axis, self.edges, self.sectors)
        return out.assign_coords(coords).rename({"intensity": AZAV})[[AZAV, "count"]]


def rings_of(
    frames: xr.DataArray,
    spec: AzimuthalSpec,
    constants: xr.Dataset,
    bad: xr.DataArray | None,
) -> Rings:
    x, y, z = (constants.get(k) for k in POSITIONS)
    if x is None or y is None:
        raise MissingConstantError(
            "azimuthal: the run does not tell where the pixels are (x, y)"
        )
    options = spec.model_dump(include={"centre", "tilt", "distance", "energy"})
    located = locate(frames, Geometry.lcls(x, y, z, **options))
    bad = None if bad is None else matching(bad, located)
    axis = radial_axis(located, Q, "no")
    edges = radial_edges(axis, edges_of(spec, located[Q], bad), None)
    turned, sectors = azimuth_bins(located[PHI], spec.n_phi)
    located = located.assign_coords({PHI: turned})
    factor = correction(located, axis, spec.solid_angle, spec.polarization)
    maps, _ = ring_maps(located, axis, (edges, sectors), factor, bad)
    return Rings(axis, edges, sectors, tuple(held(m) for m in maps))


def edges_of(
    spec: AzimuthalSpec, q: xr.DataArray, bad: xr.DataArray | None
) -> list[float]:
    """Return the edges of the rings, as azimuthalBinning of smalldata_tools has them.

    From one step below the smallest q of good pixels to one above the largest.
    """
    if spec.q_edges is not None:
        return spec.q_edges
    good = q if bad is None else q.where(bad == 0)
    step = float(spec.q_step or 0)
    low, high = float(good.min()), float(good.max())
    if (high - low) / step > MOST_RINGS:
        raise ArgumentError(
            f"q_step={step:g} makes more than {MOST_RINGS} bins of {low:g} to"
            f" {high:g}; take a larger one"
        )
    edges: list[float] = np.arange(low - step, high + step, step).tolist()
    return edges


def azimuth_bins(phi: xr.DataArray, n: int) -> tuple[xr.DataArray, NDArray[Any]]:
    """Return azimuths, and edges of `n` sectors, as azimuthalBinning has them."""
    azimuth = (TURN / 4 - phi) % TURN  # theirs goes the other way round, from y
    low, high = float(azimuth.min()), float(azimuth.max())
    # Half a sector on, so that the first one is centred on the smallest azimuth; what
    # is beyond a full turn then, or beyond the largest azimuth, belongs to it.
    turned = azimuth + (high - low) / n / 2
    turned = turned.where(turned < TURN, turned - TURN)
    turned = turned.where((turned >= low) & (turned <= high), low)
    turned.attrs = dict(phi.attrs)
    return turned, np.linspace(low, high + np.finfo(float).eps * 16, n + 1)
