"""What kind of shot each tag is: dark or lit, pumped or not, at which photon energy."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.lazy import load
from xfelred.names import (
    BEAM,
    IN_EVENT_TABLE,
    LASER_ON,
    PHOTON_ENERGY,
    PHOTON_ENERGY_OK,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
)
from xfelred.readers.entry import entry_window
from xfelred.readers.frames import Pixels
from xfelred.readers.sacla.events import Table, first_with_one_each, one_each_of
from xfelred.readers.sacla.files import Tags, number
from xfelred.readers.sacla.images import ModuleImages
from xfelred.readers.sacla.places import known_places
from xfelred.readers.shot_frames import image_plan

Flags = NDArray[np.bool_]
# In the order of the coordinates of frames.
ORDER = (
    IN_EVENT_TABLE,
    SHUTTER_OPEN,
    SHUTTER_KNOWN,
    BEAM,
    LASER_ON,
    PHOTON_ENERGY,
    PHOTON_ENERGY_OK,
)
EVERY = 16  # rows of an image of which one is read for its intensity
BATCH = 64  # tags that are read at once
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
class ShotKinds:
    """What is known of the shots of an event table.

    `values` stand under the names of coordinates: flags, False also where it is
    unknown, and photon energies in eV. What the table does not tell is not among them.
    """

    tags: Tags  # (n,)
    values: dict[str, NDArray[Any]]  # each (n,)
    default_energy: float  # eV; stands for energies that are not known, perhaps NaN
    told_by: str  # what tells darks

    def with_shutter(
        self, tags: Tags, opened: Flags, known: Flags, told_by: str
    ) -> ShotKinds:
        """Return the shots of some tags with an open shutter where it is said."""
        shutter = {SHUTTER_OPEN: opened & known, SHUTTER_KNOWN: known}
        return replace(self, tags=tags, values=self.of(tags) | shutter, told_by=told_by)

    def of(self, tags: Tags) -> dict[str, NDArray[Any]]:
        """Return the coordinates of some tags, joined by number.

        All flags of a tag that is not in the table are False: it is neither lit nor
        dark, see ``shutter_known``.
        """
        known = np.isin(tags, self.tags)
        at = np.searchsorted(self.tags, tags[known])
        found: dict[str, NDArray[Any]] = {}
        for name in ORDER:
            if name in self.values:
                unknown = self.default_energy if name == PHOTON_ENERGY else False
                found[name] = np.full(len(tags), unknown, self.values[name].dtype)
                found[name][known] = self.values[name][at]
        return found


def read_shots(
    events: Table, run: int, config: dict[str, Any], dark_first: int | None
) -> ShotKinds:
    """Return the shots of a run from its whole event table.

    `config` is ``run_info/sacla_config``; `dark_first` shots at the head of the run are
    dark if the table does not tell.
    """
    every = np.ones(len(events.tags), bool)
    dark, known, told_by = dark_shots(events, run)
    if dark is None and dark_first is not None and len(every):
        dark, known = np.arange(len(every)) < dark_first, every
        told_by = f"dark_first={dark_first}"
    energy, ok, default = photon_energies(events, config)
    values = {IN_EVENT_TABLE: every, PHOTON_ENERGY: energy, PHOTON_ENERGY_OK: ok}
    if dark is not None and known is not None:
        values |= {SHUTTER_OPEN: known & ~dark, SHUTTER_KNOWN: known}
    for name, status in ((BEAM, "accelerator_status"), (LASER_ON, "laser_status")):
        found = status_of(events, status)
        if found is not None:
            values[name] = found == 1
    return ShotKinds(events.tags, values, default, told_by)


def status_of(events: Table, name: str) -> NDArray[np.float64] | None:
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
        charge = status_of(events, "beam_monitor")
        if charge is not None:
            none = np.isnan(charge) | (charge < NO_CHARGE)
            every = np.ones(len(none), bool)
            return head(none, every), every, "beam monitor, head of the run"
    opened = status_of(events, "shutter_open_valid")
    closed = status_of(events, "shutter_close_valid")
    if rule is not None and opened is not None and closed is not None:
        known = np.isfinite(opened) & np.isfinite(closed)
        dark = head((opened == 0) & (closed == 1), known)
        return dark, known, "shutter, head of the run"
    status = status_of(events, "shutter_status")
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


def with_darks(images: ModuleImages, shots: ShotKinds, below: float) -> ShotKinds:
    """Return the shots with those dark whose mean intensity is below a limit."""
    ids = images.tags
    usable, _ = images.images(ids)
    found = images.shot_images(ids, usable, "")
    every = list(range(len(images.modules)))
    window, lengths, _ = entry_window((slice(None, None, EVERY),), found.shape)
    pixels = Pixels(window, lengths, np.dtype(np.float64), np.nan)
    plan = image_plan(found, pixels, every, flat=True)
    batches = [slice(i, min(i + BATCH, len(ids)), 1) for i in range(0, len(ids), BATCH)]
    means = [mean_of(load(plan.narrow_flat(batch))) for batch in batches]
    mean = np.concatenate([np.zeros(0), *means])
    known = np.isfinite(mean)
    return shots.with_shutter(ids, mean >= below, known, f"intensity below {below:g}")


def mean_of(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of every image, NaN where there is none."""
    flat = images.reshape(len(images), -1)
    good = np.isfinite(flat)
    n = good.sum(axis=1)
    total = np.where(good, flat, 0).sum(axis=1)
    return np.divide(total, n, out=np.full(len(flat), np.nan), where=n > 0)
