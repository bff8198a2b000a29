"""Rows of simulated events in files, as one or several processes would write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from xfelred.synth.lcls.smalldata_config import Array, SmallDataConfig
from xfelred.synth.lcls.smalldata_pixels import BLOCK
from xfelred.synth.lcls.smalldata_shots import DrawnEvents

if TYPE_CHECKING:
    from xfelred.synth.lcls.smalldata_truth import SmallDataTruth


DROPLETS = "epix_2"
SLOW = "andor_dir"
SLOW_PIXELS = 64


@dataclass(frozen=True, eq=False)
class RowFile:
    """One file and the event of each of its rows."""

    path: Path
    events: Array


def rows_of_files(path: Path, config: SmallDataConfig) -> list[RowFile]:
    rng = np.random.default_rng((config.seed, 9))
    events = np.arange(config.n_events)
    if config.unsorted:
        events = rng.permutation(events)
    again = rng.choice(config.n_events, config.repeats, replace=False)
    if not config.parts:
        return [RowFile(path, np.concatenate([events, again]))]
    files = []
    for part in range(config.parts):
        mine = events[part :: config.parts]
        if part == config.parts - 1:
            mine = np.concatenate([mine, again])
        files.append(RowFile(path.with_name(f"{path.stem}_part{part}.h5"), mine))
    return files


def write_rows(out: h5py.Group, columns: dict[str, Array], events: Array) -> None:
    for name, values in columns.items():
        out[name] = values[events]


def write_images(
    out: h5py.Group,
    truth: SmallDataTruth,
    events: Array,
    add: Callable[[Array, Array], None],
) -> None:
    """Write images, made in the order of time; `add` gets the same ones."""
    config = truth.config
    dtype = np.float32 if config.key == "calib" else np.uint16
    options: dict[str, Any] = {}
    if config.compression:
        chunks = (1, *config.shape)
        options = {"chunks": chunks, "compression": "gzip", "compression_opts": 1}
    shape = (len(events), *config.shape)
    name = f"{config.detector}/{config.key}"
    dataset = out.create_dataset(name, shape, dtype, **options)
    order = np.argsort(events, kind="stable")
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        images = truth.images(events[rows])
        add(events[rows], images)
        images = images.reshape(len(rows), *config.shape)
        if (np.diff(rows) == 1).all():
            dataset[rows[0] : rows[-1] + 1] = images
        else:
            for row, image in zip(rows.tolist(), images, strict=True):
                dataset[row] = image


def droplet_tables(config: SmallDataConfig, shots: DrawnEvents) -> dict[str, Array]:
    """Return droplets of all events, in the order of time."""
    if not config.droplets:
        return {}
    rng = np.random.default_rng((config.seed, 10))
    n = int(shots.n_droplets.sum())
    # Single photons on an ePix100 of 704 x 768 pixels.
    return {
        "data": rng.normal(160, 20, n),
        "row": rng.uniform(0, 704, n),
        "col": rng.uniform(0, 768, n),
        "tile": np.zeros(n),
        "npix": rng.integers(1, 5, n).astype(np.float64),
    }


def write_tables(
    out: h5py.Group,
    config: SmallDataConfig,
    shots: DrawnEvents,
    tables: dict[str, Array],
    events: Array,
) -> None:
    """Write droplets with as many entries for each event as it has."""
    name = f"{DROPLETS}/var_droplet_sparse"
    if not tables or name in config.without:
        return
    counts = shots.n_droplets[events]
    first = (np.cumsum(shots.n_droplets) - shots.n_droplets)[events]
    start = np.cumsum(counts) - counts
    at = np.repeat(first - start, counts) + np.arange(int(counts.sum()))
    out[f"{name}_len"] = counts
    for field, values in tables.items():
        out[f"{name}/{field}"] = values[at]
    out[f"{DROPLETS}/droplet_nDroplets"] = counts
    if config.flavour == "LCLS1" and not config.parts:
        kind = h5py.vlen_dtype(np.float64)
        ragged = out.create_dataset(
            f"{DROPLETS}/ragged_droplet_data", (len(events),), kind
        )
        for i, (f, c) in enumerate(zip(first.tolist(), counts.tolist(), strict=True)):
            ragged[i] = tables["data"][f : f + c]


def write_slow(out: h5py.File, config: SmallDataConfig, shots: DrawnEvents) -> None:
    each = config.slow_every
    if config.flavour != "LCLS2" or not each or "intg" in config.without:
        return
    n = config.n_events // each
    rng = np.random.default_rng((config.seed, 11))
    ids = config.ids[: n * each].reshape(n, each).astype(np.int64)
    i0 = shots.i0[: n * each].reshape(n, each).sum(axis=1)
    out["intg/timestamp"] = ids[:, -1]
    where = f"intg/{SLOW}"
    profile = np.exp(-((np.arange(SLOW_PIXELS) - 30) ** 2) / 50)
    noise = 0.1 * rng.standard_normal((n, SLOW_PIXELS))
    out[f"{where}/full_area"] = i0[:, None] * profile + noise
    out[f"{where}/count"] = np.full(n, each)
    out[f"{where}/ipm2_sum_sum"] = shots.ipm2[: n * each].reshape(n, each).sum(axis=1)
    out[f"{where}/timestamp_min"] = ids[:, 0]
    out[f"{where}/timestamp_max"] = ids[:, -1]


def join_parts(path: Path, files: list[RowFile]) -> None:
    """Write the file that joins parts: virtual datasets, one part after the other."""
    names: list[str] = []
    with h5py.File(files[0].path, "r") as first:
        first.visititems(
            lambda name, item: (
                names.append(name) if isinstance(item, h5py.Dataset) else None
            )
        )
    with h5py.File(path, "x", libver="latest") as out:
        for name in names:
            shapes = []
            for file in files:
                with h5py.File(file.path, "r") as part:
                    shapes.append(part[name].shape)
                    dtype = part[name].dtype
            total = (sum(s[0] for s in shapes), *shapes[0][1:])
            layout = h5py.VirtualLayout(total, dtype)
            at = 0
            for file, shape in zip(files, shapes, strict=True):
                source = h5py.VirtualSource(file.path.name, name, shape)
                layout[at : at + shape[0]] = source
                at += shape[0]
            out.create_virtual_dataset(name, layout)
