"""The open files of this process: handles of HDF5 beside raw descriptors."""

from __future__ import annotations

import errno
import os
import resource
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass, field

import h5py

from xfelred.errors import BrokenFileError, logger_of
from xfelred.hdf5.datasets import Dataset
from xfelred.hdf5.filters import make_readable
from xfelred.hdf5.guard import broken, check_regular, guarded
from xfelred.hdf5.layout import Layout, layout_of
from xfelred.hdf5.links import Links
from xfelred.hdf5.objects import Group, node
from xfelred.hdf5.raw import Identity, RawFile, cut_off, identity_of
from xfelred.hdf5.virtual import Watched, check_watched, watched_files

log = logger_of(__name__)

MAX_OPEN = 256
MAX_OBJECTS = 2048  # kept open of a file: HDF5 takes some 10 KB for each
SIGNATURE = b"\x89HDF\r\n\x1a\n"
REPLACED = 5  # times that a file may be replaced between two ways to open it
WRITTEN = h5py.h5f.ACC_RDWR | h5py.h5f.ACC_SWMR_READ
SAID: set[tuple[str, str]] = set()  # datasets that were logged


@dataclass(frozen=True, eq=False)
class Target:
    """An open dataset and how it is read."""

    dataset: h5py.Dataset
    shape: tuple[int, ...]
    layout: Layout | None  # how to read without HDF5; None: h5py must
    watched: tuple[Watched, ...]  # other files that hold the values


@dataclass(frozen=True, eq=False)
class Handle:
    path: str
    identity: Identity  # by its path
    found: Identity  # by its descriptor: some file systems tell them apart
    raw: RawFile
    file: h5py.File
    live: bool  # somebody writes to it: what is on disk need not be what it holds
    links: Links
    lock: threading.Lock = field(default_factory=threading.Lock)
    objects: dict[str, Group | Dataset] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)

    def get(self, name: str) -> Group | Dataset | None:
        found = self.objects.get(name)
        if found is None:
            full = name.strip("/")
            opened = self.links.opened(full)
            if opened is None:
                return None
            if len(self.objects) >= MAX_OBJECTS:
                self.objects.clear()
            found = self.objects[name] = node(opened, self.links, full)
        if self.file.swmr_mode and isinstance(found, Dataset):
            found.refresh()
        return found

    def root(self) -> Group:
        return Group(self.file.id, self.links, "")

    def target(self, name: str) -> Target:
        """Return how to read a dataset; find out when it is first asked for."""
        target = self.targets.get(name)
        if target is not None:
            return target
        with self.lock:
            if name in self.targets:
                return self.targets[name]
            dataset = dataset_in(self, name)
            watched = watched_files(dataset.low, self.file)
            layout = self.layout(name, dataset.low)
            made = Target(dataset.low, dataset.shape, layout, watched)
            if len(self.targets) >= MAX_OBJECTS:
                self.targets.clear()
            self.targets[name] = made
            return made

    def layout(self, name: str, dataset: h5py.Dataset) -> Layout | None:
        """Return how to read without HDF5; None, logged once, where h5py must."""
        layout, reason = None, "the file is being written"
        if not self.live:
            layout, reason = layout_of(dataset, self.file, self.path, self.identity)
        if layout is None:
            make_readable(dataset)
            if (self.path, name) not in SAID:
                SAID.add((self.path, name))
                log.info("%s in %s is read through h5py: %s", name, self.path, reason)
        return layout

    def unchanged(self) -> bool:
        """Tell whether the bytes that were read are still those of this handle."""
        now = identity_of(os.fstat(self.raw.number))
        if now.size < self.found.size:
            raise cut_off(self.path, now.size, self.found.size)
        return now == self.found


def dataset_in(handle: Handle, name: str) -> Dataset:
    found = handle.get(name)
    if found is None:
        raise BrokenFileError(
            f"{handle.path} has no dataset {name}. If it is still being copied, open"
            " the run again when it is complete"
        )
    if not isinstance(found, Dataset):
        raise BrokenFileError(f"{name} in {handle.path} is a group, not a dataset")
    return found


