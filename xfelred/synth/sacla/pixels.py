"""Images of a simulated run: a powder ring, spots on it, and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xfelred.kernels.calibration.mpccd import Placement, module_vectors
from xfelred.synth.sacla.config import OCTAL, Array, RunConfig
from xfelred.synth.sacla.shots import DrawnShots

BINS = 3600  # of the table of spots around the ring
BACKGROUND_WIDTH = 2.0  # 1/angstrom
EDGE = 6.0  # standard deviations at which the ring ends


@dataclass(frozen=True, eq=False)
class Scene:
    """What one module sees of the scattering at average intensity."""

    smooth: Array  # float32 (slow, fast), adu: ring and background
    at: Array  # int (n,): flat positions of the pixels on the ring
    ring: Array  # float32 (n,), adu: the ring there
    bin: Array  # int (n,): where these stand in a table around the ring


def pixel_positions(config: RunConfig, module: int) -> tuple[Array, Array]:
    """Return x and y of the pixel centres from the beam, float64 (slow, fast), metres.

    Of an assembled image x grows with fast_scan and y with slow_scan; of modules x is
    to the left looking along the beam and y up.
    """
    slow, fast = (np.arange(n, dtype=np.float64) for n in config.image_shape)
    if config.layout == "assembled":
        x = (fast - config.beam[0]) * config.pixel
        y = (slow - config.beam[1]) * config.pixel
        columns, rows = np.meshgrid(x, y)
        return columns, rows
    mounted = OCTAL[module - 1]
    first, slow_step, fast_step = module_vectors(
        Placement(
            (mounted.x_um * 1e-6, mounted.y_um * 1e-6),
            mounted.angle_deg,
            (config.pixel, config.pixel),
        )
    )
    x, y = (
        first[i] - config.beam[i] + slow[:, None] * slow_step[i] + fast * fast_step[i]
        for i in (0, 1)
    )
    return x, y


def momentum(config: RunConfig, radius: Array) -> Array:
    theta = np.arctan(radius / config.distance) / 2
    return np.asarray(4 * np.pi / config.wavelength * np.sin(theta))


def ring_profile(config: RunConfig, q: Array) -> Array:
    """Return the ring at average intensity, adu, at `q` in 1/angstrom."""
    deviation = (q - config.q_ring) / config.ring_width
    return np.asarray(config.intensity * np.exp(-0.5 * deviation**2))


def make_scene(config: RunConfig, module: int) -> Scene:
    x, y = pixel_positions(config, module)
    q = momentum(config, np.hypot(x, y))
    ring = ring_profile(config, q)
    smooth = config.background * config.intensity * np.exp(-q / BACKGROUND_WIDTH) + ring
    at = np.flatnonzero(np.abs(q - config.q_ring) < EDGE * config.ring_width)
    phi = np.arctan2(y, x).ravel()[at] % (2 * np.pi)
    bins = (phi * (BINS / (2 * np.pi))).astype(np.int32) % BINS
    single = np.float32
    return Scene(smooth.astype(single), at, ring.ravel()[at].astype(single), bins)


def spot_table(config: RunConfig, phi: Array) -> Array:
    """Return how much brighter the ring is around the beam, float32 (BINS,)."""
    centre = (np.arange(BINS) + 0.5) * (360 / BINS)
    away = (centre - np.rad2deg(phi)[:, None] + 180) % 360 - 180
    spots = np.exp(-0.5 * (away / config.spot_width) ** 2)
    return (config.spot_height * spots.sum(axis=0)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Renderer:
    """Makes the image of any shot; the same every time."""

    config: RunConfig
    shots: DrawnShots
    scenes: dict[int, Scene]

    def light(self, shot: int, module: int) -> Array:
        """Return the light in an image without noise and pedestal, float32, adu."""
        scene = self.scenes[module]
        intensity = np.float32(self.shots.intensity[shot])
        out = scene.smooth * intensity
        table = spot_table(self.config, self.shots.spots(shot))
        out.ravel()[scene.at] += intensity * scene.ring * table[scene.bin]
        return out

    def image(self, shot: int, module: int) -> Array:
        """Return an image as it is in the file."""
        config = self.config
        rng = np.random.default_rng((config.seed, shot, module))
        if self.shots.shutter_open[shot]:
            out = self.light(shot, module)
            sigma = np.sqrt(config.shot_noise * out + config.noise**2)
        else:
            out = np.zeros(config.image_shape, np.float32)
            sigma = np.full_like(out, config.noise)
        out += sigma * rng.standard_normal(config.image_shape, np.float32)
        out += np.float32(config.pedestal)
        dtype = np.dtype(config.dtype)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            out = np.clip(np.rint(out), limits.min, limits.max)
        return out.astype(dtype)


def make_renderer(config: RunConfig, shots: DrawnShots) -> Renderer:
    scenes = {m: make_scene(config, m) for m in config.module_numbers}
    return Renderer(config, shots, scenes)
