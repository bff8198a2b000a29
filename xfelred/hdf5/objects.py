"""Groups and datasets of HDF5 files; every look at them is guarded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5o

from xfelred.errors import BrokenFileError, listing, warn
from xfelred.hdf5.filters import make_readable
from xfelred.hdf5.guard import broken, check_size, guarded
from xfelred.hdf5.heaps import fault_of
from xfelred.hdf5.links import Links, link_kind
from xfelred.hdf5.virtual import watched_files

Selection = int | slice | tuple[int | slice, ...]
MAX_DEPTH = 64  # groups in groups
UNKNOWN_LENGTH = 16  # bytes in memory of a text or a list of any length


@dataclass(frozen=True)
class Unreadable:
    """Something in a group that cannot be opened."""

    error: BrokenFileError


class Node:
    """A group or dataset of an open file.

    Attributes
    ----------
    name : str
        From the root, as it was asked for; without a slash in front.
    """

    __slots__ = ("links", "low", "name")

    def __init__(self, low: Any, links: Links, name: str) -> None:
        self.low = low
        self.links = links
        self.name = name

    @property
    def path(self) -> str:
        """Of the file that was opened."""
        return self.links.path

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes that can be read; those that cannot are left out."""
        found = {}
        with guarded(self.path, f"attributes of {self.name or '/'}"):
            known = self.low.attrs
            names = list(known)
        for name in names:
            try:
                found[name] = known[name]
            except Exception:  # of any kind; see `guarded`
                continue
        return found


class Group(Node):
    """A group: names and what they stand for."""

    __slots__ = ()

    def get(self, name: str) -> Group | Dataset | None:
        """Return what a name stands for, None if there is no such name.

        Raises
        ------
        BrokenFileError
            If there is one, and it cannot be opened.
        """
        full = f"{self.name}/{name}".strip("/")
        found = self.links.opened(full)
        return None if found is None else node(found, self.links, full)

    def __getitem__(self, name: str) -> Group | Dataset:
        found = self.get(name)
        if found is None:
            raise broken(self.path, f"{self.name}/{name}".strip("/"), "it is not there")
        return found

    def __contains__(self, name: str) -> bool:
        return self.links.there(f"{self.name}/{name}")

    @property
    def own(self) -> bool:
        """Whether it lies in the file that was opened, not behind a link."""
        with guarded(self.path, self.name or "/"):
            return bool(self.low.file.id == self.links.file.id)

    def dataset(self, name: str) -> Dataset | None:
        """Return a dataset, None if the name stands for none."""
        found = self.get(name)
        return found if isinstance(found, Dataset) else None

    def group(self, name: str) -> Group | None:
        """Return a group, None if the name stands for none."""
        found = self.get(name)
        return found if isinstance(found, Group) else None

    def __len__(self) -> int:
        return len(self.names())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """Return all names, in order."""
        hard, others = self.raw_names()
        return sorted(map(os.fsdecode, hard + others))

    def raw_names(self) -> tuple[list[bytes], list[bytes]]:
        """Return the names of hard links, and of others, in no order."""
        hard: list[bytes] = []
        others: list[bytes] = []

        def visit(name: bytes, link: Any) -> None:
            (hard if link.type == h5py.h5l.TYPE_HARD else others).append(name)

        with guarded(self.path, self.name or "/"):
            # One low-level pass: with thousands of names h5py takes longer.
            self.low.id.links.iterate(visit, info=True)
        return hard, others

    def all_names(self) -> list[bytes]:
        """Return the names of everything below, however deep.

        If something is damaged, those of datasets and of what cannot be opened.
        """
        found: list[bytes] = []
        try:
            with guarded(self.path, self.name):
                self.low.id.links.visit(found.append)
        except BrokenFileError:  # HDF5 stops at the first damage
            return [os.fsencode(name) for name, _ in self.walk()]
        return found

    def children(self) -> Iterator[tuple[str, Group | Dataset | Unreadable]]:
        """Yield all names and what they stand for, damaged or not."""
        for name in self.names():
            try:
                found = self.get(name)
            except BrokenFileError as error:
                yield name, Unreadable(error)
            else:
                if found is not None:
                    yield name, found

    def readable(self) -> Iterator[tuple[str, Group | Dataset]]:
        """Yield all names and what they stand for; warn of what cannot be opened."""
        lost = {}
        for name, found in self.children():
            if isinstance(found, Unreadable):
                lost[name] = found.error
            else:
                yield name, found
        say_lost(self, lost)

    def soft_link(self, name: str) -> str | None:
        """Return where a soft link leads, None if the name is no soft link."""
        with guarded(self.path, f"{self.name}/{name}"):
            key = os.fsencode(name)
            if link_kind(self.low.id, key) != h5py.h5l.TYPE_SOFT:
                return None
            return os.fsdecode(self.low.id.links.get_val(key))

    def walk(
        self, *, dead_links: bool = False
    ) -> Iterator[tuple[str, Dataset | Unreadable]]:
        """Yield every dataset below, with its name from here, as HDF5 visits them.

        Soft and external links are not followed, and what has several names is given
        once. With `dead_links` those that lead nowhere are yielded as unreadable.
        """
        yield from walk(self, "", set(), 0, dead_links)


