"""Write the file of slow and pulse-resolved data beside the detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike

from xfelred.synth.euxfel.config import DA01, RunConfig
from xfelred.synth.euxfel.files import (
    BYTES,
    START_NS,
    TRAIN_PERIOD_NS,
    allot_rows,
    file_path,
    write_metadata,
    write_source_index,
    write_trains,
)
from xfelred.synth.euxfel.layout import Array
from xfelred.synth.euxfel.shots import PULSE_ENERGY_UJ, DrawnTrains

XGM = "SA1_XTD2_XGM/DOOCS/MAIN"
SAMPLE_MOTOR = "SPB_IRU_SAMPLE/MOTOR/X"
DELAY_STAGE = "SPB_LAS_PPL/MOTOR/DELAY"  # names as at SPB
LASER = "SPB_LAS_PPL/MDL/SHUTTER"
XGM_PULSES = 1000  # places of ``intensityTD``: the k-th pulse of a train is at place k
XGM_REST = 1.0  # what stands in the places without a pulse
MICROJOULE = ("u", "micro", "J", "joule")  # prefix and unit as attributes spell them
MILLIMETRE = ("m", "milli", "m", "metre")


def write_control(directory: Path, config: RunConfig, shots: DrawnTrains) -> list[Path]:
    """Write the sequence files of the aggregator DA01 and return their paths."""
    paths: list[Path] = []
    if not (config.xgm or config.motors):
        return paths
    for sequence, trains in enumerate(config.files(DA01)):
        path = file_path(directory, config, DA01, sequence)
        where = [config.places[t] for t in trains]
        sources: list[str] = []
        with h5py.File(path, "w") as h5:
            write_trains(h5, config, trains)
            if config.xgm:
                sources += write_xgm(h5, config, shots, where)
            if config.motors:
                sources += write_motors(h5, config, shots, where)
            write_metadata(h5, config, sources, sequence)
        paths.append(path)
    return paths


def counts_of(config: RunConfig, where: Sequence[int]) -> list[int]:
    """Return 1 for every train in which control data were recorded, else 0."""
    return [int((DA01, config.trains[w]) not in config.without_data) for w in where]


def write_property(
    h5: h5py.File,
    path: str,
    values: Array,
    unit: Sequence[str] = (),
    dtype: DTypeLike | None = None,
) -> None:
    """Write a control property: its value per train, and the first one in RUN."""
    stamps = START_NS + np.arange(len(values), dtype=np.uint64) * TRAIN_PERIOD_NS
    for top, n in (("CONTROL", len(values)), ("RUN", 1)):
        group = h5.create_group(f"{top}/{path}")
        group.create_dataset("value", data=values[:n], dtype=dtype, maxshape=(None,))
        group.create_dataset("timestamp", data=stamps[:n], maxshape=(None,))
        set_unit(group, unit)


def set_unit(item: h5py.HLObject, unit: Sequence[str]) -> None:
    """Set the attributes for a unit: prefix symbol and name, unit symbol and name."""
    names = ("metricPrefixSymbol", "metricPrefixName", "unitSymbol", "unitName")
    for name, value in zip(names, unit, strict=False):
        item.attrs[name] = value.encode("ascii")


def write_device(
    h5: h5py.File, config: RunConfig, device: str, class_id: str, counts: list[int]
) -> str:
    """Write the index of a control device and its class; return its entry's name."""
    write_source_index(h5, config, device, allot_rows(counts))
    h5.require_group(f"CONTROL/{device}")
    run = h5.require_group(f"RUN/{device}/classId")
    run.create_dataset("value", data=[class_id], dtype=BYTES)
    run.create_dataset("timestamp", data=np.array([START_NS], dtype=np.uint64))
    return f"CONTROL/{device}"


def write_xgm(
    h5: h5py.File, config: RunConfig, shots: DrawnTrains, where: Sequence[int]
) -> list[str]:
    counts = counts_of(config, where)
    here = [w for w, n in zip(where, counts, strict=True) if n]
    pulses = np.full((len(here), XGM_PULSES), XGM_REST, dtype=np.float32)
    for row, w in zip(pulses, here, strict=True):
        row[: len(shots.intensity[w])] = shots.intensity[w] * PULSE_ENERGY_UJ
    means = [s.mean() if s.size else 0 for s in (shots.intensity[w] for w in here)]
    flux = np.array(means, dtype=np.float32) * np.float32(PULSE_ENERGY_UJ)
    control = write_device(h5, config, XGM, "DoocsXGM", counts)
    write_property(h5, f"{XGM}/pulseEnergy/photonFlux", flux, MICROJOULE)
    place = np.sin(np.array(here, dtype=np.float32))
    write_property(h5, f"{XGM}/beamPosition/ixPos", place, MILLIMETRE)
    states = np.array([b"ON"] * len(here), dtype=object)
    write_property(h5, f"{XGM}/state", states, dtype=BYTES)
    source = f"{XGM}:output/data"
    write_source_index(h5, config, source, allot_rows(counts))
    group = h5.create_group(f"INSTRUMENT/{source}")
    group.create_dataset("trainId", data=shots.train_ids[here])
    set_unit(group.create_dataset("intensityTD", data=pulses), MICROJOULE)
    return [control, f"INSTRUMENT/{source}"]


def write_motors(
    h5: h5py.File, config: RunConfig, shots: DrawnTrains, where: Sequence[int]
) -> list[str]:
    counts = counts_of(config, where)
    here = [w for w, n in zip(where, counts, strict=True) if n]
    sources = []
    sample = 3.25 + 0.5 * np.array(here, dtype=np.float64)
    for device, values in (
        (SAMPLE_MOTOR, sample),
        (DELAY_STAGE, shots.stage_mm[here]),
    ):
        sources.append(write_device(h5, config, device, "BeckhoffMotor", counts))
        write_property(h5, f"{device}/actualPosition", values, MILLIMETRE)
    sources.append(write_device(h5, config, LASER, "Shutter", counts))
    write_property(h5, f"{LASER}/isOpen", shots.laser_on[here].astype(np.uint8))
    return sources
