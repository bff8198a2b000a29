"""The truth behind a simulated European XFEL run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xfelred.errors import TrainIDError
from xfelred.synth.euxfel.config import RunConfig
from xfelred.synth.euxfel.layout import Array, pixel_positions
from xfelred.synth.euxfel.pixels import Renderer, ring_profile
from xfelred.synth.euxfel.shots import DrawnTrains


@dataclass(frozen=True)
class Truth:
    """What a simulated run holds, exactly.

    Trains, pulses and modules are named by their IDs and numbers. `pulse` of a
    JUNGFRAU is the position of the memory cell.
    """

    directory: Path  # of the files
    config: RunConfig
    files: dict[int | str, list[Path]]  # in sequence, of each module and of "DA01"
    shots: DrawnTrains = field(repr=False)  # in the order of the files
    renderer: Renderer = field(repr=False)

    @property
    def train_ids(self) -> Array:
        """Train IDs of the run, sorted, uint64 (train,): those in at least one file."""
        found = {t for m in self.files for f in self.config.files(m) for t in f}
        return np.array(sorted(found), dtype=np.uint64)

    @property
    def modules(self) -> tuple[int, ...]:
        """Numbers of the modules with at least one file."""
        return tuple(m for m in self.config.module_numbers if self.files.get(m))

    @property
    def detector(self) -> str:
        """Name of the detector."""
        return self.config.name

    @property
    def positions(self) -> Array:
        """Centres of the pixels, float64 (module, slow_scan, fast_scan, 3), metre."""
        positions = self.config.positions
        if positions is None:
            positions = pixel_positions(self.config.facts, self.config.distance_m)
        first = self.config.facts.first_module
        return np.asarray(positions[[m - first for m in self.modules]])

    @property
    def bad_pixels(self) -> Array:
        """Bits of the bad-pixel mask, uint32 (module, slow_scan, fast_scan)."""
        return np.stack([self.renderer.modules[m].bad for m in self.modules])

    @property
    def gain_stage(self) -> Array:
        """Gain stage 0, 1, 2 of every pixel, uint8 (module, slow_scan, fast_scan)."""
        return np.stack([self.renderer.modules[m].stage for m in self.modules])

    @property
    def pedestal(self) -> Array:
        """Zero level in the recorded stage, float32 (module, slow, fast), adu."""
        empty = np.zeros(self.config.facts.module_shape, dtype=np.float32)
        levels = [self.renderer.modules[m].pedestal for m in self.modules]
        return np.stack([empty if p is None else p for p in levels])

    @property
    def laser_on(self) -> Array:
        """Whether the laser was on, bool, for every entry of `train_ids`."""
        return self.shots.laser_on[[self.position(t) for t in self.train_ids]]

    @property
    def delay_ps(self) -> Array:
        """Delay of the X-rays, float64, ps, for every entry of `train_ids`."""
        return self.shots.delay_ps[[self.position(t) for t in self.train_ids]]

    def position(self, train: int) -> int:
        """Return the place of a train ID in the files; KeyError if it is not there."""
        try:
            return self.config.places[int(train)]
        except KeyError:
            raise TrainIDError(f"train {train} is not in {self.directory}") from None

    def file(self, module: int | str, sequence: int = 0) -> Path:
        """Return the path of one file of a module (or of "DA01")."""
        return self.files[module][sequence]

    def source(self, module: int) -> str:
        """Return the name of the source that holds a module."""
        return self.config.source_name(module)

    def pulse_ids(self, train: int) -> Array:
        """Return the pulse IDs of a train, uint64 (pulse,)."""
        return self.shots.pulse_ids[self.position(train)]

    def cell_ids(self, train: int) -> Array:
        """Return the memory cells of a train, uint64 (pulse,)."""
        return self.shots.cell_ids[self.position(train)]

    def intensity(self, train: int) -> Array:
        """Return the pulse energy (1 on average) of a train, float32 (pulse,)."""
        return self.shots.intensity[self.position(train)]

    def recorded(self, train: int, module: int) -> bool:
        """Whether a module has data of a train."""
        key = (module, int(train))
        gone = key in self.config.without_data or key in self.config.without_row
        return module in self.modules and not gone and len(self.pulse_ids(train)) > 0

    def frame(self, train: int, pulse: int, module: int, gain: int = 0) -> Array:
        """Return the pixels of one frame as they are in the file.

        Parameters
        ----------
        train, pulse, module : int
            Train ID, pulse ID and module number.
        gain : int
            Stage 0, 1, 2 of parallel gain data.

        Returns
        -------
        float32 or uint16 ([data_gain,] slow_scan, fast_scan), adu
            Only AGIPD raw data have the axis `data_gain`.

        Raises
        ------
        KeyError
            The frame was not recorded.
        """
        where = np.flatnonzero(self.pulse_ids(train) == pulse)
        if not where.size or not self.recorded(train, module):
            raise TrainIDError(
                f"no frame of module {module}, train {train}, pulse {pulse}"
            )
        return self.renderer.frame(module, self.position(train), int(where[0]), gain)

    def light(self, train: int, pulse: int, module: int) -> Array:
        """Return the light in a frame without noise and pedestal, float32, adu."""
        where = np.flatnonzero(self.pulse_ids(train) == pulse)
        return self.renderer.light(module, self.position(train), int(where[0]))

    def frame_ids(self) -> Iterator[tuple[int, int]]:
        """Yield train and pulse ID of every frame that a module has, in order."""
        for train in self.train_ids.tolist():
            if any(self.recorded(train, m) for m in self.modules):
                yield from ((train, p) for p in self.pulse_ids(train).tolist())

    def frames(self, fill_value: float | None = None) -> Array:
        """Return all pixels as the dense array of the data model, for small runs.

        Returns
        -------
        (train, pulse, [gain,] module, [data_gain,] slow_scan, fast_scan)
            Trains without any frame are left out; pulses are sorted and unique;
            `fill_value` (default NaN, or 0 for integers) where nothing was recorded.
        """
        ids = list(self.frame_ids())
        trains = sorted({t for t, _ in ids})
        pulses = sorted({p for _, p in ids})
        shape, dtype = self.stored
        n_gain = self.config.n_stages
        default = 0 if dtype.kind == "u" else np.nan
        out = np.full(
            (len(trains), len(pulses), n_gain, len(self.modules), *shape),
            default if fill_value is None else fill_value,
            dtype=dtype,
        )
        for train, pulse in ids:
            where = trains.index(train), pulses.index(pulse)
            for i, module in enumerate(self.modules):
                if self.recorded(train, module):
                    for gain in range(n_gain):
                        frame = self.frame(train, pulse, module, gain)
                        out[(*where, gain, i)] = frame
        return out if self.config.parallel_gain else out[:, :, 0]

    @property
    def stored(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and dtype of one frame of a module."""
        shape = self.config.facts.module_shape
        if self.config.corrected:
            return shape, np.dtype("f4")
        two = (2,) if self.config.facts.raw_axis == 2 else ()
        return (*two, *shape), np.dtype("u2")

    def profile(self, q: Array) -> Array:
        """Return the scattered intensity (adu) at `q` (1/angstrom), no laser."""
        return ring_profile(self.config, np.asarray(q, dtype=np.float64))
