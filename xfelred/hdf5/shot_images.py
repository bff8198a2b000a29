"""Images of SACLA files: one small dataset per tag, read where they lie.

A file has thousands of datasets. Opening one takes HDF5 as long as reading a tenth of
an image, under a lock; so the places of plain images are remembered, nothing else.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5t

from xfelred.errors import BrokenFileError
from xfelred.hdf5.datasets import Dataset
from xfelred.hdf5.direct import expanded
from xfelred.hdf5.guard import guarded
from xfelred.hdf5.handles import Handle, Target
from xfelred.hdf5.layout import Layout
from xfelred.hdf5.objects import Group, node
from xfelred.hdf5.raw import byte_span
from xfelred.hdf5.rows import OPEN_FILES, Entry, open_group, read_target
from xfelred.hdf5.virtual import check_watched, watched_files
from xfelred.kernels.arrays import Array
from xfelred.lazy import Rows
from xfelred.lazy.indexing import Selector

Shape = tuple[int, ...]


@dataclass(eq=False)
class PlainImages:
    """Images of one detector that lie in the file in one piece."""

    shape: Shape
    dtype: np.dtype[Any]
    stored: h5t.TypeID
    start: dict[int, int] = field(default_factory=dict)  # tag and first byte


PLAIN: weakref.WeakKeyDictionary[Handle, dict[str, PlainImages]] = (
    weakref.WeakKeyDictionary()
)
# Names of tags that are not written as usual, by group.
ODD_NAMES: weakref.WeakKeyDictionary[Handle, dict[str, dict[int, str]]] = (
    weakref.WeakKeyDictionary()
)


def read_images(path: str, dataset: str, rows: Rows, entry: Entry, out: Array) -> None:
    """Read images of some tags; see `xfelred.lazy.RowReader`.

    Rows are tags, `entry` is (slow, fast), and `dataset` has ``*`` for the tag.
    """
    tags, places = expanded(rows.start, rows.count), expanded(rows.place, rows.count)
    for _ in range(2):
        with guarded(path, dataset):
            handle = OPEN_FILES.handle(path)
            valid = True
            with np.errstate(invalid="ignore"):
                for tag, place in zip(tags.tolist(), places.tolist(), strict=True):
                    valid &= read_image(handle, dataset, tag, entry, out[place])
            if handle.live or (handle.unchanged() and valid):
                return
            OPEN_FILES.forget(path)
    # It grows while we read, twice: fine as long as it is a whole file.
    open_group(path, dataset.split("/tag_*")[0])


def read_image(
    handle: Handle, dataset: str, tag: int, entry: Entry, out: Array
) -> bool:
    """Read a window of one image; False if a file that it lies in changed meanwhile."""
    known = PLAIN.get(handle, {}).get(dataset)
    start = None if known is None else known.start.get(tag)
    if known is not None and start is not None:
        name = dataset.replace("*", str(tag))
        if (
            whole(entry, known.shape)
            and out.dtype == known.dtype
            and out.flags.c_contiguous
        ):
            handle.raw.fill(byte_span(out), start, name)
            return True
        layout = Layout(name, known.shape, known.dtype, 0, known.shape, start)
        target = Target(Shaped(known.dtype), known.shape, layout, ())
    else:
        target = image_target(handle, dataset, tag)
    check_entry(target, handle.path, dataset.replace("*", str(tag)), entry)
    read_target(handle, target, slow_rows(entry[0]), entry[1:], out)
    return not target.watched or check_watched(target.watched)


@dataclass(frozen=True)
class Shaped:
    """What reading asks a dataset for when it is not open."""

    dtype: np.dtype[Any]


def whole(entry: Entry, shape: Shape) -> bool:
    return len(entry) == len(shape) and all(
        isinstance(e, slice) and (e.start, e.stop, e.step) == (0, n, 1)
        for e, n in zip(entry, shape, strict=True)
    )


def slow_rows(slow: Selector) -> Rows:
    if isinstance(slow, slice) and slow.step == 1:
        n = slow.stop - slow.start
        return Rows(np.array([slow.start]), np.array([n]), np.zeros(1, np.int64))
    row = (
        np.arange(slow.start, slow.stop, slow.step) if isinstance(slow, slice) else slow
    )
    return Rows(row, np.ones(len(row), np.int64), np.arange(len(row)))


def check_entry(target: Target, path: str, name: str, entry: Entry) -> None:
    """Raise BrokenFileError if an image is smaller than others of its detector."""
    taken = [
        range(e.start, e.stop, e.step) if isinstance(e, slice) else e for e in entry
    ]
    last = [int(t[-1]) + 1 if len(t) else 0 for t in taken]
    fits = len(target.shape) == len(entry) and all(
        n <= size for n, size in zip(last, target.shape, strict=True)
    )
    if not fits:
        raise BrokenFileError(
            f"{name} in {path} has shape {target.shape}, but pixels up to {last} are"
            " wanted: images of this detector differ. Open the run again"
        )


def image_target(handle: Handle, dataset: str, tag: int) -> Target:
    """Find out how to read one image; remember where it lies if it is plain."""
    name = dataset.replace("*", str(tag))
    with handle.lock:
        found = opened_at(handle, name)
        if found is None:
            found = opened_at(handle, odd_name(handle, dataset, tag))
        if not isinstance(found, Dataset):
            raise BrokenFileError(
                f"{handle.path} has no image {name}. If it is still being written, open"
                " the run again when it is complete"
            )
        opened, layout = found.low, handle.layout(dataset, found.low)
        if layout is None:
            watched = watched_files(opened, handle.file)
            return Target(opened, opened.shape, None, watched)
        if layout.start is not None and layout.start >= 0:
            remember(handle, dataset, tag, opened, layout.start)
        return Target(opened, opened.shape, layout, ())


def opened_at(handle: Handle, name: str) -> Group | Dataset | None:
    """Open something that is not kept open: there are thousands of images."""
    found = handle.links.opened(name)
    return None if found is None else node(found, handle.links, name)


def odd_name(handle: Handle, dataset: str, tag: int) -> str:
    """Return the name of an image whose tag stands there with zeros in front."""
    known = ODD_NAMES.setdefault(handle, {})
    where, _, rest = dataset.rpartition("*")
    place, _, prefix = where.rpartition("/")
    if where not in known:
        here = opened_at(handle, place)
        names = here.names() if isinstance(here, Group) else []
        numbers = ((n.removeprefix(prefix), n) for n in names if n.startswith(prefix))
        known[where] = {int(k): n for k, n in numbers if k.isascii() and k.isdigit()}
    return f"{place}/{known[where].get(tag, f'{prefix}{tag}')}{rest}"


def remember(
    handle: Handle, dataset: str, tag: int, opened: h5py.Dataset, start: int
) -> None:
    """Keep the place of a plain image if it is like the others."""
    known = PLAIN.setdefault(handle, {})
    if dataset not in known:
        known[dataset] = PlainImages(opened.shape, opened.dtype, opened.id.get_type())
    same = known[dataset]
    if opened.shape == same.shape and opened.dtype == same.dtype:
        same.start[tag] = start


def plain_start(
    image: h5d.DatasetID, same: PlainImages, size: int, file_size: int
) -> int:
    """Return where an image of `size` bytes lies if it is like plain ones, else -1."""
    # Undefined for all but contiguous datasets; external ones have none either.
    start = image.get_offset()
    plain = (
        start is not None
        and image.get_storage_size() == size
        and start + size <= file_size
        and image.shape == same.shape
        and image.get_type() == same.stored
    )
    return int(start) if plain else -1
