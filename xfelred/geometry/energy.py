"""Photon energy and wavelength."""

from __future__ import annotations

HC = 12398.419843320026
"""Planck constant times speed of light, eV angstrom (CODATA 2018, exact)."""


def energy_to_wavelength(energy_ev: float) -> float:
    """Return the wavelength in angstrom of a photon energy in eV.

    >>> round(energy_to_wavelength(12398.419843320026), 6)
    1.0
    """
    return HC / positive(energy_ev, "energy", "eV")


def wavelength_to_energy(wavelength: float) -> float:
    """Return the photon energy in eV of a wavelength in angstrom.

    >>> round(wavelength_to_energy(1.44), 2)
    8610.01
    """
    return HC / positive(wavelength, "wavelength", "angstrom")


def photon_energy(energy: float | None, wavelength: float | None) -> float | None:
    """Return the energy in eV given at most one of energy and wavelength."""
    if energy is not None and wavelength is not None:
        raise ValueError(
            f"both energy={energy} eV and wavelength={wavelength} angstrom are given;"
            " give one"
        )
    if wavelength is not None:
        return wavelength_to_energy(wavelength)
    return None if energy is None else float(positive(energy, "energy", "eV"))


def positive(value: float, name: str, unit: str) -> float:
    """Return `value` as float if it is a positive finite number."""
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name}={value} {unit}; wanted a positive number of {unit}")
    return number
