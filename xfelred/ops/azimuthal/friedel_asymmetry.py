"""How far correlations are from Friedel symmetry, and shots weighted to mend it."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry, must_hold
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.kernels.azimuthal import cos_psi as kernels
from xfelred.lazy import map_frames
from xfelred.names import COS_PSI, LONG_NAME, RADIUS, UNITS
from xfelred.provenance import record

TOLERANCE = 1e-9  # of cosines: the rounding of an even grid


@entry
def friedel_asymmetry(result: xr.Dataset, *, limit: float = 1.0) -> xr.DataArray:
    """Return the part of the power of correlations that is odd in cos psi.

    Without absorption the intensity at -q is that at q, so that a correlation at psi
    equals that at pi - psi. Artifacts of the detector do not know that.

    Parameters
    ----------
    result : Dataset (..., radius, cos_psi)
        From `to_cos_psi` with a grid that is symmetric around 0.
    limit : float
        Only cosines up to this one count; smaller values leave out the peak at lag 0.

    Returns
    -------
    DataArray, float64 (..., radius)
        Lazy: 0 for a symmetric correlation, 1 for an antisymmetric one, 1/2 for noise.
        NaN where no cosine has a partner.

    Raises
    ------
    MissingConstantError
        If the correlation is not on a grid of cos psi.
    ValueError
        If the grid is not symmetric.

    Notes
    -----
    sum O^2 / (sum O^2 + sum E^2), C = E + O, O(c) = (C(c) - C(-c)) / 2.
    """
    values, grid = symmetric(result)
    out = map_frames(
        kernels.asymmetry,
        values,
        core_dims=(COS_PSI,),
        out_core={},
        dtype=np.float64,
        name="friedel_asymmetry",
        grid=grid,
        limit=float(limit),
    )
    out.attrs = {UNITS: "1", LONG_NAME: "odd part of the power of the correlation"}
    out = out.rename("friedel_asymmetry")
    return record(out, "friedel_asymmetry", result, limit=limit)


@entry
def friedel_weights(
    result: xr.Dataset,
    *,
    limit: float = 1.0,
    ridge: float = 1e-3,
    positive: bool = True,
) -> xr.DataArray:
    """Return weights of shots, or pairs, that make their mean most symmetric.

    Parameters
    ----------
    result : Dataset (shot, radius, cos_psi)
        From `to_cos_psi` with a symmetric grid; the first dim may have any name. All
        of it is held in memory when weights are computed.
    limit : float
        See `friedel_asymmetry`.
    ridge : float
        How much weights are held together: 0 minimises the asymmetry alone, large
        values give all shots the same weight.
    positive : bool
        No weight below 0.

    Returns
    -------
    DataArray, float64 (shot,)
        Lazy; sum 1. The weighted mean is ``(weights * result).sum(dim)``.

    Raises
    ------
    MissingConstantError, ValueError
        As `friedel_asymmetry`; also if there are several dims of shots.

    Notes
    -----
    The solution of a quadratic problem, see
    `xfelred.kernels.azimuthal.cos_psi.friedel_weights`.
    """
    values, grid = symmetric(result)
    shots = [str(d) for d in values.dims if d not in (RADIUS, COS_PSI)]
    if len(shots) != 1:
        raise ArgumentError(
            f"weights are for one dim of shots, but the correlation has {values.dims};"
            " stack the others, or reduce them"
        )
    if not ridge >= 0:
        raise ArgumentError(f"ridge={ridge}; wanted 0 or more")
    # Every pair of shots enters the weights.
    if values.chunks is not None:
        values = values.chunk(-1)
    (shot,) = shots
    out = map_frames(
        kernels.friedel_weights,
        values.transpose(shot, RADIUS, COS_PSI),
        core_dims=(shot, RADIUS, COS_PSI),
        out_core={shot: values.sizes[shot]},
        dtype=np.float64,
        name="friedel_weights",
        grid=grid,
        limit=float(limit),
        ridge=float(ridge),
        positive=positive,
    )
    kept = {k: c.variable for k, c in values.coords.items() if c.dims == (shot,)}
    out = out.assign_coords(kept).rename("weights")
    out.attrs = {UNITS: "1", LONG_NAME: "weight for the most symmetric mean"}
    return record(
        out, "friedel_weights", result, limit=limit, ridge=ridge, positive=positive
    )


def symmetric(result: xr.Dataset) -> tuple[xr.DataArray, tuple[float, ...]]:
    """Return the correlation and its grid; raise an error unless that is symmetric."""
    must_hold("ops.friedel_asymmetry", "result", result, "correlation")
    values = result["correlation"]
    if COS_PSI not in values.dims:
        raise MissingConstantError(
            "the correlation is not on a grid of cos psi; make one with"
            " ops.to_cos_psi(result, wavelength=..., grid=201)"
        )
    grid = values[COS_PSI].values
    if np.abs(grid + grid[::-1]).max() > TOLERANCE:
        raise ArgumentError(
            f"the grid from {grid[0]} to {grid[-1]} is not symmetric around 0; use"
            " grid=201, say"
        )
    values = values.transpose(..., COS_PSI)
    if values.chunks is not None:
        values = values.chunk({COS_PSI: -1})
    return values, tuple(grid.tolist())
