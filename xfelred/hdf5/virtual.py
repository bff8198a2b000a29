"""Files that hold the values of a dataset of another file.

HDF5 returns fill values, without a word, where a source of a virtual dataset is
missing, and zeros where an external file is too short. Here both are errors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import h5py

from xfelred.errors import BrokenFileError
from xfelred.hdf5.guard import check_regular
from xfelred.hdf5.links import Links, beside
from xfelred.hdf5.raw import Identity, cut_off, identity_of

MAX_DEPTH = 8  # virtual datasets of virtual datasets


class Watched(NamedTuple):
    """A file that must not change while values are read from it."""

    path: str
    identity: Identity


def check_watched(watched: tuple[Watched, ...]) -> bool:
    """Tell whether files are what they were; False also if one is gone."""
    try:
        return all(identity_of(os.stat(w.path)) == w.identity for w in watched)
    except OSError:
        return False


def watched_files(dataset: h5py.Dataset, file: h5py.File) -> tuple[Watched, ...]:
    """Return the other files that a dataset needs; an error if one is gone or short."""
    found: dict[str, Identity] = {}
    own = dataset.file.filename
    if own != file.filename:  # behind an external link
        found[own] = identity_of(os.stat(own))
        believed = dataset.file.id.get_filesize()
        if believed > found[own].size:
            raise cut_off(own, found[own].size, believed)
    if dataset.is_virtual:
        own_place = (os.path.realpath(own), str(dataset.name).lstrip("/"))
        for path in sources_of(dataset, (own_place,)):
            found[path] = identity_of(os.stat(path))
    for path in external_files(dataset):
        found[path] = identity_of(os.stat(path))
    return tuple(Watched(*item) for item in found.items())


def external_files(dataset: h5py.Dataset) -> Iterator[str]:
    """Yield the external files of a dataset; they must be long enough."""
    left = prod(dataset.shape or ()) * dataset.dtype.itemsize
    prefix = os.environ.get("HDF5_EXTFILE_PREFIX", "")
    prefix = prefix.replace("${ORIGIN}", os.path.dirname(dataset.file.filename))
    for name, offset, size in dataset.external or ():
        path = os.path.join(prefix, os.fsdecode(name))
        need = left if size == h5py.h5f.UNLIMITED else min(size, left)
        left -= need
        there = check_regular(path).st_size if os.path.exists(path) else -1
        if there < offset + need:
            state = f"has {there} bytes instead of {offset + need}"
            raise BrokenFileError(
                f"{dataset.name} in {dataset.file.filename} keeps its values in {path},"
                f" which {state if there >= 0 else 'is missing'}"
            )
        yield path


Place = tuple[str, str]  # file and name of a dataset


def sources_of(
    dataset: h5py.Dataset, above: tuple[Place, ...] = (), done: set[Place] | None = None
) -> Iterator[str]:
    """Yield every file that a virtual dataset reads, however deep.

    `above` are the datasets on the way to this one, `done` those that were looked at.
    """
    done = set() if done is None else done
    for source in dataset.virtual_sources():
        names = source.file_name, source.dset_name
        for file_name, name in expanded_names(*names, source.vspace, dataset.shape):
            yield from check_source(dataset, file_name, name, above, done)


def check_source(
    dataset: h5py.Dataset,
    file_name: str,
    name: str,
    above: tuple[Place, ...],
    done: set[Place],
) -> Iterator[str]:
    where = f"virtual dataset {dataset.name} in {dataset.file.filename}"
    own = dataset.file.filename
    path = own if file_name == "." else beside(own, file_name, "HDF5_VDS_PREFIX")
    if path is None:
        raise BrokenFileError(
            f"{where} needs {name} from {file_name}, which is missing. Copy it next to"
            " the file, or set HDF5_VDS_PREFIX to the folder where it is"
        )
    place = (os.path.realpath(path), name.lstrip("/"))
    if place in above or len(above) > MAX_DEPTH:
        raise BrokenFileError(f"{where} is nested too deep, or in a circle")
    if place in done:
        return
    done.add(place)
    try:
        check_regular(path)
        file = dataset.file if file_name == "." else h5py.File(path, "r")
    except OSError as error:
        raise BrokenFileError(
            f"{where} needs {name} from {path}, which cannot be opened: {error}"
        ) from error
    try:
        found = file[name] if Links(path, file).there(name) else None
        if not isinstance(found, h5py.Dataset):
            raise BrokenFileError(f"{where} needs {name}, which {path} does not have")
        if file_name != ".":
            if file.id.get_filesize() > os.path.getsize(path):
                raise BrokenFileError(f"{where} needs {path}, which was cut off")
            yield path
        if found.is_virtual:
            yield from sources_of(found, (*above, place), done)
        yield from external_files(found)
    finally:
        if file_name != ".":
            file.close()


def expanded_names(
    file_name: str, name: str, space: h5py.h5s.SpaceID, shape: tuple[int, ...]
) -> list[tuple[str, str]]:
    """Return (file, dataset) of a source; several where ``%b`` counts blocks."""
    if "%b" not in file_name.replace("%%", "") + name.replace("%%", ""):
        return [(unescaped(file_name), unescaped(name))]
    start, stride, count, block = space.get_regular_hyperslab()
    axis = next((i for i, n in enumerate(count) if n == h5py.h5s.UNLIMITED), 0)
    inside = shape[axis] - start[axis]
    n_blocks = max(0, -(-(inside - block[axis]) // stride[axis]) + 1) if inside else 0
    return [(unescaped(file_name, b), unescaped(name, b)) for b in range(n_blocks)]


def unescaped(name: str, block: int | None = None) -> str:
    """Return a name with its block number, and without escapes."""
    parts = name.split("%%")
    if block is not None:
        parts = [p.replace("%b", str(block)) for p in parts]
    return "%".join(parts)
