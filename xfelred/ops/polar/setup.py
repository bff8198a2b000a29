"""Where the samples of a polar map lie on the detector, from what the user gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xfelred.entries import must_hold
from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    MissingConstantError,
    listing,
    shown,
)
from xfelred.geometry import Geometry, energy_to_wavelength
from xfelred.geometry.energy import usual_energy
from xfelred.geometry.given import as_geometry
from xfelred.geometry.plane import Plane, known_wavelength, plane_of, plane_of_geometry
from xfelred.kernels.arrays import Floats
from xfelred.kernels.polar import grid as polar_grid
from xfelred.names import (
    FAST,
    LONG_NAME,
    MODULE,
    PHI,
    RADIUS,
    SLOW,
    TWO_THETA,
    UNITS,
    Q,
    X,
    Y,
)
from xfelred.ops.companions import matching

CHI, LOKI = "chi", "loki"

Number = float | xr.DataArray


@dataclass(frozen=True)
class PolarAxes:
    """The axes of a polar map."""

    radii: Floats  # float64 (radius,), pixels
    n_phi: int
    # q and two_theta: float64 (radius,); 1/angstrom, and rad; None where the geometry
    # is not known
    q: Floats | None = None
    two_theta: Floats | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.radii), self.n_phi


def core_dims(da: xr.DataArray) -> tuple[str, ...]:
    """Return the dims of the pixels: those of detector frames or of an image."""
    if SLOW in da.dims and FAST in da.dims:
        return (MODULE, SLOW, FAST) if MODULE in da.dims else (SLOW, FAST)
    if Y in da.dims and X in da.dims:
        return (Y, X)
    raise GeometryMismatchError(
        f"the array has dims {listing(da.dims)}; wanted {SLOW} and {FAST}, or {Y} and"
        f" {X} of an assembled image"
    )


@dataclass(frozen=True)
class Setup:
    """What a polar map is made from, besides the frames."""

    dims: tuple[str, ...]  # of the pixels
    rings: PolarAxes
    # (x, y) in pixels; numbers, or arrays on frame dims; None: pixels are found by
    # their positions
    centre: tuple[Number, Number] | None
    plane: Plane | None  # where the geometry is known
    energy: xr.DataArray | None  # on frame dims; in eV, if it differs from shot to shot
    geometry_axes: bool  # azimuths are those of the geometry, not of columns and rows

    @property
    def signs(self) -> tuple[int, int]:
        """Whether columns and rows run along (1) or against (-1) x and y."""
        known = self.geometry_axes and self.plane is not None
        return self.plane.signs if known and self.plane else (1, 1)

    @property
    def moving(self) -> bool:
        arrays = (self.energy, *(self.centre or ()))
        return any(isinstance(a, xr.DataArray) for a in arrays)


def setup_of(
    da: xr.DataArray,
    centre: object,
    geometry: Geometry | None,
    energy: Number | None,
    limits: tuple[float, float],
    unit: str | None,
    n_phi: int | None,
) -> Setup:
    """Return where samples lie; everything that can be wrong is found here."""
    dims, n_modules = core_dims(da), da.sizes.get(MODULE, 1)
    plane = located_plane(da, geometry)
    geometry_axes = geometry is not None or centre is None
    place = centre_of(centre, plane, n_modules)
    if centre is not None and plane is not None and plane.centre is None:
        if geometry is not None:
            raise GeometryMismatchError(
                f"centre={shown(centre)} in pixels and a geometry in which the detector"
                " is not at right angles to the beam; give one of them"
            )
        plane = None  # without it rings have no q
    if plane is not None:
        plane = with_energy(plane, energy)
    shots = energy if isinstance(energy, xr.DataArray) else None
    if energy is not None and plane is None:
        raise MissingConstantError(
            "energy= tells where rings lie only with a distance: give geometry=, or"
            " apply geometry.locate(da, geometry) first"
        )
    # In pixels where the centre is given in pixels, in q where a geometry tells it.
    rings = rings_of(limits, unit or (Q if geometry_axes else "pixel"), n_phi, plane)
    if place is not None:
        x, y = (
            on_frames(p, da, dims, "centre") if isinstance(p, xr.DataArray) else p
            for p in place
        )
        place = x, y
    if shots is not None:
        shots = on_frames(shots, da, dims, "energy")
    setup = Setup(dims, rings, place, plane, shots, geometry_axes)
    if setup.moving and place is None:
        raise GeometryMismatchError(
            "a photon energy of its own for each shot needs one flat module at right"
            f" angles to the beam; this is {n_modules} modules or a tilted one: apply"
            " ops.assemble first"
        )
    return setup


def on_frames(
    value: xr.DataArray, da: xr.DataArray, dims: tuple[str, ...], name: str
) -> xr.DataArray:
    """Return an array at the frames of the data."""
    if set(value.dims) & set(dims):
        raise GeometryMismatchError(
            f"{name} has dims {listing(value.dims)}; wanted frame dims, not pixels"
        )
    return matching(value, da, name)


def with_energy(plane: Plane, energy: Number | None) -> Plane:
    if energy is None:
        return plane
    if not isinstance(energy, xr.DataArray):
        return replace(plane, wavelength=energy_to_wavelength(energy))
    if energy.attrs.get(UNITS, "eV") != "eV":
        raise ArgumentError(f"energy is in {energy.attrs[UNITS]}; wanted eV")
    usual = usual_energy(energy)
    if plane.wavelength is not None:
        return plane
    if usual is None:
        raise MissingConstantError(
            "rings refer to the photon energy of the geometry, which has none: give it"
            " energy= or wavelength="
        )
    return replace(plane, wavelength=energy_to_wavelength(usual))


def located_plane(da: xr.DataArray, geometry: Geometry | None) -> Plane | None:
    """Return the projected pixels if the geometry is given or on the array."""
    if geometry is not None:
        return plane_of_geometry(da, as_geometry(geometry, placed=True))
    on_pixels = TWO_THETA in da.coords and da[TWO_THETA].ndim
    return plane_of(da) if on_pixels else None


def centre_of(
    centre: object, plane: Plane | None, n_modules: int
) -> tuple[Number, Number] | None:
    """Return (x, y) in pixels: given, or of a flat geometry; None for other geometries.

    `centre` may be a pair, something that unpacks as (x, y, r), or a Dataset with the
    variables x and y.
    """
    if centre is None:
        if plane is None:
            raise MissingConstantError(
                "where does the beam hit? Give centre=(x, y) in pixels, or geometry=,"
                " or apply geometry.locate(da, geometry) first"
            )
        return plane.centre
    if n_modules != 1:
        raise GeometryMismatchError(
            f"centre={shown(centre)} in pixels has no meaning for {n_modules} modules;"
            " leave it out and give geometry=, or assemble or select one module first"
        )
    if isinstance(centre, xr.Dataset):
        must_hold("ops.remap_polar", "centre", centre, "x", "y")
        return centre["x"], centre["y"]
    found = unpacked(centre)
    if len(found) not in (2, 3):
        raise ArgumentError(f"centre={shown(centre)}; wanted (x, y) in pixels")
    return checked_centre(found[0]), checked_centre(found[1])


def checked_centre(value: Number) -> Number:
    if isinstance(value, xr.DataArray):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"centre: {shown(value)} is no coordinate; wanted pixels"
        ) from None
    if not np.isfinite(number):
        raise ArgumentError(f"the centre has a coordinate {value}; wanted pixels")
    return number


def unpacked(centre: object) -> tuple[Any, ...]:
    """Return what a centre consists of: two numbers, and perhaps a radius."""
    if isinstance(centre, (str, xr.Dataset)) or not isinstance(centre, Iterable):
        raise ArgumentError(f"centre={shown(centre)}; wanted (x, y) in pixels")
    return tuple(centre) if getattr(centre, "ndim", 1) else ()


def rings_of(
    limits: tuple[float, float], unit: str, n_phi: int | None, plane: Plane | None
) -> PolarAxes:
    """Return the axes for a range of radii in pixels or of q.

    Raises ValueError if the range is empty, or reaches a scattering angle of 90
        degrees; MissingConstantError if a range of q is given and the geometry or
        photon energy is not.
    """
    low, high = (float(v) for v in limits)
    if not 0 <= low < high < np.inf:
        raise ArgumentError(f"r_min={low}, r_max={high}; wanted 0 <= r_min < r_max")
    if unit == Q:
        if plane is None:
            raise MissingConstantError(
                "radii in q need a geometry: give geometry=, or apply"
                " geometry.locate(da, geometry) first"
            )
        low, high = pixels_of_q((low, high), plane)
    # Steps of a pixel along the outermost ring.
    n = int(polar_grid.TURN * high) if n_phi is None else int(n_phi)
    if n < 1 or (n_phi is not None and n != n_phi):
        raise ArgumentError(
            f"n_phi={n_phi}; wanted a whole number of azimuths, 1 or more"
        )
    # A pixel apart.
    radii = low + np.arange(int(np.ceil(high - low)), dtype=np.float64)
    if plane is None:
        return PolarAxes(radii, n)
    q = None
    if plane.wavelength is not None:
        q = polar_grid.radius_to_q(radii, plane.step, plane.wavelength)
    return PolarAxes(radii, n, q, np.arctan(radii * plane.step))


def pixels_of_q(limits: tuple[float, float], plane: Plane) -> tuple[float, float]:
    wavelength = known_wavelength(plane)
    low, high = polar_grid.q_to_radius(np.array(limits), plane.step, wavelength)
    if not np.isfinite(high):
        largest = 4 * np.pi / wavelength * polar_grid.STEEPEST
        raise ArgumentError(
            f"r_max={limits[1]} 1/angstrom is scattered by 90 degrees or more at"
            f" {wavelength:.4g} angstrom; with geometry= radii are in q, and below"
            f" {largest:.4g}"
        )
    return float(low), float(high)


def ring_coords(setup: Setup, convention: str) -> dict[str, Any]:
    rings, loki = setup.rings, convention == LOKI
    phi = polar_grid.azimuths(rings.n_phi) - (0.0 if loki else np.pi)
    axes = "of the geometry" if setup.geometry_axes else "along columns, y along rows"
    meaning = f"atan2(y, x){' + pi' if loki else ''}, x {axes}"
    named = {
        RADIUS: (RADIUS, rings.radii, "pixel", "radius of the ring"),
        PHI: (PHI, phi, "rad", f"azimuth {meaning}"),
        Q: (RADIUS, rings.q, "1/angstrom", "momentum transfer"),
        TWO_THETA: (RADIUS, rings.two_theta, "rad", "scattering angle"),
    }
    return {
        name: xr.Variable(dim, values, {UNITS: units, LONG_NAME: long_name})
        for name, (dim, values, units, long_name) in named.items()
        if values is not None
    }
