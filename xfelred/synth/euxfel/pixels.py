"""Pixels of a simulated run: cheap to make, and the same whenever they are asked for.

A frame is ``pulse energy * pattern + pedestal + noise``. The noise is a stretch of one
long tape of random numbers, from a place given by module, train and pulse: one
addition per frame instead of a random number per pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from xfelred.errors import ArgumentError
from xfelred.synth.euxfel.config import RunConfig
from xfelred.synth.euxfel.layout import Array, DetectorKind, pixel_positions
from xfelred.synth.euxfel.shots import DrawnTrains

# h c of CODATA 2018, written out: the oracle imports nothing.
HC_EV_ANGSTROM = 12398.419843320026
TAPE_LENGTH = 1 << 20  # places on the tape at which the noise of a frame may begin
STAGE_FACTORS = np.array([1.0, 0.1, 0.01], dtype=np.float32)  # of the signal
STAGE_STEP_ADU = 100.0  # each gain stage has a higher pedestal
# What AGIPD stores beside the signal: a voltage that tells the stage.
AGIPD_GAIN_LEVELS = np.array([5000, 7000, 9000], dtype=np.uint16)
JUNGFRAU_GAIN_CODES = np.array([0, 1, 3], dtype=np.uint8)  # two bits; 2 does not occur
LPD_STAGE_BIT = 12
HOT_FACTOR = 50.0
PUMPED_SHIFT = 1.05  # rings of the excited sample stand at q times this
JUNK_ADU = 11111  # where nothing was recorded: readers must never show it


@dataclass(frozen=True)
class ModulePixels:
    """What does not change from frame to frame in a module, (slow_scan, fast_scan)."""

    pattern: Array  # float32, adu: light at pulse energy 1 in the recorded gain stage
    change: Array | None  # float32, adu: what full response to the laser adds
    pedestal: Array | None  # float32, adu: of the recorded stage; None if corrected
    stage: Array  # uint8: gain stage 0, 1, 2
    bad: Array  # uint32: bits of the bad-pixel mask, 0 = good


@dataclass(frozen=True)
class Renderer:
    config: RunConfig
    shots: DrawnTrains
    modules: dict[int, ModulePixels]
    tape: Array

    def light(self, module: int, train: int, pulse: int, gain: int = 0) -> Array:
        """Return the light (float32, adu) of one frame, given by positions."""
        pixels = self.modules[module]
        scale = self.shots.intensity[train][pulse]
        if gain and not self.config.corrected:
            scale = scale * STAGE_FACTORS[gain]
        light: Array = pixels.pattern * scale
        response = self.shots.response[train]
        if pixels.change is not None and response:
            light += pixels.change * (scale * response)
        return light

    def frame(self, module: int, train: int, pulse: int, gain: int = 0) -> Array:
        """Return one frame as it is stored, ([data_gain,] slow_scan, fast_scan), adu.

        float32, or uint16: AGIPD raw data have the axis of signal and gain, LPD raw
        data carry the gain stage in bits 12 and 13.
        """
        frame = self.light(module, train, pulse, gain)
        start = mix(self.config.seed, module, train, pulse, gain) % TAPE_LENGTH
        frame += self.tape[start : start + frame.size].reshape(frame.shape)
        if self.config.corrected:
            return frame
        return self.digitise(frame, self.modules[module], gain)

    def digitise(self, frame: Array, pixels: ModulePixels, gain: int) -> Array:
        facts = self.config.facts
        if pixels.pedestal is not None:
            frame += pixels.pedestal + np.float32(gain * STAGE_STEP_ADU)
        counts = np.rint(frame).clip(0, facts.max_adu).astype(np.uint16)
        if facts.aggregator == "AGIPD":
            return np.stack([counts, AGIPD_GAIN_LEVELS[pixels.stage]])
        if facts.aggregator == "LPD":
            return counts | ((pixels.stage + gain).astype(np.uint16) << LPD_STAGE_BIT)
        return counts

    def gain_code(self, module: int) -> Array:
        """Return the `gain` dataset of one frame of a module: uint8."""
        stage = self.modules[module].stage
        return stage if self.config.corrected else JUNGFRAU_GAIN_CODES[stage]


def mix(*numbers: int) -> int:
    """Return a 64-bit number that looks random, from some small ones."""
    # Digits of pi, and 2^64 over the golden ratio, which keeps neighbours apart.
    state = 0x243F6A8885A308D3
    for number in numbers:
        state = ((state ^ number) * 0x9E3779B97F4A7C15 + 1) & (1 << 64) - 1
        state ^= state >> 31
    return state


def make_renderer(config: RunConfig, shots: DrawnTrains) -> Renderer:
    facts = config.facts
    positions = config.positions
    if positions is None:
        positions = usual_positions(facts, config.distance_m)
    wanted = (facts.n_modules, *facts.module_shape, 3)
    if positions.shape != wanted:
        raise ArgumentError(f"positions of shape {positions.shape}; wanted {wanted}")
    modules = {
        m: make_module(config, m, positions[m - facts.first_module])
        for m in config.module_numbers
    }
    n_pixels = facts.module_shape[0] * facts.module_shape[1]
    tape = blank_tape(config.seed, n_pixels) * np.float32(config.noise)
    return Renderer(config, shots, modules, tape)


# Of two small runs in a row the second takes half of the time with these kept.
@lru_cache(maxsize=1)
def usual_positions(facts: DetectorKind, distance_m: float) -> Array:
    positions = pixel_positions(facts, distance_m)
    positions.flags.writeable = False
    return positions


@lru_cache(maxsize=1)
def blank_tape(seed: int, n_pixels: int) -> Array:
    """Return noise of standard deviation 1, float32."""
    rng = np.random.default_rng([seed, 1])
    tape = rng.standard_normal(TAPE_LENGTH + n_pixels, dtype=np.float32)
    tape.flags.writeable = False
    return tape


def make_module(config: RunConfig, module: int, positions: Array) -> ModulePixels:
    facts = config.facts
    rng = np.random.default_rng([config.seed, 2, module])
    still = scene_pattern(config, positions)
    signal = still.copy()
    bad = draw_bad_pixels(rng, facts.module_shape, config.bad_pixels)
    signal[bad != 0] += HOT_FACTOR * max(config.amplitude, config.noise)
    stage = np.zeros(facts.module_shape, dtype=np.uint8)
    # In parallel gain every pixel is read in all stages, whatever its signal.
    if not config.parallel_gain:
        for limit in facts.stage_limits:
            stage += signal > limit
    change = pedestal = None
    factor = STAGE_FACTORS[stage] if not config.corrected else np.float32(1)
    if config.pump and config.scene == "rings":
        moved = scene_pattern(config, positions, PUMPED_SHIFT)
        change = (config.pump * (moved - still) * factor).astype(np.float32)
    if not config.corrected:
        level = facts.pedestal * rng.normal(1, 0.02, facts.module_shape)
        pedestal = (level + stage * STAGE_STEP_ADU).astype(np.float32)
    return ModulePixels(
        (signal * factor).astype(np.float32), change, pedestal, stage, bad
    )


def draw_bad_pixels(
    rng: np.random.Generator, shape: tuple[int, int], fraction: float
) -> Array:
    """Return mask bits, one of bits 0 to 15 for a fraction of the pixels."""
    bad = np.zeros(shape[0] * shape[1], dtype=np.uint32)
    n_bad = round(fraction * bad.size)
    where = rng.choice(bad.size, n_bad, replace=False)
    bad[where] = np.uint32(1) << rng.integers(0, 16, n_bad, dtype=np.uint32)
    return bad.reshape(shape)


def scene_pattern(config: RunConfig, positions: Array, shift: float = 1.0) -> Array:
    """Return the light (float64, adu) that one module sees at pulse energy 1."""
    if callable(config.scene):
        return np.array(config.scene(positions.copy()), dtype=np.float64)
    if config.scene == "noise":
        return np.zeros(positions.shape[:-1])
    if config.scene == "constant":
        return np.full(positions.shape[:-1], float(config.amplitude))
    offset = positions - [*config.beam_m, 0.0]
    radius = np.hypot(offset[..., 0], offset[..., 1])
    two_theta = np.arctan2(radius, offset[..., 2])
    q = 4 * np.pi * config.energy_ev / HC_EV_ANGSTROM * np.sin(two_theta / 2)
    # A pixel of a flat detector sees a solid angle that falls with cos^3.
    return np.asarray(ring_profile(config, q / shift) * np.cos(two_theta) ** 3)


def ring_profile(config: RunConfig, q: Array) -> Array:
    """Return the scattered intensity (adu) at `q` (1/angstrom), pulse energy 1.

    ``amplitude * (0.1 exp(-q) + sum_i exp(-(q - q_i)^2 / 2 w^2) / (1 + i / 4))`` with
    the ring centres q_i and the width w of the configuration.
    """
    profile = 0.1 * np.exp(-q)
    for i, centre in enumerate(config.q_rings):
        peak = np.exp(-0.5 * ((q - centre) / config.ring_width) ** 2)
        profile += peak / (1 + i / 4)
    return np.asarray(config.amplitude * profile)
