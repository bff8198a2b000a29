"""The truth behind a simulated small-data run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from xfelred.synth.lcls.smalldata_config import Array, SmallDataConfig
from xfelred.synth.lcls.smalldata_pixels import Pixels
from xfelred.synth.lcls.smalldata_shots import DrawnEvents, response


@dataclass(frozen=True, eq=False)
class SmallDataTruth:
    """What a simulated run holds, exactly; arrays (event,) are in the order of time."""

    path: Path
    config: SmallDataConfig
    shots: DrawnEvents = field(repr=False)
    pixels: Pixels = field(repr=False)
    columns: dict[str, Array] = field(repr=False)  # with one row per event
    # Fields of the tables, entries in the order of time; see `shots.n_droplets`.
    tables: dict[str, Array] = field(repr=False)

    @property
    def ids(self) -> Array:
        """ID of every event, sorted, uint64."""
        return self.config.ids

    @property
    def delay(self) -> Array:
        """True delay in ps, positive where the X-rays come after the laser."""
        return self.shots.delay

    @property
    def laser_on(self) -> Array:
        """Whether the laser was on, bool."""
        return self.shots.laser_on

    @property
    def xray_on(self) -> Array:
        """Whether there were X-rays, bool."""
        return self.shots.xray_on

    @property
    def i0(self) -> Array:
        """True intensity, 1 on average, 0 without X-rays."""
        return self.shots.i0

    @property
    def available(self) -> Array:
        """Whether there is an image, bool."""
        return self.shots.has_image

    @property
    def static(self) -> Array:
        """Image of a shot of mean intensity without laser, keV (module, slow, fast)."""
        return self.pixels.static

    @property
    def bad_pixels(self) -> Array:
        """Bad pixels, bool (module, slow, fast)."""
        return self.pixels.bad

    @property
    def noise(self) -> float:
        """Standard deviation of a pixel, keV."""
        return self.config.noise

    @property
    def frames(self) -> Array:
        """All images as in the file (event, module, slow, fast), for small runs."""
        return self.images(np.arange(self.config.n_events))

    def images(self, events: ArrayLike) -> Array:
        """Return images as in the file (event, module, slow, fast)."""
        return self.pixels.images(np.asarray(events))

    def expected(self, events: ArrayLike) -> Array:
        """Return images without noise, keV, float64 (event, module, slow, fast)."""
        return self.pixels.signal(np.asarray(events))

    def common_mode(self, events: ArrayLike) -> Array:
        """Return offsets of the rows of banks, adu (event, module, slow, bank).

        Added to pixels in the first gain range.
        """
        return self.pixels.common_mode(np.asarray(events))

    def response(self, delay: ArrayLike) -> Array:
        """Return the response to the laser at some delays (ps), between 0 and 1."""
        return response(self.config, delay)

    def difference(self, delay: ArrayLike) -> Array:
        """Return the change by the laser in a shot of mean intensity.

        Parameters
        ----------
        delay : float (...)
            ps.

        Returns
        -------
        float64 (..., module, slow, fast), keV
        """
        change = self.response(delay)
        return np.asarray(change[..., None, None, None] * self.pixels.difference)
