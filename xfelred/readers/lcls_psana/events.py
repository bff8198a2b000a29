"""Values of detectors at events, by timestamp, through the sessions of a process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import warn
from xfelred.hdf5.direct import expanded
from xfelred.lazy import Rows
from xfelred.lazy.indexing import Selector
from xfelred.readers.entry import cut
from xfelred.readers.lcls_psana.address import Address
from xfelred.readers.lcls_psana.session import (
    LOCK,
    Event,
    Session,
    asking,
    filtered,
    session,
)

IN_CHUNKS = "chunks:"  # before the address of a run whose streams go on in more files


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
    opened: Session, name: Name, event: Event, timestamp: int
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
    """

    shape: tuple[int, ...]  # (module, slow, fast) of an image
    fill_value: float  # for an event that has none, though its stream has the event

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
                    out[where] = cut(image.reshape(self.shape), entry)
        if lost:
            warn(
                f"{len(lost)} of {len(ids)} events have no whole image of {dataset};"
                f" the first is {lost[0]}. They are filled with {self.fill_value}"
            )


def each(rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return (timestamp, place) of every single row, sorted by timestamp."""
    ids, place = expanded(rows.start, rows.count), expanded(rows.place, rows.count)
    order = np.argsort(ids, kind="stable")
    return ids[order].astype(np.uint64), place[order]
