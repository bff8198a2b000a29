"""Polar maps without the pattern that a polarized beam leaves on rings."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import ArgumentError, MissingConstantError
from xfelred.geometry.energy import energy_to_wavelength, photon_energy
from xfelred.kernels.polar.remap import result_dtype
from xfelred.kernels.polar.ring_norm import divided
from xfelred.lazy import map_frames
from xfelred.names import LONG_NAME, PHI, RADIUS, TWO_THETA, UNITS, Q
from xfelred.ops.companions import check_polar
from xfelred.provenance import record


@entry
def correct_polarization(
    polar: xr.DataArray,
    *,
    polarization: float | None = None,
    out_of_plane: float | None = None,
    wavelength: float | None = None,
    energy: float | None = None,
) -> xr.DataArray:
    """Divide polar maps by the polarization factor.

    Parameters
    ----------
    polar : DataArray, any real dtype (..., radius, phi)
        As from `remap_polar`: with the coordinates `phi` and, on radius, `two_theta`,
        or `q` and a photon energy.
    polarization : float
        1: the beam is polarized along x (phi = 0), -1: along y, 0: not at all. By
        default 1.
    out_of_plane : float
        The same as the part h of the intensity that is polarized along y:
        polarization = 1 - 2 h. Give one of them.
    wavelength, energy : float, angstrom or eV, optional
        Of the photons, where `polar` has `q` but no `two_theta`.

    Returns
    -------
    DataArray, float32, float64 for float64 (..., radius, phi)
        Lazy; `polar` is not modified.

    Raises
    ------
    MissingConstantError
        If the scattering angles are not known.
    ValueError
        If the polarization is out of range, or a q needs a scattering angle beyond 180
        degrees.

    Notes
    -----
    P = (1 - h) (1 - (sin two_theta cos phi)^2) + h (1 - (sin two_theta sin phi)^2),
    which is the factor of `integrate_azimuthally`.
    """
    check_polar(polar)
    h = out_of_plane_part(polarization, out_of_plane)
    if PHI not in polar.coords:
        raise MissingConstantError(
            f"the polar map has no coordinate {PHI!r}; give the azimuths in rad:"
            " polar.assign_coords(phi=...)"
        )
    sine = np.sin(scattering_angles(polar, photon_energy(energy, wavelength)))
    azimuth = polar[PHI].values.astype(np.float64)
    # Both conventions of phi have the same squares of its cosine and sine.
    along_x = sine[:, None] * np.cos(azimuth)
    along_y = sine[:, None] * np.sin(azimuth)
    factor = (1 - h) * (1 - along_x**2) + h * (1 - along_y**2)
    dtype = result_dtype(polar.dtype)
    out = map_frames(
        divided,
        polar,
        xr.DataArray(factor, dims=(RADIUS, PHI)),
        core_dims=(RADIUS, PHI),
        dtype=dtype,
        name="correct_polarization",
    )
    out.attrs = {**polar.attrs, UNITS: str(polar.attrs.get(UNITS, "1"))}
    out.attrs.setdefault(LONG_NAME, "intensity on rings")
    return record(
        out.rename("polar"),
        "correct_polarization",
        polar,
        polarization=1 - 2 * h,
        wavelength=wavelength,
        energy=energy,
    )


def out_of_plane_part(polarization: float | None, out_of_plane: float | None) -> float:
    """Return the part of the intensity that is polarized along y."""
    if polarization is not None and out_of_plane is not None:
        raise ArgumentError(
            f"polarization={polarization} and out_of_plane={out_of_plane} are given;"
            " give one of them"
        )
    if out_of_plane is not None:
        if not 0 <= out_of_plane <= 1:
            raise ArgumentError(f"out_of_plane={out_of_plane}; wanted 0 to 1")
        return float(out_of_plane)
    degree = 1.0 if polarization is None else float(polarization)
    if not -1 <= degree <= 1:
        raise ArgumentError(f"polarization={polarization}; wanted -1 to 1")
    return (1 - degree) / 2


def scattering_angles(polar: xr.DataArray, energy: float | None) -> np.ndarray:
    if energy is not None and Q in polar.coords:
        sine = polar[Q].values.astype(np.float64) * energy_to_wavelength(energy)
        sine /= 4 * np.pi
        if not (np.abs(sine) <= 1).all():
            raise ArgumentError(
                f"q up to {np.max(polar[Q].values):g} 1/angstrom cannot be reached at"
                f" {energy:g} eV; is q in 1/angstrom?"
            )
        return np.asarray(2 * np.arcsin(sine))
    if TWO_THETA in polar.coords:
        return np.asarray(polar[TWO_THETA].values, dtype=np.float64)
    advice = (
        "give wavelength= or energy= too"
        if Q in polar.coords
        else ("remap with geometry=, or on an array from geometry.locate")
    )
    raise MissingConstantError(
        f"the scattering angles of the rings are not known; {advice}"
    )
