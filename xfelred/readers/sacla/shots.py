"""What kind of shot each tag is: dark or lit, pumped or not, at which photon energy."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.names import (
    BEAM,
    IN_EVENT_TABLE,
    LASER_ON,
    PHOTON_ENERGY,
    PHOTON_ENERGY_OK,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
)
from xfelred.readers.sacla.events import Table, first_with_one_each, one_each_of
from xfelred.readers.sacla.files import Tags, number
from xfelred.readers.sacla.places import known_places

Flags = NDArray[np.bool_]
BEAMLINE = re.compile(r"(?:^|_)bl_(\d+)[/_]")
NO_CHARGE = 1e-10  # C; a beam monitor that has less saw no beam
PLAUSIBLE_EV = (5e3, 14e3)  # of a photon energy in the configuration of a run


@dataclass(frozen=True)
class DarkRule:
    """How dark shots are told apart in some runs of a beamline.

    By the practice of the facility's own pipelines: since 2018 the status of the
    shutter has to be read differently, and darks are only the unbroken block at the
    head of a run.
    """

    beamline: int
    first_run: int
    last_run: int | None
    by: str


DARK_RULES = (
    DarkRule(2, 32348, 81549, "monitor"),
    DarkRule(2, 81550, None, "shutter"),
    DarkRule(3, 909709, None, "shutter"),
)


@dataclass(frozen=True, eq=False)
class Shots:
    """The shots of an event table; None where the table does not tell.

    Attributes
    ----------
    tags : int64 (n,)
    in_table : bool (n,)
        The event table has the tag.
    shutter_open, beam, laser_on : bool (n,) or None
        False also where it is unknown.
    shutter_known : bool (n,) or None
        The table tells whether the shutter was open.
    energy : float64 (n,), eV
        Never NaN where any energy is known.
    energy_ok : bool (n,)
        False where `energy` is not that of the shot.
    default_energy : float
        What stands for energies that are not known.
    told_by : str
        What tells darks.
    """

    tags: Tags
    in_table: Flags
    shutter_open: Flags | None
    shutter_known: Flags | None
    beam: Flags | None
    laser_on: Flags | None
    energy: NDArray[np.float64]
    energy_ok: Flags
    default_energy: float
    told_by: str

    def with_shutter(
        self, tags: Tags, opened: Flags, known: Flags, told_by: str
    ) -> Shots:
        """Return the shots of some tags with an open shutter where it is said."""
        old = self.of(tags)
        return Shots(
            tags,
            old[IN_EVENT_TABLE],
            opened & known,
            known,
            old.get(BEAM),
            old.get(LASER_ON),
            old[PHOTON_ENERGY],
            old[PHOTON_ENERGY_OK],
            self.default_energy,
            told_by,
        )

    def of(self, tags: Tags) -> dict[str, NDArray[Any]]:
        """Return the coordinates of some tags, joined by number.

        All flags of a tag that is not in the table are False: it is neither lit nor
        dark, see ``shutter_known``.
        """
        known = np.isin(tags, self.tags)
        at = np.searchsorted(self.tags, tags[known])

        def joined(values: NDArray[Any], unknown: Any) -> NDArray[Any]:
            out = np.full(len(tags), unknown, values.dtype)
            out[known] = values[at]
            return out

        found: dict[str, NDArray[Any]] = {}
        for name, values, unknown in (
            (IN_EVENT_TABLE, self.in_table, False),
            (SHUTTER_OPEN, self.shutter_open, False),
            (SHUTTER_KNOWN, self.shutter_known, False),
            (BEAM, self.beam, False),
            (LASER_ON, self.laser_on, False),
            (PHOTON_ENERGY, self.energy, self.default_energy),
            (PHOTON_ENERGY_OK, self.energy_ok, False),
        ):
            if values is not None:
                found[name] = joined(values, unknown)
        return found


def read_shots(
    events: Table, run: int, config: dict[str, Any], dark_first: int | None
) -> Shots:
    """Return the shots of a run from its whole event table.

    Parameters
    ----------
    config : dict
        ``run_info/sacla_config``.
    dark_first : int or None
        How many shots at the head of the run are dark, if the table does not tell.
    """
    dark, known, told_by = dark_shots(events, run)
    if dark is None and dark_first is not None and len(events.tags):
        dark = np.arange(len(events.tags)) < dark_first
        known, told_by = np.ones(len(dark), bool), f"dark_first={dark_first}"
    beam = flags(events, "accelerator_status")
    energy, ok, default = photon_energies(events, config)
    return Shots(
        tags=events.tags,
        in_table=np.ones(len(events.tags), bool),
        shutter_open=None if dark is None or known is None else known & ~dark,
        shutter_known=known,
        beam=None if beam is None else beam == 1,
        laser_on=None
        if (laser := flags(events, "laser_status")) is None
        else laser == 1,
        energy=energy,
        energy_ok=ok,
        default_energy=default,
        told_by=told_by,
    )


def flags(events: Table, name: str) -> NDArray[np.float64] | None:
    """Return a status of every shot, NaN where unknown; None if there is none."""
    column = first_with_one_each(events, known_places(name))
    return None if column is None else one_each_of(events, column)


def dark_shots(events: Table, run: int) -> tuple[Flags | None, Flags | None, str]:
    """Return which shots are dark, for which it is known, and what tells it.

    None if nothing does.
    """
    if not len(events.tags):
        return None, None, "nothing"
    rule = rule_for(events, run)
    if rule is not None and rule.by == "monitor":
        charge = flags(events, "beam_monitor")
        if charge is not None:
            none = np.isnan(charge) | (charge < NO_CHARGE)
            every = np.ones(len(none), bool)
            return head(none, every), every, "beam monitor, head of the run"
    opened = flags(events, "shutter_open_valid")
    closed = flags(events, "shutter_close_valid")
    if rule is not None and opened is not None and closed is not None:
        known = np.isfinite(opened) & np.isfinite(closed)
        dark = head((opened == 0) & (closed == 1), known)
        return dark, known, "shutter, head of the run"
    status = flags(events, "shutter_status")
    if status is None:
        return None, None, "nothing"
    told_by = str(first_with_one_each(events, known_places("shutter_status")))
    return status == 0, np.isfinite(status), told_by


def rule_for(events: Table, run: int) -> DarkRule | None:
    """Return the rule for a run, None if the status of the shutter can be trusted."""
    named = Counter(int(m[1]) for c in events.columns if (m := BEAMLINE.search(c)))
    # Run numbers count up per beamline; a file may mention another one in passing.
    beamline = named.most_common(1)[0][0] if named else 0
    for rule in DARK_RULES:
        until = rule.last_run is None or run <= rule.last_run
        if rule.beamline == beamline and run >= rule.first_run and until:
            return rule
    return None


def head(condition: Flags, known: Flags) -> Flags:
    """Return where a condition has held from the first shot on.

    Shots of which it is not known neither fulfil it nor end the head of the run.
    """
    return condition & np.logical_and.accumulate(condition | ~known)


def photon_energies(
    events: Table, config: dict[str, Any]
) -> tuple[NDArray[np.float64], Flags, float]:
    """Return (energy of every shot, whether it was measured, the usual energy) in eV.

    The spectrometer gives NaN, 0 or less where it found none. These become the energy
    in the configuration of the run if that is plausible, else the median of the run.
    """
    column = first_with_one_each(events, known_places(PHOTON_ENERGY))
    found = np.full(len(events.tags), np.nan)
    if column is not None:
        found = one_each_of(events, column)
    ok = np.isfinite(found) & (found > 0)
    usual = number(config.get("photon_energy_in_eV"))
    low, high = PLAUSIBLE_EV
    if not low <= usual <= high and ok.any():
        usual = float(np.median(found[ok]))
    if not usual > 0:
        usual = float("nan")
    return np.where(ok, found, usual), ok, usual