class OpenFiles:
    """The most recently used files of this process, opened for reading.

    Files are recognised by path, size and time of change, so that one which was
    replaced is opened anew. A child process starts with an empty cache: HDF5 handles
    do not survive a fork. The lock guards only the table: nothing is opened or read
    while it is held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.files: OrderedDict[str, Handle] = OrderedDict()
        self.inherited: OrderedDict[str, Handle] | None = None
        ALL.add(self)

    def dataset(self, path: str, name: str) -> Dataset:
        return dataset_in(self.handle(path), name)

    def get(self, path: str, name: str) -> Group | Dataset | None:
        return self.handle(path).get(name)

    def target(self, path: str, name: str) -> tuple[Handle, Target]:
        """Return how to read a dataset, and its file, to be held while reading."""
        with guarded(path):
            handle = self.handle(path)
            target = handle.target(name)
            if target.watched and not check_watched(target.watched):
                # A source was replaced: HDF5 may still hold the old one open.
                self.forget(path)
                handle = self.handle(path)
                target = handle.target(name)
            return handle, target

    def handle(self, path: str) -> Handle:
        """Return the open file; open it if it is not, or not the same any more."""
        with guarded(path):
            identity = identity_of(os.stat(path))
            with self.lock:
                found = self.files.get(path)
                if found is not None and found.identity == identity:
                    self.files.move_to_end(path)
                    return found
                self.files.pop(path, None)
            # Closes, outside of our lock, what the parent process had opened, and the
            # old file: HDF5 would share what it knows of that with the new one.
            self.inherited = found = None
            return self.insert(self.opened(path))

    def opened(self, path: str) -> Handle:
        """Open a file; close others first where the process has too many open."""
        while True:
            try:
                return open_handle(path)
            except OSError as error:
                full = "Too many open files" in str(error) or error.errno in (
                    errno.EMFILE,
                    errno.ENFILE,
                )
                if not full or not self.shrink(len(self.files) // 2):
                    raise

    def insert(self, opened: Handle) -> Handle:
        """Enter a file that was just opened; drop the least recently used."""
        if opened.live:
            return opened  # not kept: it would stay as it is now
        with self.lock:
            known = self.files.get(opened.path)
            if known is not None and known.identity == opened.identity:
                return known  # another thread was faster
            self.files[opened.path] = opened
            self.files.move_to_end(opened.path)
        self.shrink(self.limit)
        return opened

    def shrink(self, limit: int) -> bool:
        """Drop files beyond a number; they are closed when nobody reads from them."""
        dropped = []
        with self.lock:
            while len(self.files) > limit:
                dropped.append(self.files.popitem(last=False))
        return bool(dropped)

    def forget(self, path: str) -> None:
        with self.lock:
            dropped = self.files.pop(path, None)
        del dropped

    def after_fork(self) -> None:
        """Start anew in a child process; the lock may have been held elsewhere."""
        self.lock = threading.Lock()
        # Closed later: a child that never reads should not pay for it.
        self.inherited = self.files
        self.files = OrderedDict()


ALL: weakref.WeakSet[OpenFiles] = weakref.WeakSet()


def reset_all() -> None:
    for files in list(ALL):
        files.after_fork()


os.register_at_fork(after_in_child=reset_all)


def open_handle(path: str) -> Handle:
    """Open a file for reading, beside a raw descriptor of the same bytes."""
    for _ in range(REPLACED):
        check_regular(path)
        raw = RawFile(path)
        found = identity_of(os.fstat(raw.number))
        try:
            # Chunks hold one frame and are read once: HDF5's chunk cache only copies.
            file, live = h5py.File(path, "r", rdcc_nbytes=0), False
        except OSError as error:
            if "already open for" not in str(error):
                raise
            file, live = open_written(path, error), True
        # HDF5 shares a file that this process itself has open for writing.
        live = live or bool(file.id.get_intent() & WRITTEN)
        if not live:
            check_length(file, path, found.size)
            check_signature(file, raw)
        identity = identity_of(os.stat(path))
        if identity.inode == found.inode:
            links = Links(path, file)
            return Handle(path, identity, found, raw, file, live, links)
    raise broken(path, "", "it is being replaced again and again")


def open_written(path: str, error: OSError) -> h5py.File:
    """Open a file that another process writes for readers like us; else raise."""
    try:
        return h5py.File(path, "r", rdcc_nbytes=0, swmr=True)
    except OSError:
        raise error from None


def check_length(file: h5py.File, path: str, size: int) -> None:
    """Raise BrokenFileError if a file is shorter than HDF5 believes.

    HDF5 shares what is open: one that was cut off since then would read as zeros.
    """
    believed = file.id.get_filesize()
    if believed > size:
        raise cut_off(path, size, believed)


def check_signature(file: h5py.File, raw: RawFile) -> None:
    """Raise BrokenFileError if what is on disk is not HDF5, whatever HDF5 knows."""
    start = os.pread(raw.number, len(SIGNATURE), file.userblock_size)
    if start != SIGNATURE:
        raise broken(raw.path, "", "it has been overwritten, no HDF5 file now")


def default_limit() -> int:
    """Return how many files to keep open: two descriptors each, half of the limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_OPEN
    return min(MAX_OPEN, max(4, soft // 4))
