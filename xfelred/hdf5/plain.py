"""Groups and datasets of files of the usual form, looked at past HDF5; see `skim`.

They answer as `Group` and `Dataset` do, or raise `NotPlain`; then HDF5 is asked.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial, wraps
from math import prod
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np

from xfelred.errors import XfelredError
from xfelred.hdf5.datasets import Dataset, Selection
from xfelred.hdf5.messages import NotPlain, Stored, Tables, odd
from xfelred.hdf5.objects import Group, open_file
from xfelred.hdf5.raw import Identity, identity_of
from xfelred.hdf5.skim import Skim

Found = TypeVar("Found")
Options = ParamSpec("Options")
Owner = TypeVar("Owner")
MOST_OPEN, MOST_SEEN = 32, 1024  # files
FEW_OBJECTS = 256  # of a file that is closed; what is known of more is dropped


def plainly(
    look: Callable[Concatenate[Owner, Options], Found],
) -> Callable[Concatenate[Owner, Options], Found]:
    """Raise `NotPlain` whatever goes wrong: what is damaged may raise anything."""

    @wraps(look)
    def guarded(
        self: Owner, /, *args: Options.args, **options: Options.kwargs
    ) -> Found:
        try:
            return look(self, *args, **options)
        except NotPlain:
            raise
        except Exception as error:
            raise NotPlain(str(error)) from error

    return guarded


class PlainDataset:
    """A dataset; `slow` gives the same as HDF5 has it, for values that it must read."""

    __slots__ = ("about", "dtype", "file", "name", "shape", "slow")

    def __init__(
        self, file: Skim, name: str, about: Stored, slow: Callable[[], Dataset]
    ) -> None:
        self.file, self.name, self.about, self.slow = file, name, about, slow
        self.shape = about.shape
        self.dtype = np.dtype(object) if about.text == "heap" else about.dtype

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def is_text(self) -> bool:
        return bool(self.about.text)

    @property
    def chunks(self) -> tuple[int, ...]:
        return self.about.chunks

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, selection: Selection) -> Any:
        try:
            return self.read(selection)
        except NotPlain:
            return self.slow()[selection]

    def text(self, selection: Selection = ()) -> Any:
        try:
            return self.read(selection, text=True)
        except NotPlain:
            return self.slow().text(selection)

    @plainly
    def read(self, selection: Selection, *, text: bool = False) -> Any:
        """Return all values, or rows that follow each other."""
        if self.is_text != text:
            odd("text")
        if not self.shape:
            if selection != ():
                odd("selection")
            found = self.file.rows(self.about._replace(shape=(1,)), 0, 1)
        else:
            some = slice(None) if selection == () else selection
            if not isinstance(some, slice):
                odd("selection")
            start, stop, step = some.indices(self.shape[0])
            if step != 1:
                odd("selection")
            found = self.file.rows(self.about, start, max(0, stop - start))
        if text:
            found = self.file.texts(self.about, found)
        if not self.file.unchanged():
            odd("changed")
        return found if self.shape else found[0]


class PlainGroup:
    """A group; its datasets have no other way to their values."""

    __slots__ = ("file", "name")

    def __init__(self, file: Skim, name: str = "") -> None:
        self.file, self.name = file, name

    @property
    def path(self) -> str:
        return self.file.path

    def full(self, name: str) -> str:
        return usual(f"{self.name}/{name}")

    @plainly
    def dataset(self, name: str) -> PlainDataset | None:
        about = self.file.find(self.full(name))
        if not isinstance(about, Stored):
            return None
        return PlainDataset(self.file, self.full(name), about, partial(odd, "values"))

    @plainly
    def group(self, name: str) -> PlainGroup | None:
        about = self.file.find(self.full(name))
        return PlainGroup(self.file, self.full(name)) if is_group(about) else None

    @plainly
    def soft_link(self, name: str) -> str | None:
        above, _, last = self.full(name).rpartition("/")
        found = self.file.children(above).get(last)
        return found if isinstance(found, str) else None

    @plainly
    def names(self) -> list[str]:
        return sorted(self.file.children(self.name))

    @plainly
    def dataset_names(self) -> list[str]:
        """Return the names of all datasets below."""
        return list(below(self.file, self.name, set()))

    def all_names(self) -> list[bytes]:
        """Return the names of all datasets below, which are cheap here."""
        return [os.fsencode(name) for name in self.dataset_names()]

    def __len__(self) -> int:
        return len(self.names())

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    @plainly
    def __contains__(self, name: str) -> bool:
        return self.file.find(self.full(name)) is not None


AnyGroup: TypeAlias = Group | PlainGroup
AnyDataset: TypeAlias = Dataset | PlainDataset


def usual(name: str) -> str:
    """Return a name from the root without what says nothing: /a//./b is a/b."""
    return "/".join([part for part in name.split("/") if part not in ("", ".")])


