"""Detector data as a CXI 1.50 file of virtual datasets, for CrystFEL and others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, BrokenFileError, DoesNotFitError
from xfelred.hdf5 import (
    NewGroup,
    SoftLink,
    VirtualLayout,
    VirtualSource,
    open_dataset,
    string_dtype,
)
from xfelred.readers.euxfel.frame_axes import memory_cells
from xfelred.readers.euxfel.frame_labels import frame_labels
from xfelred.readers.euxfel.metadata import run_metadata
from xfelred.readers.euxfel.module_data import ModuleData
from xfelred.readers.euxfel.module_table import ModuleTable
from xfelred.readers.euxfel.run_file import FilePath, new_file

AXES = "experiment_identifier:module_identifier"  # the first two, as CXI names them
# Of what was not recorded: all bits of a mask, as none of its pixels is good.
GOOD_FILL = {"gain": 0, "mask": 0xFFFFFFFF}


@dataclass(frozen=True, eq=False)
class Frames:
    """Every frame of a detector: train ID, and pulse ID or memory cell."""

    detector: ModuleData
    train: NDArray[np.uint64]
    inner: NDArray[np.uint64]
    per_entry: int

    @cached_property
    def start(self) -> NDArray[np.int64]:
        """First frame of each train."""
        counts = self.detector.counts
        return (np.cumsum(counts) - counts) * self.per_entry

    def at(self, train: int, n_entries: int) -> slice:
        """Return the frames of entries that follow each other from a train on."""
        first = int(self.start[train])
        return slice(first, first + n_entries * self.per_entry)


def write_virtual_cxi(
    detector: ModuleData,
    filename: FilePath,
    fillvalues: dict[str, Any] | None = None,
) -> None:
    """Write a CXI file of virtual datasets; see `Detector.write_virtual_cxi`."""
    given = dict(fillvalues or {})
    main = detector.spec.data.partition(".")[2]
    if main != "data" and main in given:  # "adc" of JUNGFRAU, "data" in the CXI file
        given["data"] = given.pop(main)
    unknown = set(given) - {"data", "gain", "mask"}
    if unknown:
        raise ArgumentError(
            f"fillvalues has {sorted(unknown)}; it may have data, gain, mask"
        )
    frames = cell_frames(detector) if detector.spec.inner else pulse_frames(detector)
    # Virtual datasets came with HDF5 1.10; any program that has these reads the file.
    with new_file(filename, libver=("v110", "v110")) as f:
        write_file(f, frames, given)


def pulse_frames(detector: ModuleData) -> Frames:
    labels = frame_labels(detector)
    train, at = labels.expanded
    return Frames(detector, detector.ids[train], labels.pulse[at], 1)


def cell_frames(detector: ModuleData) -> Frames:
    """Return the frames of JUNGFRAU: every memory cell of every train."""
    cells = memory_cells(detector).astype(np.uint64)
    trains = np.repeat(detector.ids, cells.shape[1])
    return Frames(detector, trains, cells.ravel(), cells.shape[1])


def write_file(f: NewGroup, frames: Frames, given: dict[str, Any]) -> None:
    detector = frames.detector
    f["cxi_version"] = [150]
    entry = f.create_group("entry_1")
    describe_entry(detector, entry)
    label = "memoryCell" if detector.spec.inner else "pulseId"
    identifier = [f"{t}:{p}" for t, p in zip(frames.train, frames.inner, strict=True)]
    entry.create_dataset("experiment_identifier", data=identifier, dtype=string_dtype())
    entry["trainId"], entry[label] = frames.train, frames.inner
    instrument = entry.create_group("instrument_1/detector_1")
    instrument.attrs["name"] = detector.detector_name
    first = detector.first_number
    instrument["module_identifier"] = np.arange(detector.n_modules) + first
    instrument["experiment_identifier"] = SoftLink("/entry_1/experiment_identifier")
    entry["data_1"] = SoftLink("/entry_1/instrument_1/detector_1")
    cell_key = "data.memoryCell" if detector.spec.inner else "image.cellId"
    virtual(frames, entry, "cellId", cell_key, fill=0)
    for name, key in pixel_keys(detector):
        add_pixels(frames, entry, name, key, given.get(name))


def pixel_keys(detector: ModuleData) -> list[tuple[str, str]]:
    """Return (dataset, key) of pixels, gain and mask, as far as the data have them.

    What only some modules have is filled in the others.
    """
    keys = [("data", detector.spec.data)]
    gain, mask = f"{detector.main_group}.gain", detector.spec.mask
    if detector.has_key(gain):
        keys.append(("gain", gain))
        if detector.has_key(mask):
            keys.append(("mask", mask))
    return keys


def describe_entry(detector: ModuleData, entry: NewGroup) -> None:
    """Name proposal and run, if they are known."""
    if not detector.data.is_single_run:
        return
    try:
        found = run_metadata(detector.data.all_files)
    except BrokenFileError:
        return
    proposal, run = found.get("proposalNumber"), found.get("runNumber")
    if proposal is not None and run is not None:
        entry.attrs["name"] = f"EuXFEL proposal {proposal} run {run}"
        entry.attrs["euxfelProposalNumber"] = proposal
        entry.attrs["euxfelRunNumber"] = run


def add_pixels(
    frames: Frames, entry: NewGroup, name: str, key: str, fill: object
) -> None:
    detector, instrument = frames.detector, entry["instrument_1/detector_1"]
    dtype, shape = detector.stored_in(key)
    if fill is None:
        fill = GOOD_FILL.get(name, np.nan if dtype.kind == "f" else 0)
    fill = checked_virtual_fill(name, fill, dtype)
    n_axes = len(shape) - (1 if detector.spec.inner else 0)
    extra = ":data_gain" if n_axes == 3 and name == "data" else ""
    virtual(frames, instrument, name, key, fill, f"{extra}:y:x")
    if extra:
        planes = [b"data", b"gain"][: shape[-3]]
        entry.create_dataset("data_gain", data=planes, dtype=string_dtype())
        instrument["data_gain"] = SoftLink("/entry_1/data_gain")


def checked_virtual_fill(name: str, fill: Any, dtype: np.dtype[Any]) -> Any:
    """Return a fill value of a dtype; OverflowError if it does not fit."""
    if dtype.kind not in "iu":
        return dtype.type(fill)
    info = np.iinfo(dtype)
    # Of a mask narrower than 32 bits: all that it has.
    if name == "mask" and fill == GOOD_FILL["mask"]:
        fill = min(int(fill), int(info.max))
    if not np.isfinite(fill) or not info.min <= int(fill) <= info.max:
        raise DoesNotFitError(
            f"fill value {fill} for {name} does not fit {dtype} ({info.min} to"
            f" {info.max})"
        )
    return dtype.type(int(fill))


def virtual(
    frames: Frames, group: NewGroup, name: str, key: str, fill: object, axes: str = ""
) -> None:
    """Create a virtual dataset (frame, module, ...) of a key."""
    detector = frames.detector
    dtype, shape = detector.stored_in(key)
    per_row = bool(detector.spec.inner)
    pixels = () if name == "cellId" else shape[1:] if per_row else shape
    layout = VirtualLayout((len(frames.train), detector.n_modules, *pixels), dtype)
    table = detector.key_table(key)
    places = table.places(key)
    counts = detector.counts
    n_axes = 1 + len(pixels) + (1 if per_row else 0)
    for m, number in enumerate(detector.modules):
        for trains in stretches(table, m, counts):
            place = places[int(table.target[trains[0], m])]
            first, n = int(table.first[trains[0], m]), int(counts[trains].sum())
            part = rows_of(place, first, n, n_axes)
            here = frames.at(trains[0], n)
            layout[here, number - detector.first_number] = part
    if name == "mask":
        add_unmasked(frames, group, layout)
    dataset = group.create_virtual_dataset(name, layout, fillvalue=fill)
    dataset.attrs["axes"] = AXES + axes


def add_unmasked(frames: Frames, group: NewGroup, layout: VirtualLayout) -> None:
    """Show no bad pixel where pixels were recorded but a file has no mask.

    These zeros are a dataset of which nothing is written, so they take no room.
    """
    detector, counts = frames.detector, frames.detector.counts
    recorded = detector.table(detector.main_group)
    masked = detector.key_table(detector.spec.mask)
    shape = (layout.shape[0], *layout.shape[2:])
    for m, number in enumerate(detector.modules):
        bare = (recorded.count[:, m] > 0) & (masked.count[:, m] == 0)
        if bare.any() and "unmasked" not in group:
            group.create_dataset(
                "unmasked", shape, layout.dtype, chunks=(1, *shape[1:]), fillvalue=0
            )
        for t in np.flatnonzero(bare).tolist():
            here = frames.at(t, int(counts[t]))
            zeros = VirtualSource(group["unmasked"])[here]
            layout[here, number - detector.first_number] = zeros


def rows_of(place: tuple[str, str], first: int, n: int, n_axes: int) -> Any:
    """Return rows of a dataset of a file to be shown elsewhere.

    A second axis that raw data have beyond `n_axes` is of length 1 and dropped.
    """
    path, name = place
    stored = open_dataset(path, name)
    if first + n > stored.shape[0]:
        raise BrokenFileError(
            f"{path} is inconsistent: its index points to row {first + n - 1} of"
            f" {name}, which has {stored.shape[0]} rows"
        )
    source = VirtualSource(path, name, stored.shape, stored.dtype)
    rows = slice(first, first + n)
    return source[rows, 0] if stored.ndim > n_axes else source[rows]


def stretches(
    table: ModuleTable, module: int, counts: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """Return the trains of a module in groups whose rows follow each other."""
    here = np.flatnonzero(table.count[:, module] > 0)
    if not len(here):
        return []
    target, first = table.target[here, module], table.first[here, module]
    new = (np.diff(here) != 1) | (np.diff(target) != 0)
    new |= first[1:] != first[:-1] + counts[here][:-1]
    return np.split(here, np.flatnonzero(new) + 1)
