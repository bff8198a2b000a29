"""Frames resampled on rings around the beam."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import ArrayLike, NDArray

from xfelred.entries import entry
from xfelred.errors import ArgumentError
from xfelred.geometry import Geometry
from xfelred.geometry.energy import HC
from xfelred.kernels.arrays import Array, Bools
from xfelred.kernels.polar import moving as polar_moving
from xfelred.kernels.polar import remap as polar
from xfelred.kernels.polar import tables as polar_tables
from xfelred.kernels.polar.grid import sample_positions
from xfelred.kernels.polar.tables import PixelFinder
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, PHI, RADIUS, UNITS, Q
from xfelred.ops.companions import on_pixels
from xfelred.ops.polar.setup import Setup, ring_coords, setup_of
from xfelred.ops.validity import unrecorded
from xfelred.provenance import record

MODULE_SPACING = 1 / 4  # pixels between points of a cell where a search finds each


@entry(own=("geometry", "centre"))
def remap_polar(
    da: xr.DataArray,
    *,
    centre: Any = None,
    r_min: float,
    r_max: float,
    n_phi: int | None = None,
    method: Literal["nearest", "linear", "area"] = "linear",
    convention: Literal["chi", "loki"] = "chi",
    bad_pixels: xr.DataArray | ArrayLike | None = None,
    geometry: Geometry | None = None,
    energy: float | xr.DataArray | None = None,
    unit: Literal["pixel", "q"] | None = None,
    min_weight: float = 0.0,
) -> xr.DataArray:
    """Resample every frame on rings around the beam.

    Parameters
    ----------
    da : DataArray, any real dtype (..., [module,] slow_scan, fast_scan) or (..., y, x)
        Frames. Several modules need `geometry`, or the coordinates of
        `geometry.locate`. NaN pixels are bad.
    centre : (x, y), pixels, or RingFit, or Dataset
        Where the beam hits: x along fast_scan, y along slow_scan; an integer is the
        centre of a pixel. Each may be a DataArray on frame dims, for a beam that moves.
        By default that of the geometry.
    r_min, r_max : float
        Rings lie at r_min, r_min + 1 pixel, ... below r_max. In pixels if a centre is
        given and no `geometry`; else in 1/angstrom, see `unit`.
    n_phi : int, optional
        Number of azimuths; by default int(2 pi r_max), steps of a pixel at `r_max`.
    method : {"linear", "nearest", "area"}
        Between the four pixels around a sample; the pixel that a sample lies in, halves
        going to the lower one; or the average of all pixels that the cell of a sample
        (one pixel deep, one step of phi wide) overlaps, by area: evenly spread points,
        1/8 pixel apart (1/4 for several or tilted modules), stand for it.
    convention : {"chi", "loki"}
        The coordinate `phi` of the same samples: -pi to pi from x (columns) towards y
        (rows), or loki's 0 to 2 pi from -x towards -y.
    bad_pixels : DataArray or array, bool or integer, optional
        Non-zero: left out. On pixel dims, or on frame dims as well; matched by labels.
    geometry : Geometry, optional
        Gives q, and what several or tilted modules need. Their samples have constant
        scattering angle and azimuth as seen from the sample.
    energy : float or DataArray on frame dims, optional
        Photon energy in eV. With one for each shot, rings lie at the q that the
        geometry's energy gives to their radii, and each shot is resampled there; a shot
        without a positive energy becomes NaN.
    unit : {"pixel", "q"}, optional
        Of `r_min` and `r_max`, whatever else is given.
    min_weight : float
        A sample of which good pixels make up a smaller part (0 to 1) is NaN.

    Returns
    -------
    DataArray, float32, float64 for float64 frames (..., radius, phi)
        Lazy. Coordinates `radius` (pixels), `phi` (rad) and, on radius, `q`
        (1/angstrom) and `two_theta` (rad) where the geometry of a detector at right
        angles to the beam, or `geometry`, is known. NaN outside the detector, in gaps
        (further than 0.75 pixels from a pixel) and where all pixels are bad.

    Raises
    ------
    ValueError
        If an option does not exist, radii are no range, or q needs a scattering angle
        of 90 degrees or more.
    MissingConstantError
        If the centre or the geometry is missing.
    GeometryMismatchError
        If `bad_pixels`, `geometry` or `centre` do not fit the array.

    Notes
    -----
    Samples are x = x_c + r cos(chi), y = y_c + r sin(chi), chi_j = 2 pi j / n_phi - pi;
    loki's phi is chi + pi. Good pixels share the weight of bad ones. With a geometry,
    q = 4 pi / wavelength sin(two_theta / 2), tan(two_theta) = r * pixel / distance.
    """
    if not 0 <= min_weight <= 1:
        raise ArgumentError(f"min_weight={min_weight}; wanted 0 to 1")
    setup = setup_of(da, centre, geometry, energy, (r_min, r_max), unit, n_phi)
    good, masks = split_masks(da, setup.dims, bad_pixels)
    sample = follow_shots if setup.moving else sample_alike
    out = sample(da, setup, good, masks, method, float(min_weight))
    out = out.assign_coords(ring_coords(setup, convention))
    out.attrs = {
        **da.attrs,
        UNITS: str(da.attrs.get(UNITS, "1")),
        LONG_NAME: "intensity on rings",
        "phi_convention": out[PHI].attrs[LONG_NAME],
    }
    return record(
        out.rename("polar"),
        "remap_polar",
        da,
        centre=None if setup.centre is None else list(setup.centre),
        r_min=r_min,
        r_max=r_max,
        n_phi=setup.rings.n_phi,
        method=method,
        convention=convention,
        bad_pixels=None if bad_pixels is None else xr.DataArray(bad_pixels),
        geometry=None if geometry is None else tokenize(geometry)[:8],
        energy=energy,
        unit=unit,
        min_weight=min_weight,
    )


def split_masks(
    da: xr.DataArray, dims: tuple[str, ...], bad_pixels: xr.DataArray | ArrayLike | None
) -> tuple[xr.DataArray | None, list[xr.DataArray]]:
    """Return (good pixels that all frames share, masks that are not known yet)."""
    masks = unrecorded(da)
    if bad_pixels is None:
        return None, masks
    bad = on_pixels(bad_pixels, da, dims)
    if bad.chunks is not None or not set(bad.dims) <= set(dims):
        return None, [*masks, bad]
    # Known now: the table of samples leaves them out, once for all frames.
    whole = xr.DataArray(np.zeros([da.sizes[d] for d in dims], bool), dims=dims)
    return (bad.broadcast_like(whole).transpose(*dims) == 0), masks


def sample_alike(
    da: xr.DataArray,
    setup: Setup,
    good: xr.DataArray | None,
    masks: list[xr.DataArray],
    method: str,
    min_weight: float,
) -> xr.DataArray:
    """Return frames of which all samples lie on the same pixels."""
    used = None if good is None else good.values.ravel()
    shape = tuple(da.sizes[d] for d in setup.dims)
    # Weights are as precise as the result.
    dtype = polar.result_dtype(da.dtype)
    if setup.centre is None:
        table = module_table(setup, used, method, dtype)
    else:
        table = image_table(setup, (shape[-2], shape[-1]), used, method, dtype)
    return map_frames(
        polar.remap_polar,
        da,
        xr.DataArray(table),
        *masks,
        core_dims=setup.dims,
        out_core={RADIUS: setup.rings.shape[0], PHI: setup.rings.shape[1]},
        dtype=dtype,
        n_core=len(setup.dims),
        shape=setup.rings.shape,
        min_weight=min_weight,
    )


def image_table(
    setup: Setup,
    shape: tuple[int, int],
    good: Bools | None,
    method: str,
    dtype: np.dtype[Any],
) -> polar.Table:
    if setup.centre is None:
        raise ArgumentError("a flat image needs a centre")
    centre_x, centre_y = map(float, setup.centre)
    sign_x, sign_y = setup.signs

    def find(x: Array, y: Array) -> NDArray[np.int32]:
        return polar_tables.nearest_index(
            centre_x + sign_x * x, centre_y + sign_y * y, shape
        )

    radii, n_phi = setup.rings.radii, setup.rings.n_phi
    if method == "area":
        return polar_tables.area_table(radii, n_phi, find, good)
    x, y = sample_positions(radii, n_phi)
    if method == "nearest":
        return polar_tables.nearest_table(find(x, y), good)
    x, y = centre_x + sign_x * x, centre_y + sign_y * y
    return polar_tables.linear_table(x, y, shape, good, dtype)


def module_table(
    setup: Setup, good: Bools | None, method: str, dtype: np.dtype[Any]
) -> polar.Table:
    """Return the table for modules whose pixels are found by their positions."""
    if setup.plane is None:
        raise ArgumentError("pixels without a geometry cannot be found")
    radii, n_phi = setup.rings.radii, setup.rings.n_phi
    finder = PixelFinder(setup.plane.x, setup.plane.y, (radii[0], radii[-1]))
    if method == "area":
        return polar_tables.area_table(
            radii, n_phi, finder.nearest, good, MODULE_SPACING
        )
    x, y = sample_positions(radii, n_phi)
    if method == "nearest":
        return polar_tables.nearest_table(finder.nearest(x, y), good)
    return polar_tables.module_linear_table(finder, x, y, good, dtype)


def follow_shots(
    da: xr.DataArray,
    setup: Setup,
    good: xr.DataArray | None,
    masks: list[xr.DataArray],
    method: str,
    min_weight: float,
) -> xr.DataArray:
    """Return frames of which each is sampled around a centre of its own."""
    rings, plane = setup.rings, setup.plane
    axis, step = {RADIUS: rings.radii}, 0.0
    if setup.energy is not None and plane is not None and rings.q is not None:
        axis[Q], step = rings.q, plane.step
    wavelength: Any = 0.0
    if setup.energy is not None:
        # A shot without a photon energy becomes NaN.
        wavelength = HC / setup.energy.where(setup.energy > 0)
    shots = (*(setup.centre or ()), wavelength)
    if good is not None:
        masks = [*masks, ~good]
    return map_frames(
        polar_moving.remap_polar_moving,
        da,
        xr.DataArray(polar.record_of(**axis)),
        *(s if isinstance(s, xr.DataArray) else xr.DataArray(s) for s in shots),
        *masks,
        core_dims=setup.dims,
        out_core={RADIUS: rings.shape[0], PHI: rings.n_phi},
        dtype=polar.result_dtype(da.dtype),
        name="remap_polar",
        n_core=len(setup.dims),
        sampling=polar_moving.Sampling(
            rings.n_phi, method, step, setup.signs, min_weight
        ),
    )