def is_group(about: Stored | Tables | None) -> bool:
    return isinstance(about, Tables)


def below(file: Skim, name: str, seen: set[int]) -> Iterator[str]:
    """Yield the datasets below a group, by their names from there."""
    for last, address in file.children(name).items():
        if isinstance(address, str) or address in seen:
            continue
        seen.add(address)
        if is_group(file.object_at(address)):
            for rest in below(file, f"{name}/{last}".strip("/"), seen):
                yield f"{last}/{rest}"
        else:
            yield last


# What was seen of files, by path; None: it is of another form, or being written.
LOCK = threading.Lock()
SEEN: OrderedDict[str, tuple[Identity, Skim | None]] = OrderedDict()
OPEN: OrderedDict[Skim, None] = OrderedDict()  # those with a descriptor


def after_fork() -> None:
    """Start with another lock in a child process; somebody may have held this one."""
    global LOCK
    LOCK = threading.Lock()


os.register_at_fork(after_in_child=after_fork)


def plain_file(path: str) -> Skim | None:
    """Return a file of the usual form as it is now, None if it is not of it."""
    try:
        now = identity_of(os.stat(path))
        known = SEEN.get(path)
        if known is None or known[0] != now:
            with suppress(NotPlain):
                return kept(path, now, Skim(path))
            return kept(path, now, None)
        if known[1] is not None and known[1] not in OPEN:
            known[1].open()
            return kept(path, now, known[1]) if known[1].unchanged() else None
        return known[1]
    except Exception:  # of any kind: who opens it through HDF5 says it
        return None


def kept(path: str, now: Identity, file: Skim | None) -> Skim | None:
    """Enter a file; close those that were opened first, and drop the first seen."""
    if file is not None and file.identity != now:
        return None  # replaced while it was opened
    with LOCK:
        _, old = SEEN.get(path, (now, None))
        if old is not None and old is not file:
            OPEN.pop(old, None)  # the file may be gone: its space is not held
        SEEN[path] = now, file
        if file is not None:
            OPEN[file] = None
        while len(OPEN) > MOST_OPEN:
            closed = OPEN.popitem(last=False)[0]
            closed.raw = None
            if len(closed.objects) > FEW_OBJECTS:
                SEEN.pop(closed.path, None)
        while len(SEEN) > MOST_SEEN:
            SEEN.popitem(last=False)
    return file


def plain_dataset(
    path: str, name: str, slow: Callable[[], Dataset]
) -> PlainDataset | None:
    """Return a dataset of a file, None if there is none of this name.

    Raises
    ------
    NotPlain
        If HDF5 is to be asked.
    """
    file = plain_file(path)
    if file is None:
        odd("file")
    found = PlainGroup(file).dataset(name)
    if found is not None:
        found.slow = slow
    return found


def past_hdf5(path: str, find: Callable[[AnyGroup], Found]) -> Found | None:
    """Return what is found in a file of the usual form, None if HDF5 is to be asked."""
    file = plain_file(path)
    with suppress(NotPlain, XfelredError):
        if file is not None:
            file.check_not_written()  # it may be kept for long
            found = find(PlainGroup(file))
            if file.unchanged():
                return found
    return None


def described(path: str, find: Callable[[AnyGroup], Found]) -> Found:
    """Return what is found in a file, past HDF5 where that can be.

    `find` gets the root; it is called again with that of HDF5 if anything is not of
    the usual form, or not as it should be. It returns something.
    """
    found = past_hdf5(path, find)
    if found is None:
        with open_file(path) as f:
            return find(f)
    return found
