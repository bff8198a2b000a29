"""Damage written runs on purpose, to show how readers take it.

The first functions work on any file, the others on European XFEL files. All change the
file in place.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import DTypeLike

from xfelred.errors import ArgumentError, MissingFileError

PathLike = str | Path


def truncate(path: PathLike, fraction: float = 0.5) -> None:
    """Cut a file off, as an interrupted copy would leave it."""
    size = Path(path).stat().st_size
    with open(path, "r+b") as file:
        file.truncate(int(size * fraction))


def not_hdf5(path: PathLike) -> None:
    """Replace a file by some text."""
    Path(path).write_text("This file is not HDF5.\n" * 20)


def remove_dataset(path: PathLike, name: str) -> None:
    """Remove one dataset or group, e.g. "METADATA/dataSources/dataSourceId"."""
    with h5py.File(path, "r+") as h5:
        del h5[name]


def damage_chunk(path: PathLike, name: str, entry: int = 0) -> None:
    """Overwrite the stored bytes of the chunk that holds an entry of a dataset.

    A compressed chunk can then no longer be read, although the file opens and its
    index is sound.
    """
    with h5py.File(path, "r") as h5:
        dataset = h5[name]
        place = (entry,) + (0,) * (dataset.ndim - 1)
        chunk = dataset.id.get_chunk_info_by_coord(place)
    with open(path, "r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)


def drop_module_file(directory: PathLike, module: int) -> list[Path]:
    """Remove all sequence files of one module and return their paths."""
    pattern = f"*-*[A-Z]{module:02d}-S*.h5"
    found = [p for p in sorted(Path(directory).glob(pattern)) if "-DA" not in p.name]
    if not found:
        raise MissingFileError(f"no file of module {module} in {directory}")
    for path in found:
        path.unlink()
    return found


def remove_index(path: PathLike) -> None:
    """Remove INDEX/trainId, without which no train can be found."""
    remove_dataset(path, "INDEX/trainId")


def remove_source_index(path: PathLike, source: str | None = None) -> None:
    """Remove the index of one source (default: the first detector source)."""
    with h5py.File(path, "r+") as h5:
        del h5[f"INDEX/{source or first_source(h5)}"]


def duplicate_train(path: PathLike, position: int = 1) -> None:
    """Give a train the ID of the train before it."""
    with h5py.File(path, "r+") as h5:
        ids = h5["INDEX/trainId"]
        ids[position] = ids[position - 1]


def duplicate_file(path: PathLike, sequence: int = 99) -> Path:
    """Copy a file to another sequence number, so that its trains come twice."""
    path = Path(path)
    stem = path.name.rpartition("-S")[0]
    copy = path.with_name(f"{stem}-S{sequence:05d}.h5")
    shutil.copyfile(path, copy)
    return copy


def set_train_id(path: PathLike, position: int, train_id: int) -> None:
    """Replace one train ID, e.g. by a bogus or out-of-order one."""
    with h5py.File(path, "r+") as h5:
        h5["INDEX/trainId"][position] = train_id


def index_beyond_data(path: PathLike, position: int = -1, *, extra: int = 1000) -> None:
    """Let the index of the pixels point `extra` entries further than it should."""
    with h5py.File(path, "r+") as h5:
        index = h5[f"INDEX/{first_source(h5)}/{pixel_group(h5)}"]
        names = ("first",) if "count" in index else ("first", "last")
        for name in names:
            values = index[name][:]
            values[position] += np.uint64(extra)
            index[name][...] = values


def mismatch_counts(path: PathLike, position: int = 0) -> None:
    """Let a module claim one pulse less in one train than it recorded."""
    with h5py.File(path, "r+") as h5:
        index = h5[f"INDEX/{first_source(h5)}/{pixel_group(h5)}"]
        name = "count" if "count" in index else "last"
        values = index[name][:]
        # An array wraps around silently, as `last` of a train with nothing must.
        values[[position]] -= np.uint64(1)
        index[name][...] = values


def mismatch_pulse_ids(path: PathLike, entry: int = 0, *, shift: int = 1) -> None:
    """Shift the pulse ID of one entry of a module."""
    shift_label(path, "pulseId", entry, shift)


def mismatch_cell_ids(path: PathLike, entry: int = 0, *, shift: int = 1) -> None:
    """Shift the memory cell of one entry of a module."""
    shift_label(path, "cellId", entry, shift)


def shift_label(path: PathLike, name: str, entry: int, shift: int) -> None:
    with h5py.File(path, "r+") as h5:
        labels = h5[f"INSTRUMENT/{first_source(h5)}/image/{name}"]
        labels[entry] = labels[entry] + np.array(shift, dtype=labels.dtype)


def change_dtype(path: PathLike, name: str, dtype: DTypeLike) -> None:
    """Store a dataset with another dtype, as a module on other software would."""
    with h5py.File(path, "r+") as h5:
        values, chunks = h5[name][...], h5[name].chunks
        del h5[name]
        h5.create_dataset(name, data=values.astype(dtype), chunks=chunks)


def first_source(h5: h5py.File) -> str:
    """Return the name of the first instrument source of a file."""
    old = "METADATA/dataSourceId"
    entries = h5[old if old in h5 else "METADATA/dataSources/dataSourceId"]
    for entry in entries.asstr()[:]:
        root, _, name = entry.partition("/")
        if root == "INSTRUMENT":
            return str(name.rpartition("/")[0])
    raise ArgumentError(f"{h5.filename} has no instrument source")


def pixel_group(h5: h5py.File) -> str:
    return "image" if "image" in h5[f"INDEX/{first_source(h5)}"] else "data"
