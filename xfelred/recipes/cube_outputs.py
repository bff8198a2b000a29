"""What is made of binned frames: images, regions, azimuthal curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred import ops
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.geometry import Geometry, locate
from xfelred.geometry.energy import HC
from xfelred.lazy import map_frames
from xfelred.names import (
    BAD_PIXELS,
    LONG_NAME,
    PHI,
    PIXEL_DIMS,
    UNITS,
    Q,
    X,
    Y,
)
from xfelred.ops.companions import matching
from xfelred.recipes.models import AzimuthalSpec, RoiSpec

AZAV = "azav"
MOST_RINGS = 100_000  # more than any detector has pixels along its diagonal
TURN = 2 * np.pi
HC_OF_LCLS = 12398.4  # eV angstrom, in azimuthalBinning of smalldata_tools
POSITIONS = ("x", "y", "z")
IMAGE_INDEX = ("ix", "iy")


def processed(
    frames: xr.DataArray,
    stem: str,
    spec: RoiSpec | AzimuthalSpec,
    constants: xr.Dataset,
    *,
    compat: bool = False,
) -> dict[str, xr.DataArray]:
    """Return the outputs of one function of the sums, or means, of all bins.

    They, and dims of their own, begin with `stem`, which is ``<det>_<name>``.
    """
    bad = constants.get(BAD_PIXELS)
    if isinstance(spec, RoiSpec):
        options = spec.model_dump(include={"write_area", "threshold", "saturation"})
        found = ops.roi(frames, spec.bounds, bad_pixels=bad, **options)
    else:
        spec = spec.model_copy(update={"compat": compat or spec.compat})
        found = azimuthal(frames, spec, constants, bad)
    bins = [d for d in frames.dims if d not in PIXEL_DIMS]
    own = {d: f"{stem}_{d}" for d in found.dims if d not in bins}
    found = found.rename(own)
    kept = {*bins, *own.values()}
    found = found.drop_vars([c for c in found.coords if c not in kept])
    return {f"{stem}_{key}": value for key, value in found.items()}


@dataclass(frozen=True, eq=False)
class Rings:
    """Where the pixels of a detector are, and the bins they are averaged in."""

    coords: Mapping[str, xr.Variable]
    attrs: Mapping[str, Any]
    edges: list[float]  # of q
    sectors: NDArray[np.float64]  # edges of phi


def azimuthal(
    frames: xr.DataArray,
    spec: AzimuthalSpec,
    constants: xr.Dataset,
    bad: xr.DataArray | None,
) -> xr.Dataset:
    """Return azimuthal curves ``azav`` and ``count`` on (..., phi, q)."""
    return on_rings(frames, rings_of(frames, spec, constants, bad), spec, bad)


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
    turned, sectors = azimuth_bins(located[PHI], spec.n_phi, spec.phi_edges)
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


def azimuth_bins(
    phi: xr.DataArray, n: int, edges: list[float] | None = None
) -> tuple[xr.DataArray, NDArray[Any]]:
    """Return azimuths, and edges of `n` sectors, as azimuthalBinning has them.

    `edges` win; sectors begin half the first one before these, as there.
    """
    azimuth = (TURN / 4 - phi) % TURN  # theirs goes the other way round, from y
    if edges is not None:
        return (azimuth + (edges[1] - edges[0]) / 2) % TURN, np.asarray(edges)
    low, high = float(azimuth.min()), float(azimuth.max())
    # Half a sector on, so that the first one is centred on the smallest azimuth; what
    # is beyond a full turn then, or beyond the largest azimuth, belongs to it.
    turned = azimuth + (high - low) / n / 2
    turned = turned.where(turned < TURN, turned - TURN)
    turned = turned.where((turned >= low) & (turned <= high), low)
    turned.attrs = dict(phi.attrs)
    return turned, np.linspace(low, high + np.finfo(float).eps * 16, n + 1)


def assembled(array: xr.DataArray, constants: xr.Dataset) -> xr.DataArray:
    """Return images (..., y, x) in which each pixel is in row ix and column iy."""
    if not set(IMAGE_INDEX) <= set(constants):
        raise MissingConstantError("image: the run has no ix and iy of the pixels")
    row, column = (matching(constants[k], array, k) for k in IMAGE_INDEX)
    n_rows, n_columns = (int(constants[k].max()) + 1 for k in IMAGE_INDEX)
    place = (row.astype(np.int64) * n_columns + column).transpose(*PIXEL_DIMS)
    image = map_frames(
        scattered,
        array,
        place,
        core_dims=PIXEL_DIMS,
        out_core={Y: n_rows, X: n_columns},
        dtype=np.float64,
        n_rows=n_rows,
        n_columns=n_columns,
    )
    image.attrs = {
        UNITS: array.attrs.get(UNITS, "1"),
        LONG_NAME: array.attrs.get(LONG_NAME, "image"),
    }
    return image


def scattered(
    x: NDArray[Any], place: NDArray[np.int64], *, n_rows: int, n_columns: int
) -> NDArray[np.float64]:
    at = place.reshape(-1)
    size = n_rows * n_columns
    hits = np.bincount(at, minlength=size).astype(float)
    hits[hits == 0] = np.nan  # places without any pixel; several in one are averaged
    lead = x.shape[: -len(PIXEL_DIMS)]
    out = np.empty((int(np.prod(lead)), size))
    for i, frame in enumerate(x.reshape(len(out), -1)):
        out[i] = np.bincount(at, frame, minlength=size) / hits
    return out.reshape((*lead, n_rows, n_columns))
