"""The truth behind a simulated SACLA run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xfelred.errors import TrainIDError
from xfelred.synth.sacla.config import Array, RunConfig
from xfelred.synth.sacla.pixels import Renderer, pixel_positions, ring_profile
from xfelred.synth.sacla.shots import DrawnShots, peak_angles


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulated run holds, exactly."""

    path: Path
    config: RunConfig
    shots: DrawnShots = field(repr=False)  # in their order
    renderer: Renderer = field(repr=False)

    @property
    def modules(self) -> tuple[int, ...]:
        """Numbers of the modules; 0 for an assembled image."""
        return self.config.module_numbers

    @property
    def with_image(self) -> Array:
        """Positions of the shots with an image of any module, int64."""
        shots = range(self.config.n_images)
        found = [s for s in shots if any(self.has_group(s, m) for m in self.modules)]
        return np.array(found, np.int64)

    @property
    def tags(self) -> Array:
        """Tags with an image of any module, sorted, int64."""
        return self.config.tags[self.with_image]

    @property
    def event_tags(self) -> Array:
        """Tags in the event table, sorted, int64."""
        if self.config.without_table:
            return self.config.tags[:0]
        gone = list(self.config.without_event)
        return np.delete(self.config.tags, gone)

    @property
    def shutter_open(self) -> Array:
        """Whether a shot is not dark, bool, for every entry of `tags`."""
        return self.shots.shutter_open[self.with_image]

    @property
    def laser_on(self) -> Array:
        """Whether the pump laser was on, bool, for every entry of `tags`."""
        return self.shots.laser_on[self.with_image]

    @property
    def intensity(self) -> Array:
        """Intensity, 1 on average and 0 if dark, for every entry of `tags`."""
        return self.shots.intensity[self.with_image]

    @property
    def centre(self) -> tuple[float, float]:
        """Where the beam hits: (x, y) in pixels; metres for modules."""
        return self.config.beam

    @property
    def radius(self) -> float:
        """Radius of the ring in pixels."""
        return self.config.radius / self.config.pixel

    @property
    def peak_angles(self) -> Array:
        """Angles, rad, at which angular correlations of the ring have peaks."""
        return peak_angles(self.config)

    @property
    def positions(self) -> tuple[Array, Array]:
        """Pixel centres x, y from the beam, float64 (module, slow, fast), metres."""
        found = [pixel_positions(self.config, m) for m in self.modules]
        return np.stack([x for x, _ in found]), np.stack([y for _, y in found])

    def has_group(self, shot: int, module: int) -> bool:
        """Whether the file has a group for the image of a shot and module."""
        config = self.config
        gone = shot in config.without_image or (shot, module) in config.missing
        return 0 <= shot < config.n_images and not gone

    def position(self, tag: int) -> int:
        """Return the position of a tag among the shots; KeyError if it has none."""
        shot, rest = divmod(int(tag) - self.config.first_tag, self.config.tag_step)
        if rest or not 0 <= shot < self.config.n_shots:
            raise TrainIDError(f"tag {tag} is not in {self.path}")
        return shot

    def image(self, tag: int, module: int = 0) -> Array:
        """Return an image as it is in the file; KeyError if it has none."""
        shot = self.position(tag)
        usable = shot not in self.config.odd_shape
        usable = usable and shot not in self.config.without_data
        if not usable or not self.has_group(shot, module):
            raise TrainIDError(f"no usable image of module {module} for tag {tag}")
        return self.renderer.image(shot, module)

    def frames(self) -> Array:
        """Return all images, (train, pulse, module, slow_scan, fast_scan), small runs.

        NaN (0 for integers) where there is none.
        """
        dtype = np.dtype(self.config.dtype)
        fill = np.nan if dtype.kind == "f" else 0
        shape = (len(self.tags), 1, len(self.modules), *self.config.image_shape)
        out = np.full(shape, fill, dtype)
        for i, tag in enumerate(self.tags.tolist()):
            for m, module in enumerate(self.modules):
                try:
                    out[i, 0, m] = self.image(tag, module)
                except KeyError:
                    continue
        return out

    def profile(self, q: Array) -> Array:
        """Return the ring without background and spots, adu, at `q` (1/angstrom)."""
        return ring_profile(self.config, np.asarray(q, np.float64))
