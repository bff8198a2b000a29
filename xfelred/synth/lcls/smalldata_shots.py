"""The events of a simulated small-data run: delay, laser, intensity, time tool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf

from xfelred.synth.lcls.smalldata_config import MISSING, Array, SmallDataConfig

# ttCorr = c0 + c1 p + c2 p^2 in ps, p the position of the edge in pixels.
TT_CALIBRATION = (-1.0, 2e-3, 1e-7)
SWEEP = 240  # events of a fast scan there and back
N_CODES = 288  # columns of the table of event codes
BELOW_ZERO = -30.0  # rises later than this are 0


@dataclass(frozen=True, eq=False)
class DrawnEvents:
    """What is true of every event; all arrays (event,), in the order of time."""

    nominal: Array  # float64, ps: delay of the laser's stage
    arrival: Array  # float64, ps: of the X-rays
    delay: Array  # float64, ps: the sum of both, the true delay
    tt_correction: Array  # float64, ps: what the time tool measured; 0 where it failed
    i0: Array  # float64: true intensity, 1 on average; 0 without X-rays
    ipm2: Array  # float64: measured intensity
    ipm3: Array
    laser_on: Array  # bool, and so are the next three
    xray_on: Array
    has_image: Array
    has_value: Array
    step: Array  # int64: of the scan, from 0
    n_droplets: Array  # int64


def draw_shots(config: SmallDataConfig) -> DrawnEvents:
    n = config.n_events
    rng = np.random.default_rng((config.seed, 1))
    event = np.arange(n)
    step = event * len(config.delays) // max(n, 1)
    nominal = nominal_delay(config, step)
    arrival = config.jitter * rng.standard_normal(n)
    laser_on = np.ones(n, bool)
    xray_on = np.ones(n, bool)
    if config.off_every:
        laser_on = event % config.off_every != 0
    if config.dropped_every:
        xray_on = event % config.dropped_every != config.dropped_every - 1
    spread = config.i0_jitter
    # The mean of this distribution is 1.
    i0 = np.exp(spread * rng.standard_normal(n) - spread**2 / 2) * xray_on
    measured = arrival + config.tt_noise * rng.standard_normal(n)
    failed = (rng.random(n) < config.tt_failed) | ~laser_on | ~xray_on
    error = 1 + config.i0_noise * rng.standard_normal((2, n))
    has_value = rng.random(n) >= config.without_value
    if config.flavour == "LCLS2":
        has_value[: config.late_start] = False
    return DrawnEvents(
        nominal=nominal,
        arrival=arrival,
        delay=nominal + arrival,
        tt_correction=np.where(failed, 0.0, measured),
        i0=i0,
        ipm2=config.i0_mean * i0 * error[0],
        ipm3=config.i0_mean * 1.1 * i0 * error[1],
        laser_on=laser_on,
        xray_on=xray_on,
        has_image=rng.random(n) >= config.without_image,
        has_value=has_value,
        step=step if config.scan in ("lxt", "motor") else np.zeros(n, np.int64),
        n_droplets=rng.poisson(config.droplets, n),
    )


def nominal_delay(config: SmallDataConfig, step: Array) -> Array:
    delays = np.asarray(config.delays, np.float64)
    if config.scan == "lxt":
        return delays[step]
    if config.scan == "fast":
        phase = np.abs((np.arange(len(step)) / SWEEP * 2) % 2 - 1)
        return delays[-1] + (delays[0] - delays[-1]) * phase
    return np.full(len(step), delays[-1])


def response(config: SmallDataConfig, delay: ArrayLike) -> Array:
    """Return the response to the laser at some delays (ps), between 0 and 1.

    An error function of width `rise` times an exponential decay: the step response of
    an instrument with Gaussian resolution, see e.g. doi:10.1063/1.1140972.
    """
    t = np.asarray(delay, np.float64)
    width = np.sqrt(2) * max(config.rise, 1e-9)
    rising = 0.5 * (1 + erf(np.maximum(t / width, BELOW_ZERO)))
    return np.asarray(rising * np.exp(-np.maximum(t, 0) / config.decay))


def event_columns(config: SmallDataConfig, shots: DrawnEvents) -> dict[str, Array]:
    """Return every column with one row per event, in the order of time."""
    ids = config.ids.astype(np.int64)
    values = (ids, config.fiducials)
    out: dict[str, Array] = dict(zip(config.id_names, values, strict=False))
    out |= beam_columns(config, shots) | laser_columns(config, shots)
    if config.flavour == "LCLS1":
        out |= codes_1(shots)
    else:
        out |= codes_2(config, shots)
    if config.detector is not None:
        out[f"damage/{config.detector}"] = shots.has_image.astype(np.int64)
    return out


def beam_columns(config: SmallDataConfig, shots: DrawnEvents) -> dict[str, Array]:
    n = config.n_events
    rng = np.random.default_rng((config.seed, 2))
    lost = 0.0 if config.flavour == "LCLS2" else np.nan
    early = np.arange(n) < config.late_start  # the writer has not seen it yet
    ipm3 = np.where(shots.has_value, shots.ipm3, np.where(early, lost, np.nan))
    count = rng.poisson(7, n)
    gone = np.where(early & (config.flavour == "LCLS2"), 0, MISSING)
    return {
        "lightStatus/laser": shots.laser_on.astype(np.int64),
        "lightStatus/xray": shots.xray_on.astype(np.int64),
        "ipm2/sum": shots.ipm2,
        "ipm2/channels": shots.ipm2[:, None] * np.array([0.24, 0.26, 0.25, 0.25]),
        "ipm2/xpos": 0.05 * rng.standard_normal(n),
        "ipm2/ypos": 0.05 * rng.standard_normal(n),
        "ipm3/sum": ipm3,
        "ipm3/n_photons": np.where(shots.has_value, count, gone).astype(np.int64),
        "damage/ipm2": np.ones(n, np.int64),
        "damage/ipm3": shots.has_value.astype(np.int64),
        "ebeam/L3_energy": 10800 + 5 * rng.standard_normal(n),
        "ebeam/photon_energy": 9500 + 10 * rng.standard_normal(n),
        "gas_detector/f_11_ENRC": 1.2 * shots.i0,
    }


def laser_columns(config: SmallDataConfig, shots: DrawnEvents) -> dict[str, Array]:
    n = config.n_events
    rng = np.random.default_rng((config.seed, 3))
    c0, c1, c2 = TT_CALIBRATION
    found = shots.tt_correction != 0
    # The position at which the calibration gives this correction.
    root = np.sqrt(c1**2 + 4 * c2 * (np.where(found, shots.tt_correction, c0) - c0))
    position = np.where(found, (root - c1) / (2 * c2), 0.0)
    tt = {
        "FLTPOS": position,
        "FLTPOS_PS": np.where(found, shots.tt_correction, 0.0),
        "AMPL": np.where(found, 0.06, 0.001) * (1 + 0.1 * rng.standard_normal(n)),
        "FLTPOSFWHM": 100 + 10 * rng.standard_normal(n),
    }
    if config.flavour == "LCLS2":
        tt = {name.lower(): values for name, values in tt.items()}
    out = {f"tt/{name}": values for name, values in tt.items()}
    out |= {"tt/ttCorr": shots.tt_correction, "damage/tt": found.astype(np.int64)}
    out |= {"enc/lasDelay": np.zeros(n), "epics/lxt_ttc": np.full(n, 1e-12)}
    out["scan/step_value" if config.flavour == "LCLS2" else "scan/varStep"] = (
        shots.step + (config.flavour == "LCLS2")
    )
    if config.scan == "lxt":
        out["scan/lxt"] = shots.nominal * 1e-12
    elif config.scan == "motor":
        out["scan/gon_y"] = 0.5 + 0.01 * shots.step
        out["enc/lasDelay"] = shots.nominal.copy()
    else:
        out["enc/lasDelay"] = shots.nominal.copy()
    return out


def codes_1(shots: DrawnEvents) -> dict[str, Array]:
    """Return event codes as LCLS1 has them: one column for each."""
    on, beam = shots.laser_on, shots.xray_on
    # 40 in every event; 90 and 91: laser on and off; 137 and 162: with X-rays or not.
    codes = {40: np.ones_like(on), 90: on, 91: ~on, 137: beam, 162: ~beam}
    return {f"evr/code_{k}": v.astype(np.uint8) for k, v in codes.items()}


def codes_2(config: SmallDataConfig, shots: DrawnEvents) -> dict[str, Array]:
    """Return event codes as LCLS2 has them: one table."""
    table = np.zeros((config.n_events, N_CODES), np.uint8)
    table[:, 272] = shots.laser_on
    table[:, 273] = ~shots.laser_on
    table[:, 281] = shots.xray_on
    # Pulse IDs count at 910 kHz; no int32 holds the first one.
    pulse = 4_000_000_000 + 910_000 // max(int(config.rate), 1) * np.arange(
        config.n_events, dtype=np.int64
    )
    destination = np.where(shots.xray_on, 4, 3).astype(np.int64)
    return {
        "timing/eventcodes": table,
        "timing/pulseId": pulse,
        "timing/destination": destination,
    }
