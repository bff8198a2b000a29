"""Datasets of HDF5 files, and what they have in common with groups."""

from __future__ import annotations

from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5s

from xfelred.errors import listing, warn
from xfelred.hdf5.filters import make_readable
from xfelred.hdf5.guard import broken, check_size, guarded
from xfelred.hdf5.heaps import fault_of
from xfelred.hdf5.links import Links
from xfelred.hdf5.virtual import watched_files

Selection = int | slice | tuple[int | slice, ...]
UNKNOWN_LENGTH = 16  # bytes in memory of a text or a list of any length


class Node:
    """A group or dataset of an open file; `name` from the root, as it was asked for."""

    __slots__ = ("id", "links", "made", "name")

    def __init__(
        self, found: h5g.GroupID | h5d.DatasetID, links: Links, name: str
    ) -> None:
        self.id = found
        self.links = links
        self.name = name
        self.made: Any = None

    @property
    def low(self) -> Any:
        """The same as h5py has it, which takes longer to make than to open."""
        if self.made is None:
            made = h5py.Dataset if isinstance(self.id, h5d.DatasetID) else h5py.Group
            self.made = made(self.id)
        return self.made

    @property
    def path(self) -> str:
        """Of the file that was opened."""
        return self.links.path

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes that can be read; a warning names those that cannot."""
        found, lost = {}, []
        with guarded(self.path, f"attributes of {self.name or '/'}"):
            known = self.low.attrs
            names = list(known)
        for name in names:
            try:
                found[name] = known[name]
            except Exception:  # of any kind; see `guarded`
                lost.append(name)
        if lost:
            warn(
                f"attributes of {self.name or '/'} in {self.path} cannot be read:"
                f" {listing(lost)}"
            )
        return found


class Dataset(Node):
    """A dataset; one without a dataspace has no entries: shape (0,)."""

    __slots__ = ("kind", "null", "properties", "shape", "virtual")

    def __init__(self, found: h5d.DatasetID, links: Links, name: str) -> None:
        super().__init__(found, links, name)
        self.kind: np.dtype[Any] | None = None
        with guarded(self.path, name):
            self.properties = found.get_create_plist()
            self.virtual = self.properties.get_layout() == h5d.VIRTUAL
            if self.virtual and None in self.low.maxshape:
                self.check_sources()  # HDF5 asks them for the shape
            space = found.get_space()
            self.null = space.get_simple_extent_type() == h5s.NULL
            dims = space.get_simple_extent_dims()
        self.shape: tuple[int, ...] = (0,) if self.null else dims

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers; object for text of any length."""
        if self.kind is None:
            with guarded(self.path, self.name):
                self.kind = self.id.dtype
        return self.kind

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
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
        return h5py.check_string_dtype(self.dtype) is not None

    @property
    def stored_bytes(self) -> int:
        """Bytes in the file: 0 if nothing was written."""
        with guarded(self.path, self.name):
            return int(self.id.get_storage_size())

    @property
    def n_chunks(self) -> int:
        """Chunks that are in the file."""
        with guarded(self.path, self.name):
            return int(self.id.get_num_chunks())

    @property
    def packed(self) -> bool:
        """Whether filters stand between the file and its values."""
        with guarded(self.path, self.name):
            return bool(self.properties.get_nfilters())

    def stored_chunks(self) -> list[tuple[int, int]]:
        """Return (first row, bytes) of every chunk that is in the file."""
        found: list[tuple[int, int]] = []
        with guarded(self.path, self.name):
            self.id.chunk_iter(lambda c: found.append((c[0][0], c[3])))
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
        """Raise BrokenFileError where HDF5 would fill in, block or lose itself."""
        watched_files(self.low, self.links.file)

    def refresh(self) -> None:
        """Look at the file again, which somebody writes."""
        with guarded(self.path, self.name):
            self.id.refresh()
            self.shape = self.low.shape or (0,)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, selection: Selection) -> Any:
        """Return values as h5py does; bytes for text, and an error for absurd sizes."""
        with guarded(self.path, self.name):
            dtype = self.dtype
            each = UNKNOWN_LENGTH if dtype.kind == "O" else dtype.itemsize
            check_size(self.path, self.name, count(self.shape, selection) * each)
            if self.null:
                return np.empty(0, dtype)
            if self.virtual or self.properties.get_external_count():
                self.check_sources()
            if self.properties.get_nfilters():
                make_readable(self.low)
            if dtype.kind == "O" and (fault := fault_of(self.id, self.properties)):
                raise broken(self.path, self.name, fault)
            if dtype.kind in "iuf" and is_all(selection):
                return self.whole(dtype)
            return self.low[selection]

    def whole(self, dtype: np.dtype[Any]) -> Any:
        """Return all numbers; h5py spends longer on the selection than on reading."""
        out = np.empty(self.shape, dtype)
        if out.size:
            self.id.read(h5s.ALL, h5s.ALL, out)
        return out if out.ndim else out[()]

    def text(self, selection: Selection = ()) -> Any:
        """Return text as str; bytes that are no UTF-8 are marked."""
        found = np.asarray(self[selection])
        plain = [as_text(v) for v in found.ravel().tolist()]
        return np.array(plain, object).reshape(found.shape) if found.ndim else plain[0]


def is_all(selection: Selection) -> bool:
    return selection == () or (
        isinstance(selection, slice) and selection == slice(None)
    )


def as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def count(shape: tuple[int, ...], selection: Selection) -> int:
    """Return at most how many values a selection takes."""
    items = selection if isinstance(selection, tuple) else (selection,)
    taken = [
        len(range(*item.indices(n))) if isinstance(item, slice) else 1
        for item, n in zip(items, shape, strict=False)
        if isinstance(item, (slice, int, np.integer))
    ]
    return prod(taken) * prod(shape[len(taken) :])
