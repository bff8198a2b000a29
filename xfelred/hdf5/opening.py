"""Opening a file for one look; what is read again stays open in `handles`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import h5py

from xfelred.hdf5.guard import check_regular, guarded
from xfelred.hdf5.links import Links
from xfelred.hdf5.objects import Group


@contextmanager
def open_file(path: str) -> Iterator[Group]:
    """Give the root of a file, which is closed behind the block.

    Raises
    ------
    MissingFileError
        If there is no file.
    BrokenFileError
        If it is no regular file, or HDF5 cannot open it.
    """
    check_regular(path)
    with guarded(path):
        file = h5py.File(path, "r")
    try:
        yield Group(file.id, Links(path, file), "")
    finally:
        with guarded(path):
            file.close()
