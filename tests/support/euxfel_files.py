"""Run files of the European XFEL with whatever a test wants in them, right or wrong."""

from dataclasses import dataclass, field

import h5py
import numpy as np

LPD = "FXE_DET_LPD1M-1"
JUNGFRAU = "SPB_IRDA_JF4M"


@dataclass
class Fast:
    """An index group of an instrument source: rows of each train, and its datasets."""

    source: str
    group: str
    counts: list
    data: dict
    first: list | None = None


@dataclass
class Slow:
    """A device with one row per train."""

    device: str
    data: dict = field(default_factory=dict)


def write_file(path, trains, *parts, version="1.2", run=1, proposal=700000):
    """Write one file; parts are `Fast` and `Slow`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = []
    with h5py.File(path, "w") as f:
        f["INDEX/trainId"] = np.asarray(trains, np.uint64)
        if version != "0.5":
            f["INDEX/flag"] = np.ones(len(trains), np.int32)
            f["METADATA/dataFormatVersion"] = [version.encode()]
            f["METADATA/runNumber"] = np.array([run], np.uint32)
            f["METADATA/proposalNumber"] = np.array([proposal], np.uint32)
        for part in parts:
            sources.append(write_part(f, len(trains), part))
        base = "METADATA" if version == "0.5" else "METADATA/dataSources"
        f[f"{base}/dataSourceId"] = [s.encode() for s in sources]
    return path


def write_part(f, n, part):
    """Write one source and return how METADATA lists it."""
    if isinstance(part, Slow):
        f[f"INDEX/{part.device}/first"] = np.arange(n, dtype=np.uint64)
        f[f"INDEX/{part.device}/count"] = np.ones(n, np.uint64)
        for key, values in part.data.items():
            place = f"{part.device}/{key.replace('.', '/')}"
            f[f"CONTROL/{place}/value"] = values
            f[f"RUN/{place}/value"] = np.asarray(values)[:1]
        return f"CONTROL/{part.device}"
    counts = np.asarray(part.counts, np.uint64)
    first = np.cumsum(counts) - counts if part.first is None else part.first
    at = f"INDEX/{part.source}/{part.group}"
    f[f"{at}/first"], f[f"{at}/count"] = np.asarray(first), counts
    for key, values in part.data.items():
        place = f"{part.source}/{part.group}/{key.replace('.', '/')}"
        f[f"INSTRUMENT/{place}"] = values
    return f"INSTRUMENT/{part.source}/{part.group}"


def lpd(module, counts, pulses, value=1.0, *, shape=(256, 256), dtype="f4", **more):
    """One corrected LPD module; every pixel of a frame has its `value`."""
    pulses = np.asarray(pulses, np.uint64)
    values = np.broadcast_to(np.asarray(value), len(pulses))
    data = np.ones((len(pulses), *shape), dtype)
    data *= values.astype(dtype)[:, None, None]
    ids = {"pulseId": pulses, "cellId": pulses.astype(np.uint16)}
    return Fast(
        f"{LPD}/CORR/{module}CH0:output", "image", counts, {"data": data} | ids | more
    )


def jungfrau(module, n, *, cells=1, value=1.0, dtype="f4", first=None, **more):
    """One corrected JUNGFRAU module with a row for each of `n` trains."""
    adc = np.full((n, cells, 512, 1024), value, dtype)
    memory = np.tile(np.arange(cells, dtype=np.uint8), (n, 1))
    source = f"{JUNGFRAU}/CORR/JNGFR{module:02}:output"
    data = {"adc": adc, "memoryCell": memory} | more
    return Fast(source, "data", [1] * n, data, first)
