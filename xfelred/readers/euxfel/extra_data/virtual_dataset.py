"""One key of a run as a virtual HDF5 dataset, which shows data without copying them."""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile

import numpy as np

from xfelred import __version__
from xfelred.errors import OutputExistsError
from xfelred.hdf5 import File, NewDataset, NewGroup, VirtualLayout, VirtualSource
from xfelred.hdf5.rows import open_dataset
from xfelred.readers.euxfel.extra_data.key_data import KeyData
from xfelred.readers.euxfel.run_file import write_metadata
from xfelred.small_files import writing


def virtual_dataset(
    key: KeyData, filename: str | os.PathLike[str] | None = None
) -> NewDataset:
    """Return a dataset that shows all entries of a key, in the order of `ndarray`.

    Parameters
    ----------
    key : KeyData
    filename : path, optional
        A new run file that holds the dataset, replaced if it exists; by default a
        temporary one, removed when Python ends. Other processes open it by
        ``dataset.file.filename`` and ``dataset.name``, where the files of the run are
        too.

    Returns
    -------
    Dataset
        Open for reading.

    Raises
    ------
    OutputExistsError
        If `filename` is one of the files of the run.
    """
    target = temporary() if filename is None else os.fspath(filename)
    if os.path.realpath(target) in {os.path.realpath(f.path) for f in key.all_files}:
        raise OutputExistsError(
            f"{target} is one of the files that the dataset would show; choose another"
            " filename"
        )
    partial = f"{target}.partial"
    try:
        with writing(target), File(partial, "w", libver=("v110", "latest")) as f:
            f.attrs["writer"] = f"xfelred {__version__}"
            write_key(key, f)
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return File(target, "r")[key.hdf5_data_path]


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
        path = os.path.realpath(key.all_files[file].path)
        stored = open_dataset(path, name)
        source = VirtualSource(path, name, shape=stored.shape, dtype=stored.dtype)
        layout[at : at + count] = source[first : first + count]
    f.create_virtual_dataset(name, layout)
    first_attrs = key.attrs
    f[name].attrs.update(first_attrs)


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
