"""Where quantities stand in ``event_info``: the names differ by beamline and year."""

from __future__ import annotations

OPEN_VALID = (
    "bl_?/shutter_1_open_valid_status",
    "*shutter_1_open_valid_status",
    "*shutter_1_open_valid_status/status",
    "*shutter_1_open_valid/status",
)
# Tried in this order; ``*`` stands for anything, also for several levels.
ALIASES: dict[str, tuple[str, ...]] = {
    "photon_energy": (
        "bl_?/oh_2/photon_energy_in_eV",
        "*photon_energy_in_eV",
        "*photon_energy",
        "*photon_energy/value",
        "*tc_spec_?/energy",
    ),
    "I0": (
        "bl_?/oh_2/bm_1_pulse_energy_in_joule",
        "*bm_1_pulse_energy_in_joule",
        "bl_?/oh_2/bm_2_pulse_energy_in_joule",
        "*bm_2_pulse_energy_in_joule",
        "bm_1_signal_in_coulomb",
        "*bm_1_signal_in_coulomb",
        "*bm_1_pd*fitting_peak/voltage",
    ),
    "beam_monitor": (
        "bm_1_signal_in_coulomb",
        "*bm_1_signal_in_coulomb",
        "*bm_1_charge",
        "*bm_1_charge_in_coulomb",
        "*bm_1_pulse_energy_in_joule",
    ),
    "delay": (
        "bl_?/lh_1/electrical_delay_in_psec",
        "*electrical_delay_in_psec",
        "*delay_in_psec",
    ),
    "laser_status": (
        "bl_?/lh_1/laser_pulse_selector_status",
        "*laser_pulse_selector_status",
        "*laser*selector*status",
        "*laser*selector/status",
    ),
    "shutter_status": (
        "bl_?/eh_1/xfel_pulse_selector_status",
        "*xfel_pulse_selector_status",
        "*xfel_pulse_selector_status/status",
        "*xfel_pulse_selector/status",
        *OPEN_VALID,
    ),
    "shutter_open_valid": OPEN_VALID,
    "shutter_close_valid": (
        "bl_?/shutter_1_close_valid_status",
        "*shutter_1_close_valid_status",
        "*shutter_1_close_valid_status/status",
        "*shutter_1_close_valid/status",
    ),
    "accelerator_status": (
        "acc/accelerator_status",
        "*accelerator_status",
        "*accelerator_status/status",
    ),
    "time": ("time_stamp", "*time_stamp"),
}
"""Names that work in every run, and the columns that they stand for."""

UNITS_OF: dict[str, str] = {
    "in_eV": "eV",
    "in_joule": "J",
    "in_coulomb": "C",
    "in_psec": "ps",
    "in_meter": "m",
    "in_degree": "degree",
    "voltage": "V",
    "time_stamp": "s",
}
"""Ends of column names, and the units that they tell."""


def known_places(name: str) -> tuple[str, ...]:
    """Return the columns that a name may stand for, itself first."""
    by_lower = {alias.lower(): places for alias, places in ALIASES.items()}
    return (name, *by_lower.get(name.lower(), ()))


def is_alias(name: str) -> bool:
    """Tell whether a name stands for columns of other names."""
    return name.lower() in {alias.lower() for alias in ALIASES}


def units_of(column: str) -> str:
    """Return the unit that the name of a column tells, 1 if none."""
    found = (u for end, u in UNITS_OF.items() if column.endswith(end))
    return next(found, "1")
