"""What happens in every train of a simulated run, apart from the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfelred.synth.euxfel.config import RunConfig
from xfelred.synth.euxfel.layout import Array

PULSE_ENERGY_UJ = 1000.0  # of a pulse of intensity 1
DELAY_START_PS = -1.0  # before time zero, so that a scan has a baseline
DELAY_STEP_PS = 0.25
N_DELAYS = 17
RISE_PS = 0.5
PS_PER_MM = 2e12 / 299792458.0 * 1e-3  # light goes to the mirror and back


@dataclass(frozen=True)
class DrawnTrains:
    """Per-train truth; lists and arrays are in the order of the files."""

    train_ids: Array  # uint64 (train,)
    pulse_ids: list[Array]  # uint64 (pulse,); JUNGFRAU: positions of the memory cells
    cell_ids: list[Array]  # uint64 (pulse,)
    intensity: list[Array]  # float32 (pulse,): 1 on average; pixels go with it
    laser_on: Array  # bool (train,): whether the pump laser hit the sample
    delay_ps: Array  # float64 (train,): arrival of the X-rays after the laser
    response: Array  # float32 (train,): how far the sample has changed, 0 to 1

    @property
    def stage_mm(self) -> Array:
        return self.delay_ps / PS_PER_MM


def draw_shots(config: RunConfig) -> DrawnTrains:
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
    return DrawnTrains(
        train_ids=np.array(config.trains, dtype=np.uint64),
        pulse_ids=pulse_ids,
        cell_ids=config.cell_ids(),
        intensity=[i.astype(np.float32) for i in intensity],
        laser_on=laser_on,
        delay_ps=delay,
        response=np.where(laser_on, rise, 0).astype(np.float32),
    )
