"""What the correlations of rings share: polar maps checked, results with units."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from xfelred.errors import ArgumentError, GeometryMismatchError
from xfelred.kernels.arrays import Array
from xfelred.names import LAG, LONG_NAME, PHI, RADIUS, UNITS, Q
from xfelred.ops.companions import check_polar, polar_masks
from xfelred.ops.validity import unrecorded, without
from xfelred.ops.variables import variables

Normalization = Literal["none", "pairs", "variance", "mean"]
TOLERANCE = 1e-2  # of a step: float32 azimuths are as good as that


def checked_polar(polar: xr.DataArray) -> xr.DataArray:
    """Return a polar map with whole rings, in the order (..., radius, phi).

    Raises GeometryMismatchError if it is no polar map, or its azimuths do not go evenly
        round the circle; ValueError if it does not hold real numbers.
    """
    check_polar(polar)
    if polar.dtype.kind not in "iufb":
        raise ArgumentError(f"a polar map of dtype {polar.dtype} cannot be correlated")
    if PHI in polar.coords:
        check_circle(polar[PHI].values)
    out = polar.transpose(..., RADIUS, PHI)
    # Rings are transformed whole, and all beside the one that leads.
    return out if out.chunks is None else out.chunk({RADIUS: -1, PHI: -1})


def check_circle(phi: Array) -> None:
    """Raise GeometryMismatchError unless azimuths are even and go all the way round."""
    if len(phi) < 2 or phi.dtype.kind not in "iuf":
        return
    steps = np.diff(phi.astype(float))
    step = float(np.median(steps))
    # From pi to -pi and on is one step as well.
    off = np.abs(steps - step)
    off = np.minimum(off, np.abs(off - 2 * np.pi))
    if step == 0 or np.max(off) > TOLERANCE * abs(step):
        raise GeometryMismatchError(
            "the azimuths phi are not evenly spaced, so their lags mean nothing; use"
            " ops.remap_polar"
        )
    covered = abs(step) * len(phi)
    if covered < 2 * np.pi * (1 - 0.5 / len(phi)):
        raise GeometryMismatchError(
            f"phi covers {covered:.3f} rad, but circular correlations need the full"
            " circle; keep all azimuths and make the others NaN: polar.where(...)"
        )


def with_masks(
    polar: xr.DataArray, bad_pixels: xr.DataArray | ArrayLike | None
) -> xr.DataArray:
    """Return a checked polar map with NaN in place of bad samples."""
    masks = [*polar_masks(bad_pixels, polar), *unrecorded(polar)]
    return without(checked_polar(polar), masks)


def ring_number(with_ring: int | None, n_rings: int) -> int | None:
    """Return the position of the leading ring, from 0; ValueError if there is none."""
    if with_ring is None:
        return None
    if isinstance(with_ring, bool) or not isinstance(with_ring, (int, np.integer)):
        raise ArgumentError(
            f"with_ring={with_ring!r}; wanted the integer position of a ring along"
            f" {RADIUS!r}; for a q use int(abs(polar.q.data - q).argmin())"
        )
    number = int(with_ring)
    if not -n_rings <= number < n_rings:
        raise ArgumentError(
            f"with_ring={number}, but the polar map has rings 0 to {n_rings - 1}"
        )
    return number % n_rings


def lag_coord(n_phi: int) -> xr.Variable:
    """Return the lags of `n_phi` azimuths, in rad."""
    lags = 2 * np.pi * np.arange(n_phi) / max(n_phi, 1)
    return xr.Variable(LAG, lags, {UNITS: "rad", LONG_NAME: "difference of azimuth"})


def correlation_dataset(
    found: dict[str, xr.DataArray],
    polar: xr.DataArray,
    normalization: str,
    lead: int | None,
    what: str,
) -> xr.Dataset:
    old = str(polar.attrs.get(UNITS, "1"))
    normalised = normalization in ("variance", "mean") or old == "1"
    units = "1" if normalised else f"({old})**2"
    labels = {
        "correlation": (units, f"angular correlation of {what}"),
        "n_pairs": ("1", "number of pairs of good azimuths"),
        "sem": (units, "standard error of the correlation"),
    }
    out = variables(polar, **{k: (v, *labels[k]) for k, v in found.items()})
    out = out.assign_coords(ring_coords(polar, out.dims))
    out = out.assign_coords({LAG: lag_coord(polar.sizes[PHI])})
    if lead is not None:
        out = out.assign_coords(lead_coords(polar, lead))
    return out


def ring_coords(polar: xr.DataArray, dims: Iterable[Hashable]) -> dict[Any, Any]:
    """Return the coordinates of a polar map that apply to a result, such as q."""
    return {k: c.variable for k, c in polar.coords.items() if set(c.dims) <= set(dims)}


def lead_coords(polar: xr.DataArray, lead: int) -> dict[Any, Any]:
    out = {}
    for name in (RADIUS, Q):
        if name in polar.coords and polar[name].dims == (RADIUS,):
            value = polar[name].variable.isel({RADIUS: lead})
            long_name = f"{polar[name].attrs.get(LONG_NAME, name)} of the leading ring"
            value.attrs = {**value.attrs, LONG_NAME: long_name}
            out[f"lead_{name}"] = value
    return out
