"""Azimuthal curves of recipes: where pixels are, and the bins they are averaged in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xfelred import ops
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.names import PHI, Q
from xfelred.ops.companions import matching
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
    """Where the pixels of a detector are, and the bins they are averaged in."""

    coords: Mapping[str, xr.Variable]
    attrs: Mapping[str, Any]
    edges: list[float]  # of q
    sectors: NDArray[np.float64]  # edges of phi


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
    good = located[Q] if bad is None else located[Q].where(matching(bad, located) == 0)
    # As azimuthalBinning of smalldata_tools: from one step below the smallest q of
    # good pixels to one above the largest.
    edges = spec.q_edges
    if edges is None:
        step = float(spec.q_step or 0)
        low, high = float(good.min()), float(good.max())
        if (high - low) / step > MOST_RINGS:
            raise ArgumentError(
                f"q_step={step:g} makes more than {MOST_RINGS} bins of {low:g} to"
                f" {high:g}; take a larger one"
            )
        edges = np.arange(low - step, high + step, step).tolist()
    turned, sectors = azimuth_bins(located[PHI], spec.n_phi)
    located = located.assign_coords({PHI: turned})
    new = {
        str(n): c.variable for n, c in located.coords.items() if n not in frames.coords
    }
    return Rings(new, located.attrs, edges, sectors)


def on_rings(
    frames: xr.DataArray, rings: Rings, spec: AzimuthalSpec, bad: xr.DataArray | None
) -> xr.Dataset:
    found = ops.integrate_azimuthally(
        frames.assign_coords(rings.coords).assign_attrs(rings.attrs),
        rings.edges,
        phi_bins=rings.sectors,
        normalization="mean",
        bad_pixels=bad,
        **spec.model_dump(include={"solid_angle", "polarization"}),
    )
    return found.rename({"intensity": AZAV})[[AZAV, "count"]]


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
