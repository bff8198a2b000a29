"""Write a simulated LCLS small-data run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

from xfelred.errors import OutputExistsError
from xfelred.small_files import writing
from xfelred.synth.lcls.smalldata_config import Array, SmallDataConfig
from xfelred.synth.lcls.smalldata_files import (
    droplet_tables,
    join_parts,
    rows_of_files,
    write_images,
    write_rows,
    write_slow,
    write_tables,
)
from xfelred.synth.lcls.smalldata_pixels import GAP, PIXEL_UM, Pixels
from xfelred.synth.lcls.smalldata_shots import draw_shots, event_columns
from xfelred.synth.lcls.smalldata_truth import SmallDataTruth


def write_smalldata(
    path: str | Path, config: SmallDataConfig | None = None, **options: Any
) -> SmallDataTruth:
    """Write the file of a simulated LCLS small-data run and return what is in it.

    Parameters
    ----------
    path : path
        A file that does not exist yet, such as ``xpptest01_Run0047.h5``.
    config : SmallDataConfig, optional
        What to write; the defaults are 600 events of LCLS1 with a scan of the laser's
        delay and calibrated images of a Jungfrau of 2 x 32 x 48 pixels.
    **options
        Fields of `SmallDataConfig` that differ from `config`.

    Returns
    -------
    SmallDataTruth
        Exact delays, laser, intensities, images and constants of all events.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     truth = write_smalldata(f"{place}/xpptest01_Run0047.h5", n_events=10)
    ...     truth.laser_on.sum()
    np.int64(8)
    """
    config = dataclasses.replace(config or SmallDataConfig(), **options)
    path = Path(path)
    if path.exists():
        raise OutputExistsError(f"{path} exists already; write the run elsewhere")
    shots = draw_shots(config)
    pixels = Pixels(config, shots)
    columns = {
        k: v for k, v in event_columns(config, shots).items() if k not in config.without
    }
    tables = droplet_tables(config, shots)
    truth = SmallDataTruth(path, config, shots, pixels, columns, tables)
    sums = Sums(truth)
    files = rows_of_files(path, config)
    for file in files:
        with writing(file.path), h5py.File(file.path, "x") as out:
            write_rows(out, truth.columns, file.events)
            write_tables(out, config, shots, truth.tables, file.events)
            if config.detector is not None and config.key is not None:
                write_images(out, truth, file.events, sums.add)
    if config.parts:
        join_parts(path, files)
    with h5py.File(path, "r+") as out:
        write_slow(out, config, shots)
        if config.detector is not None:
            write_constants(out, truth)
            for name, values in sums.results().items():
                put(out, config, f"Sums/{config.detector}_{name}", values)
    return truth


class Sums:
    """Sums over the events of a run, added up while these are written."""

    def __init__(self, truth: SmallDataTruth) -> None:
        self.truth = truth
        shape = truth.config.stack
        names = ("", "_dropped", "_square")
        self.totals = {name: np.zeros(shape) for name in names}
        self.largest = np.full(shape, -np.inf)
        self.seen = np.zeros(truth.config.n_events, bool)

    def add(self, events: Array, images: Array) -> None:
        new = ~self.seen[events] & self.truth.available[events]
        first = np.zeros(len(events), bool)
        first[np.unique(events, return_index=True)[1]] = True
        new &= first
        self.seen[events] = True
        kept = images[new].astype(np.float64)
        if not len(kept):
            return
        self.totals[""] += kept.sum(axis=0)
        self.totals["_square"] += (kept**2).sum(axis=0)
        dropped = ~self.truth.xray_on[events[new]]
        self.totals["_dropped"] += kept[dropped].sum(axis=0)
        np.maximum(self.largest, kept.max(axis=0), out=self.largest)

    def results(self) -> dict[str, Array]:
        """Return the sums by the end of their names; nothing without images."""
        key = self.truth.config.key
        if key is None:
            return {}
        shape = self.truth.config.shape
        found = {f"{key}{name}": v for name, v in self.totals.items()}
        if self.seen.any():
            found[f"{key}_max"] = self.largest
        return {name: v.reshape(shape) for name, v in found.items()}


def write_constants(out: h5py.File, truth: SmallDataTruth) -> None:
    config, pixels = truth.config, truth.pixels
    shape = config.shape
    modules, slow, fast = config.stack
    x, y = pixels.xy
    good = (~pixels.bad).astype(np.uint8)
    row = np.arange(modules)[:, None, None] * (slow + GAP) + np.arange(slow)[:, None]
    maps: dict[str, Array] = {
        "mask": np.ones(config.stack, np.uint8),
        "cmask": good,
        "statusMask": good,
        "x": x * PIXEL_UM,
        "y": y * PIXEL_UM,
        "z": np.zeros(config.stack),
        "ix": np.broadcast_to(row, config.stack).astype(np.int64),
        "iy": np.broadcast_to(np.arange(fast), config.stack).astype(np.int64),
    }
    noise = np.full((3, *config.stack), config.noise, np.float32)
    ranges = {
        "ped": pixels.pedestal,
        "rms": noise * np.abs(pixels.gain[:1]),
        "gain": pixels.gain,
    }
    where = f"UserDataCfg/{config.detector}"
    for name, values in maps.items():
        put(out, config, f"{where}/{name}", values.reshape(shape))
    for name, values in ranges.items():
        put(out, config, f"{where}/{name}", values.reshape(3, *shape))
    put(out, config, f"{where}/common_mode", np.int64(0))
    put(out, config, f"{where}/imgShape", np.array([row.max() + 1, fast]))
    put(out, config, f"{where}/rawShape", np.array(shape))
    put(out, config, f"{where}/pixelsize", np.array([PIXEL_UM * 1e-6]))


def put(out: h5py.File, config: SmallDataConfig, name: str, values: ArrayLike) -> None:
    group = name.partition("/")[0]
    if name not in config.without and group not in config.without:
        out[name] = values
