"""One key of a run as a virtual HDF5 dataset, which shows data without copying them."""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile

import numpy as np

from xfelred.errors import OutputExistsError
from xfelred.hdf5 import (
    File,
    NewDataset,
    NewGroup,
    VirtualLayout,
    VirtualSource,
    open_dataset,
)
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.run_file import FilePath, new_file, write_metadata


def virtual_dataset(key: KeyData, filename: FilePath | None = None) -> NewDataset:
    """Return a dataset of a new run file; see `Run.get_virtual_dataset`."""
    target = temporary() if filename is None else filename
    if os.path.realpath(target) in {os.path.realpath(f.path) for f in key.all_files}:
        raise OutputExistsError(
            f"{os.fspath(target)} is one of the files that the dataset would show;"
            " choose another filename"
        )
    # Virtual datasets came with version 1.10 of HDF5.
    with new_file(target, libver=("v110", "latest")) as f:
        write_key(key, f)
    return File(os.fspath(target), "r")[key.hdf5_data_path]


def temporary() -> str:
    """Return the path of an empty temporary file, removed when Python ends."""
    handle, path = tempfile.mkstemp(suffix="-xfelred-virtual.h5")
    os.close(handle)
    atexit.register(remove, path)
    return path


def remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)


def write_key(key: KeyData, f: NewGroup) -> None:
    place = f"{key.canonical_name}/{key.index_group}".rstrip("/")
    write_metadata(f, key.all_files, key.ids, key.single, [f"{key.section}/{place}"])
    start, stop = key.train_index_bounds(labelled=False)
    f[f"INDEX/{place}/first"] = start.astype(np.uint64)
    f[f"INDEX/{place}/count"] = (stop - start).astype(np.uint64)
    name = key.hdf5_data_path
    layout = VirtualLayout(shape=key.shape, dtype=stored_dtype(key))
    for file, at, first, count in pieces(key):
        # Absolute, so that it is found from wherever the new file is.
        path = os.path.realpath(key.all_files[file].path)
        stored = open_dataset(path, name)
        source = VirtualSource(path, name, shape=stored.shape, dtype=stored.dtype)
        layout[at : at + count] = source[first : first + count]
    f.create_virtual_dataset(name, layout)
    f[name].attrs.update(key.attrs)


def stored_dtype(key: KeyData) -> np.dtype:
    """Return the dtype of the dataset: text as in the files."""
    if key.dtype != object:
        return key.dtype
    return open_dataset(next(iter(key.headers)), key.hdf5_data_path).dtype


def pieces(key: KeyData) -> list[tuple[int, int, int, int]]:
    """Return (file, first row here, first row there, rows), neighbours as one."""
    where = key.location
    out: list[tuple[int, int, int, int]] = []
    at = 0
    for train in where.order.tolist():
        file, first = int(where.file[train]), int(where.first[train])
        n = int(where.count[train])
        if out and out[-1][0] == file and sum(out[-1][2:]) == first:
            old = out.pop()
            out.append((file, old[1], old[2], old[3] + n))
        else:
            out.append((file, at, first, n))
        at += n
    return out
