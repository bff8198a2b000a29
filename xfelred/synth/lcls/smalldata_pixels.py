"""Images of a simulated small-data run: pattern, difference, noise, raw codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xfelred.synth.lcls.smalldata_config import Array, SmallDataConfig
from xfelred.synth.lcls.smalldata_shots import DrawnEvents, response

BLOCK = 32  # events that share a random generator
PIXEL_UM = 75.0  # of JUNGFRAU
GAP = 8  # pixels between modules
RING, BACKGROUND = 10.0, 1.0  # height in keV
SPOTS = (3e3, 3e4)  # height in keV; reach gain ranges 1 and 2
# Jungfrau: adu per keV, pedestal, and the signal in keV from which a range is used.
GAINS = (40.0, -1.4, -0.1)
PEDESTALS = (2800.0, 14500.0, 15000.0)
FROM = (300.0, 8000.0)
CODES = np.array([0, 1, 3], np.uint16)  # of gain ranges 0, 1, 2
MAX_ADU = 0x3FFF  # 14 bits; the two above are the gain code


@dataclass(frozen=True, eq=False)
class Pixels:
    """Makes images; the same event always gives the same image."""

    config: SmallDataConfig
    shots: DrawnEvents

    @cached_property
    def xy(self) -> tuple[Array, Array]:
        """Pixel centres from the beam, pixels, float64 (module, slow, fast)."""
        modules, slow, fast = self.config.stack
        rows = np.arange(modules)[:, None] * (slow + GAP) + np.arange(slow)
        y = rows - rows.mean()
        x = np.arange(fast) - (fast - 1) / 2
        shape = (modules, slow, fast)
        return np.broadcast_to(x, shape), np.broadcast_to(y[:, :, None], shape)

    @cached_property
    def radius(self) -> Array:
        """Distance from the beam in parts of the largest one along an axis."""
        x, y = self.xy
        return np.hypot(x, y) / max(np.abs(x).max(), np.abs(y).max(), 1)

    @cached_property
    def static(self) -> Array:
        """Scattering of a shot of mean intensity, keV, float64 (module, slow, fast)."""
        ring = np.exp(-((self.radius - 0.5) ** 2) / (2 * 0.08**2))
        out = RING * ring + BACKGROUND * np.exp(-self.radius)
        if self.config.key == "raw" and self.config.bright:
            _, slow, fast = self.config.stack
            for i, height in enumerate(SPOTS):
                at = (0, slow // 4, (2 * i + 1) * fast // 4)
                out[at] = height
        return np.asarray(out)

    @cached_property
    def difference(self) -> Array:
        """Change at full response, keV, float64 (module, slow, fast)."""
        r = (self.radius - 0.5) / 0.08  # the ring moves
        return np.asarray(-self.config.difference * RING * r * np.exp(-(r**2) / 2))

    @cached_property
    def bad(self) -> Array:
        """Bad pixels, bool (module, slow, fast)."""
        rng = np.random.default_rng((self.config.seed, 4))
        return rng.random(self.config.stack) < self.config.bad_pixels

    @cached_property
    def pedestal(self) -> Array:
        """Float32 (gain_range, module, slow, fast), adu."""
        rng = np.random.default_rng((self.config.seed, 5))
        spread = 30 * rng.standard_normal((3, *self.config.stack))
        return (np.array(PEDESTALS)[:, None, None, None] + spread).astype(np.float32)

    @cached_property
    def gain(self) -> Array:
        """Float32 (gain_range, module, slow, fast), adu/keV."""
        rng = np.random.default_rng((self.config.seed, 6))
        spread = 1 + 0.02 * rng.standard_normal((3, *self.config.stack))
        return (np.array(GAINS)[:, None, None, None] * spread).astype(np.float32)

    def signal(self, events: Array) -> Array:
        """Return images without noise, keV, float64 (event, module, slow, fast)."""
        shots = self.shots
        change = response(self.config, shots.delay[events]) * shots.laser_on[events]
        i0 = shots.i0[events]
        return np.asarray(
            i0[:, None, None, None] * self.static
            + (i0 * change)[:, None, None, None] * self.difference
        )

    def common_mode(self, events: Array) -> Array:
        """Return the offsets of rows in banks, adu (event, module, slow, bank)."""
        modules, slow, _ = self.config.stack
        out = np.zeros((len(events), modules, slow, self.config.n_banks), np.float32)
        if self.config.key != "raw":
            return out
        scale = self.config.common_mode * GAINS[0]
        for at, inside, block in blocks_of(events):
            rng = np.random.default_rng((self.config.seed, 7, block))
            drawn = rng.standard_normal((BLOCK, *out.shape[1:]), np.float32)
            out[at] = scale * drawn[inside]
        return out

    def images(self, events: Array) -> Array:
        """Return images as in the file, (event, module, slow, fast).

        Without an image: NaN, or 0 if raw.
        """
        noise = np.empty((len(events), *self.config.stack), np.float32)
        for at, inside, block in blocks_of(events):
            rng = np.random.default_rng((self.config.seed, 8, block))
            drawn = rng.standard_normal((BLOCK, *noise.shape[1:]), np.float32)
            noise[at] = drawn[inside]
        noise *= self.config.noise
        if self.config.key == "raw":
            return self.raw(events, noise)
        out = self.signal(events).astype(np.float32)
        out += noise
        out[:, self.bad] = 1e4  # hot
        out[~self.shots.has_image[events]] = np.nan
        return out

    def raw(self, events: Array, noise: Array) -> Array:
        """Return what a Jungfrau would send: 14 bits of adu, 2 bits of gain range."""
        signal = self.signal(events).astype(np.float32)
        adu = noise
        adu *= GAINS[0]
        fast = self.config.stack[2] // self.config.n_banks
        low = signal < FROM[0]
        offsets = np.repeat(self.common_mode(events), fast, axis=-1)
        adu += np.where(low, self.gain[0] * signal + self.pedestal[0] + offsets, 0)
        codes = np.zeros(adu.shape, np.uint16)
        # Few pixels leave the first range.
        at = np.nonzero(~low)
        gain_range = 1 + (signal[at] >= FROM[1])
        where = (gain_range, *at[1:])
        adu[at] += self.gain[where] * signal[at] + self.pedestal[where]
        codes[at] = CODES[gain_range]
        adu[:, self.bad] = MAX_ADU
        np.rint(adu, out=adu)
        np.clip(adu, 0, MAX_ADU, out=adu)
        out = adu.astype(np.uint16) | (codes << np.uint16(14))
        out[~self.shots.has_image[events]] = 0
        return np.asarray(out)


def blocks_of(events: Array) -> list[tuple[Array, Array, int]]:
    """Return (positions in `events`, positions in the block, number) of each block."""
    number, inside = np.divmod(np.asarray(events), BLOCK)
    found = []
    for block in np.unique(number).tolist():
        at = np.flatnonzero(number == block)
        found.append((at, inside[at], block))
    return found
