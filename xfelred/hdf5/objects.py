"""Groups of HDF5 files and what is in them; every look at them is guarded.

What is read again stays open in `handles`; `open_file` is for one look.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import h5py
from h5py import h5d, h5g, h5o

from xfelred.errors import BrokenFileError, listing, warn
from xfelred.hdf5.datasets import Dataset, Node
from xfelred.hdf5.guard import broken, check_regular, guarded
from xfelred.hdf5.links import Links, Opened, link_kind

MAX_DEPTH = 64  # groups in groups


@dataclass(frozen=True)
class Unreadable:
    error: BrokenFileError


class Group(Node):
    """A group: names and what they stand for."""

    __slots__ = ()

    def get(self, name: str) -> Group | Dataset | None:
        """Return what a name stands for, None if there is no such name."""
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
        found = self.get(name)
        return found if isinstance(found, Dataset) else None

    def group(self, name: str) -> Group | None:
        found = self.get(name)
        return found if isinstance(found, Group) else None

    def __len__(self) -> int:
        return len(self.names())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        hard, others = self.raw_names()
        return sorted(map(os.fsdecode, hard + others))

    def raw_names(self) -> tuple[list[bytes], list[bytes]]:
        """Return the names of hard links, and of others, in no order."""
        hard: list[bytes] = []
        others: list[bytes] = []

        def visit(name: bytes, link: h5py.h5l.LinkInfo) -> None:
            (hard if link.type == h5py.h5l.TYPE_HARD else others).append(name)

        with guarded(self.path, self.name or "/"):
            # One low-level pass: with thousands of names h5py takes longer.
            self.id.links.iterate(visit, info=True)
        return hard, others

    def all_names(self) -> list[bytes]:
        """Return all names below; those of datasets alone if there is damage."""
        found: list[bytes] = []
        try:
            with guarded(self.path, self.name):
                self.id.links.visit(found.append)
        except BrokenFileError:  # HDF5 stops at the first damage
            return [os.fsencode(name) for name, _ in self.walk()]
        return found

    def dataset_names(self) -> list[str]:
        """Return the names of all datasets below, read or not: those that `walk` has.

        In one pass of HDF5, that opens none.
        """
        found: list[str] = []

        def visit(name: bytes, about: h5o.ObjInfo) -> None:
            if about.type == h5o.TYPE_DATASET:
                found.append(os.fsdecode(name))

        try:
            with guarded(self.path, self.name):
                h5o.visit(self.id, visit, info=True)
        except BrokenFileError:  # HDF5 stops at the first damage
            return [name for name, _ in self.walk()]
        return found

    def children(self) -> Iterator[tuple[str, Group | Dataset | Unreadable]]:
        """Yield all names and what they stand for, damaged or not."""
        for name in self.names():
            try:
                yield name, self[name]  # a name that is listed and not found: damaged
            except BrokenFileError as error:
                yield name, Unreadable(error)

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
            if link_kind(self.id, key) != h5py.h5l.TYPE_SOFT:
                return None
            return os.fsdecode(self.id.links.get_val(key))

    def walk(
        self, *, dead_links: bool = False
    ) -> Iterator[tuple[str, Dataset | Unreadable]]:
        """Yield every dataset below, with its name from here, as HDF5 visits them.

        Soft and external links are not followed, and what has several names is given
        once. With `dead_links` those that lead nowhere are yielded as unreadable.
        """
        yield from walk(self, "", set(), 0, dead_links)


def say_lost(group: Group, lost: dict[str, BrokenFileError]) -> None:
    if lost:
        warn(
            f"{len(lost)} objects in {group.name or 'the root'} of {group.path} cannot"
            f" be read and are left out: {listing(lost)}. {next(iter(lost.values()))}"
        )


def node(found: Opened, links: Links, name: str) -> Group | Dataset:
    if isinstance(found, h5g.GroupID):
        return Group(found, links, name)
    if isinstance(found, h5d.DatasetID):
        return Dataset(found, links, name)
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
        try:
            found = group[name]
            with guarded(group.path, name):
                about = h5o.get_info(found.id)
        except BrokenFileError as error:
            yield where + name, Unreadable(error)
            continue
        if (about.fileno, about.addr) in seen:
            continue
        seen.add((about.fileno, about.addr))
        if isinstance(found, Group):
            below = f"{where}{name}/"
            yield from walk(found, below, seen, depth + 1, dead_links)
        else:
            yield where + name, found


@contextmanager
def open_file(path: str) -> Iterator[Group]:
    """Give the root of a file, which is closed behind the block."""
    check_regular(path)
    with guarded(path):
        file = h5py.File(path, "r")
    try:
        yield Group(file.id, Links(path, file), "")
    finally:
        with guarded(path):
            file.close()
