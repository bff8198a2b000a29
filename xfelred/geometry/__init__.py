"""Where pixels are: descriptions of detectors, and scattering coordinates."""

from xfelred.geometry.core import Geometry
from xfelred.geometry.energy import energy_to_wavelength, wavelength_to_energy
from xfelred.geometry.locate import locate
from xfelred.geometry.panels import Panel
from xfelred.geometry.plane import q_to_radius, radius_to_q
from xfelred.lazy_names import listed

__all__ = [
    "Geometry",
    "Panel",
    "energy_to_wavelength",
    "locate",
    "q_to_radius",
    "radius_to_q",
    "wavelength_to_energy",
]

__dir__ = listed(__all__)
