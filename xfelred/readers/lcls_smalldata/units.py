"""Units of columns, as far as their names tell."""

from __future__ import annotations

from fnmatch import fnmatchcase

# From the writers' documentation: ebeam and gas_detector as in the beam-line data,
# times of the time tool in ps, motors of the laser stage (lxt) in seconds.
UNITS_OF = {
    "*/FLTPOS_PS": "ps",
    "*/fltpos_ps": "ps",
    "*/ttCorr": "ps",
    "tt/FLTPOS": "pixel",
    "tt/FLTPOSFWHM": "pixel",
    "tt/fltpos": "pixel",
    "tt/fltposfwhm": "pixel",
    "scan/lxt*": "s",
    "epics/lxt*": "s",
    "ebeam/photon_energy": "eV",
    "ebeam/L3_energy": "MeV",
    "ebeam/charge": "nC",
    "gas_detector/*": "mJ",
    "phase_cav/fit_time_*": "ps",
    "phase_cav/charge_*": "pC",
}


def units_of(column: str) -> str:
    """Return the unit that the name of a column tells, 1 if none."""
    name = column.removeprefix("intg/")
    return next((u for g, u in UNITS_OF.items() if fnmatchcase(name, g)), "1")
