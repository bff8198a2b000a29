"""What a simulated LCLS small-data run should look like."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError

Array = NDArray[Any]

LCLS2_EPOCH = 631152000  # 1990-01-01 in seconds since 1970
MISSING = -99999  # what smalldata_tools writes for no value
FIDUCIAL_STEP = 3  # fiducials count at 360 Hz
MAX_FIDUCIAL = 0x1FFE0  # fiducials start over here, after 6 minutes


@dataclass(frozen=True, kw_only=True)
class SmallDataConfig:
    """Everything about a simulated small-data run; every field has a default.

    Events are named by their position in time, from 0.

    Parameters
    ----------
    flavour : "LCLS1" or "LCLS2"
    n_events : int
    rate : float
        Events per second.
    start : int
        Second of the unix epoch of the first event.
    scan : "lxt", "fast", "motor" or None
        "lxt": the laser's nominal delay steps through `delays` (``scan/lxt``, seconds);
        "fast": it sweeps between the first and the last of them (``enc/lasDelay``,
        ps); "motor": another motor steps (``scan/gon_y``), the delay is the last of
        `delays`; None: nothing moves.
    delays : tuple of float
        Nominal delays in ps.
    jitter : float
        Standard deviation of the arrival time, ps.
    tt_noise : float
        Standard deviation of its measurement (``tt/ttCorr``), ps.
    tt_failed : float
        Part of the events at which the time tool finds nothing (``tt/ttCorr`` is 0).
    rise, decay : float
        Of the response to the laser, ps.
    off_every : int
        Every so many events the laser is off; 0: never.
    dropped_every : int
        Every so many events there are no X-rays; 0: never.
    i0_mean, i0_jitter : float
        ``ipm2/sum`` on average, and the relative standard deviation (log-normal).
    i0_noise : float
        Relative error of ``ipm2`` and ``ipm3``.
    detector : str or None
        Its name; None: no detector.
    key : "calib", "raw" or None
        "calib": images in keV, float32; "raw": uint16 with gain bits as of a Jungfrau;
        None: no images, only sums and constants.
    shape : (slow, fast) or (module, slow, fast)
        Of an image; with two axes images have no axis of modules.
    difference : float
        Change of the ring at full response, relative to its height.
    noise : float
        Standard deviation of the readout noise, keV.
    common_mode : float
        Standard deviation of the offset of each row of each bank, keV; raw only.
    n_banks : int
        Banks side by side of a module.
    bright : bool
        A spot that switches the gain; raw only.
    bad_pixels : float
        Part of the pixels.
    without_image : float
        Part of the events without an image (``damage/<detector>`` is 0).
    without_value : float
        Part of the events at which ``ipm3`` is NaN and integers are -99999.
    late_start : int
        LCLS2: events before the first one with ``ipm3``, which the writer fills with 0.
    droplets : float
        Mean number of droplets per event; 0: no such tables.
    slow_every : int
        LCLS2: events of a shot of the slow detector (``intg``); 0: none.
    unsorted : bool
        Rows are not in the order of time.
    repeats : int
        Rows that come again at the end.
    without : collection of str
        Datasets to leave out.
    parts : int
        Files ``<stem>_part<N>.h5`` that the file joins by virtual datasets; 0: none.
    compression : None or "gzip"
        Of the images, one in each piece.
    seed : int
    """

    flavour: Literal["LCLS1", "LCLS2"] = "LCLS1"
    n_events: int = 600
    rate: float = 120.0
    start: int = 1_700_000_000
    scan: Literal["lxt", "fast", "motor"] | None = "lxt"
    delays: tuple[float, ...] = tuple(np.linspace(-2, 4, 13).tolist())
    jitter: float = 0.15
    tt_noise: float = 0.02
    tt_failed: float = 0.02
    rise: float = 0.1
    decay: float = 5.0
    off_every: int = 5
    dropped_every: int = 37
    i0_mean: float = 3000.0
    i0_jitter: float = 0.3
    i0_noise: float = 0.01
    detector: str | None = "jungfrau1M"
    key: Literal["calib", "raw"] | None = "calib"
    shape: tuple[int, ...] = (2, 32, 48)
    difference: float = 0.3
    noise: float = 0.3
    common_mode: float = 0.5
    n_banks: int = 4
    bright: bool = True
    bad_pixels: float = 0.004
    without_image: float = 0.02
    without_value: float = 0.03
    late_start: int = 0
    droplets: float = 2.5
    slow_every: int = 10
    unsorted: bool = False
    repeats: int = 0
    without: Collection[str] = ()
    parts: int = 0
    compression: Literal["gzip"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        problems = (
            (self.flavour not in ("LCLS1", "LCLS2"), f"flavour={self.flavour!r}"),
            (self.key not in ("calib", "raw", None), f"key={self.key!r}"),
            (
                self.scan not in ("lxt", "fast", "motor", None),
                f"scan={self.scan!r}; known: lxt, fast, motor, None",
            ),
            (self.n_events < 0 or self.repeats < 0, "events cannot be negative"),
            (self.repeats > self.n_events, "more repeats than events"),
            (
                self.stack[2] % self.n_banks != 0,
                f"n_banks={self.n_banks} does not divide {self.stack[2]} columns",
            ),
            (not self.delays, "delays is empty"),
            (self.parts > 0 and self.n_events < self.parts, "a part without events"),
        )
        for wrong, message in problems:
            if wrong:
                raise ArgumentError(message)

    @property
    def stack(self) -> tuple[int, int, int]:
        """Modules and pixels along slow and fast."""
        if len(self.shape) not in (2, 3):
            raise ArgumentError(f"shape={self.shape}; an image has 2 or 3 axes")
        modules, slow, fast = (1, *self.shape)[-3:]
        return modules, slow, fast

    @cached_property
    def ids(self) -> Array:
        """ID of every event, uint64 (event,): event_time or timestamp."""
        ns = np.round(np.arange(self.n_events) * (1e9 / self.rate)).astype(np.int64)
        epoch = LCLS2_EPOCH if self.flavour == "LCLS2" else 0
        seconds = self.start - epoch + ns // 1_000_000_000
        return ((seconds << 32) | (ns % 1_000_000_000)).astype(np.uint64)

    @cached_property
    def fiducials(self) -> Array:
        """Fiducial of every event, int64 (event,)."""
        counted = 135 + FIDUCIAL_STEP * np.arange(self.n_events, dtype=np.int64)
        return counted % MAX_FIDUCIAL

    @property
    def id_names(self) -> tuple[str, ...]:
        """Columns that name the events."""
        old = ("event_time", "fiducials")
        return old if self.flavour == "LCLS1" else ("timestamp",)
