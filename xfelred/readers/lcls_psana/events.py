"""Values of detectors at events, by timestamp, through the sessions of a process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import warn
from xfelred.lazy import Rows
from xfelred.lazy.indexing import Selector
from xfelred.readers.lcls_psana.address import Address
from xfelred.readers.lcls_psana.session import LOCK, Session, asking, filtered, session

IN_CHUNKS = "chunks:"


@dataclass(frozen=True)
class Name:
    """A method of a detector: ``det.part.method(evt)``."""

    detector: str
    part: str
    method: str

    def __str__(self) -> str:
        return f"{self.detector}/{self.part}/{self.method}"

    @classmethod
    def parse(cls, text: str) -> Name:
        """Return the name that ``str`` made."""
        return cls(*text.split("/"))


def values(
    address: Address, in_chunks: bool, name: Name, ids: NDArray[np.uint64]
) -> Iterator[NDArray[Any] | None]:
    """Yield a copy of what a method returns at sorted timestamps, None for nothing.

    The copy matters: psana2 returns views of its buffers, some of them the same at
    every event. The caller holds `LOCK` until the last value.
    """
    opened = filtered(address, ids) if in_chunks and len(ids) else session(address)
    for t, event in zip(ids, opened.events(ids), strict=True):
        yield None if event is None else value_at(opened, name, event, int(t))


def value_at(
    opened: Session, name: Name, event: Any, timestamp: int
) -> NDArray[Any] | None:
    """Return a copy of what a method returns at an event."""
    interface = opened.interface(name.detector, name.part)
    with asking(opened.address, f"read {name} at timestamp {timestamp}"):
        found = getattr(interface, name.method)(event)
        return None if found is None else np.array(found)


@dataclass(frozen=True)
class ReadEvents:
    """Reads images of events into blocks; see `xfelred.lazy.RowReader`.

    The path is an address as text, the dataset a `Name`, and a row a timestamp.

    Attributes
    ----------
    shape : tuple of int
        (module, slow, fast) of an image.
    fill_value : scalar
        For an event that has none, though its stream has the event.
    """

    shape: tuple[int, ...]
    fill_value: Any

    def __call__(
        self,
        path: str,
        dataset: str,
        rows: Rows,
        entry: tuple[Selector, ...],
        out: NDArray[Any],
    ) -> None:
        """Fill ``out[place]`` from the images of timestamps."""
        ids, place = each(rows)
        in_chunks = path.startswith(IN_CHUNKS)
        address = Address.from_json(path.removeprefix(IN_CHUNKS))
        lost = []
        with LOCK:
            found = values(address, in_chunks, Name.parse(dataset), ids)
            for t, where, image in zip(ids, place, found, strict=True):
                if image is None or image.size != np.prod(self.shape):
                    out[where] = self.fill_value
                    lost.append(int(t))
                else:
                    out[where] = taken(image.reshape(self.shape), entry)
        if lost:
            warn(
                f"{len(lost)} of {len(ids)} events have no whole image of {dataset};"
                f" the first is {lost[0]}. They are filled with {self.fill_value}"
            )


def each(rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (timestamp, place) of every single row, sorted by timestamp."""
    count = np.asarray(rows.count)
    inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    ids = np.repeat(rows.start, count) + inside
    place = np.repeat(rows.place, count) + inside
    order = np.argsort(ids, kind="stable")
    return ids[order].astype(np.uint64), place[order].astype(np.int64)


def taken(image: NDArray[Any], entry: tuple[Selector, ...]) -> NDArray[Any]:
    """Return what selectors take of an image, one for each of its last axes."""
    for axis, selector in enumerate(entry, start=image.ndim - len(entry)):
        if isinstance(selector, slice):
            image = image[(slice(None),) * axis + (selector,)]
        else:
            image = np.take(image, selector, axis=axis)
    return image
