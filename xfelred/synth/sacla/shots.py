"""Intensity, energy, laser and crystallites of every simulated shot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfelred.synth.sacla.config import Array, RunConfig

JOULE = 2e-4  # pulse energy of a shot of average intensity
COULOMB = 2e-8  # signal of the beam monitor


@dataclass(frozen=True, eq=False)
class DrawnShots:
    """The shots of a run; all arrays have one entry per shot."""

    intensity: Array  # float64: 1 on average; 0 in dark shots
    shutter_open: Array  # bool
    laser_on: Array  # bool
    energy: Array  # float64, eV: as the spectrometer gave it
    phi: Array  # float64 (shot, crystal), rad: first reflection of each crystallite
    delta: Array  # float64 (shot, crystal), rad: from there to the second one

    def spots(self, shot: int) -> Array:
        """Return where the spots of a shot are, float64 (2 * crystal,), rad."""
        return np.concatenate([self.phi[shot], self.phi[shot] + self.delta[shot]])


def peak_angles(config: RunConfig) -> Array:
    """Return the angles around the ring between pairs of reflections, rad."""
    # Two reflections of one ring on the Ewald sphere, with the Bragg angle theta:
    # cos psi = cos(Delta) cos^2 theta + sin^2 theta.
    theta = config.half_angle
    cosine = (np.asarray(config.cos_psi) - np.sin(theta) ** 2) / np.cos(theta) ** 2
    return np.arccos(cosine)


def draw_shots(config: RunConfig) -> DrawnShots:
    rng = np.random.default_rng(config.seed)
    n, m = config.n_shots, config.n_crystals
    lit = np.arange(n) >= config.n_darks
    width = np.sqrt(np.log1p(config.jitter**2))
    # The mean of this distribution is 1.
    intensity = rng.lognormal(-0.5 * width**2, width, n) * lit
    energy = config.energy + config.energy_jitter * rng.standard_normal(n)
    for shot, value in config.energies.items():
        energy[shot] = value
    laser = {"on": np.ones(n, bool), "alternate": np.arange(n) % 2 == 0}
    angles = peak_angles(config)
    sign = rng.choice([-1, 1], (n, m))
    return DrawnShots(
        intensity=intensity,
        shutter_open=lit,
        laser_on=laser.get(config.laser or "off", np.zeros(n, bool)),
        energy=energy,
        phi=rng.uniform(0, 2 * np.pi, (n, m)),
        delta=sign * angles[rng.integers(len(angles), size=(n, m))],
    )


def event_columns(config: RunConfig, shots: DrawnShots) -> dict[str, Array]:
    """Return the columns of the event table by their usual names, a row per shot."""
    line = f"bl_{config.beamline}"
    opened = shots.shutter_open.astype(np.int32)
    n = len(opened)
    pulse = (JOULE * shots.intensity).astype(np.float32)
    found: dict[str, Array] = {
        # In January 2014; tags count at 60 Hz.
        "time_stamp": 1.39e9 + np.arange(n) * config.tag_step / 60,
        "acc/accelerator_status": np.ones(n, np.int32),
        f"{line}/eh_1/xfel_pulse_selector_status": opened,
        f"{line}/shutter_1_open_valid_status": opened,
        f"{line}/shutter_1_close_valid_status": 1 - opened,
        f"{line}/lh_1/laser_pulse_selector_status": shots.laser_on.astype(np.int32),
        f"{line}/lh_1/electrical_delay_in_psec": np.full(
            n, config.delay_ps, np.float32
        ),
        f"{line}/oh_2/photon_energy_in_eV": shots.energy.astype(np.float32),
        f"{line}/oh_2/bm_1_pulse_energy_in_joule": pulse,
        f"{line}/oh_2/bm_2_pulse_energy_in_joule": pulse,
        "bm_1_signal_in_coulomb": (COULOMB * shots.intensity).astype(np.float32),
    }
    if config.laser is None:
        del found[f"{line}/lh_1/laser_pulse_selector_status"]
    names = {k: config.columns.get(k, k) for k in found}
    return {new: found[old] for old, new in names.items() if new is not None}
