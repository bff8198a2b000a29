"""Photon energy and wavelength."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xfelred.entries import entry
from xfelred.errors import UnitsError
from xfelred.geometry.plausible import ENERGY, WAVELENGTH, checked

HC = 12398.419843320026
"""Planck constant times speed of light, eV angstrom (CODATA 2018, exact)."""


@entry
def energy_to_wavelength(energy_ev: float) -> float:
    """Return the wavelength in angstrom of a photon energy in eV.

    >>> round(energy_to_wavelength(12398.419843320026), 6)
    1.0
    """
    return HC / checked(energy_ev, "energy", ENERGY)


@entry
def wavelength_to_energy(wavelength: float) -> float:
    """Return the photon energy in eV of a wavelength in angstrom.

    >>> round(wavelength_to_energy(1.44), 2)
    8610.01
    """
    return HC / checked(wavelength, "wavelength", WAVELENGTH)


def usual_energy(energies: xr.DataArray) -> float | None:
    """Return the median in eV of the shots that have an energy.

    None where there is none, or they are not in memory.

    Raises UnitsError if it cannot be meant.
    """
    if energies.chunks is not None:
        return None
    known = energies.values[energies.values > 0]
    return checked(float(np.median(known)), "energy", ENERGY) if known.size else None


def photon_energy(energy: float | None, wavelength: float | None) -> float | None:
    """Return the energy in eV given at most one of energy and wavelength."""
    if energy is not None and wavelength is not None:
        raise UnitsError(
            f"both energy={energy} eV and wavelength={wavelength} angstrom are given;"
            " give one"
        )
    if wavelength is not None:
        return wavelength_to_energy(wavelength)
    return None if energy is None else checked(energy, "energy", ENERGY)
