"""A look at every image without reading it: is it there, and is it usable."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5g, h5o, h5s, h5t
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError, listing
from xfelred.hdf5.handles import Handle, unopened
from xfelred.hdf5.rows import OPEN_FILES, open_group
from xfelred.readers.sacla.files import IMAGE, STATUS, TagGroup
from xfelred.readers.sacla.headers import Known, address_of, learn, values_at
from xfelred.readers.sacla.images import PLAIN, Plain, plain_start

NO_STATUS = -1
PROBES = 9  # images per module of which the usual shape and dtype are taken

# What may be wrong with an image. FINE must be 0.
FINE, NO_IMAGE, OTHER_SHAPE, NO_NUMBERS, OTHER_DTYPE, NOT_WRITTEN, UNSEEN = range(7)
WORDS = {
    NO_IMAGE: f"no {IMAGE}",
    OTHER_SHAPE: "another shape",
    NO_NUMBERS: "no numbers",
    OTHER_DTYPE: "another dtype",
    NOT_WRITTEN: "never written",
}


@dataclass(frozen=True)
class ImageKind:
    """What the images of a detector have in common.

    Attributes
    ----------
    shape : (slow, fast)
    dtype : dtype
        That holds the numbers of all modules.
    chunk : tuple of int
        Shape of the pieces they are stored in; empty: in one.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known about the images of one `TagGroup`, in the order of its tags.

    Attributes
    ----------
    status : int64 (n,)
        ``detector_status``, -1 where there is none.
    fault : int8 (n,)
        `FINE`, or what is wrong with the image.
    """

    status: NDArray[np.int64]
    fault: NDArray[np.int8]


def unseen(group: TagGroup) -> Survey:
    """Return the survey of a group at which nobody has looked."""
    n = len(group.tags)
    return Survey(np.full(n, NO_STATUS, np.int64), np.full(n, UNSEEN, np.int8))


def image_kind(groups: Sequence[TagGroup]) -> ImageKind:
    """Return shape and dtype of the images of a detector, from a few of each module.

    Raises
    ------
    InconsistentDataError
        If a module has images of another shape, or there is no image.
    """
    pieces = [p for g in groups for p in g.pieces]
    several = len({p.file for p in pieces}) > 1
    seen = {
        f"{p.name} of {p.file}" if several else p.name: [
            k for k in probes(p) if k is not None
        ]
        for p in pieces
    }
    usual = {
        n: Counter(kinds).most_common(1)[0][0] for n, kinds in seen.items() if kinds
    }
    if not usual:
        raise InconsistentDataError(
            f"none of the images that were looked at in {', '.join(seen)} of"
            f" {listing({p.file: None for p in pieces})} has a {IMAGE} of two axes"
        )
    shapes = {name: kind.shape for name, kind in usual.items()}
    if len(set(shapes.values())) > 1:
        raise InconsistentDataError(
            f"modules have images of different shapes: {shapes}. Open the run with"
            " modules= of one shape"
        )
    dtype = np.result_type(*(kind.dtype for kind in usual.values()))
    first = next(iter(usual.values()))
    return ImageKind(first.shape, dtype, first.chunk)


def probes(group: TagGroup) -> list[ImageKind | None]:
    """Return what some images of a group of a file are, from the first to the last."""
    here = open_group(group.file, group.path)
    if here is None or not len(group.tags):
        return []
    at = np.unique(np.linspace(0, len(group.tags) - 1, PROBES).astype(int))
    return [kind_of(here.get(f"{group.tag_name(group.tags[i])}/{IMAGE}")) for i in at]


def kind_of(found: Any) -> ImageKind | None:
    """Return the kind of one image, None if it is none."""
    if not isinstance(found, h5py.Dataset) or found.ndim != 2:
        return None
    if found.dtype.kind not in "iuf" or 0 in found.shape:
        return None
    return ImageKind(found.shape, found.dtype.newbyteorder("="), found.chunks or ())


def look_at(
    group: TagGroup,
    survey: Survey,
    positions: NDArray[np.int64],
    kind: ImageKind,
) -> None:
    """Fill in what is not yet known about some images.

    Raises
    ------
    BrokenFileError
        If the file cannot be read.
    """
    todo = positions[survey.fault[positions] == UNSEEN]
    if not len(todo):
        return
    for piece in group.pieces:
        mine = todo[np.isin(group.tags[todo], piece.tags)].tolist()
        if not mine:
            continue
        try:
            look = Look(OPEN_FILES.handle(piece.file), piece, kind)
            for i in mine:
                survey.status[i], survey.fault[i] = look.at(int(group.tags[i]))
        except BrokenFileError:
            raise
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise unopened(piece.file, error) from error


class Look:
    """A look at the images of a group, one after the other."""

    def __init__(self, handle: Handle, group: TagGroup, kind: ImageKind) -> None:
        self.handle, self.kind, self.group = handle, kind, group
        self.here = h5g.open(handle.file.id, group.path.encode())
        self.size = prod(kind.shape) * kind.dtype.itemsize
        self.plain = plain_of(handle, group, kind)
        # Headers of other files, or of one that is being written, tell nothing.
        self.by_header = group.own and not handle.live
        self.image: Known | None = None
        self.status: tuple[Known, np.dtype[Any]] | None = None

    def at(self, tag: int) -> tuple[int, int]:
        """Return (status, fault) of the image of a tag; note where it lies."""
        name = self.group.tag_name(tag).encode()
        status = fault = None
        if self.by_header:
            status, fault = self.quick_status(name), self.quick_fault(name, tag)
        if status is not None and fault is not None:
            return status, fault
        shot = h5o.open(self.here, name)
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
        address = address_of(self.here, name + b"/" + STATUS.encode())
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
        address = address_of(self.here, name + b"/" + IMAGE.encode())
        start = values_at(self.handle, self.image, address)
        if start is None or start + self.size > self.handle.identity.size:
            return None
        if self.image.in_one_piece:
            self.plain.start[tag] = start
        return FINE

    def slow_status(self, shot: h5g.GroupID) -> int:
        """Return ``detector_status`` of a shot, -1 if it has none."""
        stored = dataset_in(shot, STATUS)
        if stored is None or stored.shape not in ((), (1,)):
            return NO_STATUS
        if stored.dtype.kind not in "iu":
            return NO_STATUS
        value = np.zeros((), np.int64)
        stored.read(h5s.ALL, h5s.ALL, value)
        if self.by_header and stored.get_offset() is not None:
            known = learn_from(self.handle, shot, STATUS)
            if known is not None and known.in_one_piece:
                self.status = known, stored.dtype
        return int(value)

    def slow_fault(self, shot: h5g.GroupID, tag: int) -> int:
        """Return what is wrong with the image of a shot."""
        image = dataset_in(shot, IMAGE)
        if image is None:
            return NO_IMAGE
        own = shot.links.get_info(IMAGE.encode()).type == h5py.h5l.TYPE_HARD
        start = -1
        if own and self.by_header:
            start = plain_start(image, self.plain, self.size, self.handle.identity.size)
        if start >= 0:
            self.plain.start[tag] = start
        fault = FINE if start >= 0 else fault_of(h5py.Dataset(image), self.kind)
        if fault == FINE and own and self.by_header:
            known = learn_from(self.handle, shot, IMAGE)
            # Only what was found to lie in one piece may be taken for it.
            if known is not None and known.in_one_piece == (start >= 0):
                self.image = known
        return fault


def learn_from(handle: Handle, shot: h5g.GroupID, name: str) -> Known | None:
    """Return the header of a dataset of a shot."""
    address = address_of(shot, name.encode())
    return None if address is None else learn(handle, address)


def dataset_in(shot: h5g.GroupID, name: str) -> h5d.DatasetID | None:
    """Return a dataset of a shot, None if it has none of this name.

    Raises
    ------
    BrokenFileError
        If it has one that cannot be opened.
    """
    if not shot.links.exists(name.encode()):
        return None
    try:
        found = h5o.open(shot, name.encode())
    except (KeyError, OSError, RuntimeError) as error:
        where = h5py.Group(shot)
        raise BrokenFileError(
            f"cannot open {where.name}/{name} in {where.file.filename}: {error}"
        ) from error
    return found if isinstance(found, h5d.DatasetID) else None


def plain_of(handle: Handle, group: TagGroup, kind: ImageKind) -> Plain:
    """Return where plain images of a group are remembered; nowhere while written."""
    stored = h5t.py_create(kind.dtype)
    fresh = Plain(kind.shape, kind.dtype, stored)
    if handle.live or not group.own:
        return fresh
    known = PLAIN.setdefault(handle, {}).setdefault(group.dataset(), fresh)
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
