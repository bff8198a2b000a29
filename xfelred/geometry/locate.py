"""Scattering coordinates on an array of detector data."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import GeometryMismatchError, MissingConstantError, listing
from xfelred.geometry.angles import Angles, angles_of, directions, momentum
from xfelred.geometry.core import Geometry
from xfelred.geometry.given import as_geometry
from xfelred.geometry.pixel_places import size
from xfelred.kernels.arrays import Array, Floats
from xfelred.names import (
    FAST,
    LONG_NAME,
    MODULE,
    PHI,
    PIXEL_DIMS,
    POLARIZATION,
    SLOW,
    SOLID_ANGLE,
    TWO_THETA,
    UNITS,
    Q,
)
from xfelred.provenance import record

HALF_WIDTH = "_half_width"
FULL_RANGE = "geometry_range"
"""Attribute of a coordinate: its range [lowest, highest] over the whole geometry."""

# Units and long names of the coordinates that `locate` adds.
DESCRIBED = {
    Q: ("1/angstrom", "momentum transfer"),
    PHI: ("rad", "azimuth"),
    TWO_THETA: ("rad", "scattering angle"),
    SOLID_ANGLE: ("1", "solid angle relative to normal incidence at the beam centre"),
    POLARIZATION: ("1", "polarization factor of a beam polarized along x"),
    Q + HALF_WIDTH: ("1/angstrom", "half width of a pixel in momentum transfer"),
    PHI + HALF_WIDTH: ("rad", "half width of a pixel in azimuth"),
    TWO_THETA + HALF_WIDTH: ("rad", "half width of a pixel in scattering angle"),
}
LARGE = 2**24  # pixels; above, coordinates are float32


@entry(own=("geometry",))
def locate(da: xr.DataArray, geometry: Geometry) -> xr.DataArray:
    """Add scattering coordinates to detector data.

    Parameters
    ----------
    da : DataArray (..., [module,] slow_scan, fast_scan)
        Frames, lazy or not. Modules are matched by their labels to the numbers of the
        geometry; the data may hold fewer.
    geometry : Geometry
        Where the pixels are.

    Returns
    -------
    DataArray
        `da` with the coordinates `q` (1/angstrom; left out where the geometry has no
        photon energy), `phi`, `two_theta` (rad), `solid_angle` and `polarization` on
        the pixel dims, and the half widths of pixels where their corners are known.
        The data are not touched.

    Raises
    ------
    GeometryMismatchError
        If modules or pixels of the data are not in the geometry.
    MissingConstantError
        If the geometry does not know the distance from the sample.
    """
    geometry = as_geometry(geometry, placed=True)
    fitted = fit(da, geometry)
    index, dims = pixel_index(da, fitted)
    angles = angles_of(fitted)
    arrays = by_name(angles)
    coords = {
        name: xr.Variable(dims, values[index], coord_attrs(name, arrays))
        for name, values in arrays.items()
    }
    coords[TWO_THETA].attrs[GEOMETRY] = remember(fitted)
    out = da.assign_coords(coords)
    out.attrs = {
        **da.attrs,
        "handedness": geometry.handedness,
        "phi_convention": geometry.phi_convention,
    }
    return record(
        out,
        "locate",
        geometry=tokenize(geometry)[:8],
        distance=geometry.distance,
        energy=geometry.energy,
    )


def by_name(angles: Angles) -> dict[str, Array]:
    arrays = {
        Q: angles.q,
        PHI: angles.phi,
        TWO_THETA: angles.two_theta,
        SOLID_ANGLE: angles.solid_angle,
        POLARIZATION: angles.polarization,
        Q + HALF_WIDTH: angles.q_half_width,
        PHI + HALF_WIDTH: angles.phi_half_width,
        TWO_THETA + HALF_WIDTH: angles.two_theta_half_width,
    }
    large = angles.phi.size > LARGE
    return {
        name: values.astype(np.float32) if large else values
        for name, values in arrays.items()
        if values is not None
    }


def coord_attrs(name: str, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return the attributes of a coordinate; radial ones get their full range."""
    units, long_name = DESCRIBED[name]
    attrs: dict[str, Any] = {UNITS: units, LONG_NAME: long_name}
    radial = name.removesuffix(HALF_WIDTH)
    if radial in {Q, TWO_THETA}:
        half = 0.0 if radial == name else arrays[name].astype(np.float64)
        low, high = np.nanmin(arrays[radial] - half), np.nanmax(arrays[radial] + half)
        attrs[FULL_RANGE] = [max(0.0, float(low)), float(high)]
    return attrs


