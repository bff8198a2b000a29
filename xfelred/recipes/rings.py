"""Azimuthal curves of recipes: where pixels are, and the bins they are averaged in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import Field, model_validator

from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.geometry.energy import HC
from xfelred.geometry.rings import (
    Axis,
    azimuth_edges,
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
MOST_BINS = 1 << 24  # rings times sectors: 256 MiB of each shot
TURN = 2 * np.pi
HC_OF_LCLS = 12398.4  # eV angstrom, in azimuthalBinning of smalldata_tools
POSITIONS = ("x", "y", "z")
# Axes of pyFAI: ours, and what they are times.
POWDER_AXES: dict[str, tuple[Literal["q", "two_theta"], float]] = {
    "2th_deg": ("two_theta", 180 / np.pi), "2th_rad": ("two_theta", 1.0),
    "q_A^-1": ("q", 1.0), "q_nm^-1": ("q", 10.0),
}  # fmt: skip

Number = Annotated[int, Field(ge=1, le=MOST_RINGS)]  # of rings, or of sectors


class AzimuthalSpec(Strict):
    """Arguments of `xfelred.geometry.Geometry.lcls`, and of the averages over rings."""

    centre: tuple[float, float]
    distance: Annotated[float, Field(gt=0)]
    energy: Annotated[float, Field(gt=0)]
    tilt: tuple[float, float] = (0.0, 0.0)
    q_step: Annotated[float, Field(gt=0)] | None = None
    q_edges: list[float] | None = None
    n_phi: Number = 1
    phi_edges: Annotated[list[float], Field(min_length=2)] | None = None
    polarization: float | None = None
    solid_angle: bool = True
    compat: bool = False  # hc as LCLS rounds it

    @model_validator(mode="after")
    def one_way(self) -> AzimuthalSpec:
        if (self.q_step is None) == (self.q_edges is None):
            raise ArgumentError("give either q_step or q_edges")
        if self.phi_edges is not None and self.n_phi != 1:
            raise ArgumentError("give either n_phi or phi_edges")
        return self


class PowderSpec(Strict):
    """Parameters of azav_pyfai of smalldata_tools, by their names there."""

    poni_file: str
    npts: Number = 256
    npts_az: Number = 360
    int_units: Literal["2th_deg", "2th_rad", "q_A^-1", "q_nm^-1"] = "2th_deg"
    polarization_factor: float | None = 1.0
    return2d: bool = False


@dataclass(frozen=True, eq=False)
class Rings:
    """The bins that the pixels of a detector are averaged in, made once.

    What `ops.integrate_azimuthally` finds anew for every array takes longer than to
    average the few frames that are in memory at a time.
    """

    axis: Axis
    edges: Floats  # along it
    sectors: Floats | None  # edges of phi
    maps: tuple[xr.DataArray, ...]  # in memory, as the kernel wants them
    mean: bool  # of corrected signals, as LCLS has it, else a ratio, as pyFAI

    def averages(self, frames: xr.DataArray) -> xr.Dataset:
        """Return ``intensity`` and ``count`` on (..., [phi,] <axis>)."""
        sizes = {self.axis.name: len(self.edges) - 1}
        if self.sectors is not None:
            sizes = {PHI: len(self.sectors) - 1, **sizes}
        masks = unrecorded(frames)
        setup = Integration(tuple(sizes.values()), mean=self.mean, n_masks=len(masks))
        known = [*self.maps, *masks]
        found = integrated(frames, known, self.axis.dims, sizes, setup)
        out = curves(found, frames, whole_counts=True)
        return out.assign_coords(edge_coords(self.axis, self.edges, self.sectors))


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
    if spec.compat:
        options["energy"] *= HC / HC_OF_LCLS
    located = locate(frames, Geometry.lcls(x, y, z, **options))
    bad = None if bad is None else matching(bad, located)
    axis = radial_axis(located, Q, "no")
    edges = radial_edges(axis, edges_of(spec, located[Q], bad), None)
    n_phi = len(spec.phi_edges) - 1 if spec.phi_edges else spec.n_phi
    check_number(len(edges) - 1, n_phi, "q_step and n_phi")
    turned, sectors = azimuth_bins(located[PHI], spec.n_phi, spec.phi_edges)
    located = located.assign_coords({PHI: turned})
    factor = correction(located, axis, spec.solid_angle, spec.polarization)
    maps, _ = ring_maps(located, axis, (edges, sectors), factor, bad)
    return Rings(axis, edges, sectors, tuple(held(m) for m in maps), mean=True)


def powder_rings(frames: xr.DataArray, spec: PowderSpec, geometry: Geometry) -> Rings:
    if spec.return2d:
        check_number(spec.npts, spec.npts_az, "npts and npts_az")
    name, _ = POWDER_AXES[spec.int_units]
    located = locate(frames, geometry)
    axis = radial_axis(located, name, "no")
    edges = radial_edges(axis, spec.npts, None)
    sectors = azimuth_edges(spec.npts_az) if spec.return2d else None
    factor = correction(located, axis, True, spec.polarization_factor)
    maps, _ = ring_maps(located, axis, (edges, sectors), factor, None)
    return Rings(axis, edges, sectors, tuple(held(m) for m in maps), mean=False)


def check_number(rings: int, sectors: int, names: str) -> None:
    if rings * sectors > MOST_BINS:
        raise ArgumentError(
            f"{names} make {rings} rings of {sectors} sectors each, more than"
            f" {MOST_BINS} bins; take fewer"
        )


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


def azimuth_bins(
    phi: xr.DataArray, n: int, edges: list[float] | None = None
) -> tuple[xr.DataArray, NDArray[Any]]:
    """Return azimuths, and edges of `n` sectors, as azimuthalBinning has them.

    `edges` win; sectors begin half the first one before these, as there.
    """
    azimuth = (TURN / 4 - phi) % TURN  # theirs goes the other way round, from y
    if edges is not None:
        sectors = azimuth_edges(edges)
        return (azimuth + (sectors[1] - sectors[0]) / 2) % TURN, sectors
    low, high = float(azimuth.min()), float(azimuth.max())
    # Half a sector on, so that the first one is centred on the smallest azimuth; what
    # is beyond a full turn then, or beyond the largest azimuth, belongs to it.
    turned = azimuth + (high - low) / n / 2
    turned = turned.where(turned < TURN, turned - TURN)
    turned = turned.where((turned >= low) & (turned <= high), low)
    turned.attrs = dict(phi.attrs)
    return turned, np.linspace(low, high + np.finfo(float).eps * 16, n + 1)
