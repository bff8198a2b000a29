"""Write the files of detector modules."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xfelred.synth.euxfel.config import RunConfig
from xfelred.synth.euxfel.files import (
    START_NS,
    TRAIN_PERIOD_NS,
    AllottedRows,
    allot_rows,
    file_path,
    write_metadata,
    write_source_index,
    write_trains,
)
from xfelred.synth.euxfel.frames import create_pixels, write_frames, write_same
from xfelred.synth.euxfel.layout import Array
from xfelred.synth.euxfel.pixels import JUNK_ADU, Renderer

JUNK_ID = 9999  # in entries that belong to no train: readers must never show it
PARALLEL_JUNK = 40000  # added to the IDs of medium and low gain frames

# Columns of the index groups with one entry for each train: dtype and shape.
TRAIN_GROUPS: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "header": {
        "dataId": ("u8", ()),
        "linkId": ("u8", ()),
        "magicNumberBegin": ("i1", (8,)),
        "majorTrainFormatVersion": ("u4", ()),
        "minorTrainFormatVersion": ("u4", ()),
        "reserved": ("u1", (16,)),
    },
    "trailer": {
        "checksum": ("i1", (16,)),
        "magicNumberEnd": ("i1", (8,)),
        "status": ("u8", ()),
    },
    "detector": {},
}


def write_module(directory: Path, renderer: Renderer, module: int) -> list[Path]:
    config = renderer.config
    aggregator = f"{config.facts.aggregator}{module:02d}"
    paths = []
    for sequence, trains in enumerate(config.files(module)):
        path = file_path(directory, config, aggregator, sequence)
        with h5py.File(path, "w") as h5:
            write_trains(h5, config, trains)
            write = write_per_pulse if config.facts.per_pulse else write_per_train
            groups = write(h5, renderer, module, trains)
            write_sources(h5, config, module, groups, sequence)
        paths.append(path)
    return paths


def write_sources(
    h5: h5py.File, config: RunConfig, module: int, groups: list[str], sequence: int
) -> None:
    names = [config.source_name(module)]
    if config.legacy_sources:
        old = config.facts.source(config.name, module, corrected=False)
        for top in ("INDEX", "INSTRUMENT"):
            h5[f"{top}/{old}"] = h5py.SoftLink(f"/{top}/{names[0]}")
        names.append(old)
    sources = [f"INSTRUMENT/{name}/{group}" for name in names for group in groups]
    write_metadata(h5, config, sources, sequence)


def recorded_positions(
    config: RunConfig, module: int, trains: Sequence[int]
) -> list[int | None]:
    """Return the place of each train in the run, None where nothing was recorded."""
    gone = config.without_data
    return [None if (module, t) in gone else config.places[t] for t in trains]


def write_per_pulse(
    h5: h5py.File, renderer: Renderer, module: int, trains: Sequence[int]
) -> list[str]:
    """Write a source whose entries are pulses (AGIPD, LPD, DSSC)."""
    config, shots = renderer.config, renderer.shots
    source = config.source_name(module)
    where = recorded_positions(config, module, trains)
    n_pulses = [0 if w is None else len(shots.pulse_ids[w]) for w in where]
    counts = [n * config.n_stages for n in n_pulses]
    rows = allot_rows(counts, config.gap_rows, config.tail_rows)
    write_source_index(h5, config, f"{source}/image", rows)
    image = h5.create_group(f"INSTRUMENT/{source}/image")
    write_labels(image, renderer, where, rows)
    frames = (
        (w, pulse, gain)
        for w, n in zip(where, n_pulses, strict=True)
        if w is not None
        for gain, pulse in itertools.product(range(config.n_stages), range(n))
    )
    write_pixels(image, renderer, module, rows, frames)
    if config.image_only:
        return ["image"]
    per_train = allot_rows([int(n > 0) for n in n_pulses])
    for group in TRAIN_GROUPS:
        write_source_index(h5, config, f"{source}/{group}", per_train)
        h5.create_group(f"INSTRUMENT/{source}/{group}")
    write_train_columns(h5, config, module, trains, n_pulses)
    return ["detector", "header", "image", "trailer"]


def write_labels(
    image: h5py.Group, renderer: Renderer, where: list[int | None], rows: AllottedRows
) -> None:
    """Write the IDs of the frames; raw data have an axis of length 1 more."""
    config, shots = renderer.config, renderer.shots
    known = [w for w in where if w is not None]
    # Only the high gain frames of a pulse carry its true IDs.
    stages = [s * PARALLEL_JUNK for s in range(config.n_stages)]
    pulse = [shots.pulse_ids[w] + np.uint64(s) for w in known for s in stages]
    cell = [shots.cell_ids[w] + np.uint64(s) for w in known for s in stages]
    counts = [len(shots.pulse_ids[w]) * config.n_stages for w in known]
    nothing = np.zeros(0, dtype=np.uint64)
    columns = {
        "trainId": np.repeat(shots.train_ids[known], counts),
        "pulseId": np.concatenate([nothing, *pulse]),
        "cellId": np.concatenate([nothing, *cell]).astype(np.uint16),
    }
    raw_axis = () if config.corrected else (1,)
    for name, values in columns.items():
        values = rows.spread(values, JUNK_ID)
        image.create_dataset(name, data=values.reshape(-1, *raw_axis))
    facts = config.facts
    size = int(np.prod(facts.module_shape)) * max(facts.raw_axis, 1) * 2
    length = np.full((rows.total, 1), size, dtype=np.uint32)
    image.create_dataset("length", data=length)
    image.create_dataset("status", data=np.zeros((rows.total, 1), dtype=np.uint16))


@dataclass(frozen=True)
class PixelDataset:
    """One dataset of pixels in a module file; `constant`: what all its frames are."""

    name: str
    frame_shape: tuple[int, ...]
    dtype: Any
    constant: Array | None = None


def pixel_datasets(renderer: Renderer, module: int) -> list[PixelDataset]:
    """Return the pixel datasets of a module, the main one first."""
    config, facts = renderer.config, renderer.config.facts
    shape, bad = facts.module_shape, renderer.modules[module].bad
    if config.corrected:
        found = [
            PixelDataset(facts.main, shape, np.float32),
            PixelDataset("mask", shape, np.uint32, bad),
        ]
    else:
        raw_axis = (facts.raw_axis,) if facts.raw_axis else ()
        found = [PixelDataset(facts.main, (*raw_axis, *shape), np.uint16)]
    if config.corrected or not facts.per_pulse:
        gain = renderer.gain_code(module)
        found.append(PixelDataset("gain", shape, np.uint8, gain))
    return found


def write_pixels(
    group: h5py.Group,
    renderer: Renderer,
    module: int,
    rows: AllottedRows,
    frames: Iterator[tuple[int, int, int]],
) -> None:
    config, facts = renderer.config, renderer.config.facts
    cells = () if facts.per_pulse else (len(renderer.shots.pulse_ids[0]),)
    places = list(itertools.product(rows.used.tolist(), *map(range, cells)))
    every = list(itertools.product(range(rows.total), *map(range, cells)))
    unused = sorted(set(every) - set(places))
    for wanted in pixel_datasets(renderer, module):
        kind = "data" if wanted.name == facts.main else wanted.name
        dataset = create_pixels(
            group,
            wanted.name,
            (rows.total, *cells, *wanted.frame_shape),
            wanted.frame_shape,
            dtype=wanted.dtype,
            compression=config.compression_of(kind),
            chunked=config.layout == "chunked",
        )
        if wanted.constant is not None:
            write_same(dataset, every, wanted.constant)
            continue
        made = (renderer.frame(module, *f).reshape(wanted.frame_shape) for f in frames)
        write_frames(dataset, places, made)
        write_same(dataset, unused, np.full(wanted.frame_shape, JUNK_ADU))


def write_train_columns(
    h5: h5py.File,
    config: RunConfig,
    module: int,
    trains: Sequence[int],
    n_pulses: list[int],
) -> None:
    source = h5[f"INSTRUMENT/{config.source_name(module)}"]
    counts = np.array([n for n in n_pulses if n], dtype=np.uint64)
    pairs = zip(trains, n_pulses, strict=True)
    ids = np.array([t for t, n in pairs if n], dtype=np.uint64)
    for group, columns in TRAIN_GROUPS.items():
        source.create_dataset(f"{group}/trainId", data=ids)
        for name, (dtype, shape) in columns.items():
            source.create_dataset(f"{group}/{name}", (len(ids), *shape), dtype)
    source.create_dataset("header/pulseCount", data=counts)
    source["header/linkId"][...] = module
    status = np.arange(config.facts.detector_bytes, dtype=np.uint8)
    source.create_dataset("detector/data", data=np.tile(status, (len(ids), 1)))


def write_per_train(
    h5: h5py.File, renderer: Renderer, module: int, trains: Sequence[int]
) -> list[str]:
    """Write a source whose entries are trains with all memory cells (JUNGFRAU)."""
    config, shots = renderer.config, renderer.shots
    source = config.source_name(module)
    where = recorded_positions(config, module, trains)
    counts = [int(w is not None) for w in where]
    rows = allot_rows(counts, config.gap_rows, config.tail_rows)
    write_source_index(h5, config, f"{source}/data", rows)
    known = [w for w in where if w is not None]
    cells = [shots.cell_ids[w] for w in known]
    n_cells = len(shots.pulse_ids[0])
    number = np.array(known)[:, None] * n_cells + np.arange(n_cells)
    seconds = (START_NS + np.array(known) * TRAIN_PERIOD_NS) * 1e-9
    columns = {
        "trainId": shots.train_ids[known],
        "memoryCell": np.array(cells, dtype=np.uint8).reshape(-1, n_cells),
        "frameNumber": number.astype(np.uint64),
        "timestamp": np.repeat(seconds[:, None], n_cells, axis=1),
    }
    group = h5.create_group(f"INSTRUMENT/{source}/data")
    for name, values in columns.items():
        # Small enough for the bytes of `memoryCell`.
        group.create_dataset(name, data=rows.spread(values, JUNK_ID % 251))
    frames = ((w, cell, 0) for w in known for cell in range(n_cells))
    write_pixels(group, renderer, module, rows, frames)
    return ["data"]
