"""Angular correlations along the angle between scattering vectors."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    GeometryMismatchError,
    MissingConstantError,
    listing,
)
from xfelred.geometry.plausible import WAVELENGTH, checked
from xfelred.kernels.arrays import Floats
from xfelred.kernels.azimuthal import cos_psi as kernels
from xfelred.lazy import map_frames
from xfelred.names import COS_PSI, LAG, LONG_NAME, RADIUS, UNITS, Q
from xfelred.provenance import record

LEAD_Q = "lead_q"


@entry
def to_cos_psi(
    result: xr.Dataset, *, wavelength: float, grid: int | ArrayLike | None = None
) -> xr.Dataset:
    """Add the cosine of the angle psi between scattering vectors, or make it the axis.

    Parameters
    ----------
    result : Dataset (..., radius, lag)
        From `correlate_angular` or `difference_correlation`, with a coordinate `q` on
        `radius`; of the ring that leads, `lead_q`.
    wavelength : float, angstrom
    grid : int or sequence of float, optional
        Interpolate at so many even steps from -1 to 1, or at these values.

    Returns
    -------
    Dataset
        With the coordinate `cos_psi` (radius, lag). With `grid`, lazy, with the dim
        `cos_psi` in place of `lag`: interpolated linearly over lags from 0 to pi, NaN
        where no lag leads; of counts, the smaller of the two neighbours.

    Raises
    ------
    MissingConstantError
        If there is no q.
    ValueError
        If no q can be reached at this wavelength, or `grid` is not increasing.

    Notes
    -----
    cos psi = cos(lag) cos(theta_1) cos(theta_2) + sin(theta_1) sin(theta_2), with
    theta = asin(q wavelength / 4 pi): scattering vectors end on the Ewald sphere, so
    psi is smaller than the lag. Gold {111} at q = 2.67 and wavelength 1.44 has its
    cos psi = 1/3 and -1/3 at lags of 74.66 and 118.10 degrees.
    """
    axis = cosines(result, wavelength)
    if grid is None:
        out = result.assign_coords({COS_PSI: axis})
        return record(out, "to_cos_psi", wavelength=float(wavelength), grid=None)
    points = grid_points(grid)
    # Up to a lag of pi: from there on the cosines come back.
    half = result.sizes[LAG] // 2 + 1
    found = {
        name: on_grid(values, axis.isel({LAG: slice(half)}), points)
        for name, values in result.data_vars.items()
        if {RADIUS, LAG} <= set(values.dims)
    }
    out = xr.Dataset(found, attrs=result.attrs)
    out = out.assign_coords(
        {k: c for k, c in result.coords.items() if LAG not in c.dims}
    )
    attrs = {UNITS: "1", LONG_NAME: "cosine of the angle between scattering vectors"}
    out = out.assign_coords({COS_PSI: (COS_PSI, points, attrs)})
    grid_param = int(grid) if isinstance(grid, int) else points
    return record(
        out, "to_cos_psi", result, wavelength=float(wavelength), grid=grid_param
    )


def cosines(result: xr.Dataset, wavelength: float) -> xr.DataArray:
    """Return cos psi (radius, lag)."""
    missing = [d for d in (RADIUS, LAG) if d not in result.dims]
    if missing:
        raise GeometryMismatchError(
            f"no dim {listing(missing)} in the correlation; it has"
            f" {listing(result.dims)}"
        )
    if Q not in result.coords:
        raise MissingConstantError(
            "the correlation has no coordinate 'q' on 'radius': make the polar map from"
            " located frames, or add it: result.assign_coords(q=('radius', q))"
        )
    wavelength = checked(wavelength, "wavelength", WAVELENGTH)
    q = result[Q].values.astype(np.float64)
    # Without a ring that leads, each is correlated with itself.
    lead = result[LEAD_Q].values if LEAD_Q in result.coords else q[:, None]
    values = kernels.cos_psi(
        np.asarray(lead, np.float64), q[:, None], result[LAG].values, float(wavelength)
    )
    if not np.isfinite(values).any():
        raise ArgumentError(
            f"q from {q.min():.4g} to {q.max():.4g} cannot be reached at wavelength"
            f" {wavelength} angstrom, which ends at {4 * np.pi / wavelength:.4g}; is it"
            " in angstrom?"
        )
    attrs = {UNITS: "1", LONG_NAME: "cosine of the angle between scattering vectors"}
    return xr.DataArray(values, dims=(RADIUS, LAG), name=COS_PSI, attrs=attrs)


def grid_points(grid: int | ArrayLike) -> Floats:
    """Return the points of an even grid from -1 to 1, or those given."""
    if isinstance(grid, (int, np.integer)):
        if grid < 2:
            raise ArgumentError(f"grid={grid}; wanted at least 2 points")
        return np.linspace(-1, 1, int(grid))
    points = np.asarray(grid, np.float64)
    if points.ndim != 1 or len(points) < 1 or np.any(np.diff(points) <= 0):
        raise ArgumentError("grid must be a list of increasing cosines")
    return points


def on_grid(values: xr.DataArray, axis: xr.DataArray, points: Floats) -> xr.DataArray:
    values = values.transpose(..., RADIUS, LAG)
    if values.chunks is not None:
        values = values.chunk({RADIUS: -1, LAG: -1})
    axis = axis.drop_vars([RADIUS, LAG], errors="ignore")
    # As wide as the variable, of which the kernel takes the first half.
    half, n = axis.sizes[LAG], values.sizes[LAG]
    padded = axis.pad({LAG: (0, n - half)}, constant_values=np.nan)
    out = map_frames(
        kernels.to_grid,
        values,
        padded,
        core_dims=(RADIUS, LAG),
        out_core={RADIUS: values.sizes[RADIUS], COS_PSI: len(points)},
        grid=tuple(points.tolist()),
        half=half,
        name="to_cos_psi",
    )
    return out.assign_attrs(values.attrs)
