"""What happens in every train of a simulated run, apart from the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.synth.euxfel.config import RunConfig

Array = NDArray[Any]

PULSE_ENERGY_UJ = 1000.0
DELAY_START_PS = -1.0  # before time zero, so that a scan has a baseline
DELAY_STEP_PS = 0.25
N_DELAYS = 17
RISE_PS = 0.5
PS_PER_MM = 2e12 / 299792458.0 * 1e-3  # light goes to the mirror and back


@dataclass(frozen=True)
class Shots:
    """Per-train truth; lists and arrays are in the order of the files.

    Parameters
    ----------
    train_ids : uint64 (train,)
        Train IDs.
    pulse_ids, cell_ids : list of uint64 (pulse,)
        IDs of the pulses (JUNGFRAU: positions of the memory cells) and memory cells.
    intensity : list of float32 (pulse,)
        Pulse energy, 1 on average; pixels are proportional to it.
    laser_on : bool (train,)
        Whether the pump laser hit the sample.
    delay_ps : float64 (train,), ps
        Arrival of the X-rays after the laser.
    response : float32 (train,)
        How far the sample has changed, 0 to 1.
    """

    train_ids: Array
    pulse_ids: list[Array]
    cell_ids: list[Array]
    intensity: list[Array]
    laser_on: Array
    delay_ps: Array
    response: Array

    @property
    def stage_mm(self) -> Array:
        """Position of the delay stage, mm."""
        return self.delay_ps / PS_PER_MM


def draw_shots(config: RunConfig) -> Shots:
    """Return the trains of a run: IDs, pulse energies, laser and delay."""
    rng = np.random.default_rng([config.seed, 0])
    pulse_ids = config.pulse_ids()
    intensity = [
        np.maximum(1 + config.jitter * rng.standard_normal(len(p)), 0.05)
        for p in pulse_ids
    ]
    position = np.arange(len(config.trains))
    # Two trains at each delay: without and with the laser.
    delay = DELAY_START_PS + DELAY_STEP_PS * (position // 2 % N_DELAYS)
    laser_on = position % 2 == 1
    rise = 1 - np.exp(-np.maximum(delay, 0) / RISE_PS)
    return Shots(
        train_ids=np.array(config.trains, dtype=np.uint64),
        pulse_ids=pulse_ids,
        cell_ids=config.cell_ids(),
        intensity=[i.astype(np.float32) for i in intensity],
        laser_on=laser_on,
        delay_ps=delay,
        response=np.where(laser_on, rise, 0).astype(np.float32),
    )