def corners_of(
    da: xr.DataArray, radial: str, dims: tuple[str, ...]
) -> tuple[Array, Array]:
    """Return radial coordinate and azimuth of the corners of the pixels of an array.

    da: located in this process.
    radial: {"q", "two_theta"}.
    dims: the pixel dims, in the order that is wanted.
    Returns radius, phi: float64 (corner, *dims).
    """
    geometry = recalled(da[TWO_THETA])
    try:
        index, found = pixel_index(da, geometry)
    except GeometryMismatchError as error:
        raise GeometryMismatchError(
            f"the corners of selected pixels are not known: {error}. Give whole"
            " modules and mark pixels in bad_pixels, or use split='bbox'"
        ) from error
    radius, phi = corner_angles(geometry, radial)
    order = (0, *(1 + found.index(d) for d in dims))
    return radius[:, *index].transpose(order), phi[:, *index].transpose(order)


def fit(da: xr.DataArray, geometry: Geometry) -> Geometry:
    """Return the geometry in the module shape of the data.

    Fills in the shape of a PONI file, and takes apart modules that a geometry file has
    glued along slow_scan.
    """
    for dim in (SLOW, FAST):
        if dim not in da.dims:
            raise GeometryMismatchError(
                f"the array has dims {listing(da.dims)}; wanted {SLOW} and {FAST}:"
                " locate detector frames before they are assembled or reduced"
            )
    labelled = {d for d in (SLOW, FAST) if d in da.coords}
    slow, fast = da.sizes[SLOW], da.sizes[FAST]
    n_modules = da.sizes.get(MODULE, 1)
    if geometry.shape is None:
        if n_modules > 1:
            raise GeometryMismatchError(
                f"the PONI file describes one flat detector, data has"
                f" {size((n_modules, slow, fast))}; select one module, or use"
                " Geometry.from_positions for all of them"
            )
        if labelled:
            geometry.known_shape  # noqa: B018  a cut image does not tell the shape
        return geometry.with_shape((1, slow, fast))
    here = geometry.shape
    glued = here[0] == 1 and here[1] > slow and here[1] % slow == 0 and here[2] == fast
    if glued and SLOW not in labelled and MODULE in da.dims:
        check_ascending(da, "the geometry")
        return geometry.with_shape((here[1] // slow, slow, fast))
    return geometry


def check_ascending(da: xr.DataArray, name: str) -> None:
    """Raise GeometryMismatchError unless modules are in the order of a stack."""
    labels = da[MODULE].values if MODULE in da.coords else np.arange(0)
    if (np.diff(labels.astype(np.int64)) <= 0).any():
        raise GeometryMismatchError(
            f"{name} holds modules stacked along {SLOW}, without numbers, but those of"
            f" the data are in the order {listing(labels, 20)}; sort the data, or give"
            " the numbers of all: Geometry.from_crystfel(path, modules=[...])"
        )


def pixel_index(
    da: xr.DataArray, geometry: Geometry
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return (index into arrays of the geometry, dims of the result)."""
    modules = module_index(da, geometry)
    axes, shape = [modules], geometry.known_shape
    for dim, n in zip((SLOW, FAST), shape[1:], strict=True):
        if dim in da.coords:
            labels = np.asarray(da[dim].values)
            if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= n:
                raise GeometryMismatchError(
                    f"{dim} labels of the data are not pixels 0 to {n - 1} of the"
                    f" geometry: {listing(labels)}"
                )
            axes.append(labels)
        elif da.sizes[dim] == n:
            axes.append(np.arange(n))
        else:
            raise GeometryMismatchError(
                f"geometry has {size(geometry.known_shape)}, data has {dim}"
                f"={da.sizes[dim]}; give whole modules, and select pixels afterwards"
            )
    dims = tuple(d for d in PIXEL_DIMS if d in da.dims)
    if all(np.array_equal(a, np.arange(n)) for a, n in zip(axes, shape, strict=True)):
        whole = (slice(None), slice(None), slice(None))  # no copies
        return (whole if MODULE in da.dims else (0, *whole[1:])), dims
    index = np.ix_(*axes)
    return (index if MODULE in da.dims else (axes[0][0], *np.ix_(*axes[1:]))), dims


def module_index(da: xr.DataArray, geometry: Geometry) -> NDArray[np.intp]:
    n = geometry.known_shape[0]
    numbers = geometry.modules
    labels = np.atleast_1d(da[MODULE].values) if MODULE in da.coords else None
    if labels is not None and numbers is not None:
        unknown = [m for m in labels.tolist() if m not in numbers]
        if not unknown:
            return np.array([numbers.index(m) for m in labels.tolist()], dtype=np.intp)
        raise mismatch(
            da, geometry, f"modules {listing(unknown, 20)} of the data are not in it"
        )
    count = da.sizes.get(MODULE, 1)
    if count != n:
        raise mismatch(da, geometry, "it cannot be told which is which")
    return np.arange(n)


def mismatch(da: xr.DataArray, geometry: Geometry, why: str) -> GeometryMismatchError:
    count = da.sizes.get(MODULE, 1)
    labels = da[MODULE].values.tolist() if MODULE in da.coords else range(count)
    numbers = f" ({numbered(geometry.modules)})" if geometry.modules else ""
    return GeometryMismatchError(
        f"geometry has {size(geometry.known_shape)}{numbers}, data has"
        f" {numbered(labels)} ({count} module{'s' * (count != 1)}); {why}.\n"
        "  Pass the numbers of all its modules to the geometry (modules=[...];"
        ' modules=data.module.values if the data have all), or missing="fill" to'
        " frames() to keep empty modules."
    )


def numbered(labels: Iterable[int]) -> str:
    """Return text such as ``modules 0-15 without 11``."""
    present = sorted({int(m) for m in np.atleast_1d(list(labels))})
    if not present:
        return "no modules"
    absent = [m for m in range(present[0], present[-1]) if m not in present]
    if len(absent) >= len(present):
        return f"modules {listing(present, 20)}"
    gaps = f" without {listing(absent, 20)}" if absent else ""
    return f"modules {present[0]}-{present[-1]}{gaps}"


# -- corners, for pixels that are split over bins by area ------------------------------

GEOMETRY = "geometry"
"""Attribute of a coordinate: which geometry it was made from."""

KEPT = 16
NO_CORNERS = "the geometry does not know the corners of its pixels: use split='no'"

# Corners take four times the memory of all other coordinates, and few ask for them: an
# array carries the name of its geometry, and the last ones are kept under that name.
LAST: OrderedDict[str, Geometry] = OrderedDict()
LOCK = threading.Lock()


def remember(geometry: Geometry) -> str:
    """Keep a geometry for `recalled`; return its name."""
    name = str(tokenize(geometry))
    # Panels are a few numbers; positions, and what was computed from them, are not.
    small = replace(
        geometry, panels=geometry.lattice, positions=None, incidence=None, bad=None
    )
    with LOCK:
        LAST[name] = small
        LAST.move_to_end(name)
        while len(LAST) > KEPT:
            LAST.popitem(last=False)
    return name


def recalled(coord: xr.DataArray) -> Geometry:
    """Return the geometry that a coordinate was made from.

    Raises MissingConstantError if it was not made in this process, or long ago.
    """
    found = LAST.get(str(coord.attrs.get(GEOMETRY)))
    if found is None:
        raise MissingConstantError(
            "the array was not located in this process, so the corners of its pixels"
            " are not known: apply geometry.locate(da, geometry) to it"
        )
    return found


def corner_angles(geometry: Geometry, radial: str) -> tuple[Floats, Floats]:
    """Return radial coordinate and azimuth of the corners.

    radial: {"q", "two_theta"}.
    Returns radius, phi: float64 (corner, module, slow_scan, fast_scan); 1/angstrom or
        rad; rad. Corners in the order of the outline; NaN: no pixel.
    """
    if not geometry.lattice:
        raise MissingConstantError(NO_CORNERS)
    n_corners = len(geometry.lattice[0].corner_offsets)
    out = np.full((2, n_corners, *geometry.known_shape), np.nan)
    for panel in geometry.lattice:
        for c, corner in enumerate(panel.corners()):
            two_theta, phi = directions(corner)
            if radial == Q:
                if geometry.wavelength is None:
                    raise MissingConstantError(
                        "the geometry has no photon energy: give it energy= or"
                        " wavelength="
                    )
                two_theta = momentum(two_theta, geometry.wavelength)
            out[0, c][panel.region] = two_theta
            out[1, c][panel.region] = phi
    return out[0], out[1]