class Dataset(Node):
    """A dataset; one without a dataspace has no entries: shape (0,)."""

    __slots__ = ("null", "properties", "shape", "virtual")

    def __init__(self, low: h5py.Dataset, links: Links, name: str) -> None:
        super().__init__(low, links, name)
        with guarded(self.path, name):
            self.properties = low.id.get_create_plist()
            self.virtual = self.properties.get_layout() == h5d.VIRTUAL
            if self.virtual and None in low.maxshape:
                self.check_sources()  # HDF5 asks them for the shape
            shape = low.shape
        self.null = shape is None
        self.shape: tuple[int, ...] = (0,) if shape is None else shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers; object for text of any length."""
        with guarded(self.path, self.name):
            return self.low.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of what is stored in one piece; empty if it is not stored so."""
        with guarded(self.path, self.name):
            return self.low.chunks or ()

    @property
    def filters(self) -> dict[str, Any]:
        """How it is packed, for ``create_dataset``."""
        with guarded(self.path, self.name):
            names = ("compression", "compression_opts", "shuffle", "fletcher32")
            return {name: getattr(self.low, name) for name in names}

    @property
    def is_text(self) -> bool:
        """Whether it holds text, of fixed length or any."""
        with guarded(self.path, self.name):
            return h5py.check_string_dtype(self.low.dtype) is not None

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file: 0 if nothing was written."""
        with guarded(self.path, self.name):
            return int(self.low.id.get_storage_size())

    @property
    def n_chunks(self) -> int:
        """Chunks that are in the file."""
        with guarded(self.path, self.name):
            return int(self.low.id.get_num_chunks())

    @property
    def packed(self) -> bool:
        """Whether filters stand between the file and its values."""
        with guarded(self.path, self.name):
            return bool(self.properties.get_nfilters())

    def stored_chunks(self) -> list[tuple[int, int]]:
        """Return (first row, bytes) of every chunk that is in the file."""
        found: list[tuple[int, int]] = []
        with guarded(self.path, self.name):
            self.low.id.chunk_iter(lambda c: found.append((c[0][0], c[3])))
        return found

    @property
    def fillvalue(self) -> Any:
        """What stands where nothing was written."""
        with guarded(self.path, self.name):
            return self.low.fillvalue

    @property
    def elsewhere(self) -> bool:
        """Whether other files hold the values."""
        with guarded(self.path, self.name):
            return bool(self.low.is_virtual or self.low.external)

    def check_sources(self) -> None:
        """Raise BrokenFileError where HDF5 would fill in, block or lose itself.

        Files that hold values of a virtual dataset may be missing, or be pipes, and it
        may be made of itself.
        """
        watched_files(self.low, self.links.file)

    def refresh(self) -> None:
        """Look at the file again, which somebody writes."""
        with guarded(self.path, self.name):
            self.low.id.refresh()
            self.shape = self.low.shape or (0,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, selection: Selection) -> Any:
        """Return values as h5py does; bytes for text.

        Raises
        ------
        BrokenFileError
            If they cannot be read, or are far more than metadata can be.
        """
        with guarded(self.path, self.name):
            dtype = self.low.dtype
            each = UNKNOWN_LENGTH if dtype.kind == "O" else dtype.itemsize
            check_size(self.path, self.name, count(self.shape, selection) * each)
            if self.null:
                return np.empty(0, dtype)
            if self.virtual or self.properties.get_external_count():
                self.check_sources()
            if self.properties.get_nfilters():
                make_readable(self.low)
            if dtype.kind == "O" and (fault := fault_of(self.low.id, self.properties)):
                raise broken(self.path, self.name, fault)
            return self.low[selection]

    def text(self, selection: Selection = ()) -> Any:
        """Return text as str; bytes that are no UTF-8 are marked."""
        found = np.asarray(self[selection])
        plain = [as_text(v) for v in found.ravel().tolist()]
        return np.array(plain, object).reshape(found.shape) if found.ndim else plain[0]


def say_lost(group: Group, lost: dict[str, BrokenFileError]) -> None:
    """Warn of what is left out because it cannot be opened or read."""
    if lost:
        warn(
            f"{len(lost)} objects in {group.name or 'the root'} of {group.path} cannot"
            f" be read and are left out: {listing(lost)}. {next(iter(lost.values()))}"
        )


def as_text(value: Any) -> str:
    """Return bytes or text as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def node(found: Any, links: Links, name: str) -> Group | Dataset:
    """Return a group or dataset that HDF5 has opened."""
    if isinstance(found, h5g.GroupID):
        return Group(h5py.Group(found), links, name)
    if isinstance(found, h5d.DatasetID):
        return Dataset(h5py.Dataset(found), links, name)
    raise broken(links.path, name, "it is neither a group nor a dataset")


