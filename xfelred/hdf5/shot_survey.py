"""A look at the image of every shot without reading it: is it there and usable.

Where each shot has a dataset of its own there are tens of thousands; only those whose
headers are not like one that HDF5 has opened are opened.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5i, h5o, h5s, h5t

from xfelred.errors import BrokenFileError, MissingPartError
from xfelred.hdf5.guard import guarded
from xfelred.hdf5.handles import Handle
from xfelred.hdf5.headers import KnownHeader, address_of, learn, values_at
from xfelred.hdf5.remembered import Facts
from xfelred.hdf5.shot_images import PLAIN, PlainImages, plain_start

NO_STATUS = -1
FAILED = "errno = "  # in what HDF5 says when the system could not read
# What may be wrong with an image. FINE must be 0.
(
    FINE,
    NO_IMAGE,
    OTHER_SHAPE,
    NO_NUMBERS,
    OTHER_DTYPE,
    NOT_WRITTEN,
    UNSEEN,
    UNREADABLE,
) = range(8)


@dataclass(frozen=True)
class ImageKind:
    shape: tuple[int, int]  # slow, fast
    dtype: np.dtype[Any]  # that holds the numbers of all modules
    chunk: tuple[int, ...]  # shape of the pieces they are stored in; empty: in one


@dataclass(frozen=True)
class ShotPlaces:
    """Where the shots of one detector are in a file."""

    place: str  # the group that holds a group for every shot
    image: str  # names within that of a shot
    status: str
    dataset: str  # name of the images, ``*`` standing for the number of a shot
    own: bool  # no link leads to another place or file


class Look:
    """A look at the images of a group, one after the other."""

    def __init__(self, handle: Handle, shots: ShotPlaces, kind: ImageKind) -> None:
        self.handle, self.kind, self.shots = handle, kind, shots
        with guarded(handle.path, shots.place):
            self.here = h5g.open(handle.file.id, shots.place.encode())
        self.size = prod(kind.shape) * kind.dtype.itemsize
        self.plain = plain_of(handle, shots, kind)
        # Headers of other files, or of one that is being written, tell nothing.
        self.by_header = shots.own and not handle.live
        self.image: KnownHeader | None = None
        self.status: tuple[KnownHeader, np.dtype[Any]] | None = None

    def all(self, shots: list[str], tags: list[int]) -> Facts:
        """Return status, fault and first byte (-1: not plain) of the images of shots.

        Three arrays (n,); see `at`.
        """
        found = [self.at(shot, tag) for shot, tag in zip(shots, tags, strict=True)]
        return {
            "status": np.array([status for status, _ in found], np.int64),
            "fault": np.array([fault for _, fault in found], np.int8),
            "start": np.array([self.plain.start.get(t, -1) for t in tags], np.int64),
        }

    def recall(self, tags: list[int], facts: Facts) -> None:
        """Note where images lie that were looked at in an earlier session."""
        last = self.handle.identity.size - self.size
        starts = zip(tags, facts["start"].tolist(), strict=True)
        self.plain.start.update((t, s) for t, s in starts if 0 <= s <= last)

    def at(self, shot: str, tag: int) -> tuple[int, int]:
        """Return (status, fault) of the image of a shot; note where it lies.

        What is damaged costs this shot.
        """
        try:
            with guarded(self.handle.path, f"{self.shots.place}/{shot}"):
                return self.looked(os.fsencode(shot), tag)
        except MissingPartError:
            raise  # it was announced, and many more may be gone with it
        except BrokenFileError as error:
            if FAILED in str(error):
                raise  # of the disk or the network: the file itself may be sound
            return NO_STATUS, UNREADABLE

    def looked(self, name: bytes, tag: int) -> tuple[int, int]:
        """Return (status, fault) as `at` does, whatever HDF5 raises."""
        status = fault = None
        if self.by_header:
            status, fault = self.quick_status(name), self.quick_fault(name, tag)
        if status is not None and fault is not None:
            return status, fault
        shot = self.handle.links.opened(f"{self.shots.place}/{os.fsdecode(name)}")
        if not isinstance(shot, h5g.GroupID):
            return NO_STATUS, NO_IMAGE
        return (
            self.slow_status(shot) if status is None else status,
            self.slow_fault(shot, tag) if fault is None else fault,
        )

    def quick_status(self, name: bytes) -> int | None:
        """Return ``detector_status`` if its header is like that of others."""
        if self.status is None:
            return None
        known, dtype = self.status
        address = address_of(self.here, name + b"/" + self.shots.status.encode())
        start = values_at(self.handle, known, address)
        if start is None:
            return None
        data = os.pread(self.handle.raw.number, dtype.itemsize, start)
        return (
            int(np.frombuffer(data, dtype)[0]) if len(data) == dtype.itemsize else None
        )

    def quick_fault(self, name: bytes, tag: int) -> int | None:
        """Return FINE if the header of an image is like that of others."""
        if self.image is None:
            return None
        address = address_of(self.here, name + b"/" + self.shots.image.encode())
        start = values_at(self.handle, self.image, address)
        if start is None or start + self.size > self.handle.identity.size:
            return None
        if self.image.in_one_piece:
            self.plain.start[tag] = start
        return FINE

    def dataset_in(self, shot: h5g.GroupID, name: str) -> h5d.DatasetID | None:
        key = name.encode()
        if not shot.links.exists(key):
            return None
        if shot.links.get_info(key).type != h5py.h5l.TYPE_HARD:
            where = os.fsdecode(h5i.get_name(shot))
            if not self.handle.links.there(f"{where}/{name}"):
                return None
        found = h5o.open(shot, key)
        return found if isinstance(found, h5d.DatasetID) else None

    def slow_status(self, shot: h5g.GroupID) -> int:
        """Return ``detector_status`` of a shot, -1 if it has none."""
        stored = self.dataset_in(shot, self.shots.status)
        if stored is None or stored.shape not in ((), (1,)):
            return NO_STATUS
        if stored.dtype.kind not in "iu":
            return NO_STATUS
        value = np.zeros((), np.int64)
        stored.read(h5s.ALL, h5s.ALL, value)
        if self.by_header and stored.get_offset() is not None:
            known = learn_from(self.handle, shot, self.shots.status)
            if known is not None and known.in_one_piece:
                self.status = known, stored.dtype
        return int(value)

    def slow_fault(self, shot: h5g.GroupID, tag: int) -> int:
        image = self.dataset_in(shot, self.shots.image)
        if image is None:
            return NO_IMAGE
        own = shot.links.get_info(self.shots.image.encode()).type == h5py.h5l.TYPE_HARD
        start = -1
        if own and self.by_header:
            start = plain_start(image, self.plain, self.size, self.handle.identity.size)
        if start >= 0:
            self.plain.start[tag] = start
        fault = FINE if start >= 0 else fault_of(h5py.Dataset(image), self.kind)
        if fault == FINE and own and self.by_header:
            known = learn_from(self.handle, shot, self.shots.image)
            # Only what was found to lie in one piece may be taken for it.
            if known is not None and known.in_one_piece == (start >= 0):
                self.image = known
        return fault


def learn_from(handle: Handle, shot: h5g.GroupID, name: str) -> KnownHeader | None:
    address = address_of(shot, name.encode())
    return None if address is None else learn(handle, address)


def plain_of(handle: Handle, shots: ShotPlaces, kind: ImageKind) -> PlainImages:
    """Return where plain images of a group are remembered; nowhere while written."""
    stored = h5t.py_create(kind.dtype)
    fresh = PlainImages(kind.shape, kind.dtype, stored)
    if handle.live or not shots.own:
        return fresh
    known = PLAIN.setdefault(handle, {}).setdefault(shots.dataset, fresh)
    same = known.shape == kind.shape and known.dtype == kind.dtype
    return known if same else fresh


def holds(dtype: np.dtype[Any], other: np.dtype[Any]) -> bool:
    """Tell whether a dtype holds numbers of another one, but for rounding of floats.

    Among integers, and from floats to integers, a cast as C does it wraps around.
    """
    return dtype.kind == "f" or np.can_cast(other, dtype)


def fault_of(image: h5py.Dataset, kind: ImageKind) -> int:
    """Return what is wrong with an image that is not stored in one piece."""
    if image.shape != kind.shape:
        return OTHER_SHAPE
    if image.dtype.kind not in "iuf":
        return NO_NUMBERS
    if not holds(kind.dtype, image.dtype):
        return OTHER_DTYPE
    elsewhere = image.is_virtual or image.external
    if not elsewhere and image.id.get_storage_size() == 0:
        return NOT_WRITTEN
    return FINE