def walk(
    group: Group, where: str, seen: set[tuple[int, int]], depth: int, dead_links: bool
) -> Iterator[tuple[str, Dataset | Unreadable]]:
    """Yield the datasets below a group that were not seen."""
    if depth > MAX_DEPTH:
        raise broken(group.path, group.name, f"groups are nested {MAX_DEPTH} deep")
    hard, links = group.raw_names()
    for raw in sorted(links) if dead_links else ():
        try:
            group.get(os.fsdecode(raw))
        except BrokenFileError as error:
            yield where + os.fsdecode(raw), Unreadable(error)
    for raw in sorted(hard):
        name = os.fsdecode(raw)
        found: Group | Dataset | Unreadable | None
        try:
            found = group.get(name)
            with guarded(group.path, name):
                about = None if found is None else h5o.get_info(found.low.id)
        except BrokenFileError as error:
            yield where + name, Unreadable(error)
            continue
        if found is None or about is None or (about.fileno, about.addr) in seen:
            continue
        seen.add((about.fileno, about.addr))
        if isinstance(found, Group):
            below = f"{where}{name}/"
            yield from walk(found, below, seen, depth + 1, dead_links)
        else:
            yield where + name, found


def count(shape: tuple[int, ...], selection: Selection) -> int:
    """Return at most how many values a selection takes."""
    items = selection if isinstance(selection, tuple) else (selection,)
    taken = [
        len(range(*item.indices(n))) if isinstance(item, slice) else 1
        for item, n in zip(items, shape, strict=False)
        if isinstance(item, (slice, int, np.integer))
    ]
    return prod(taken) * prod(shape[len(taken) :])
